"""The web server: Granian with several worker processes, each with an inbox file of its own."""

import contextlib
import functools
import logging.config
import multiprocessing
import os
import pkgutil
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops

from flagsmith_warehouse.loader import lock, log
from flagsmith_warehouse.loader.filesystem import refuse_network, restrict_permissions
from flagsmith_warehouse.loader.log import LOG
from flagsmith_warehouse.loader.receive.supervisor import STOP_SECONDS, Supervisor, listen
from flagsmith_warehouse.loader.settings import Settings, read, require_environments

# The most connections of a worker, including idle ones: a proxy keeps some open.
CONNECTIONS = 1024
# The threads of a worker (connections, application, commits) each work for about 0.2 ms at a time. Python's default of 5 ms
# between switches would make them wait for each other.
SWITCH_SECONDS = 0.0003
# Folders in which workers may share their counts. Memory comes first, because it is not full when a disk is.
SHARED_FOLDERS = ("/dev/shm", None)  # noqa: S108  # in a folder of our own in there; None: that of temporary files
SHARED_PREFIX = "flagsmith-warehouse-metrics-"
# Prometheus keeps one file of each kind per worker; this size holds about 700 figures.
SHARED_KINDS, SHARED_BYTES = ("counter", "histogram"), 2**17


def serve(
    host: str,
    port: int,
    workers: int,
    application: str = "flagsmith_warehouse.loader.receive.front:create_front",
    check: Callable[[Settings], None] = lambda settings: None,
) -> None:
    """Serve until told to stop (SIGTERM, SIGINT); then answer the requests already received, and return.

    SIGHUP reads the secrets again and, if they can be used, replaces all workers. `check` gets the settings each time,
    and may log what is wrong with them. A worker that dies is replaced, however often. Raises SettingsError
    and AddressError.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there are no workers to replace yet
    logging.config.dictConfig(log.CONFIGURATION)
    settings = read()
    require_environments(settings)
    refuse_network(settings.warehouse_dir)
    restrict_permissions(settings.warehouse_dir)
    slots = [f"{place}{letter}" for place in range(workers) for letter in "ab"]
    with listen(host, port) as listener, shared_folder(slots) as folder:
        Supervisor(
            listener,
            functools.partial(configuration, check),
            functools.partial(_worker, application, folder),
            address=host,
            port=port,
            workers=workers,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            loop=Loops.asyncio,
            backpressure=CONNECTIONS,
            log_dictconfig=log.CONFIGURATION,
        ).serve()


def configuration(check: Callable[[Settings], None]) -> Settings:
    """Read the settings for receiving webhooks. Raises SettingsError."""
    settings = read()
    require_environments(settings)
    check(settings)
    return settings


@contextlib.contextmanager
def shared_folder(slots: list[str]) -> Iterator[Path | None]:
    """A folder for the counts of the workers, with the files of each slot; None if there is no room.

    Disk blocks are allocated here. Prometheus maps the files into memory, and on a full disk the first count would kill its worker.
    """
    with contextlib.ExitStack() as made:
        for parent in SHARED_FOLDERS:
            try:
                remove_abandoned(Path(parent or tempfile.gettempdir()))
                name = made.enter_context(tempfile.TemporaryDirectory(prefix=SHARED_PREFIX, dir=parent))
                made.callback(os.close, lock.create_held(Path(name, "lock")))
                for file in (f"{kind}_{slot}.db" for slot in slots for kind in SHARED_KINDS):
                    with Path(name, file).open("wb") as opened:
                        os.posix_fallocate(opened.fileno(), 0, SHARED_BYTES)
            except OSError:
                made.close()
                continue
            yield Path(name)
            return
        LOG.warning("No room for shared figures: /metrics shows only the worker that answers")
        yield None


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers of ours that were killed: no process holds the lock in them."""
    for held in parent.glob(f"{SHARED_PREFIX}*/lock"):
        with contextlib.suppress(OSError):
            if held.parent.lstat().st_uid == os.geteuid():
                with lock.try_hold(held) as is_free:
                    if is_free:
                        shutil.rmtree(held.parent)


def _worker(
    application: str, folder: Path | None, settings: Settings, slot: str, tell: Connection
) -> Callable:
    """The application of the worker in that slot, which tells the supervisor when it is ready."""
    if folder:
        share_metrics(folder, slot)
    front = create_worker(application, settings)
    front.on_ready = functools.partial(tell.send_bytes, b"ready")
    return front


def share_metrics(folder: Path, slot: str) -> None:
    """Make Prometheus count in the files of that slot, so that the counts of the slot's last worker continue."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # before anything imports `receive.metrics`
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: slot)


def create_worker(application: str, *arguments) -> Callable:
    """The application of one worker process. The process ends when the server ends, even if the server is killed."""
    # Until Granian handles SIGTERM, this process would run the handler that it inherited from the server.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # If the server has already ended, `os.getppid()` would return the init process.
    server = multiprocessing.parent_process().pid
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    sys.setswitchinterval(SWITCH_SECONDS)
    return pkgutil.resolve_name(application)(*arguments)


def _end_with(server: int) -> None:
    """A server killed with SIGKILL cannot stop its workers, and these would keep the port."""
    while os.getppid() == server:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
