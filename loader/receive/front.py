"""The RSGI door, which `serve` uses with Granian: no thread waits for a webhook.

One thread answers all requests of a worker, and a second one commits. With one thread per request, waking the threads
one after the other took as long as the commit itself: 7 ms of 20.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from granian.rsgi import ProtocolClosed

from flagsmith_warehouse.loader.inbox.writer import Inbox, InboxError, SharedCommit
from flagsmith_warehouse.loader.receive.startup import open_inbox
from flagsmith_warehouse.loader.receive.webhook import (
    Answer,
    Keep,
    Probe,
    announced_length,
    answer,
    body_limit,
)
from flagsmith_warehouse.loader.settings import Settings

# A commit waits this long for more webhooks. Under load this raises the number of webhooks per second by a tenth.
PAUSE_SECONDS = 0.001
# A body is large if it has more than LARGE bytes or no Content-Length. At most LARGE_AT_ONCE large bodies are in memory at
# a time, from the first byte to the commit. Each has LARGE_SECONDS to arrive.
LARGE, LARGE_AT_ONCE, LARGE_SECONDS = 2**20, 32, 30
# If a body is too large but announces at most LARGEST_DISCARDED bytes, we read it and throw it away until nothing has come
# for DISCARD_SECONDS. A sender that is cut off while it sends might never read our answer.
LARGEST_DISCARDED, DISCARD_SECONDS = 2**26, 1


def create_front(settings: Settings) -> "Front":
    """The application of one worker. Raises SettingsError if no environment could send anything."""
    return Front(settings, open_inbox(settings))


class Front:
    """An RSGI application."""

    def __init__(self, settings: Settings, inbox: Inbox):
        self.on_ready: Callable[[], None] = lambda: None
        self._settings = settings
        self._inbox = inbox
        self._is_draining = False
        self._committer = ThreadPoolExecutor(1, "commit")
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian calls this before it begins to serve. SIGUSR1 says that another worker replaces this one."""
        loop.add_signal_handler(signal.SIGUSR1, self.drain)
        loop.call_soon(self.on_ready)

    def drain(self) -> None:
        """Accept no more connections, and close each open one with its next answer.

        So no request is on its way when this worker ends.
        """
        self._is_draining = True
        stop_accepting()

    async def __rsgi__(self, scope, protocol) -> None:
        """Answer a request."""
        announced = announced_length(scope.headers)
        limit = body_limit(scope.method, announced, self._settings)
        async with self._large if is_large(scope.method, announced) else contextlib.nullcontext():
            body = await self._body(protocol, announced, limit)
            decision = answer(scope.method, scope.path, scope.headers, body, self._settings)
            status, headers, content = await self._carry_out(decision)
        if self._is_draining:
            headers = [*headers, ("connection", "close")]
        protocol.response_bytes(status, headers, content)

    async def _body(self, protocol, announced: int | None, limit: int) -> bytes:
        """The part of the body that the decision needs."""
        if not limit:
            if announced and self._settings.max_body_bytes < announced <= LARGEST_DISCARDED:
                await discard(protocol)
            return b""
        if announced is None or announced > LARGE:
            return await some_of(protocol, limit)
        try:
            return await protocol()
        except ProtocolClosed:  # the sender left before the end, so the body is too short
            return b""

    async def _carry_out(self, decision: Keep | Probe | Answer) -> Answer:
        """The answer to the request. A webhook is answered once it is on disk. Probes check the disk in a thread."""
        if isinstance(decision, Keep):
            batch = self._join(*decision.delivery())
            await batch.committed
            try:
                self._inbox.raise_if_failed(batch)
            except InboxError as error:
                return decision.not_kept(error)
            return decision.kept()
        if isinstance(decision, Probe):
            return await asyncio.to_thread(decision.answer, self._inbox, self._settings)
        return decision

    def _join(self, *delivery) -> SharedCommit:
        """The commit that this delivery shares with others. The first delivery starts it, after the commit before."""
        batch, is_first = self._inbox.join(*delivery)
        if is_first:
            loop = asyncio.get_running_loop()
            batch.committed = loop.run_in_executor(self._committer, self._commit, batch)
        return batch

    def _commit(self, batch: SharedCommit) -> None:
        time.sleep(PAUSE_SECONDS)
        self._inbox.commit(batch)


def stop_accepting() -> None:
    """Leave new connections to the other processes that share the listening socket.

    Granian cannot do this. Closing our descriptor would make its `accept` fail, and `shutdown` would stop the others
    too. So a socket that nobody connects to takes the descriptor's place.
    """
    with socket.create_server(("127.0.0.1", 0)) as unused:
        unused.setblocking(False)
        for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
            with contextlib.suppress(OSError), as_socket(descriptor) as opened:
                if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    os.dup2(unused.fileno(), descriptor)


def as_socket(descriptor: int) -> socket.socket:
    """A socket object for a copy of the descriptor. Using it raises OSError if the descriptor is not a socket."""
    return socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)


def is_large(method: str, announced: int | None) -> bool:
    """Whether the body is large, or may be."""
    return method.upper() == "POST" and (announced is None or announced > LARGE)


async def some_of(protocol, enough: int) -> bytes:
    """About the first `enough` bytes of the body, or the part that arrived in time."""
    body = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LARGE_SECONDS):
            async for chunk in protocol:
                body += chunk
                if len(body) >= enough:
                    break
    return bytes(body)


async def discard(protocol) -> None:
    """Read as much of the body as comes, and throw it away."""
    chunks = aiter(protocol)
    with contextlib.suppress(TimeoutError, StopAsyncIteration, ProtocolClosed):
        async with asyncio.timeout(LARGE_SECONDS):
            while True:
                await asyncio.wait_for(anext(chunks), DISCARD_SECONDS)
