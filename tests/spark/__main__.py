"""Does Spark make the same marts of the same deliveries as DuckDB? `python -m tests.spark [--all] [--folder FOLDER]`

Lands a small simulated world and the captured requests in two parts, into a DuckDB warehouse and as the files that
`land --to` puts. After each part both engines build; in the end Spark also loads the seeds and runs dbt's tests. Prints what
differs, and exits with 1 if anything does. Needs Java 17, requirements-spark.lock, and once the jar of Iceberg from Maven Central.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.world import World

from ..marts.same_marts import captured
from .compare import differences

PROJECT = Path(__file__).parents[2]
FLAGS = ("fct_flag_exposures", "fct_flag_assignments", "dim_flags")
PARTS = ((250, 80), (100, 46))
# Tables are small: compiling their queries takes longer than interpreting them.
SUBMIT = (
    "--driver-memory 1g --conf spark.sql.codegen.wholeStage=false "
    "--driver-java-options '-XX:TieredStopAtLevel=1 -Dderby.stream.error.file=/dev/null' "
    "--conf spark.sql.adaptive.enabled=false --conf spark.log.level=ERROR pyspark-shell"
)


def land(folder: Path, part: int, *sources) -> None:
    """Append deliveries to the warehouse, and write the same as files of a lake."""
    landed_at = datetime(2027, 1, part)
    for deliveries in sources:
        append(folder / "warehouse.duckdb", deliveries, landed_at)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(
            "copy (select *, strftime(landed_at, '%Y-%m-%d') as day, strftime(landed_at, '%H') as hour from landing.webhooks"
            f" where landed_at = ? order by environment, body) to '{folder / 'lake'}'"
            " (format parquet, compression zstd, partition_by (day, hour), filename_pattern 'part-{uuid}', append)",
            [landed_at],
        )


def build(folder: Path, target: str, models: list[str], command: str = "run") -> None:
    """Run dbt's command for the models. Exits where dbt fails."""
    arguments = ["--quiet", command, "--target", target, *(["--select", *models] if models else [])]
    arguments += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--log-path", str(folder)]
    # Both read the landing in the same place, and so does parsing: one target path each.
    arguments += [
        "--target-path",
        str(folder / f"target-{target}"),
        "--no-use-colors",
        "--log-level-file",
        "none",
    ]
    if target == "spark":
        if command == "build":  # no tests that read models beside the selected ones
            arguments += ["--indirect-selection", "cautious"]
        arguments += ["--vars", json.dumps({"landing_files": str(folder / "lake")})]
    result = dbtRunner().invoke(arguments)
    if target == "duckdb":
        DuckDBConnectionManager.close_all_connections()
    if not result.success:
        sys.exit(f"dbt failed on {target}: {result.exception or 'see above'}")


def compare(folder: Path, is_everything: bool) -> list[str]:
    """Build both, part by part. What differs in the end, a line each."""
    world = iter(World(replace(MONTH, deliveries=sum(n for n, _ in PARTS), identities=40)).deliveries())
    requests = captured()
    for part, (simulated, recorded) in enumerate(PARTS, start=1):
        land(folder, part, islice(world, simulated), islice(requests, recorded))
        models = [] if is_everything else [f"+{mart}" for mart in FLAGS]
        build(folder, "duckdb", models)
        # The last part with seeds, tests and unit tests.
        build(folder, "spark", models, "run" if part < len(PARTS) else "build")
    marts = FLAGS
    if is_everything:
        with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
            rows = connection.execute(
                "select table_name from information_schema.tables where table_schema = 'marts' order by 1"
            ).fetchall()
        marts = [name for (name,) in rows]
    session = SparkSession.builder.getOrCreate()
    try:
        return differences(folder / "warehouse.duckdb", session, marts)
    finally:
        session.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--all", action="store_true", help="every mart, not only those of flags (a quarter of an hour)"
    )
    parser.add_argument("--folder", type=Path, help="keep the two warehouses there")
    given = parser.parse_args()
    os.environ["PYSPARK_SUBMIT_ARGS"] = os.environ.get("PYSPARK_SUBMIT_ARGS", SUBMIT)
    with tempfile.TemporaryDirectory(prefix="spark-") as name:
        folder = (given.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["FLAGSMITH_WAREHOUSE_DIR"] = str(folder)
        found = compare(folder, given.all)
    print("\n".join(found) or "Every mart of Spark equals that of DuckDB, row for row.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
