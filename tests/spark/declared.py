"""A project with declarations of every kind, small: three experiments that overlap, a metric of each aggregation, two cohorts, users
of several identities, Flagsmith's own events, and declarations that are wrong. With deliveries that a simulated world does not send."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from flagsmith_warehouse.loader.operations.init import write_project
from flagsmith_warehouse.simulator.conversions import conversions, first_exposures, write
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
        ("wrong", "age", "MORE_THAN", "30", {}),
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
        "activation_event": "$flag_exposure",
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
    {**METRIC, "metric_key": "rating", "event_name": "rated", "aggregation": "mean"},
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
OUTCOME_TYPES = {
    "identity": "string",
    "event_name": "string",
    "occurred_at": "timestamp",
    "value": "double",
    "environment": "string",
}
# Flagsmith's own events, under another name than that of the mart.
EVENTS = "sdk_events"
EVENT_TYPES = {
    "environment_key": "string",
    "event": "string",
    "feature_name": "string",
    "timestamp": "timestamp",
    "collected_at": "timestamp",
    "identifier": "string",
    "value": "string",
    "metadata": "string",
    "sdk_language": "string",
}
CLIENT_SIDE_KEY = "clientside"
# Wrong, and so reported and left out.
WRONG_METRIC = {**METRIC, "metric_key": "wrong", "event_name": "purchase", "aggregation": "sums"}
# Two users with two identities each, one of them with one identity in control; and a tester.
IDENTITY_MAP = (("user_0", "ada"), ("user_1", "ada"), ("user_2", "grace"), ("user_3", "grace"))
TESTERS = (("example", "user_5"),)
VARIANTS = (("checkout_button", "control", "original"), ("checkout_button", "variant_a", "blue"))


def project(folder: Path, world: World) -> Path:
    """Make the project in the folder. Its outcomes and Flagsmith's own events are seeds, since Spark reads none from a folder of files."""
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
    with (folder / "experiments" / f"{EVENTS}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, EVENT_TYPES)
        writer.writeheader()
        writer.writerows(sdk_events(world))
    settings = folder / "dbt_project.yml"
    document = yaml.safe_load(settings.read_text(encoding="utf-8"))
    document["vars"]["flagsmith_warehouse"] |= {
        "cohorts": COHORTS,
        "conversion_events": f"seeds.{OUTCOMES}",
        "flagsmith_events_table": f"seeds.{EVENTS}",
        "flagsmith_environments": {"example": {"key": CLIENT_SIDE_KEY}},
    }
    for seed, types in ((OUTCOMES, OUTCOME_TYPES), (EVENTS, EVENT_TYPES)):
        document["seeds"][document["name"]][seed] = {"+column_types": types}
    settings.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder


def sdk_events(world: World) -> Iterator[dict]:
    """Exposures of two features and outcomes, as Flagsmith's SDKs send them: some twice, some late, some of another variation."""
    keys = {(feature, variation): key for feature, variation, key in VARIANTS}
    for feature in ("checkout_button", "onboarding_tour"):
        for number, exposure in enumerate(first_exposures(world, feature)):
            key = keys.get((feature, exposure.arm), exposure.arm) if number % 7 else "control"
            sent = _event(exposure.identity, exposure.first_exposed_at, feature_name=feature, value=key)
            # Delivered again, exposed again, and never exposed.
            again = {"collected_at": exposure.first_exposed_at + timedelta(days=1)}
            later = {"timestamp": sent["timestamp"] + timedelta(hours=number)} | again
            yield from ([sent, sent | again], [sent], [sent, sent | later], [])[number % 4]
            rated = {"event": "rated", "feature_name": "", "value": str(number / 4)}
            yield from (sent | rated, sent | rated | again)
    first = first_exposures(world, "checkout_button")[0]
    for columns in (
        {"environment_key": "nobody's"},
        {"identifier": "stranger"},
        {"identifier": ""},
        {"identifier": TESTERS[0][1]},
        {"value": "no variation"},
        {"sdk_language": "flagsmith-warehouse"},
        {"event": "$page"},
        {"event": "rated", "value": "twelve"},
    ):
        yield _event(first.identity, first.first_exposed_at, **columns)


def _event(identity: str, seen_at: datetime, **columns) -> dict:
    """An exposure a minute after the identity was first seen with the feature, and collected half a minute later."""
    return {
        "environment_key": CLIENT_SIDE_KEY,
        "event": "$flag_exposure",
        "feature_name": "checkout_button",
        "timestamp": seen_at + timedelta(minutes=1),
        "collected_at": seen_at + timedelta(seconds=90),
        "identifier": identity,
        "value": "control",
        "metadata": "{}",
        "sdk_language": "python",
    } | columns


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
