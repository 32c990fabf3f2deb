"""A server for the part of S3 that `land --to` uses: conditional put, get, list.

It can be slow, be full, or close the connection before it has answered.

An emulator of all of S3 would bring fifty packages, but could simulate none of these faults.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectStorage:
    """One bucket, in memory. `puts` lists the paths of all put requests, in order, whether or not they succeeded."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.written: list[str] = []
        self.is_full = False
        self.before_put = lambda: None
        self.lost_answers = 0  # for this many puts, the connection breaks after the put
        self.lock = threading.Lock()

    def put(self, path: str, content: bytes, only_new: bool, only_tag: str | None) -> int:
        with self.lock:
            self.puts.append(path)
            if self.is_full:
                return 507
            if only_new and path in self.objects:
                return 412
            if only_tag is not None and only_tag != tag(self.objects.get(path, b"")):
                return 412
            self.objects[path] = content
            self.written.append(path)
            return 200


def tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def handler_of(storage: ObjectStorage) -> type[BaseHTTPRequestHandler]:
    """The class that answers a request to it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            storage.before_put()
            status = storage.put(
                self.key(), content, self.headers.get("If-None-Match") == "*", self.headers.get("If-Match")
            )
            if status == 200 and storage.lost_answers:
                storage.lost_answers -= 1
                self.close_connection = True
                self.connection.close()
                return
            self.answer(status, b"", {"ETag": tag(content)} if status == 200 else {})

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                self.answer(200, listing(storage, query.get("prefix", [""])[0]), {})
                return
            content = storage.objects.get(self.key())
            if content is None:
                self.answer(404, b"", {})
            else:
                self.answer(
                    200, content, {"ETag": tag(content), "Last-Modified": "Fri, 27 Nov 2026 10:00:00 GMT"}
                )

        def key(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore the error: a sender was killed, or a connection was broken on purpose."""


@contextmanager
def serving(storage: ObjectStorage, port: int = 0) -> Iterator[dict[str, str]]:
    """Serve it on this machine. Yields the environment variables that make `s3://bucket` available."""
    server = Server(("127.0.0.1", port), handler_of(storage))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(storage: ObjectStorage, prefix: str) -> bytes:
    found = "".join(
        f"<Contents><Key>{escape(path)}</Key><LastModified>2026-11-27T10:00:00.000Z</LastModified>"
        f"<ETag>{escape(tag(content))}</ETag><Size>{len(content)}</Size></Contents>"
        for path, content in sorted(storage.objects.items())
        if path.startswith(prefix)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
