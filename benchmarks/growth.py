"""What a refresh costs as the history grows: processor seconds for 5,000 more deliveries, and with nothing new.

`python -m benchmarks growth` measures histories of 50,000, 200,000 and 500,000 deliveries. GROWTH_HISTORIES="50000 5000000" names
others. GROWTH_AGAINST names the command of another release, as in /elsewhere/.venv/bin/flagsmith-warehouse. It then takes turns
with ours on the same deliveries, because only figures of one run can be compared.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import duckdb

from benchmarks.transform import parameters
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.messages import Delivery
from flagsmith_warehouse.simulator.world import World

HISTORIES = [int(size) for size in os.environ.get("GROWTH_HISTORIES", "50000 200000 500000").split()]
ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
INCREMENT = 5_000
OURS = Path(sys.executable).with_name("flagsmith-warehouse")
COMMANDS = {"ours": OURS} | (
    {"the other": Path(os.environ["GROWTH_AGAINST"])} if "GROWTH_AGAINST" in os.environ else {}
)
# Puts the bodies of a folder into the inbox, as a web worker does.
RECEIVE = """
import sys
from pathlib import Path
try:
    from flagsmith_warehouse.loader.inbox.writer import Inbox
except ImportError:  # release 0.1.0
    from loader.inbox import Inbox
folder, bodies = map(Path, sys.argv[1:])
inbox = Inbox(folder)
with bodies.open("rb") as lines:
    for line in lines:
        inbox.put("production", True, line.rstrip(b"\\n"))
inbox.close()
"""


class Installation:
    """A release with a warehouse of its own."""

    def __init__(self, command: Path, directory: Path, history: Path):
        self.command, self.directory = command, directory
        self.environment = {
            **os.environ,
            "FLAGSMITH_WAREHOUSE_DIR": str(directory),
            "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["secret"]}',
            "DBT_TARGET_PATH": str(directory / "target"),
            "DBT_LOG_PATH": str(directory / "logs"),
        }
        self._run("land")
        with duckdb.connect(directory / "warehouse.duckdb") as warehouse:
            warehouse.execute(f"attach '{history}' as history (read_only)")
            warehouse.execute("insert into landing.webhooks by name from history.landing.webhooks")
        self._run("refresh")

    def receive(self, bodies: Path) -> None:
        python = self.command.with_name("python")
        command = [python, "-c", RECEIVE, self.directory / "inbox", bodies]
        subprocess.run(
            command, cwd=self.directory, check=True
        )  # not in a checkout, whose modules would be found first

    def refresh(self) -> float:
        """The processor seconds of one refresh."""
        return processor_seconds(lambda: self._run("refresh"))

    def _run(self, command: str) -> None:
        ran = subprocess.run(
            [self.command, command], env=self.environment, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise SystemExit(f"{self.command} {command} failed:\n{ran.stdout}{ran.stderr}")


def processor_seconds(run: Callable[[], object]) -> float:
    """The processor seconds of the processes that `run` starts and waits for."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    run()
    return used() - before


class History:
    """One length of history, in the warehouse of each release, and the deliveries that come next."""

    def __init__(self, scratch: Path, deliveries: int):
        self.directory = scratch / str(deliveries)
        self.directory.mkdir()
        self.stream = World(parameters(deliveries + (ROUNDS + 1) * INCREMENT)).deliveries()
        landed = self.directory / "history.duckdb"
        append(landed, islice(self.stream, deliveries))
        self.installations = {
            name: Installation(command, self.directory / name.replace(" ", "_"), landed)
            for name, command in COMMANDS.items()
        }
        landed.unlink()

    def round(self) -> Iterator[tuple[str, float, float]]:
        """For each release, the processor seconds of 5,000 more deliveries, and then those of nothing new."""
        bodies = self.directory / "bodies"
        _write(bodies, islice(self.stream, INCREMENT))
        for name, installation in self.installations.items():
            installation.receive(bodies)
            yield name, installation.refresh(), installation.refresh()


def _write(file: Path, deliveries: Iterator[Delivery]) -> None:
    with file.open("wb") as lines:
        for delivery in deliveries:
            lines.write(delivery.body + b"\n")


def main() -> None:
    scratch = Path(tempfile.mkdtemp())
    try:
        histories = {size: History(scratch, size) for size in HISTORIES}
        seconds = {}
        for number in range(ROUNDS + 1):
            for size, history in histories.items():
                for name, more, nothing in history.round():
                    if number:  # the first round after the full build has yet to warm up
                        seconds.setdefault((name, size), []).append((more, nothing))
        _report(seconds)
    finally:
        shutil.rmtree(scratch)


def _report(seconds: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    medians = {
        key: [statistics.median(each) for each in zip(*of, strict=True)] for key, of in seconds.items()
    }
    print(f"Processor seconds, medians of {ROUNDS} rounds.\n")
    print("| release | with | " + " | ".join(f"{size:,}" for size in HISTORIES) + " | growth |")
    print("|---|---|" + "--:|" * (len(HISTORIES) + 1))
    for name in COMMANDS:
        for place, what in enumerate((f"{INCREMENT:,} more", "nothing new")):
            of = [medians[name, size][place] for size in HISTORIES]
            print(
                f"| {name} | {what} | "
                + " | ".join(f"{each:.2f}" for each in of)
                + f" | {of[-1] / of[0]:.2f} |"
            )


if __name__ == "__main__":
    main()
