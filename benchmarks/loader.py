"""The loader: durable webhooks per second, compared with a server that only verifies and with a plain insert; and landing.

The senders run on the same machine and share its cores, so read the ratios and not the figures. All files are written to a
temporary folder.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flagsmith_warehouse.loader.inbox.identifier import Identifiers

CAPTURED = Path(__file__).parent.parent / "tests/fixtures/captured/flagsmith_2_265_0.ndjson"
CONNECTIONS = 64
ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCHMARK_SECONDS", "4"))
SECRET = "benchmark"  # noqa: S105 -- of nothing
DISTINCT_BODIES = 200
LANDED_BODIES = 50_000
BACKLOG_BODIES = int(os.environ.get("BENCHMARK_BACKLOG", "250000"))
BACKLOG_REPEATS = 10  # of the same bodies
# Under load a worker commits about as many at once.
BODIES_OF_A_COMMIT = 16
PORT = 8971


def main() -> None:
    receive()
    take()
    compress()
    land()
    backlog()


def receive() -> None:
    """Measure the servers in turn, for several rounds. Medians are over the rounds; ratios are within a round."""
    print(f"{CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS:g} s each, medians.\n")
    print("| flags | KB | server | webhooks/s | of verify only | times the plain insert | p50 ms | p99 ms |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|")
    for flags in (20, 50, 200):
        requests = [request(body) for body in bodies(flags, DISTINCT_BODIES)]
        rounds = [{name: measure(name, requests) for name in SERVERS} for _ in range(ROUNDS)]
        size = len(requests[0]) / 1000
        for name in SERVERS:
            rate, p50, p99 = (statistics.median(one[name][i] for one in rounds) for i in range(3))
            of_verify, of_insert = (
                statistics.median(one[name][0] / one[other][0] for one in rounds)
                for other in ("verify only", "plain insert")
            )
            print(
                f"| {flags} | {size:.1f} | {name} | {rate:,.0f} | {of_verify:.2f} | {of_insert:.1f} "
                f"| {p50:.1f} | {p99:.1f} |",
                flush=True,
            )
    print()


def bodies(flags: int, count: int) -> list[bytes]:
    """Return bodies as Flagsmith writes them, made of captured flags, each for another identity."""
    captured = [json.loads(line)["body"] for line in CAPTURED.read_text().splitlines()]
    whole = next(body for text in captured if (body := json.loads(text)).get("traits"))
    some = whole["flags"]
    whole["flags"] = [{**some[i % len(some)], "id": i} for i in range(flags)]
    return [json.dumps({**whole, "identity": identity(i)}, sort_keys=True).encode() for i in range(count)]


def identity(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def request(body: bytes) -> bytes:
    """Return the bytes of a signed HTTP request."""
    signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
    head = (
        f"POST /webhooks/production HTTP/1.1\r\nHost: localhost:{PORT}\r\nContent-Type: application/json\r\n"
        f"X-Flagsmith-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def measure(name: str, requests: list[bytes]) -> tuple[float, float, float]:
    """Return webhooks per second, and the 50th and 99th percentile of response times in milliseconds."""
    with server(SERVERS[name]):
        asyncio.run(load(requests, 0.5))
        started = time.perf_counter()
        times = asyncio.run(load(requests, SECONDS))
        seconds = time.perf_counter() - started
    percentiles = statistics.quantiles(times, n=100)
    return len(times) / seconds, percentiles[49] * 1000, percentiles[98] * 1000


async def load(requests: list[bytes], seconds: float) -> list[float]:
    """Keep every connection busy for that long; the time of each answer. Any answer but 204 is an error."""
    loop = asyncio.get_running_loop()
    deadline = time.perf_counter() + seconds
    times: list[float] = []
    pending = []
    for number in range(CONNECTIONS):
        sender = Sender(
            requests[number % len(requests) :] + requests[: number % len(requests)], deadline, times
        )
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", PORT)
        pending.append(sender.done)
    await asyncio.gather(*pending)
    return times


class Sender(asyncio.Protocol):
    """One connection, which sends the next request after each answer."""

    def __init__(self, requests: list[bytes], deadline: float, times: list[float]):
        self.requests, self.deadline, self.times = requests, deadline, times
        self.number = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(self.requests[self.number % len(self.requests)])
        self.number += 1

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not data.startswith(b"HTTP/1.1 204"):
            self.done.set_exception(RuntimeError(f"Not accepted: {data[:200]!r}"))
            return
        self.times.append(now - self.sent_at)
        if now < self.deadline:
            self.send()
        else:
            self.done.set_result(None)
            self.transport.close()


@contextmanager
def server(command: list[str]) -> Iterator[Path]:
    """Run a server in its own process, with its own warehouse folder."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=".") as folder:
        environ = {
            **os.environ,
            "FLAGSMITH_WAREHOUSE_DIR": str(Path(folder).resolve()),
            "FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": [SECRET]}),
        }
        process = subprocess.Popen([sys.executable, *command], env=environ, stderr=subprocess.DEVNULL)
        try:
            wait_for_port()
            yield Path(folder)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def wait_for_port() -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise TimeoutError(f"No server came up at port {PORT}.")


VERIFY = f"from flagsmith_warehouse.loader.receive.server import serve; serve('127.0.0.1', {PORT}, 2, 'benchmarks.loader:verify_only')"
PLAIN = "-m granian --interface wsgi --workers 1 --blocking-threads 64 --http 1 --no-ws --no-log --factory"
SERVERS = {
    "durable": [
        "-c",
        "from flagsmith_warehouse.loader.operations.cli import main; main()",
        "serve",
        "--port",
        str(PORT),
    ],
    "verify only": ["-c", VERIFY],
    "plain insert": [*PLAIN.split(), "--port", str(PORT), "benchmarks.loader:plain_insert"],
}


def verify_only(*_):
    """Run the loader with an inbox that keeps nothing."""
    from flagsmith_warehouse.loader.receive.front import Front
    from flagsmith_warehouse.loader.settings import read

    class Forget:
        def join(self, *delivery) -> tuple:
            return self, False

        @property
        def committed(self):
            return asyncio.sleep(0)

        def raise_if_failed(self, batch) -> None:
            pass

    return Front(read(), Forget())


def plain_insert():
    """Run the obvious first version: a Flask view that verifies and inserts into DuckDB. It has one process, because only one
    process can write to a DuckDB file."""
    import duckdb
    from flask import Flask
    from flask import request as current

    from flagsmith_warehouse.loader.settings import read
    from flagsmith_warehouse.loader.signature import verify

    settings = read()
    warehouse = duckdb.connect(settings.warehouse_dir / "plain.duckdb")
    warehouse.execute("create table webhooks (received_at timestamp, environment varchar, body varchar)")
    app = Flask("plain")

    @app.post("/webhooks/<environment>")
    def webhook(environment: str):
        body = current.get_data()
        verify(body, current.headers.get("X-Flagsmith-Signature"), settings.secrets[environment])
        with warehouse.cursor() as cursor:
            cursor.execute(
                "insert into webhooks values (now()::timestamp, ?, ?)", [environment, body.decode()]
            )
        return "", 204

    return app


def take() -> None:
    """Print the processor time of one webhook, without a server or a disk."""
    print("| flags | Flask: µs | `answer` and count: µs | signature: µs |\n|--:|--:|--:|--:|")
    for flags in (20, 200):
        print("| {} | {:.0f} | {:.0f} | {:.0f} |".format(flags, *costs(*bodies(flags, 1))))
    print()


def costs(body: bytes) -> list[float]:
    """Return µs of processor time for one webhook: through Flask, for the decision with its counters, and for the signature alone."""
    import io

    from flagsmith_warehouse.loader.receive.app import create_app
    from flagsmith_warehouse.loader.receive.webhook import answer
    from flagsmith_warehouse.loader.settings import read

    class Forget:
        def put(self, *delivery) -> None:
            pass

    settings = read({"FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": [SECRET]})})
    app = create_app(settings, Forget())
    signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
    headers = {"content-length": str(len(body)), "x-flagsmith-signature": signature}
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/webhooks/production",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "CONTENT_LENGTH": headers["content-length"],
        "HTTP_X_FLAGSMITH_SIGNATURE": signature,
    }
    figures = []
    for way in (
        lambda: app({**environ, "wsgi.input": io.BytesIO(body)}, lambda *_: None).close(),
        lambda: answer("POST", "/webhooks/production", headers, body, settings).kept(),
        lambda: hmac.digest(SECRET.encode(), body, "sha256"),
    ):
        started = time.process_time()
        for _ in range(5_000):
            way()
        figures.append((time.process_time() - started) / 5_000 * 1e6)
    return figures


def compress() -> None:
    """Compress simulated bodies of one environment: each alone, and together as one commit does."""
    import zlib

    import zstandard

    from flagsmith_warehouse.loader.inbox.file import ZSTD_LEVEL
    from flagsmith_warehouse.simulator.parameters import Parameters
    from flagsmith_warehouse.simulator.world import World

    print(
        "| flags | KB | together | zstd: µs a body | raw / compressed | zlib 1: µs a body | raw / compressed |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|")
    ways = (zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress, lambda raw: zlib.compress(raw, 1))
    for flags in (20, 200):
        world = World(Parameters(deliveries=640, identities=100, features=flags))
        raw = [delivery.body for delivery in itertools.islice(world.deliveries(), 320)]
        for together in (1, BODIES_OF_A_COMMIT):
            packs = [b"".join(raw[start : start + together]) for start in range(0, len(raw), together)]
            figures = []
            for way in ways:
                started = time.process_time()
                size = sum(len(way(pack)) for pack in packs)
                figures += [(time.process_time() - started) / len(raw) * 1e6, sum(map(len, raw)) / size]
            print(
                "| {} | {:.1f} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} |".format(
                    flags, sum(map(len, raw)) / len(raw) / 1000, together, *figures
                )
            )
    print()


def land() -> None:
    """Time the way from the inbox to a committed and checkpointed landing. Bodies have 8 KB, each for another identity."""
    from flagsmith_warehouse.loader.inbox.file import InboxFile
    from flagsmith_warehouse.loader.landing.land import land
    from flagsmith_warehouse.loader.settings import read

    rates, ratios, inbox_ratios, processor = [], [], [], []
    rows = [("", 0, "production", 1, body) for body in bodies(20, LANDED_BODIES)]
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=".") as folder:
            settings = read({"FLAGSMITH_WAREHOUSE_DIR": str(Path(folder).resolve())})
            settings.inbox_dir.mkdir()
            file = InboxFile(settings.inbox_dir)
            fill(file, rows)
            size = file.path.stat().st_size
            started, before = time.perf_counter(), time.process_time()
            landed = land(settings)
            processor.append((time.process_time() - before) / landed.deliveries * 1e6)
            rates.append(landed.deliveries / (time.perf_counter() - started))
            ratios.append(landed.bytes / settings.warehouse_file.stat().st_size)
            inbox_ratios.append(landed.bytes / size)
    print(
        f"Landing {LANDED_BODIES:,} bodies of {landed.bytes / landed.deliveries / 1000:.1f} KB, {ROUNDS} rounds.\n"
    )
    print("| bodies/s | µs of processor a body | raw bytes / bytes on disk | the same in the inbox |")
    print("|--:|--:|--:|--:|")
    medians = [statistics.median(figures) for figures in (rates, processor, ratios, inbox_ratios)]
    print("| {:,.0f} | {:.0f} | {:.0f} | {:.0f} |\n".format(*medians))


def backlog() -> None:
    """Print the peak memory of landing a large backlog.

    It runs in its own process and does not use getrusage, whose peak includes that of the parent process.
    """
    from flagsmith_warehouse.loader.inbox.file import InboxFile
    from flagsmith_warehouse.loader.settings import read

    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=".") as folder:
        environ = {"FLAGSMITH_WAREHOUSE_DIR": str(Path(folder).resolve())}
        settings = read(environ)
        settings.inbox_dir.mkdir()
        rows = [("", 0, "production", 1, body) for body in bodies(20, BACKLOG_BODIES // BACKLOG_REPEATS)]
        file = InboxFile(settings.inbox_dir)
        fill(file, (row for _ in range(BACKLOG_REPEATS) for row in rows))
        size = file.path.stat().st_size
        shown = subprocess.check_output(
            [sys.executable, "-c", LAND_AND_TELL], env={**os.environ, **environ}, text=True
        )
    deliveries, seconds, kilobytes = map(float, shown.split())
    assert deliveries == len(rows) * BACKLOG_REPEATS, f"{deliveries:,.0f} were landed."
    print(
        f"A backlog of {deliveries:,.0f}, {size / 1e6:,.0f} MB in the inbox: {seconds:.0f} s, "
        f"{kilobytes / 1024:.0f} MiB at most.\n"
    )


LAND_AND_TELL = """
import pathlib, re, time
from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.landing import land as landing
started = time.perf_counter()
landed = landing.land(settings.read())
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(landed.deliveries, time.perf_counter() - started, peak)
"""


def fill(file, rows: Iterable[tuple]) -> None:
    """Fill an inbox file, as a worker that has died leaves it."""
    identifiers = Identifiers()
    rows = iter(rows)
    while commit := [(*identifiers.next(), *row[2:]) for row in itertools.islice(rows, BODIES_OF_A_COMMIT)]:
        file.append(commit)
    file.close()
