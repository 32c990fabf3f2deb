"""Hours of traffic: `python -m tests.operations.soak --seconds 3600 --rate 500 --refresh-every 300`.

Sends at a steady rate to the real loader while refreshes run and a reader keeps an old published copy open.
Prints a line a window: answers, p50 and p99 of the answer's time, memory of the web workers. Ends with the account:
everything that was answered with 2xx, in the landing once. Exits with 1 if it does not balance.
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


class Sender:
    """Webhooks as Flagsmith sends them: a new connection each, signed, and every body another one."""

    def __init__(self, server: Server):
        self.server = server
        self.patterns = [json.loads(body) for body in bodies() if b'"identity"' in body][:20]
        self.numbers = itertools.count()
        self.accepted: list[str] = []
        self.refused: Counter = Counter()
        self.seconds: list[float] = []

    def send(self) -> None:
        number = next(self.numbers)
        value = {**self.patterns[number % len(self.patterns)], "identity": f"soak-{number}"}
        body = json.dumps(value, sort_keys=True).encode()
        started = time.perf_counter()
        try:
            status = self.server.request("POST", "/webhooks/production", body, sign(body)).status
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        self.seconds.append(time.perf_counter() - started)
        if status == 204:
            self.accepted.append(hashlib.sha256(body).hexdigest())
        else:
            self.refused[status] += 1


def _memory(server: Server) -> float:
    pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in server.worker_ids()]
    return sum(pages) * resource.getpagesize() / 1e6


def main() -> int:
    """Run it; 1 if what was accepted and what was landed are not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--seconds", 3600), ("--rate", 500), ("--refresh-every", 300), ("--window", 60)):
        parser.add_argument(name, type=float, default=default)
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
    sender = Sender(server)
    refreshes: Counter = Counter()
    whole = {**os.environ, **environ}
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(options.refresh_every):
            refreshes[subprocess.run([*COMMAND, "refresh"], env=whole, capture_output=True).returncode] += 1

    refresher = threading.Thread(target=refresh)
    refresher.start()
    print(
        "| minute | accepted/s | not accepted | p50 ms | p99 ms | memory of workers, MB |\n|---|---|---|---|---|---|"
    )
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for window in itertools.count(1):
            before, sender.seconds = len(sender.accepted), []
            _steadily(pool, sender, options, begun, window)
            times = sorted(sender.seconds)
            p50, p99 = (1000 * statistics.quantiles(times, n=100)[i] for i in (49, 98))
            rate = (len(sender.accepted) - before) / options.window
            print(f"| {window * options.window / 60:.1f} | {rate:.0f} | {sum(sender.refused.values())} | {p50:.0f} | {p99:.0f} | {_memory(server):.0f} |", flush=True)  # fmt: skip
            if time.monotonic() - begun >= options.seconds:
                break
    stop.set()
    refresher.join()
    ran = command(environ, "land")
    count = Counter(row[0] for row in landed(environ, "payload_hash"))
    accepted = Counter(sender.accepted)
    lost, doubled = sum((accepted - count).values()), sum(count[one] > 1 for one in count)
    print(f"{len(sender.accepted):,} accepted, {lost} lost, {doubled} landed twice, not accepted {dict(sender.refused)}; refreshes by exit code {dict(refreshes)}, last land {ran.returncode}.")  # fmt: skip
    return not (lost or doubled)


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
