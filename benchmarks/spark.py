"""What a build on Spark costs, beside the same on DuckDB: measured over sizes, and fitted as in `scale`.

`python -m benchmarks spark` builds the marts of `transform` (flags, segments, traits, deliveries) from the files of `land --to`, and
then an increment, on both engines, once with few states and once with a state for every call. Spark is `local[2]` in dbt's
process, with a session for each build; its merge of the files into the landing counts. SPARK_DELIVERIES="10000 100000" names other
sizes. Needs Java 17 and requirements-spark.lock.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb

from benchmarks.growth import processor_seconds
from benchmarks.scale import INCREMENT, TRAFFIC, Fitted, History, print_fits
from benchmarks.transform import MODELS, Project, parameters
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.world import World

SIZES = [int(size) for size in os.environ.get("SPARK_DELIVERIES", "10000 30000 100000").split()]
INCREMENT_LANDED_AT = datetime(2027, 2, 1)
SUBMIT = "--driver-memory 6g --conf spark.log.level=ERROR pyspark-shell"
# One file for each day.
FILES = """
copy (select *, strftime(landed_at, '%Y-%m-%d') as day, '00' as hour from landing.webhooks where {} order by body)
to '{}' (format parquet, compression zstd, partition_by (day, hour), append)
"""


@dataclass(frozen=True)
class Seconds:
    """What a build took: seconds of processor, and by the clock."""

    processor: float
    clock: float


@dataclass(frozen=True)
class Builds(History):
    """One history, and what its builds and then those of an increment took."""

    duckdb: Seconds
    spark: Seconds
    duckdb_increment: Seconds
    spark_increment: Seconds


FITTED: Fitted = {
    "full build on DuckDB": ("s of processor", lambda builds: builds.duckdb.processor),
    "full build on Spark": ("s of processor", lambda builds: builds.spark.processor),
    "full build on Spark, by the clock": ("s", lambda builds: builds.spark.clock),
    "increment of 10,000 on DuckDB": ("s of processor", lambda builds: builds.duckdb_increment.processor),
    "increment of 10,000 on Spark": ("s of processor", lambda builds: builds.spark_increment.processor),
}


def main() -> None:
    """Print what was measured, and the fits with their errors."""
    if not (shutil.which("java") and importlib.util.find_spec("dbt.adapters.spark")):
        print("Not measured: this needs Java 17 and requirements-spark.lock.")
        return
    print(
        "| traffic | deliveries | states | full build on DuckDB | on Spark | by the clock"
        " | increment on DuckDB | on Spark | by the clock |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    measured = []
    scratch = Path(tempfile.mkdtemp())
    try:
        for size in sorted(SIZES):
            for traffic in TRAFFIC:
                measured.append(measure(scratch / "history", traffic, size))
                _print_row(measured[-1])
    finally:
        shutil.rmtree(scratch)
    if len({*SIZES}) > 1:  # the largest is foretold from the others
        print_fits(FITTED, measured)


def _print_row(builds: Builds) -> None:
    print(
        f"| {builds.traffic} | {builds.deliveries:,} | {builds.states:,} | {builds.duckdb.processor:.0f} s"
        f" | {builds.spark.processor:.0f} s | {builds.spark.clock:.0f} s | {builds.duckdb_increment.processor:.0f} s"
        f" | {builds.spark_increment.processor:.0f} s | {builds.spark_increment.clock:.0f} s |",
        flush=True,
    )


def measure(directory: Path, traffic: str, deliveries: int) -> Builds:
    """Build a history, and then an increment, on both engines."""
    directory.mkdir()
    project = Project(directory)
    stream = iter(World(parameters(deliveries + INCREMENT, TRAFFIC[traffic])).deliveries())
    append(project.file, islice(stream, deliveries))
    project.dbt("seed")
    first = on_duckdb(project, "true"), on_spark(project)
    with duckdb.connect(project.file) as warehouse:
        (states,) = warehouse.execute("select count(*) from intermediate.int_state_spells").fetchone()
    append(project.file, stream, INCREMENT_LANDED_AT)
    increment = on_duckdb(project, f"landed_at = timestamp '{INCREMENT_LANDED_AT}'"), on_spark(project)
    shutil.rmtree(directory)
    return Builds(traffic, deliveries, states, *first, *increment)


def on_duckdb(project: Project, landed: str) -> Seconds:
    """Build on DuckDB, after writing the files for Spark."""
    with duckdb.connect(project.file) as warehouse:
        warehouse.execute(FILES.format(landed, project.directory / "files"))
    begun_at = time.perf_counter()
    return Seconds(processor_seconds(lambda: project.dbt("run", *MODELS)), time.perf_counter() - begun_at)


def on_spark(project: Project) -> Seconds:
    """Build on Spark in a process of its own, with its JVM."""
    begun_at = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.spark", project.directory],
        env=project.environment | {"PYSPARK_SUBMIT_ARGS": SUBMIT},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"the build on Spark failed:\n{ran.stdout}")
    return Seconds(float(ran.stdout.split()[-1]), time.perf_counter() - begun_at)


def build_here(directory: Path) -> None:
    """Build in this process, and print the seconds of processor of it and of its JVM."""
    from dbt.cli.main import dbtRunner
    from pyspark import SparkContext

    where = ["--project-dir", str(PROJECT_FOLDER), "--profiles-dir", str(PROJECT_FOLDER)]
    files = json.dumps({"landing_files": str(directory / "files")})
    result = dbtRunner().invoke(["--quiet", "run", "--target", "spark", *MODELS, *where, "--vars", files])
    if not result.success:
        sys.exit(str(result.exception or [each.message for each in result.result]))
    jvm = SparkContext._gateway.proc.pid  # nothing public names it
    times = Path(f"/proc/{jvm}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[11:15]
    used = os.times()
    print(sum(map(int, times)) / os.sysconf("SC_CLK_TCK") + used.user + used.system)


if __name__ == "__main__":
    build_here(Path(sys.argv[1]))
