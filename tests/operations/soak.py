"""Hours of traffic: `python -m tests.operations.soak --seconds 3600 --rate 500 --refresh-every 300`.

Sends at a steady rate to the real loader while refreshes run and a reader keeps an old published copy open.
Identities come back, mostly with the state they had. Prints a line a window: answers, p50, p99 and the slowest
answer, memory of the web workers, the last refresh. In the end it compares the landing with the answers: every
body must be landed as often as it was answered with 2xx. Exits with 1 if not.
"""

# ruff: noqa: E501  # a line of the table is a line here

import argparse
import concurrent.futures
import hashlib
import http.client
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import duckdb

from tests.loader.server import COMMAND, Server, command, landed, sign
from tests.operations.conftest import bodies

# Visits after which an identity's state is another one.
VISITS = 4


class Sender:
    """Webhooks as Flagsmith sends them: a new connection each, signed; each identity comes back in its turn."""

    def __init__(self, server: Server, identities: int):
        self.server = server
        self.identities = identities
        self.patterns = [json.loads(body) for body in bodies() if b'"identity"' in body][:20]
        self.numbers = itertools.count()
        self.accepted: Counter = Counter()
        self.unanswered: Counter = Counter()
        self.refused: Counter = Counter()
        self.seconds: list[float] = []
        self.lock = threading.Lock()

    def send(self) -> None:
        visit, identity = divmod(next(self.numbers), self.identities)
        pattern = self.patterns[(identity + visit // VISITS) % len(self.patterns)]
        value = {**pattern, "identity": f"soak-{identity}"}
        body = json.dumps(value, sort_keys=True).encode()
        started = time.perf_counter()
        try:
            status = self.server.request("POST", "/webhooks/production", body, sign(body)).status
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        self.seconds.append(time.perf_counter() - started)
        digest = hashlib.sha256(body).digest()
        with self.lock:
            if status == 204:
                self.accepted[digest] += 1
            else:
                self.refused[status] += 1
                self.unanswered[digest] += 1


class Refresher(threading.Thread):
    """A refresh at every moment that is due, one after the other; how long each took, and how it ended."""

    def __init__(self, environ: dict[str, str], every: float):
        super().__init__()
        self.environ, self.every = environ, every
        self.done = threading.Event()
        self.refreshes: list[tuple[float, int]] = []

    def run(self) -> None:
        begun = time.monotonic()
        for number in itertools.count(1):
            if self.done.wait(max(0.0, begun + number * self.every - time.monotonic())):
                return
            started = time.monotonic()
            ran = subprocess.run([*COMMAND, "refresh"], env={**os.environ, **self.environ}, capture_output=True, text=True)  # fmt: skip
            self.refreshes.append((time.monotonic() - started, ran.returncode))
            if ran.returncode:
                print(ran.stdout[-1000:], ran.stderr[-1000:], file=sys.stderr)

    def last(self) -> str:
        """How the last one went."""
        if not self.refreshes:
            return "none yet"
        seconds, code = self.refreshes[-1]
        return f"{seconds:.0f}" + (f" (exit {code})" if code else "")


def _memory(server: Server) -> float:
    pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in server.worker_ids()]
    return sum(pages) * resource.getpagesize() / 1e6


def main() -> int:
    """Run it; 1 if what was accepted and what was landed are not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--seconds", 3600), ("--rate", 500), ("--refresh-every", 300), ("--window", 60), ("--identities", 50_000)):  # fmt: skip
        parser.add_argument(name, type=type(default), default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": ["new secret"]}),
            "FLAGSMITH_UNSIGNED_ENVIRONMENTS": "",
            "FLAGSMITH_WAREHOUSE_DIR": f"{folder}/data",
        }
        Path(f"{folder}/data").mkdir()
        assert command(environ, "refresh").returncode == 0
        reader = duckdb.connect(f"{folder}/data/published.duckdb", read_only=True)
        with Server(environ) as server:
            balanced = _soak(server, environ, options)
        rows = reader.execute("select count(*) from marts.fct_flag_assignments").fetchone()[0]
        print(f"The reader that opened the first copy still reads it: {rows} rows.")
    return int(not balanced)


def _soak(server: Server, environ: dict[str, str], options: argparse.Namespace) -> bool:
    sender = Sender(server, options.identities)
    refresher = Refresher(environ, options.refresh_every)
    refresher.start()
    print(
        "| minute | accepted/s | not accepted | p50 ms | p99 ms | slowest ms | memory of workers, MB | warehouse, MB | last refresh, s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    begun = time.monotonic()
    warehouse = Path(environ["FLAGSMITH_WAREHOUSE_DIR"], "warehouse.duckdb")
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for window in itertools.count(1):
            before, sender.seconds = sender.accepted.total(), []
            _steadily(pool, sender, options, begun, window)
            times = sorted(sender.seconds)
            p50, p99 = (1000 * statistics.quantiles(times, n=100)[i] for i in (49, 98))
            rate = (sender.accepted.total() - before) / options.window
            print(f"| {window * options.window / 60:.1f} | {rate:.0f} | {sender.refused.total()} | {p50:.0f} | {p99:.0f} | {1000 * times[-1]:.0f} | {_memory(server):.0f} | {warehouse.stat().st_size / 1e6:.0f} | {refresher.last()} |", flush=True)  # fmt: skip
            if time.monotonic() - begun >= options.seconds:
                break
    refresher.done.set()
    refresher.join()
    last_land = subprocess.run([*COMMAND, "land"], env={**os.environ, **environ}, capture_output=True)
    count = Counter(bytes.fromhex(row[0]) for row in landed(environ, "payload_hash"))
    # What was not answered may be there, or not.
    lost, doubled = (sender.accepted - count).total(), (count - sender.accepted - sender.unanswered).total()
    seconds = ", ".join(f"{seconds:.0f}" for seconds, _ in refresher.refreshes)
    codes = dict(Counter(code for _, code in refresher.refreshes))
    print(f"{sender.accepted.total():,} accepted, {lost} lost, {doubled} landed too often, not accepted {dict(sender.refused)}; refreshes by exit code {codes}, seconds each took: {seconds}; last land {last_land.returncode}.")  # fmt: skip
    return not (lost or doubled or last_land.returncode)


def _steadily(pool, sender: Sender, options: argparse.Namespace, begun: float, window: int) -> None:
    """One window at the rate: a webhook at each moment that is due, whether or not the one before was answered."""
    first = begun + (window - 1) * options.window
    futures = []
    for number in range(int(options.rate * options.window)):
        time.sleep(max(0.0, first + number / options.rate - time.monotonic()))
        futures.append(pool.submit(sender.send))
    concurrent.futures.wait(futures)


if __name__ == "__main__":
    sys.exit(main())
