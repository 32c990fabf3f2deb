"""Models are plain selects: what makes them incremental lives in one materialisation, and their sources are what they read."""

import re
from datetime import datetime

import duckdb
import pytest

from .histories import History
from .warehouse import PROJECT, Warehouse, parsed_project

# Things that models once had to declare or do themselves.
BY_HAND = r"is_increment\(|is_incremental\(|pre_hook|post_hook|\bbuilt_from|\{\{ this \}\}|depends_on:"
MODELS = ("--select", "+fct_flag_assignments", "+fct_flag_exposures_daily")


def increments_read(manifest: dict, name: str) -> set[str]:
    """The increments that a model reads, through views and tables."""
    found, unseen = set(), [f"model.flagsmith_warehouse.{name}"]
    while unseen:
        for source in manifest["nodes"][unseen.pop()]["depends_on"]["nodes"]:
            node = manifest["nodes"].get(source)
            if node and node["config"]["materialized"] == "increment":
                found.add(node["name"])
            elif node and node["resource_type"] == "model":
                unseen.append(source)
    return found


def test_models__say_what_they_replace__and_nothing_by_hand():
    leaks = {
        path.stem: found
        for path in (PROJECT / "models").rglob("*.sql")
        if (found := re.findall(BY_HAND, path.read_text()))
    }
    assert leaks == {}


def test_progress__a_source_is_left_out_of_a_run__is_no_further_than_the_source(tmp_path):
    """Given two landings; when one run leaves a model out; then no model that reads it is ahead of it."""
    warehouse = Warehouse(tmp_path)
    rows = History(7).deliveries(120)
    warehouse.land([row._replace(landed_at=datetime(2026, 7, 1)) for row in rows[:60]])
    warehouse.dbt("run", *MODELS)
    warehouse.land([row._replace(landed_at=datetime(2026, 7, 2)) for row in rows[60:]])
    warehouse.dbt("run", *MODELS, "--exclude", "int_flag_absences")
    manifest = parsed_project().to_dict()
    reached = {
        row["model"]: row["build_number"]
        for row in warehouse.query(
            "select model, arg_max(build_number, recording) as build_number from intermediate.build_progress group by model"
        )
    }
    assert reached["int_deliveries"] > reached["int_flag_absences"]
    for name in ("fct_flag_assignments", "fct_flag_exposures", "fct_flag_exposures_daily"):
        sources = increments_read(manifest, name)
        assert sources and reached[name] <= min(reached[source] for source in sources), name


def test_descriptions__an_earlier_release_wrote_others__are_written_anew_by_an_increment(tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.land(History(7).deliveries(20))
    table = "fct_flag_exposures"
    comments = f"select comment from duckdb_columns() where table_name = '{table}' order by column_name"
    warehouse.dbt("run", "--select", f"+{table}")
    written = warehouse.query(comments)
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(f"comment on column marts.{table}.environment is 'of an earlier release'")
        connection.execute("update intermediate.build_progress set descriptions = 'of an earlier release'")
    assert warehouse.query(comments) != written
    warehouse.dbt("run", "--select", table)
    assert warehouse.query(comments) == written


def test_models__relation_of_another_type_stands_there__is_replaced_and_described(tmp_path):
    """Given a view where a table belongs, and the other way round; when built; then each has its type and descriptions."""
    warehouse = Warehouse(tmp_path)
    warehouse.land(History(7).deliveries(20))
    types = {"int_deliveries": "BASE TABLE", "dim_flags": "BASE TABLE", "flagsmith_events": "VIEW"}
    warehouse.dbt("run", "--select", *(f"+{name}" for name in types))
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("drop table marts.dim_flags; create view marts.dim_flags as select 1 as a")
        connection.execute(
            "drop view marts.flagsmith_events; create table marts.flagsmith_events as select 1 as a"
        )
        connection.execute("create or replace table kept as select * from intermediate.int_deliveries")
        connection.execute(
            "drop table intermediate.int_deliveries; create view intermediate.int_deliveries as select 1 as a"
        )
        # The relations that a killed build of 0.1.0 left behind.
        connection.execute("create table marts.dim_flags__dbt_backup as select 'ann' as identity")
        connection.execute("create table intermediate.int_deliveries__dbt_tmp as select 'ann' as identity")
        connection.execute("create view marts.flagsmith_events__dbt_tmp as select 'ann' as identity")
        # The table of a model that 0.1.0 had.
        connection.execute(
            "create or replace table intermediate.int_experiment_identities as select 'ann' as identity"
        )
    warehouse.dbt("run", "--select", *types)
    found = warehouse.query("select table_name, table_type from information_schema.tables order by all")
    assert {row["table_name"]: row["table_type"] for row in found if row["table_name"] in types} == types
    assert not [row for row in found if "__dbt_" in row["table_name"]]
    assert "int_experiment_identities" not in {row["table_name"] for row in found}
    assert warehouse.query("from kept order by delivery_id") == warehouse.query(
        "from intermediate.int_deliveries order by delivery_id"
    )
    for name in types:
        node = parsed_project().nodes[f"model.flagsmith_warehouse.{name}"]
        relation, columns = (
            warehouse.query(sql, name)
            for sql in (
                "select comment from duckdb_tables() where table_name = $1"
                " union all select comment from duckdb_views() where view_name = $1",
                "select column_name, comment from duckdb_columns() where table_name = $1",
            )
        )
        assert relation == [{"comment": node.description}]
        persists_columns = node.config.persist_docs["columns"]
        assert persists_columns == (node.schema != "intermediate")
        assert {row["column_name"]: row["comment"] for row in columns} == {
            column.name: column.description if persists_columns else None for column in node.columns.values()
        }


def test_models__select_that_fails_and_relation_of_another_type__stays(tmp_path):
    """Given a view where the table dim_flags belongs, and a source without its columns; when the build fails; then it stands."""
    warehouse = Warehouse(tmp_path)
    warehouse.land(History(7).deliveries(20))
    warehouse.dbt("run", "--select", "+dim_flags")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("drop table marts.dim_flags; create view marts.dim_flags as select 7 as a")
        connection.execute("create or replace table marts.fct_flag_exposures as select 1 as b")
    with pytest.raises(AssertionError, match="Binder Error"):
        warehouse.dbt("run", "--select", "dim_flags")
    assert warehouse.query("from marts.dim_flags") == [{"a": 7}]
