"""Between the web server and the Flask application: webhooks, without what Flask costs and a thread to wait in.

One thread answers all requests of a worker, another one commits. With a thread for each request, to wake them one
after the other took as long as the commit itself: 7 ms of 20. Flask takes 70 µs for a webhook that needs 10, so it is
asked only what is to be answered to all else.
"""

import asyncio
import contextlib
import io
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, Response
from granian.rsgi import ProtocolClosed

from flagsmith_warehouse.loader.inbox.writer import Batch, Inbox
from flagsmith_warehouse.loader.receive.app import Refusal, accept
from flagsmith_warehouse.loader.settings import Settings

# A commit waits this long for more to come: a tenth more webhooks a second, when many come.
PAUSE_SECONDS = 0.001
# Bodies that are larger, or do not say how large they are, are held in memory this many at a time, from the first byte to
# the commit; each has this many seconds to arrive.
LARGE, LARGE_AT_ONCE, LARGE_SECONDS = 2**20, 32, 30
# A body that is too large, but announced as no larger than this, is taken as it comes and thrown away, until nothing has
# come for so many seconds: a sender who is cut off while sending may never read why.
LARGEST_DISCARDED, DISCARD_SECONDS = 2**26, 1

Answer = tuple[int, list[tuple[str, str]], bytes]
NO_CONTENT: Answer = (204, [], b"")


class Front:
    """An RSGI application, for Granian. What is behind it also runs, with waiting threads, under any WSGI server."""

    def __init__(self, app: Flask):
        self.app = app
        self.on_ready: Callable[[], None] = lambda: None
        self._is_draining = False
        self._committer = ThreadPoolExecutor(1, "commit")
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian calls this before it begins to serve. SIGUSR1: another worker takes the place of this one."""
        loop.add_signal_handler(signal.SIGUSR1, self.drain)
        loop.call_soon(self.on_ready)

    def drain(self) -> None:
        """From here on every connection is closed with its next answer, so that none has a request on its way at the end."""
        self._is_draining = True

    async def __rsgi__(self, scope, protocol) -> None:
        """Answer a request. What Flask is asked for waits for the disk, so in a thread."""
        if scope.method.upper() != "POST":  # as Flask compares it
            answer = await asyncio.to_thread(call, self.app, environ(scope, b""))
        else:
            async with self._large if is_large(scope) else contextlib.nullcontext():
                answer = await self._post(scope, await self._body(scope, protocol))
        status, headers, content = answer
        if self._is_draining:
            headers = [*headers, ("connection", "close")]
        protocol.response_bytes(status, headers, content)

    async def _body(self, scope, protocol) -> bytes:
        """The body, or as much of it as the application needs to refuse it."""
        largest, announced = self._settings.max_body_bytes, announced_by(scope)
        if announced is not None and announced > largest:
            if announced <= LARGEST_DISCARDED:
                await discard(protocol)
            return b""
        if is_large(scope):
            return await some_of(protocol, largest + 1)
        try:
            return await protocol()
        except ProtocolClosed:  # gone before the end: what came of it is refused
            return b""

    async def _post(self, scope, body: bytes) -> Answer:
        """Answer to a webhook when it is on disk, and to one that is refused what the application does."""
        environment = environment_in(scope.path)
        if environment is None:
            return await asyncio.to_thread(call, self.app, environ(scope, body))
        signature = scope.headers.get("x-flagsmith-signature")
        try:
            accepted = accept(
                self._settings, environment, announced_by(scope), io.BytesIO(body).read, signature
            )
            batch = self._join(*accepted.delivery())
            await batch.committed
            self._inbox.raise_if_failed(batch)
        except Refusal as error:
            return refusal(self.app, environ(scope, body), error)
        accepted.count()
        return NO_CONTENT

    def _join(self, *delivery) -> Batch:
        """The batch that the delivery is in; its first one has it committed, when the one before is."""
        batch, is_first = self._inbox.join(*delivery)
        if is_first:
            loop = asyncio.get_running_loop()
            batch.committed = loop.run_in_executor(self._committer, self._commit, batch)
        return batch

    def _commit(self, batch: Batch) -> None:
        time.sleep(PAUSE_SECONDS)
        self._inbox.commit(batch)

    @property
    def _inbox(self) -> Inbox:
        return self.app.extensions["inbox"]

    @property
    def _settings(self) -> Settings:
        return self.app.extensions["settings"]


def is_large(scope) -> bool:
    """Whether the body is large, or may be, as the request does not say how large it is."""
    announced = announced_by(scope)
    return announced is None or announced > LARGE


def environment_in(path: str) -> str | None:
    """Of which environment a webhook to that path is: as in the application's rule, `/webhooks/<environment>`.

    Flask takes several slashes at the start for one.
    """
    match ("/" + path.lstrip("/")).split("/"):
        case ["", "webhooks", str(environment)] | ["", "webhooks", str(environment), ""] if environment:
            return environment
    return None


def announced_by(scope) -> int | None:
    """How many bytes the request says its body has."""
    length = scope.headers.get("content-length")
    return None if length is None else int(length)


async def some_of(protocol, enough: int) -> bytes:
    """The body, up to about `enough` bytes of it, or what has arrived of it in time."""
    body = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LARGE_SECONDS):
            async for chunk in protocol:
                body += chunk
                if len(body) >= enough:
                    break
    return bytes(body)


async def discard(protocol) -> None:
    """Take the body as far as it comes, and keep nothing of it."""
    chunks = aiter(protocol)
    with contextlib.suppress(TimeoutError, StopAsyncIteration, ProtocolClosed):
        async with asyncio.timeout(LARGE_SECONDS):
            while True:
                await asyncio.wait_for(anext(chunks), DISCARD_SECONDS)


def environ(scope, body: bytes) -> dict:
    """The request as WSGI has it (PEP 3333), as far as our application looks."""
    length = scope.headers.get("content-length")
    signature = scope.headers.get("x-flagsmith-signature")
    return {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **({} if length is None else {"CONTENT_LENGTH": length}),
        **({} if signature is None else {"HTTP_X_FLAGSMITH_SIGNATURE": signature}),
    }


def call(app: Flask, environ: dict) -> Answer:
    """What the application answers."""
    started: list = []
    content = app(environ, lambda status, headers, _=None: started.extend((int(status[:3]), headers)))
    with contextlib.closing(content):
        return (*started, b"".join(content))


def refusal(app: Flask, environ: dict, error: Exception) -> Answer:
    """What the application answers to an error that `accept` or the inbox raised."""
    with app.request_context(environ):
        response: Response = app.make_response(app.handle_user_exception(error))
        return response.status_code, response.headers.to_wsgi_list(), response.get_data()
