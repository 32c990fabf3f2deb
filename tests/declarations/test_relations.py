"""Seeds' tables of an older version, relations without the columns that came later, relations that are not there."""

import json

import duckdb

from tests.marts.warehouse import Warehouse


def test_build__over_older_tables_and_relations__takes_what_is_there(tmp_path):
    """Given a seed's table and relations of fewer columns, a var that leads nowhere, a view whose table is gone, one whose cast fails."""
    warehouse = Warehouse(tmp_path)
    warehouse.land([])
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("create schema seeds; create schema given")
        connection.execute("create table given.gone (identity varchar, user_id varchar)")
        connection.execute("create view given.identities as select * from given.gone; drop table given.gone")
        connection.execute(
            "create view given.variants as select 'f' as feature_name, 'v' as variation, cast(k as integer) as variant_key"
            " from (values ('1'), ('x')) as keys (k)"
        )
        connection.execute("create table seeds.experiments (experiment_key varchar, started_at timestamp)")
        connection.execute("insert into seeds.experiments values ('old', timestamp '2025-01-01')")
        connection.execute(
            "create table given.metrics as select 'bought' as metric_key, 'purchase' as event_name,"
            " 'count' as aggregation, 'higher_is_better' as direction, date '2026-01-01' as declared_on"
        )
    variables = json.dumps(
        {
            "metrics": "given.metrics",
            "experiment_metrics": "given.nothing",
            "identity_map": "given.identities",
            "variants": "given.variants",
        }
    )
    chosen = ("resource_type:seed", "intermediate.declarations")
    warehouse.dbt("build", "--select", *chosen, "--exclude-resource-type", "test", "--vars", variables)

    assert warehouse.mart("int_declared_experiments", "intermediate") == []
    (metric,) = warehouse.mart("int_declared_metrics", "intermediate")
    assert (metric["metric_key"], metric["before_days"], metric["prior_type"]) == ("bought", None, "relative")
    assert warehouse.mart("int_declared_experiment_metrics", "intermediate") == []
    found = warehouse.mart("int_declaration_problems", "intermediate")
    assert {(row["severity"], row["declared_in"], row["problem"]) for row in found} == {
        ("problem", "given.nothing", "the relation does not exist or cannot be read"),
        ("problem", "given.identities", "the relation does not exist or cannot be read"),
        ("problem", "given.variants", "the relation does not exist or cannot be read"),
        ("warning", "given.metrics", "unknown column `declared_on`"),
    }
