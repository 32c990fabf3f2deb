"""Helpers that use the loader from outside: start the real commands, send webhooks, read the warehouse."""

import contextlib
import hmac
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

COMMAND = [str(Path(sys.executable).parent / "flagsmith-warehouse")]


def sign(body: bytes, secret: str = "new secret") -> dict[str, str]:
    """The signature header that Flagsmith would send."""
    return {"X-Flagsmith-Signature": hmac.new(secret.encode(), body, "sha256").hexdigest()}


@dataclass
class Answer:
    """The status, the headers and the body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def command(
    environ: dict[str, str], *arguments: str, timeout: float = 300, **options
) -> subprocess.CompletedProcess:
    """Run a command of ours to its end. Raises TimeoutExpired if it goes on for longer."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )


def landed(environ: dict[str, str], columns: str = "environment, body") -> list[tuple]:
    """The rows of the landing, in the order of receipt."""
    with duckdb.connect(
        Path(environ["FLAGSMITH_WAREHOUSE_DIR"]) / "warehouse.duckdb", read_only=True
    ) as warehouse:
        return warehouse.execute(f"select {columns} from landing.webhooks order by delivery_id").fetchall()


class Server:
    """`flagsmith-warehouse serve` in separate processes, in their own process group."""

    def __init__(self, environ: dict[str, str], workers: int = 2, port: int | None = None):
        self.environ = environ
        self.workers = workers
        self.port = port or free_port()
        self.log = Path(environ["FLAGSMITH_WAREHOUSE_DIR"]).with_name("serve.log")

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    def start(self) -> None:
        arguments = ["serve", "--port", str(self.port), "--workers", str(self.workers)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz").status == 200:
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"The server has stopped:\n{self.log.read_text()}")
            time.sleep(0.02)
        raise AssertionError(f"The server is not ready:\n{self.log.read_text()}")

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def kill(self) -> None:
        """Send SIGKILL to the server and all its workers at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def worker_ids(self) -> list[int]:
        """The process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in children.read_text().split()]

    def post(self, body: bytes, environment: str = "production", headers: dict | None = None) -> Answer:
        """Send a webhook, signed unless `headers` says otherwise."""
        return self.request(
            "POST", f"/webhooks/{environment}", body, sign(body) if headers is None else headers
        )

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def send_raw(self, raw: bytes, half_closed: bool = False) -> bytes:
        """Send bytes as they are. Returns everything that comes back until the other side closes or is silent for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(raw)
            if half_closed:
                return b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                return connection.recv(65536)
        return b""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
