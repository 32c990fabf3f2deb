"""The models: from landed bodies to marts, compared with one bare JSON pass over the same bodies (the floor), plain SQL and dlt.

`python -m benchmarks transform` uses 100,000 deliveries and takes minutes; TRANSFORM_DELIVERIES=1000000 is the long run.
`python -m benchmarks.transform increments` measures only increments, compared with the full build. Every figure is the
ratio of two measurements from one run. SQL time is the sum of the models' execution times in a run with one thread, less
that sum for a landing of one delivery, which is what dbt costs per model.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.world import World

DELIVERIES = int(os.environ.get("TRANSFORM_DELIVERIES", "100000"))
INCREMENT = 10_000
REPEATS = int(os.environ.get("TRANSFORM_REPEATS", "3"))
FLOOR = "select sum(json_array_length(body, '$.flags')) from landing.webhooks"

# What a weekend script does, for the rows of these marts: in each, the columns that are compared.
PLAIN_SQL = (Path(__file__).parent / "plain.sql").read_text()
PLAIN = {
    "exposures": (
        "fct_flag_exposures",
        "environment, identity, feature_id, variation, enabled, assignment_reason, feature_name, is_multivariate, value,"
        " value_type, percentage_allocation, exposure_count, first_exposed_at, last_exposed_at",
    ),
    "daily": (
        "fct_flag_exposures_daily",
        "environment, feature_id, variation, enabled, assignment_reason, day, feature_name, identities, new_identities,"
        " evaluations",
    ),
    "assignments": (
        "fct_flag_assignments",
        "environment, identity, feature_id, feature_name, is_multivariate, variation, enabled, value, value_type,"
        " assignment_reason, percentage_allocation, evaluation_count, change_reason, valid_from, valid_to",
    ),
    "memberships": (
        "fct_segment_memberships",
        "environment, identity, segment_id, segment_name, left_reason, entered_at, left_at",
    ),
    "traits": (
        "fct_identity_traits",
        "environment, identity, trait_key, value_type, is_transient, valid_from, valid_to,"
        " case when value_type in ('integer', 'float') then cast(value_number as varchar) else value_text end",
    ),
    "identities": (
        "dim_identities",
        "environment, identity, cast(traits as varchar), trait_count, segment_count, evaluation_count, first_seen_at,"
        " last_seen_at",
    ),
}

DLT = """
import json, sys, time
import dlt, duckdb
source, target = sys.argv[1:]
connection = duckdb.connect(source, read_only=True)
def bodies():
    cursor = connection.execute("select delivery_id, received_at, body from landing.webhooks where body like '{{\\"flags%'")
    while rows := cursor.fetchmany(2000):
        yield [{"delivery_id": i, "received_at": at, **json.loads(body)} for i, at, body in rows]
pipeline = dlt.pipeline("flagsmith", destination=dlt.destinations.duckdb(target), dataset_name="raw")
pipeline.run(bodies(), table_name="evaluations", loader_file_format="parquet")
"""


class Project:
    """The dbt project, run in its own process on its own warehouse directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.file = directory / "warehouse.duckdb"
        self.environment = {
            **os.environ,
            "FLAGSMITH_WAREHOUSE_DIR": str(directory),
            "DBT_TARGET_PATH": str(directory / "target"),
            "DBT_LOG_PATH": str(directory / "logs"),
        }

    def dbt(self, *arguments: str) -> float:
        """Run dbt; return its wall time in seconds. Raises CalledProcessError where it fails."""
        start = time.perf_counter()
        command = [Path(sys.executable).with_name("dbt"), "--quiet", *arguments]
        where = ("--project-dir", str(PROJECT_FOLDER), "--profiles-dir", str(PROJECT_FOLDER))
        subprocess.run([*command, *where], env=self.environment, check=True)
        return time.perf_counter() - start

    def sql_seconds(self) -> dict[str, float]:
        """Return the execution time of each model of the last run, in seconds."""
        results = json.loads((self.directory / "target" / "run_results.json").read_text())["results"]
        return {
            r["unique_id"].split(".")[-1]: r["execution_time"]
            for r in results
            if r["unique_id"].startswith("model.")
        }

    def run(self) -> float:
        """Build with one thread and return the models' SQL time in seconds, dbt's cost per model included."""
        self.dbt("run", "--threads", "1", *MODELS)
        return sum(self.sql_seconds().values())


# What the figures are about: the flag, segment and trait marts and all they are built from.
MODELS = (
    "--select",
    *(
        "+marts.flag_exposure",
        "+marts.segment_membership",
        "+fct_identity_traits",
        "+dim_identities",
        "+marts.deliveries",
    ),
)


def floor(file: Path) -> float:
    """Return the seconds of one bare pass of DuckDB's JSON reader over all landed bodies (median of REPEATS)."""
    with duckdb.connect(file, read_only=True) as connection:
        return statistics.median(_timed(connection, FLOOR) for _ in range(REPEATS))


def _timed(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    start = time.perf_counter()
    connection.execute(sql).fetchall()
    return time.perf_counter() - start


def parameters(deliveries: int, volatile: float = 0.0) -> Parameters:
    """Return typical traffic: 20 flags, 10 calls per state, and the same population for every length of history."""
    identities = min(10_000, deliveries // 20)
    return Parameters(
        deliveries=deliveries, identities=identities, features=20, calls_per_state=10, volatile=volatile
    )


def landed(directory: Path, deliveries: int, volatile: float = 0.0) -> Project:
    """Return a project whose landing holds a simulated world."""
    directory.mkdir(parents=True)
    project = Project(directory)
    append(project.file, World(parameters(deliveries, volatile)).deliveries())
    return project


def one_delivery(directory: Path) -> Project:
    """Return a project with one delivery to build."""
    directory.mkdir(parents=True)
    project = Project(directory)
    append(project.file, islice(World(parameters(1_000)).deliveries(), 1))
    project.dbt("seed")
    return project


def fixed_cost(one: Project) -> float:
    """Return the SQL time for a landing of one delivery: what the models cost at least."""
    return statistics.median(_fresh(one) for _ in range(REPEATS))


def _fresh(project: Project) -> float:
    project.dbt("run", "--threads", "1", "--full-refresh", *MODELS)
    return sum(project.sql_seconds().values())


def first_build(project: Project, fixed: float, name: str) -> float:
    """Print the first build beside the floor; return its SQL time less the fixed cost, in seconds."""
    project.dbt("seed")
    times = [_fresh(project) - fixed for _ in range(REPEATS if DELIVERIES <= 200_000 else 1)]
    seconds, bare = statistics.median(times), floor(project.file)
    wall = project.dbt("build", "--full-refresh", "--exclude-resource-type", "unit_test")
    print(
        f"| {name} | {seconds:.2f} s | {bare:.2f} s | **{seconds / bare:.1f}** | {wall:.1f} s |", flush=True
    )
    return seconds


class History:
    """A project that has built its history and receives more deliveries."""

    def __init__(self, directory: Path, deliveries: int):
        directory.mkdir(parents=True)
        self.project = Project(directory)
        self.builds = 0
        self._stream = iter(World(parameters(deliveries + (REPEATS + 1) * INCREMENT)).deliveries())
        self._append(deliveries)
        self.project.dbt("seed")
        self.project.run()

    def _append(self, deliveries: int) -> None:
        self.builds += 1
        landed_at = datetime(2027, 1, self.builds)
        append(self.project.file, islice(self._stream, deliveries), landed_at)

    def increment(self) -> float:
        """Build 10,000 new deliveries; the SQL time in seconds, dbt's cost per model included."""
        self._append(INCREMENT)
        return self.project.run()


def increments(one: Project, whole: Project, scratch: Path) -> None:
    """Print increments on a history of a tenth and of all deliveries, compared with the full build of all.

    The fixed cost is measured again in each round, because it is most of an increment and varies.
    """
    small, large = (History(scratch / f"history_{n}", n) for n in (DELIVERIES // 10, DELIVERIES))
    rounds = [(_fresh(one), small.increment(), large.increment(), _fresh(whole)) for _ in range(REPEATS)]

    def median(value: Callable[[float, float, float, float], float]) -> float:
        return statistics.median(value(*times) for times in rounds)

    print(
        f"\n| SQL time, {REPEATS} rounds | fixed cost included | less the fixed cost of the round |\n|---|--:|--:|"
    )
    for name, which in (
        ("fixed cost: a landing of one delivery", 0),
        (f"increment of {INCREMENT:,} on a history of {DELIVERIES // 10:,}", 1),
        (f"increment of {INCREMENT:,} on a history of {DELIVERIES:,}", 2),
        (f"full build of {DELIVERIES:,}", 3),
    ):
        with_fixed, without = median(lambda *t, i=which: t[i]), median(lambda *t, i=which: t[i] - t[0])
        print(f"| {name} | {with_fixed:.2f} s | {without:.2f} s |")
    growth = median(lambda fixed, small, large, whole: large / small)
    share = median(lambda fixed, small, large, whole: (large - fixed) / (whole - fixed))
    print(
        f"\nTen times the history makes an increment {growth:.2f} times as long; less the fixed cost it is "
        f"1/{1 / max(share, 0.001):.1f} of the full build."
    )


def peak_memory(project: Project) -> float:
    """Return the largest resident size of any child process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def plain_seconds(project: Project) -> float:
    """Return the seconds that plain SQL takes for the same rows (median of REPEATS). Raises SystemExit if the rows differ."""
    with duckdb.connect(project.file) as connection:
        connection.execute("create schema plain")
        seconds = statistics.median(_timed(connection, PLAIN_SQL) for _ in range(REPEATS))
        for table, (mart, columns) in PLAIN.items():
            ours, theirs = f"select {columns} from marts.{mart}", f"select {columns} from plain.{table}"
            both = (
                f"select count(*) from (({ours} except all {theirs}) union all ({theirs} except all {ours}))"
            )
            if differing := connection.execute(both).fetchone()[0]:
                raise SystemExit(f"{differing} rows of {mart} are not those of plain SQL.")
        connection.execute("drop schema plain cascade")
    return seconds


def dlt_seconds(project: Project, directory: Path) -> float | None:
    """Return the seconds from bodies to dlt's flat tables in DuckDB; None if dlt cannot be installed."""
    venv = directory / "dlt"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = [venv / "bin" / "pip", "install", "--quiet", "dlt[duckdb,parquet]"]
    if subprocess.run(install, check=False).returncode:
        return None
    (directory / "run_dlt.py").write_text(DLT.replace("{{", "{"))
    start = time.perf_counter()
    environment = {**os.environ, "DLT_DATA_DIR": str(directory), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    arguments = [project.file, directory / "dlt.duckdb"]
    subprocess.run(
        [venv / "bin" / "python", directory / "run_dlt.py", *arguments], check=True, env=environment
    )
    return time.perf_counter() - start


def main(only_increments: bool = False) -> None:
    """Print Markdown tables of all figures, or only of increments."""
    scratch = Path(tempfile.mkdtemp())
    try:
        if only_increments:
            whole = landed(scratch / "typical", DELIVERIES)
            whole.dbt("seed")
            increments(one_delivery(scratch / "one"), whole, scratch)
        else:
            _main(scratch)
    finally:
        shutil.rmtree(scratch)


def _main(scratch: Path) -> None:
    one = one_delivery(scratch / "one")
    fixed = fixed_cost(one)
    print(
        f"{os.cpu_count()} cores, DuckDB {duckdb.__version__}, {DELIVERIES:,} deliveries; fixed cost of the models {fixed:.2f} s.\n"
    )
    print("| first build | SQL time | floor | ratio | `dbt build` with tests, wall |\n|---|---|---|---|---|")
    typical = landed(scratch / "typical", DELIVERIES)
    seconds = first_build(typical, fixed, "typical: 10 calls per state")
    memory = peak_memory(typical)
    first_build(landed(scratch / "worst", DELIVERIES, volatile=1.0), fixed, "worst: every body distinct")
    print(f"\nPeak memory of dbt in the typical build: {memory:.2f} GiB.")

    increments(one, typical, scratch)

    plain = plain_seconds(typical)
    print(
        f"\nPlain SQL that unnests every delivery: {plain:.2f} s, {plain / seconds:.1f} times our SQL time."
    )
    if DELIVERIES <= 100_000:
        flat = dlt_seconds(typical, scratch)
        start = time.perf_counter()
        typical.dbt("run", "--full-refresh", *MODELS)
        ours = time.perf_counter() - start
        said = f"{flat:.1f} s, {flat / ours:.1f} times our {ours:.1f} s" if flat else "could not be installed"
        print(f"\ndlt into DuckDB, from bodies to flat tables: {said} (dbt's start-up included).")


if __name__ == "__main__":
    main(only_increments=sys.argv[1:] == ["increments"])
