"""A project with declarations of every kind, small: two experiments that overlap, a metric of each aggregation, two cohorts."""

import csv
from pathlib import Path

import yaml

from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.simulator.conversions import conversions, write
from flagsmith_warehouse.simulator.world import World

COHORTS = [
    {
        "key": key,
        "name": key,
        "rules": [{"type": "ALL", "conditions": [{"property": trait, "operator": operator, "value": value}]}],
        **more,
    }
    for key, trait, operator, value, more in (
        ("paying", "plan", "IN", "pro,enterprise", {"mirrors_segment": "paying"}),
        ("over_30", "age", "GREATER_THAN", "30", {}),
    )
]
EXPERIMENT = {
    "environment": "example",
    "control_variation": "control",
    "started_at": "2026-09-01",
    "ended_at": "2026-09-29",
    "assignment_reason": "environment_default",
    "expected_weights": "auto",
    "alpha": "0.05",
    "power": "0.8",
}
EXPERIMENTS = (
    {
        **EXPERIMENT,
        "experiment_key": "checkout",
        "feature_name": "checkout_button",
        "activation_event": "page_view",
        "decision_method": "bayesian",
        "breakdowns": "trait:plan; cohort:over_30",
    },
    {
        **EXPERIMENT,
        "experiment_key": "tour",
        "feature_name": "onboarding_tour",
        "decision_method": "sequential",
        "sequential_tuning": "1000",
    },
)
METRIC = {"direction": "higher_is_better", "conversion_window_hours": "168", "minimum_sample": "2"}
METRICS = (
    {**METRIC, "metric_key": "bought", "event_name": "purchase", "aggregation": "occurrence"},
    {
        **METRIC,
        "metric_key": "revenue",
        "event_name": "purchase",
        "aggregation": "sum",
        "winsorise_percentile": "0.9",
        "prior_mean": "0",
        "prior_standard_deviation": "0.3",
        "prior_type": "relative",
    },
    {**METRIC, "metric_key": "views", "event_name": "page_view", "aggregation": "count", "before_days": "7"},
    {**METRIC, "metric_key": "value", "event_name": "purchase", "aggregation": "mean"},
    {**METRIC, "metric_key": "days", "event_name": "page_view", "aggregation": "days"},
    {**METRIC, "metric_key": "soon", "event_name": "page_view", "aggregation": "hours_to_first"},
    {
        **METRIC,
        "metric_key": "median",
        "event_name": "page_view",
        "aggregation": "quantile",
        "quantile": "0.5",
    },
    {
        **METRIC,
        "metric_key": "revenue_per_view",
        "event_name": "purchase",
        "aggregation": "ratio",
        "numerator_aggregation": "sum",
        "denominator_event_name": "page_view",
        "denominator_aggregation": "count",
    },
)
OUTCOMES = "conversion_events"


def project(folder: Path, world: World) -> Path:
    """Make the project in the folder. Its outcomes are a seed, since Spark reads none from a folder of files."""
    write_project(folder)
    links = (
        {"experiment_key": experiment["experiment_key"], "metric_key": metric["metric_key"], "role": role}
        for experiment in EXPERIMENTS
        for metric, role in zip(METRICS, ("primary", *["secondary"] * len(METRICS)), strict=False)
    )
    for name, rows in (("experiments", EXPERIMENTS), ("metrics", METRICS), ("experiment_metrics", links)):
        _fill(folder / "experiments" / f"{name}.csv", rows)
    with (folder / "experiments" / f"{OUTCOMES}.csv").open("w", encoding="utf-8", newline="") as file:
        write(conversions(world), file)
    settings = folder / "dbt_project.yml"
    document = yaml.safe_load(settings.read_text(encoding="utf-8"))
    document["vars"]["flagsmith_warehouse"] |= {"cohorts": COHORTS, "conversion_events": f"seeds.{OUTCOMES}"}
    types = {"identity": "string", "event_name": "string", "occurred_at": "timestamp", "value": "double"}
    document["seeds"][document["name"]][OUTCOMES] = {"+column_types": types | {"environment": "string"}}
    settings.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder


def _fill(file: Path, rows) -> None:
    """Write the rows below the header of the file."""
    columns = file.read_text(encoding="utf-8").strip().split(",")
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(rows)
