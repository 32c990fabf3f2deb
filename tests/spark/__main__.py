"""Does Spark make the same marts of the same deliveries as DuckDB? `python -m tests.spark --help`

Lands a small simulated world and the captured requests in two parts, into a DuckDB warehouse and as the files that
`land --to` puts. After each part both engines build; in the end Spark also loads the seeds and runs dbt's tests. Prints what
differs, and exits with 1 if anything does. `--erase` erases a person from a few tables instead, and compares what the next
build makes of the rest. `--retention` deletes old data on both, stops Spark in the middle of that, and compares what is left;
with `--kills 8` it only kills Spark while it deletes (SIGKILL, at random moments), and compares what the next run leaves.
`--stages 10000` builds the marts of flags from so many deliveries on Spark, compares nothing, and prints the
stages that take the most time. Needs Java 17, requirements-spark.lock, and once the jar of Iceberg from Maven Central.
"""

import argparse
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb
from click.testing import CliRunner
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

from flagsmith_warehouse.loader.operations.cli import WITH_PROBLEMS
from flagsmith_warehouse.loader.operations.cli import main as main_command
from flagsmith_warehouse.loader.operations.dbt import reason
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.world import World

from ..marts.same_marts import captured
from . import declared, erased, killed, retained, stages
from .compare import differences, of_file, of_session

FLAGS = ("fct_flag_exposures", "fct_flag_assignments", "dim_flags")
MARTS = "select table_name from information_schema.tables where table_schema = 'marts' order by 1"
PARTS = ((250, 80), (100, 46))
# Tables are small: compiling their queries takes longer than interpreting them.
SUBMIT = (
    "--driver-memory 1g --conf spark.sql.codegen.wholeStage=false "
    "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -Dderby.stream.error.file=/dev/null' "
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


def build(
    folder: Path, target: str, models: list[str], command: str = "run", *more: str, **variables
) -> None:
    """Run dbt's command for the models. Exits where dbt fails."""
    arguments = ["--quiet", command, "--target", target, *(["--select", *models] if models else [])]
    project = str(folder / "project")
    arguments += ["--project-dir", project, "--profiles-dir", project, "--log-path", str(folder)]
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
        variables = {"landing_files": str(folder / "lake"), **variables}
    arguments += [*more, "--vars", json.dumps(variables)]
    result = dbtRunner().invoke(arguments)
    if target == "duckdb":
        DuckDBConnectionManager.close_all_connections()
    if not result.success:
        sys.exit(f"dbt failed on {target}: {reason(result)}")


def refresh(folder: Path) -> None:
    """Run `flagsmith-warehouse refresh --target spark` in this process, which holds the only session. Exits where it fails."""
    variables = json.dumps({"landing_files": str(folder / "lake")})
    ran = CliRunner().invoke(
        main_command,
        ["refresh", "--target", "spark", "--vars", variables, "--project-dir", str(folder / "project")],
    )
    print(ran.output)
    if ran.exit_code not in (0, WITH_PROBLEMS):  # one declaration is wrong
        sys.exit(f"the refresh failed: {ran.exception}")


def compare(folder: Path, is_everything: bool) -> list[str]:
    """Build both, part by part. What differs in the end, a line each."""
    world = World(replace(MONTH, deliveries=sum(n for n, _ in PARTS), identities=40))
    declared.project(folder / "project", world)
    deliveries, requests = iter(world.deliveries()), captured()
    for part, (simulated, recorded) in enumerate(PARTS, start=1):
        rare = declared.rare_deliveries(world) if part == len(PARTS) else ()
        land(folder, part, islice(deliveries, simulated), islice(requests, recorded), rare)
        if is_everything:
            if part == 1:
                build(folder, "duckdb", [], "seed")
            build(folder, "duckdb", [])
            refresh(folder)
            continue
        models = [f"+{mart}" for mart in FLAGS]
        build(folder, "duckdb", models)
        # The last part with seeds, tests and unit tests.
        build(folder, "spark", models, "run" if part < len(PARTS) else "build")
    session = SparkSession.builder.getOrCreate()
    try:
        with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
            warehouse.execute("set timezone = 'UTC'")
            marts = [name for (name,) in warehouse.execute(MARTS).fetchall()] if is_everything else FLAGS
            found = differences(of_file(warehouse), of_session(session), marts)
            found += [f"{mart}: no rows to compare" for mart in marts if not of_file(warehouse)(mart)[1]]
            if is_everything:
                with duckdb.connect(str(folder / "published.duckdb"), read_only=True) as published:
                    published.execute("set timezone = 'UTC'")
                    found += differences(of_file(warehouse), of_file(published), marts)
            return found
    finally:
        session.stop()


def print_stages(folder: Path, deliveries: int) -> None:
    """Build the marts of flags on Spark from a simulated world, and print which stages took the most time."""
    world = World(replace(MONTH, deliveries=deliveries, identities=max(1, deliveries // 10)))
    declared.project(folder / "project", world)
    land(folder, 1, world.deliveries())
    with stages.named_by_model() as statements:
        build(folder, "spark", [f"+{mart}" for mart in FLAGS])
    SparkSession.builder.getOrCreate().stop()
    print(*stages.table(stages.stages_of(folder / "events"), statements), sep="\n")


def compare_erased(folder: Path) -> list[str]:
    """Build on Spark, erase a person, and build an increment. What is wrong, and what differs from DuckDB's marts of the rest."""
    world = World(replace(MONTH, deliveries=sum(n for n, _ in PARTS), identities=40))
    project, lake = declared.project(folder / "project", world), folder / "lake"
    erased.configure(project, lake)
    deliveries = iter(world.deliveries())
    land(folder, 1, islice(deliveries, PARTS[0][0]))
    person = erased.person_of(lake)
    build(folder, "spark", erased.MODELS)
    session = SparkSession.builder.getOrCreate()
    try:
        found = list(erased.wrong_things(session, folder, person))
        land(
            folder, 2, (each for each in islice(deliveries, PARTS[1][0]) if person.encode() not in each.body)
        )
        with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:
            warehouse.execute("delete from landing.webhooks where body->>'identity' = ?", [person])
        for target in ("duckdb", "spark"):
            build(folder, target, erased.MODELS)
        with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
            warehouse.execute("set timezone = 'UTC'")
            return found + differences(of_file(warehouse), of_session(session), [erased.EXPOSURES])
    finally:
        session.stop()


def compare_retained(folder: Path) -> list[str]:
    """Prune on both, and stop Spark in the middle of it. What is wrong, and what differs."""
    try:
        return printed(retained.wrong_things(folder, build))
    finally:
        SparkSession.builder.getOrCreate().stop()


def printed(lines: Iterable[str]) -> list[str]:
    """The lines, each printed as it comes."""
    found = []
    for line in lines:
        print(line, flush=True)
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--all", action="store_true", help="every mart, not only those of flags (a quarter of an hour)"
    )
    parser.add_argument("--erase", action="store_true", help="erase a person from a few tables")
    parser.add_argument(
        "--retention", action="store_true", help="delete old data from both, and stop Spark half-way"
    )
    parser.add_argument(
        "--kills", type=int, metavar="NUMBER", help="with --retention: kill builds that delete, at random"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (1)")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # of --kills, in a process of its own
    parser.add_argument(
        "--stages", type=int, metavar="DELIVERIES", help="print the longest stages of a build"
    )
    parser.add_argument("--folder", type=Path, help="keep the two warehouses there")
    given = parser.parse_args()
    logging.getLogger(
        "SQLQueryContextLogger"
    ).disabled = True  # pages of JSON for each error that dbt expects
    os.environ["PYSPARK_SUBMIT_ARGS"] = os.environ.get("PYSPARK_SUBMIT_ARGS", SUBMIT)
    with tempfile.TemporaryDirectory(prefix="spark-") as name:
        folder = (given.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["FLAGSMITH_WAREHOUSE_DIR"] = str(folder)
        if given.stages:
            submit = f"--driver-memory 2g --conf spark.log.level=ERROR {stages.settings(folder / 'events')} pyspark-shell"
            os.environ["PYSPARK_SUBMIT_ARGS"] = submit
            return print_stages(folder, given.stages)
        if given.step:
            return killed.run_step(given.step, folder, build)
        if given.kills:
            found = printed(killed.wrong_things(folder, build, given.kills, random.Random(given.seed)))
        elif given.erase or given.retention:
            found = (compare_erased if given.erase else compare_retained)(folder)
        else:
            found = compare(folder, given.all)
    print("\n".join(found) or "Every mart of Spark equals that of DuckDB, row for row.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
