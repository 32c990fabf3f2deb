"""Keeps the worker processes running: replaces those that die, and replaces all when the configuration changes."""

import contextlib
import errno
import functools
import multiprocessing
import os
import queue
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from granian._granian import SocketHolder
from granian.server import Server

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.log import LOG
from flagsmith_warehouse.loader.settings import Settings

# The most connections that may wait for a worker, for example while all workers are being replaced.
BACKLOG = 2048
# How long we retry if the port is taken. Workers of a killed server may be about to release it.
PORT_SECONDS = 3
# How long a worker that is told to stop may take to answer the requests it has received.
STOP_SECONDS = 2
# How long a worker that is being replaced goes on answering. It takes no new connections, and closes each open one with its
# next answer.
DRAIN_SECONDS = 2
# A worker that has not become ready after this time counts as failed.
READY_SECONDS = 30
# A dead worker is replaced at once. If the next one dies too, within STEADY_SECONDS, its replacement waits for a pause, which
# doubles each time.
FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS = 0.2, 5.0, 60


class AddressError(LoaderError):
    """The server cannot listen at that address."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address, for all workers to share. Raises AddressError.

    It does not use SO_REUSEPORT: a second server could then silently take half of the webhooks.
    """
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, *_, address = found[0]
            both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
            return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
        except (OSError, UnicodeError) as error:
            is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
            if is_taken and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            why = (
                "the port is taken: another process, perhaps another `serve`, listens there. Stop that one"
                if is_taken
                else f"{getattr(error, 'strerror', None) or error}. Choose an address of this machine"
            )
            raise AddressError(
                f"Cannot listen at {host}, port {port}: {why}, or choose another --port."
            ) from None


class Wake:
    """Works like `threading.Event` for one waiting thread, but can be set from a signal handler.

    If a handler interrupted `Event.set` or `Event.wait` in the same thread, it would wait for their lock for ever.
    """

    def __init__(self):
        self._calls = queue.SimpleQueue()

    def set(self) -> None:
        self._calls.put(None)

    def wait(self, seconds: float | None = None) -> None:
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=seconds)
            self._calls.put(None)

    def clear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()


class Supervisor(Server):
    """Granian's server, with other rules for its workers.

    `configuration` reads and checks the settings. `create_worker(settings, slot, is_ready)` gives every worker the last
    settings that were valid. A slot is a short name that no other living worker has; each place has two.
    """

    def __init__(
        self,
        listener: socket.socket,
        configuration: Callable[[], Settings],
        create_worker: Callable[[Settings, str, Connection], Callable],
        **options,
    ):
        super().__init__("", workers_kill_timeout=STOP_SECONDS, **options)
        self.main_loop_interrupt = Wake()
        self._listener = listener
        self._configuration = configuration
        self._settings = configuration()
        self._create_worker = create_worker
        self._deaths = [0] * self.workers  # consecutive early deaths, by place

    def _init_shared_socket(self) -> None:
        self._listener.setblocking(False)
        self._ssp, self._sso = None, self._listener
        self._shd = SocketHolder(self._listener.fileno(), False, BACKLOG)

    def _spawn_workers(self, spawn_target, target_loader) -> None:
        for place in range(self.workers):
            self.wrks.append(self._start(place, spawn_target))

    def _serve_loop(self, spawn_target, target_loader) -> None:
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait(self._replace_dead(spawn_target))
            self.main_loop_interrupt.clear()
            if self.reload_signal and not self.interrupt_signal:
                self.reload_signal = False
                self._reload(spawn_target, target_loader)
        self.interrupt_children.clear()  # otherwise Granian would report an error

    def _start(self, place: int, spawn_target):
        """A new worker for the place. Its pipe `is_ready` gets a message when it is ready, and closes when it dies."""
        slot = 1 - self.wrks[place].slot if place < len(self.wrks) else 0
        is_ready, tell = multiprocessing.Pipe(duplex=False)
        create = functools.partial(self._create_worker, self._settings, f"{place}{'ab'[slot]}", tell)
        worker = self._spawn_worker(idx=place, target=spawn_target, callback_loader=create)
        worker.slot, worker.is_ready, worker.due = slot, is_ready, None
        worker.start()
        tell.close()
        return worker

    def _replace_dead(self, spawn_target) -> float | None:
        """Replace each dead worker whose pause is over. Returns the seconds until the next pause ends, if any."""
        now, pauses = time.monotonic(), []
        for place, worker in enumerate(self.wrks):
            if worker.is_alive():
                continue
            if worker.due is None:
                self._deaths[place] = 1 if now - worker.birth > STEADY_SECONDS else self._deaths[place] + 1
                pause = pause_after(self._deaths[place])
                worker.due = now + pause
                fields = {"worker": place + 1, "exit_code": worker.inner.exitcode, "pause_seconds": pause}
                LOG.error("A worker has died and is replaced", extra={"fields": fields})
            if worker.due <= now:
                self.wrks[place] = self._start(place, spawn_target)
            else:
                pauses.append(worker.due - now)
        return min(pauses, default=None)

    def _reload(self, spawn_target, target_loader) -> None:
        """Replace all workers if the new configuration is valid and new workers become ready; otherwise none."""
        before = self._settings
        try:
            self._settings = self._configuration()
        except Exception as error:
            _refused(str(error))
            return
        fresh = [self._start(place, spawn_target) for place in range(self.workers)]
        if not all(map(self._becomes_ready, fresh)):
            self._settings = before
            self._stop(fresh)
            if not self.interrupt_signal:
                _refused("A new worker did not become ready; the lines before say why.")
            return
        old, self.wrks = self.wrks, fresh
        self._drain(old)
        self._stop(old)
        fields = {"environments": sorted(self._settings.environments)}
        if gone := sorted(before.environments - self._settings.environments):
            fields["no_longer_accepted"] = gone
        LOG.info("Reloaded: all workers have the new configuration", extra={"fields": fields})

    def _becomes_ready(self, worker) -> bool:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not self.interrupt_signal:
            with contextlib.suppress(EOFError, OSError):
                if worker.is_ready.poll(0.1):
                    return bool(worker.is_ready.recv_bytes())
                continue
            return False
        return False

    def _drain(self, workers: list) -> None:
        for worker in workers:
            worker.interrupt_by_parent = True
            if worker.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.inner.pid, signal.SIGUSR1)
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline and not self.interrupt_signal:
            time.sleep(0.05)

    def _stop(self, workers: list) -> None:
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0))
            if worker.is_alive():
                worker.kill()
                worker.join()


def pause_after(deaths: int) -> float:
    """The seconds to wait before replacing a worker, after this many deaths in a row."""
    return 0 if deaths <= 1 else min(FIRST_PAUSE * 2 ** min(deaths - 2, 30), LONGEST_PAUSE)


def _refused(why: str) -> None:
    LOG.error(
        "Reload refused: all workers keep their current configuration",
        extra={"fields": {"why": why}},
    )
