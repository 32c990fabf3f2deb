"""Models are plain selects: what makes them incremental lives in one materialisation, and their sources are what they read."""

import re
from datetime import datetime

import duckdb

from .histories import History
from .warehouse import PROJECT, Warehouse, _manifest

# What a model once had to say or do itself.
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
    """Given two landings; when one run leaves a model out; then none that reads it has taken in more than it has."""
    warehouse = Warehouse(tmp_path)
    rows = History(7).deliveries(120)
    warehouse.land([row._replace(landed_at=datetime(2026, 7, 1)) for row in rows[:60]])
    warehouse.dbt("run", *MODELS)
    warehouse.land([row._replace(landed_at=datetime(2026, 7, 2)) for row in rows[60:]])
    warehouse.dbt("run", *MODELS, "--exclude", "int_flag_absences")
    manifest = _manifest().to_dict()
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
