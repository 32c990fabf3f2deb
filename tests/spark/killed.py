"""Kills builds on Spark (SIGKILL) at random moments while retention deletes: the next run must end in what an uninterrupted one gives.

Each round begins with the same tables, which are copied back. Each build is a process of its own, which is killed with its JVM.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from pyspark.sql import SparkSession

from . import retained
from .retained import DAYS, DECLARATIONS, MODELS, TABLES_OF_BOTH

# With which statement a build begins to delete: one that prunes, and one that goes on with what a killed one left.
BEGINS = {"prune": "merge into landing.pruned", "resume": "landing.pruned where not is_finished"}
# Models whose progress must be the same after a pruning.
PROGRESSING = ("stg_flagsmith__payloads", "int_state_spells", "fct_flag_assignments", "dim_identities")


class Killed:
    """The processes of one run, in its folder."""

    def __init__(self, folder: Path, chance: random.Random):
        self.folder, self.chance = folder, chance
        self.tables, self.before = folder / "spark", folder / "spark-before"
        self.statement, self.log, self.found = folder / "statement", folder / "steps.log", folder / "found"

    def start(self, step: str) -> subprocess.Popen:
        self.statement.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.spark", "--step", step, "--folder", str(self.folder)]
        environ = {**os.environ, "FLAGSMITH_BUILDER": "tests"}
        with self.log.open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)

    def finish(self, step: str) -> str | None:
        """Run a step to its end. What it found wrong, or what it says if it fails."""
        self.found.unlink(missing_ok=True)
        process = self.start(step)
        try:
            failed = process.wait(timeout=1_800)
        finally:
            kill(process)
        if self.found.exists():
            return self.found.read_text(encoding="utf-8") or None
        return self.log.read_text(encoding="utf-8", errors="replace")[-3_000:] if failed else None

    def copy_back(self) -> None:
        shutil.rmtree(self.tables)
        shutil.copytree(self.before, self.tables)

    def seconds_of_pruning(self) -> float:
        """From its first deletion to its end, if nobody kills it."""
        process = self.start("prune")
        self._wait_until_it_deletes(process)
        begun_at = time.monotonic()
        if process.wait(timeout=1_800):
            sys.exit(self.log.read_text(encoding="utf-8", errors="replace"))
        return time.monotonic() - begun_at

    def kill_within(self, step: str, seconds: float) -> str | None:
        """Kill a build at a random moment of its deleting. In which statement; None if it had ended by then."""
        process = self.start(step)
        try:
            self._wait_until_it_deletes(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self.chance.uniform(0, seconds))
            has_ended = process.poll() is not None
        finally:
            kill(process)
        return None if has_ended else self.statement.read_text(encoding="utf-8")

    def _wait_until_it_deletes(self, process: subprocess.Popen) -> None:
        while not self.statement.exists() and process.poll() is None:
            time.sleep(0.05)
        if not self.statement.exists():
            sys.exit(f"nothing was deleted: {self.log.read_text(encoding='utf-8', errors='replace')}")


def kill(process: subprocess.Popen) -> None:
    """Kill it and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wrong_things(folder: Path, build: Callable, kills: int, chance: random.Random) -> Iterator[str]:
    """Prune on DuckDB, and on Spark with so many kills. What is not as it should be, a line each."""
    killed, count, number = Killed(folder, chance), 0, 0
    first, _, _ = retained.parts()
    retained.configure(folder, first)
    retained.land(folder, 1, first)
    build(folder, "duckdb", ["experiments"], "seed")
    build(folder, "duckdb", MODELS)
    build(folder, "duckdb", DECLARATIONS, retention_days=DAYS)
    if said := killed.finish("build"):
        sys.exit(said)
    shutil.copytree(killed.tables, killed.before)
    seconds = killed.seconds_of_pruning()
    if said := killed.finish("compare"):
        yield f"nobody was killed, and {said}"
    print(f"a pruning takes {seconds:.0f} s", flush=True)
    while count < kills:
        number += 1
        killed.copy_back()
        places = [killed.kill_within("prune", seconds)]
        # Every other round also kills the build that goes on.
        if places[0] and number % 2 == 0 and count + 1 < kills:
            places.append(killed.kill_within("resume", seconds))
        count += sum(place is not None for place in places)
        said = killed.finish("compare")
        print(f"{count} killed", *(f"    in {place}" for place in places if place), sep="\n", flush=True)
        if said:
            yield f"after kills in {places}: {said}"


def run_step(step: str, folder: Path, build: Callable) -> None:
    """What one process does: build, prune, go on with a pruning, or do that and write down what is then wrong."""
    try:
        if step == "build":
            build(folder, "spark", ["experiments"], "seed")
            build(folder, "spark", MODELS)
            (folder / "progress.json").write_text(json.dumps(_progress()), encoding="utf-8")
            return
        with statements_written(folder / "statement", BEGINS.get(step, "")):
            build(folder, "spark", DECLARATIONS, retention_days=DAYS)
        if step == "compare":
            (folder / "found").write_text("\n".join(_left_wrong(folder)), encoding="utf-8")
    finally:
        SparkSession.builder.getOrCreate().stop()


@contextlib.contextmanager
def statements_written(file: Path, begins: str) -> Iterator[None]:
    """Write each statement into the file before it runs, from the first one with this text on."""
    run = SparkSession.sql

    def write_and_run(self, statement, *arguments, **named):
        words = " ".join(line for line in statement.replace("`", "").split("\n") if line[:2] != "/*")
        if file.exists() or begins in " ".join(words.split()):
            file.write_text(" ".join(words.split())[:90], encoding="utf-8")
        return run(self, statement, *arguments, **named)

    with mock.patch.object(SparkSession, "sql", write_and_run):
        yield


def _left_wrong(folder: Path) -> Iterator[str]:
    """What is not as after an uninterrupted pruning."""
    yield from retained.unlike_tables(folder, "after a kill", TABLES_OF_BOTH)
    yield from retained.old_rows(folder, folder / "spark" / "tables")
    if (now := _progress()) != (before := json.loads((folder / "progress.json").read_text(encoding="utf-8"))):
        yield f"the progress of models is {now}, and was {before}"
    session = SparkSession.builder.getOrCreate()
    # The build that finishes a pruning has merged into the landing afterwards.
    for table in set(TABLES_OF_BOTH) - {"landing.webhooks"}:
        name = table if "." in table else f"marts.{table}"
        if (snapshots := session.table(f"{name}.snapshots").count()) != 1:
            yield f"{name} has {snapshots} snapshots"
    if session.sql("select 1 from landing.pruned where not is_finished").count():
        yield "the pruning is not finished"


def _progress() -> dict[str, str]:
    session = SparkSession.builder.getOrCreate()
    return {model: retained.recorded_progress(session, model) for model in PROGRESSING}
