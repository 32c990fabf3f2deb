"""MetricFlow reads our semantic models, and its answers are those of the marts."""

from collections.abc import Callable
from types import SimpleNamespace

import duckdb
import pytest
from dbt.contracts.graph.semantic_manifest import SemanticManifest
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow.protocols.sql_client import SqlEngine
from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer
from metricflow_semantics.model.dbt_manifest_parser import parse_manifest_from_dbt_generated_manifest
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

from ..marts.warehouse import parsed_project

# A metric or several, what they are grouped by, and the question in plain SQL. Each metric of ours is in one of them.
QUESTIONS = [
    (
        "flagsmith_exposed_identities",
        "flagsmith_exposure__environment flagsmith_exposure__feature_name flagsmith_exposure__variation",
        "select environment, feature_name, variation, count(distinct identity) from marts.fct_flag_exposures group by all",
    ),
    (
        "flagsmith_evaluations flagsmith_first_exposures",
        "metric_time__week flagsmith_exposure_day__feature_name",
        "select date_trunc('week', day), feature_name, sum(evaluations), sum(new_identities) "
        "from marts.fct_flag_exposures_daily group by all",
    ),
    (
        "flagsmith_evaluations",
        "flagsmith_flag__type",
        "select type, sum(evaluations) from marts.fct_flag_exposures_daily "
        "inner join marts.dim_flags using (environment, feature_id) group by all",
    ),
    (
        "flagsmith_flags flagsmith_stale_flags",
        "flagsmith_flag__environment",
        "select environment, count(*), count(*) filter (where is_stale) from marts.dim_flags group by all",
    ),
    (
        "flagsmith_segment_entries flagsmith_segment_members",
        "flagsmith_segment_membership__segment_name",
        "select segment_name, count(*), count(*) filter (where is_current) from marts.fct_segment_memberships group by all",
    ),
    (
        "flagsmith_cohort_entries flagsmith_cohort_members",
        "flagsmith_cohort_membership__cohort_key",
        "select cohort_key, count(*), count(*) filter (where is_current) from marts.fct_cohort_memberships group by all",
    ),
    (
        "flagsmith_cohort_members",
        "flagsmith_identity__first_seen_at__month",
        "select date_trunc('month', first_seen_at), count(distinct (environment, identity)) filter (where is_current) "
        "from marts.fct_cohort_memberships inner join marts.dim_identities using (environment, identity) group by all",
    ),
    (
        "flagsmith_identities",
        "metric_time__day",
        "select date_trunc('day', first_seen_at), count(*) from marts.dim_identities group by all",
    ),
    (
        "flagsmith_identities_so_far",
        "metric_time__day",
        "select date_day, count(*) from marts.flagsmith_time_spine "
        "inner join marts.dim_identities on first_seen_at < date_day + interval 1 day group by all",
    ),
    (
        "flagsmith_assigned_identities",
        "flagsmith_experiment flagsmith_experiment__feature_name flagsmith_experiment_assignment__variation",
        "select experiment_key, feature_name, variation, count(*) from marts.fct_experiment_assignments "
        "inner join marts.dim_experiments using (experiment_key) group by all",
    ),
    (
        "flagsmith_experiments",
        "flagsmith_experiment__status",
        "select status, count(*) from marts.dim_experiments group by all",
    ),
    (
        "flagsmith_experiment_outcomes flagsmith_experiment_identities flagsmith_experiment_mean "
        "flagsmith_experiment_relative_lift flagsmith_experiment_chance_to_win",
        "flagsmith_experiment flagsmith_experiment_result__metric_key flagsmith_experiment_result__variation "
        "flagsmith_experiment_result__population",
        "select experiment_key, metric_key, variation, population, outcome_sum, identities, mean, "
        "relative_lift, relative_chance_to_win from marts.fct_experiment_results",
    ),
    (
        "flagsmith_outcomes flagsmith_outcome_value flagsmith_outcome_identities flagsmith_outcomes_per_identity",
        "flagsmith_outcome__event_name",
        "select event_name, count(*), sum(value), count(distinct identity), count(*) / count(distinct identity) "
        "from intermediate.int_outcomes group by all",
    ),
]


@pytest.fixture(scope="module")
def asked(month, tmp_path_factory) -> Callable[[str, str], list[tuple]]:
    """What MetricFlow answers about the example month."""
    file = tmp_path_factory.mktemp("semantic") / "semantic_manifest.json"
    SemanticManifest(parsed_project()).write_json_to_file(str(file))
    manifest = parse_manifest_from_dbt_generated_manifest(file.read_text())
    client = SimpleNamespace(sql_engine_type=SqlEngine.DUCKDB, sql_plan_renderer=DuckDbSqlPlanRenderer())
    engine = MetricFlowEngine(SemanticManifestLookup(manifest), client)

    def ask(metrics: str, groups: str) -> list[tuple]:
        request = MetricFlowQueryRequest.create(metric_names=metrics.split(), group_by_names=groups.split())
        columns = ", ".join([*groups.split(), *metrics.split()])
        return in_order(month, f"select {columns} from ({engine.explain(request).sql_statement.sql})")

    return ask


def in_order(month, sql: str) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{month}/warehouse.duckdb' as warehouse (read_only)")
        connection.execute("use warehouse")
        return connection.execute(f"from ({sql}) order by all").fetchall()


@pytest.mark.parametrize("metrics, groups, sql", QUESTIONS, ids=[metrics for metrics, *_ in QUESTIONS])
def test_metric__asked_of_metricflow__is_what_the_mart_says(asked, month, metrics, groups, sql):
    expected = in_order(month, sql)
    assert expected
    assert asked(metrics, groups) == expected


def test_metrics__all_of_ours__are_asked_above_and_begin_with_our_name():
    parsed = parsed_project()
    metrics = {metric.name for metric in parsed.metrics.values()}
    assert metrics == {name for names, *_ in QUESTIONS for name in names.split()}
    names = metrics | {model.name for model in parsed.semantic_models.values()}
    assert {name for name in names if not name.startswith("flagsmith_")} == set()
