"""`make demo`: send signed webhooks to a fresh warehouse, with a crash half-way, and print the marts.

Everything happens in `data/demo`, which is made anew each time. Your own warehouse (`data`) is not touched. The demo makes its
own project there, with `init`. Only that project declares the example experiment and its outcomes.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import duckdb
from rich.console import Console

from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.loader.settings import IS_CLONE
from flagsmith_warehouse.simulator import capture, landing, report
from flagsmith_warehouse.simulator.cli import progress, summary
from flagsmith_warehouse.simulator.example import MONTH, STALE_FLAG_DAYS
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.sender import Fate, Outcome, Receiver, send
from flagsmith_warehouse.simulator.wire import sign
from flagsmith_warehouse.simulator.world import World

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLE = Path(__file__).resolve().parent / "example_month"
COMMAND = Path(sys.executable).parent / "flagsmith-warehouse"
LIVE = Parameters(deliveries=3_000, identities=300, calls_per_state=4, environments=("production",), seed=2)
DELIVERIES_PER_SECOND = 600
READY_WITHIN_SECONDS = 20

WHERE_NEXT = """
[bold]Where next[/]
{notebook}
Ask the warehouse yourself, in [bold]{bin}/python[/]:
  import duckdb; demo = duckdb.connect("{folder}/published.duckdb", read_only=True)
  demo.sql("from marts.fct_flag_assignments where not is_current limit 10")
  demo.sql("select table_name, comment from duckdb_tables() where schema_name = 'marts'")
Send more: start the loader in one terminal, the other two commands in a second one, all with
  export FLAGSMITH_PROJECT_DIR={absolute}/project FLAGSMITH_WAREHOUSE_DIR={absolute}
  export FLAGSMITH_WEBHOOK_SECRETS='{secrets}'
  {bin}/flagsmith-warehouse serve
  {bin}/flagsmith-warehouse simulate --seed 3
  {bin}/flagsmith-warehouse refresh
Then make a warehouse of your own: {bin}/flagsmith-warehouse init my-warehouse
"""

console = Console(highlight=False)


class DemoError(Exception):
    """The demo cannot continue. The message says what happened, and where to read more."""


@dataclass
class Server:
    """`flagsmith-warehouse serve` in a separate process, with two workers."""

    port: int
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready. Raises DemoError if it ends, or is not ready in time."""
        command = [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own command
                command, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"The loader did not start. Its output is in {self.log}.")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill the server and all workers with SIGKILL, so that they cannot tidy up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


@dataclass
class Sent:
    """What was sent and how it was answered. `acknowledged` counts bodies by their hash."""

    fates: Counter[Fate] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    unanswered_attempts: int = 0

    def note(self, outcome: Outcome) -> None:
        self.fates[outcome.fate] += 1
        self.unanswered_attempts += outcome.statuses.count(None)
        if outcome.fate is Fate.DELIVERED:
            self.acknowledge(outcome.delivery.body)

    def acknowledge(self, body: bytes) -> None:
        self.acknowledged[sha256(body).hexdigest()] += 1


class Demo:
    """The demo in its own folder, which is emptied first. `run` goes through it step by step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.warehouse = folder / "warehouse.duckdb"
        self.server_log = folder / "serve.log"
        self.refresh_log = folder / "refresh.log"
        self.secret = secrets.token_hex(16)
        self.sent = Sent()
        self.away = 0.0  # seconds without a server

    def run(self) -> None:
        """Raises DemoError if a step fails, or if anything that was acknowledged is missing at the end."""
        shutil.rmtree(self.folder, ignore_errors=True)
        keep_private()
        self.folder.mkdir(parents=True)
        self.declare()
        self.land_the_month()
        with self.server() as server:
            receiver = Receiver(server.url, {"production": self.secret})
            self.send(server, receiver)
            self.send_what_is_wrong(receiver)
            self.refresh(server.environ)
        self.account(self.landed())
        report.show(console, self.warehouse)

    def declare(self) -> None:
        """Make a project with the example experiments, their metrics and outcomes, and with two cohorts."""
        write_project(self.project)
        settings = self.project / "dbt_project.yml"
        text, edits = re.subn(
            r"stale_flag_days: \d+",
            f"stale_flag_days: {STALE_FLAG_DAYS}",
            settings.read_text(encoding="utf-8"),
        )
        if edits != 1:
            raise DemoError(f"{settings} sets stale_flag_days {edits} times, not once.")
        settings.write_text(text, encoding="utf-8")
        shutil.copy(EXAMPLE / "cohorts.yml", self.project)
        for file in EXAMPLE.glob("*.csv"):
            is_outcome = file.stem == "example_conversion_events"
            shutil.copy(file, self.project / ("outcomes" if is_outcome else "experiments"))

    def land_the_month(self) -> None:
        _say(
            "A month of webhooks cannot arrive in a minute, because the time of receipt is their only clock.\n"
            "  So a simulated month is landed directly, as the environment [bold]example[/]."
        )
        count = landing.append(self.warehouse, World(MONTH).deliveries())
        console.print(f"  {count:,} deliveries landed in {_short(self.warehouse)}.")

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Run the loader on a free port, with a secret that nobody else knows."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        own = {
            "FLAGSMITH_PROJECT_DIR": str(self.project),
            "FLAGSMITH_WAREHOUSE_DIR": str(self.folder.absolute()),
            "FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": [self.secret]}),
            "FLAGSMITH_WEBHOOK_SECRETS_DIR": "",
        }
        server = Server(port, {**os.environ, **own}, self.server_log)
        _say("The environment [bold]production[/] is live: the loader starts, with a new secret.")
        try:
            server.start()
            console.print(f"  It listens at {server.url}/webhooks/production.")
            yield server
        finally:
            server.stop()

    def send(self, server: Server, receiver: Receiver) -> None:
        """Send live traffic. Half-way, kill the server and start it again while more webhooks arrive."""
        _say("Signed deliveries over HTTP, as Flagsmith sends them; half-way, the server is killed.")
        world = World(LIVE)
        with progress("  Sending", world.count) as advance:

            def note(outcome: Outcome) -> None:
                self.sent.note(outcome)
                advance()
                if self.sent.fates.total() == world.count // 2:
                    killed_at = time.monotonic()
                    server.kill()
                    server.start()
                    self.away = time.monotonic() - killed_at

            send(world.deliveries(), receiver, note, rate=DELIVERIES_PER_SECOND)
        console.print(f"  {summary(self.sent.fates)}")
        if lost := self.sent.fates.total() - self.sent.fates[Fate.DELIVERED]:
            console.print(
                f"  ({lost} found nobody listening three times. Flagsmith gives up after that; the restart took {self.away:.1f} s.)"
            )

    def send_what_is_wrong(self, receiver: Receiver) -> None:
        """Send requests that must be refused, and unreadable bodies that must be kept."""
        _say("Two requests with a fault:")
        genuine = next(World(LIVE).deliveries()).body
        tampered = genuine.replace(b"true", b"trUe", 1)
        signed = {**capture.headers(tampered, ""), "X-Flagsmith-Signature": sign(genuine, self.secret)}
        refusal = receiver.post("production", tampered, signed)
        console.print(f"  One byte changed under a genuine signature: refused with {refusal}.")
        unreadable = b"signed, but no JSON"
        answer = receiver.post("production", unreadable)
        console.print(f"  Signed, but not JSON: accepted with {answer}, to be quarantined and counted.")
        if (refusal, answer) != (401, 204):
            raise DemoError(f"The loader should have answered 401 and 204; see {self.server_log}.")
        self.sent.acknowledge(unreadable)

    def refresh(self, environ: dict[str, str]) -> None:
        _say("`flagsmith-warehouse refresh` lands it and builds the marts; the loader goes on.")
        with console.status("  dbt is building the marts"), self.refresh_log.open("wb") as log:
            done = subprocess.run([COMMAND, "refresh"], env=environ, stdout=log, stderr=log)  # noqa: S603  # ours
        said = self.refresh_log.read_text(encoding="utf-8").splitlines()
        if done.returncode not in (0, 3):
            last = "\n".join(said[-15:])
            raise DemoError(f"`refresh` failed; its output is in {self.refresh_log}. It ends with:\n{last}")
        console.print(f"  {next(line for line in said if line.startswith('Refreshed in '))}", soft_wrap=True)

    def landed(self) -> Counter[str]:
        """Return how often each body was landed in the live environment, by hash."""
        counts = (
            "select payload_hash, count(*) from landing.webhooks where environment = 'production' group by 1"
        )
        with duckdb.connect(str(self.warehouse), read_only=True) as warehouse:
            return Counter(dict(warehouse.sql(counts).fetchall()))

    def account(self, landed: Counter[str]) -> None:
        """Compare the acknowledged webhooks with the landed ones. Raises DemoError if anything is missing."""
        _say("Is any acknowledged webhook missing?")
        acknowledged = self.sent.acknowledged
        missing = (acknowledged - landed).total()
        extra = (landed - acknowledged).total()
        console.print(f"  {acknowledged.total():,} were acknowledged; {missing} of them are missing.")
        if extra:
            console.print(f"  {extra} more are there: they were stored, but the kill cut their answers off.")
        if missing or extra > self.sent.unanswered_attempts:
            raise DemoError(
                "The landing should have all acknowledged webhooks, and at most "
                f"{self.sent.unanswered_attempts} more; see {self.server_log} and {self.refresh_log}."
            )


def _say(step: str) -> None:
    console.print(f"\n[bold cyan]▸[/] {step}")


def _short(path: Path) -> Path:
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder, which is emptied. FLAGSMITH_WAREHOUSE_DIR is not read.  [default: data/demo]",
)
def demo(folder: Path | None) -> None:
    """Send signed webhooks to a fresh warehouse, with a crash half-way, and print its marts."""
    started = time.monotonic()
    folder = folder or (PROJECT if IS_CLONE else Path.cwd()) / "data" / "demo"
    _refuse_anything_else(folder)
    console.print(_which_folder(folder), soft_wrap=True)
    demo = Demo(folder)
    try:
        demo.run()
    except DemoError as error:
        console.print(f"\n[bold red]The demo stopped.[/] {error}", soft_wrap=True)
        sys.exit(1)
    setting = json.dumps({"production": [demo.secret]})
    bin_folder = ".venv/bin" if IS_CLONE and COMMAND.is_relative_to(PROJECT / ".venv") else COMMAND.parent
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
    console.print(where_next(demo.folder, setting, bin_folder), soft_wrap=True)


def _which_folder(folder: Path) -> str:
    """The text about where the demo writes; it says so if that is not where FLAGSMITH_WAREHOUSE_DIR leads."""
    yours = os.environ.get("FLAGSMITH_WAREHOUSE_DIR")
    is_another = yours and Path(yours).absolute() != folder.absolute()
    ignored = (
        f" FLAGSMITH_WAREHOUSE_DIR ({yours}) is not read, and not touched: --to names another folder."
        if is_another
        else ""
    )
    return f"The demo writes to {folder.absolute()}, which it empties first.{ignored}"


def where_next(folder: Path, secrets: str, bin_folder: Path | str) -> str:
    """The text about what to do next. A relative FLAGSMITH_WAREHOUSE_DIR would start at the project, so the folder is absolute."""
    absolute = folder.absolute()
    if isinstance(bin_folder, str):
        notebook = f"Look at it in the browser: [bold]FLAGSMITH_WAREHOUSE_DIR={absolute} make notebook[/]"
    else:
        notebook = (
            "Look at it in the browser: pip install 'flagsmith-warehouse\\[notebook]', then\n"
            f"  FLAGSMITH_PROJECT_DIR={absolute}/project FLAGSMITH_WAREHOUSE_DIR={absolute} {bin_folder}/flagsmith-warehouse notebook"
        )
    return WHERE_NEXT.format(
        folder=_short(folder), absolute=absolute, secrets=secrets, bin=bin_folder, notebook=notebook
    )


def _refuse_anything_else(folder: Path) -> None:
    """Raise a usage error if the folder has files that are not from a demo."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "project" / "dbt_project.yml").exists():
        ours = {"inbox", "warehouse.duckdb", "serve.log", "refresh.log"}
        if not ours & {path.name for path in folder.iterdir()}:
            raise click.UsageError(
                f"{folder} has files that are not from a demo. Name another folder with --to."
            )


if __name__ == "__main__":
    demo()
