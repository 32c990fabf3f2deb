"""Erases a person from the tables of a Spark session, with other schemas than ours: what is refused, what goes, and what is said."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import yaml
from click.testing import CliRunner

from flagsmith_warehouse.loader.operations.cli import main as main_command
from flagsmith_warehouse.loader.operations.erase_spark import PROGRESS

# The project has its own names for our schemas.
EXPOSURES, DELIVERIES = "served.fct_flag_exposures", "typed.stg_flagsmith__deliveries"
MODELS = [f"+{EXPOSURES.partition('.')[2]}"]


def configure(project: Path, lake: Path) -> None:
    """Give our schemas other names, and say where the files are."""
    file = project / "dbt_project.yml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    document.setdefault("models", {})["flagsmith_warehouse"] = {
        "staging": {"+schema": "typed"},
        "marts": {"+schema": "served"},
    }
    document["vars"]["flagsmith_warehouse"] |= {
        "landing_files": str(lake),
        "conversion_events": "analytics.events",
    }
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def person_of(lake: Path) -> str:
    """The identity with the most deliveries, whose name is not the beginning of another."""
    query = f"""
        select body->>'identity' as identity from read_parquet('{lake}/*/*/*.parquet')
        where length(identity) = (select max(length(body->>'identity')) from read_parquet('{lake}/*/*/*.parquet'))
        group by all order by count(*) desc, 1 limit 1
    """
    return duckdb.execute(query).fetchone()[0]


def remove_from_files(lake: Path, person: str) -> None:
    """What `erase` on a machine that lands does."""
    for file in lake.glob("*/*/*.parquet"):
        rest = file.with_suffix(".rest")
        duckdb.execute(
            f"copy (from read_parquet('{file}', hive_partitioning = false) where body->>'identity' is distinct from ?) "
            f"to '{rest}' (format parquet)",
            [person],
        )
        rest.replace(file)


def make_own_tables(session, person: str) -> None:
    """A table and a view of the project's people, and a table in a schema that nobody knows."""
    for schema in ("analytics", "elsewhere"):
        session.sql(f"create schema if not exists {schema}")
    columns = "identity string, event_name string, occurred_at timestamp, value double, environment string"
    session.sql(f"create table analytics.events ({columns})")
    session.sql(f"create table analytics.notes using parquet as select '{person}' as `who is it`")
    session.sql("create view analytics.noted as select * from analytics.notes")
    session.sql("create table elsewhere.unknown using parquet as select 1 as one")


def erase(person: str, project: Path) -> tuple[int, str, dict]:
    arguments = ["erase", "--identity", person, "--target", "spark", "--project-dir", str(project), "--yes"]
    ran = CliRunner().invoke(main_command, arguments)
    if ran.exit_code:
        return ran.exit_code, ran.output or repr(ran.exception), {}
    return 0, ran.output, json.loads(ran.stdout)


def wrong_things(session, folder: Path, person: str) -> Iterator[str]:
    """Erase, and say what is not as it should be."""
    project, lake, log = folder / "project", folder / "lake", folder / "left.log"
    log.write_text(f"about '{person}'\nabout another\n")
    make_own_tables(session, person)
    rows = f"select count(*) from {EXPOSURES} where identity = '{person}'"
    before = session.sql(rows).first()[0]
    progress = f"select max(summary['{PROGRESS}fct_flag_exposures']) from {EXPOSURES}.snapshots"
    recorded = session.sql(progress).first()[0]
    if not before or recorded is None:
        yield f"nothing to erase: {before} rows, progress {recorded}"
    for what, sign in (
        ("files hold the person", "files below landing_files still hold"),
        ("a table of ours is not of Iceberg", "it is a table of parquet"),
    ):
        code, said, _ = erase(person, project)
        if code != 1 or sign not in " ".join(said.split()):
            yield f"{what}, and that was not refused: {said}"
        if session.sql(rows).first()[0] != before:
            yield f"{what}, and something was erased all the same"
        remove_from_files(lake, person)
        session.sql("create table if not exists served.stale using parquet as select 'x' as identity")
    session.sql("drop table served.stale")
    session.sql(f"create table served.once as select '{person}' as identity, 1 as visits")
    code, said, receipt = erase(person, project)
    if code:
        yield f"erase failed: {said}"
        return
    yield from _faults_of(receipt, session, before, rows)
    if session.sql(progress).first()[0] != recorded:
        yield f"the progress was lost: {session.sql(progress).first()[0]}"
    if person in log.read_text() or "another" not in log.read_text():
        yield "the log still names the person, or more than that is gone from it"
    for file in (folder / "spark" / "tables").rglob("*.parquet"):
        holding = f"select count(*) from read_parquet('{file}') as row where contains(row::varchar, ?)"
        if "analytics.db" not in str(file) and duckdb.execute(holding, [person]).fetchone()[0]:
            yield f"{file} still holds the person"


def _faults_of(receipt: dict, session, before: int, rows: str) -> Iterator[str]:
    deleted = receipt["rows_deleted"]
    if deleted.get(EXPOSURES) != before or not deleted.get("landing.webhooks") or not deleted.get(DELIVERIES):
        yield f"the receipt counts other rows: {receipt}"
    if session.sql(rows).first()[0] or deleted.get("served.once") != 1:
        yield f"rows of the person are left: {deleted}"
    if receipt["still_in"] != ["analytics.noted", "analytics.notes"]:
        yield f"people's own tables are not named: {receipt['still_in']}"
    if "the schema elsewhere" not in receipt["not_looked_through"]:
        yield f"what was not looked through is not named: {receipt['not_looked_through']}"
    if not receipt["snapshots_expired"] or not receipt["files_removed"]:
        yield f"no file was removed: {receipt}"
