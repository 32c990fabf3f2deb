"""A project with declarations of every kind, small: three experiments that overlap, a metric of each aggregation, two cohorts, users
of several identities, and a declaration that is wrong. With deliveries that a simulated world does not send."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.simulator.conversions import conversions, write
from flagsmith_warehouse.simulator.world import World

from ..marts.same_marts import Request

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
    {
        **EXPERIMENT,
        "experiment_key": "ranking",
        "feature_name": "search_ranking",
        "control_variation": "same",
        "ended_at": "",
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
# Wrong, and so reported and left out.
WRONG_METRIC = {**METRIC, "metric_key": "wrong", "event_name": "purchase", "aggregation": "sums"}
# Two users with two identities each, one of them with one identity in control; and a tester.
IDENTITY_MAP = (("user_0", "ada"), ("user_1", "ada"), ("user_2", "grace"), ("user_3", "grace"))
TESTERS = (("example", "user_5"),)
VARIANTS = (("checkout_button", "control", "original"), ("checkout_button", "variant_a", "blue"))


def project(folder: Path, world: World) -> Path:
    """Make the project in the folder. Its outcomes are a seed, since Spark reads none from a folder of files."""
    write_project(folder)
    links = (
        {"experiment_key": experiment["experiment_key"], "metric_key": metric["metric_key"], "role": role}
        for experiment in EXPERIMENTS
        for metric, role in zip(METRICS, ("primary", *["secondary"] * len(METRICS)), strict=False)
    )
    users = ({"identity": identity, "user_id": user_id} for identity, user_id in IDENTITY_MAP)
    testers = ({"environment": environment, "identity": identity} for environment, identity in TESTERS)
    variants = (dict(zip(("feature_name", "variation", "variant_key"), row, strict=True)) for row in VARIANTS)
    for name, rows in (
        ("experiments", EXPERIMENTS),
        ("metrics", (*METRICS, WRONG_METRIC)),
        ("experiment_metrics", links),
        ("identity_map", users),
        ("test_identities", testers),
        ("variants", variants),
    ):
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


def rare_deliveries(world: World) -> Iterator[Request]:
    """An experiment that is withdrawn from everybody, a flag that one call leaves out, the canary's call, and no JSON."""
    last = {}
    for message in world.deliveries():
        body = json.loads(message.body)
        if "identity" in body:
            last[body["identity"]] = (message, body)
    moment = max(message.received_at for message, _ in last.values()) + timedelta(minutes=10)
    environment = world.parameters.environments[0]
    for number, (_, body) in enumerate(last.values()):
        flags = [
            {**flag, "feature_state_value": "control", "percentage_allocation": None}
            if flag["feature"]["name"] == "search_ranking"
            else flag
            for flag in body["flags"]
        ]
        if number == 0:
            yield _request(environment, moment, body | {"flags": flags[1:]})
            # In the same microsecond, of which one counts.
            yield _request(environment, moment + timedelta(minutes=1), body)
        yield _request(environment, moment + timedelta(minutes=1 + number), body | {"flags": flags})
    called_at = moment + timedelta(hours=1)
    sent = {
        "id": None,
        "trait_key": "canary_sent_at",
        "trait_value": int(called_at.timestamp()),
        "transient": True,
    }
    canary = next(iter(last.values()))[1] | {"identity": "warehouse-canary", "traits": [sent]}
    yield _request(environment, called_at, canary)
    yield Request(environment, moment + timedelta(hours=2), b"no JSON")


def _request(environment: str, received_at: datetime, body: dict) -> Request:
    return Request(environment, received_at, json.dumps(body).encode())


def _fill(file: Path, rows) -> None:
    """Write the rows below the header of the file."""
    columns = file.read_text(encoding="utf-8").strip().split(",")
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(rows)
