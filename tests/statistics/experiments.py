"""Experiments for tests: declarations and sufficient statistics into a warehouse, dbt run, results out."""

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.landing import schema as landing_schema
from tests.marts.reference import Landed
from tests.marts.warehouse import Warehouse

BEGIN = datetime(2026, 1, 1)
REASONS = {
    "environment_default": {},
    "segment_override": {"feature_segment": 7},
    "identity_override": {"identity": 9},
}

SUMS = (
    "outcome_sum",
    "outcome_sum_squares",
    "denominator_sum",
    "denominator_sum_squares",
    "outcome_denominator_products",
    "before_sum",
    "before_sum_squares",
    "outcome_before_products",
)
EXPERIMENT = {
    "environment": "varchar",
    "feature_name": "varchar",
    "control_variation": "varchar",
    "started_at": "timestamp",
    "ended_at": "timestamp",
    "assignment_reason": "varchar",
    "expected_weights": "varchar",
    "activation_event": "varchar",
    "alpha": "double",
    "decision_method": "varchar",
    "sequential_tuning": "double",
    "power": "double",
    "primary_population": "varchar",
    "name": "varchar",
    "description": "varchar",
    "breakdowns": "varchar",
}
METRIC = {
    "event_name": "varchar",
    "aggregation": "varchar",
    "numerator_aggregation": "varchar",
    "denominator_event_name": "varchar",
    "denominator_aggregation": "varchar",
    "direction": "varchar",
    "conversion_window_hours": "double",
    "winsorise_percentile": "double",
    "minimum_sample": "bigint",
    "before_days": "double",
    "prior_mean": "double",
    "prior_standard_deviation": "double",
    "prior_type": "varchar",
    "window_start_hours": "varchar",
    "margin": "varchar",
    "quantile": "varchar",
}
LINK = {"metric_key": "varchar", "role": "varchar", "target_lift": "double", "margin": "varchar"}
TABLES = {
    "experiments": {"experiment_key": "varchar"} | EXPERIMENT,
    "metrics": {"metric_key": "varchar"} | METRIC,
    "experiment_metrics": {"experiment_key": "varchar"} | LINK,
    "conversion_events": {
        "environment": "varchar",
        "identity": "varchar",
        "event_name": "varchar",
        "occurred_at": "timestamp",
        "value": "double",
    },
    "identity_map": {"identity": "varchar", "user_id": "varchar"},
    "test_identities": {"environment": "varchar", "identity": "varchar"},
    "statistics": {
        "experiment_key": "varchar",
        "metric_key": "varchar",
        "variation": "varchar",
        "population": "varchar",
        "epoch": "integer",
        "day": "date",
        "identities": "bigint",
    }
    | dict.fromkeys(SUMS, "double"),
}
# Only the marts of experiments and what they are made of: the others have their own tests.
NEEDED = "+marts.experiment_results"
# Columns that came later: where no row of a test has one, nor has its table.
OPTIONAL = {
    "primary_population",
    "name",
    "description",
    "breakdowns",
    "epoch",
    "window_start_hours",
    "margin",
    "quantile",
}
DECLARED = {"experiments", "metrics", "experiment_metrics", "conversion_events"}


def experiment(key: str, **settings) -> dict:
    return {
        "experiment_key": key,
        "environment": "production",
        "feature_name": "checkout",
        "control_variation": "control",
        "started_at": "2026-01-01",
        "assignment_reason": "environment_default",
        "expected_weights": "auto",
    } | settings


def metric(key: str, **settings) -> dict:
    return {
        "metric_key": key,
        "event_name": key,
        "aggregation": "occurrence",
        "direction": "higher_is_better",
    } | settings


def link(experiment_key: str, metric_key: str, role: str = "primary", **settings) -> dict:
    return {"experiment_key": experiment_key, "metric_key": metric_key, "role": role} | settings


def arm(experiment_key: str, metric_key: str, variation: str, identities: int, **sums) -> dict:
    return {
        "experiment_key": experiment_key,
        "metric_key": metric_key,
        "variation": variation,
        "population": "assigned",
        "day": "2026-01-31",
        "identities": identities,
    } | {name: sums.get(name, 0) for name in SUMS}


def at(hours: float) -> datetime:
    """So many hours after the experiments of the tests began."""
    return BEGIN + timedelta(hours=hours)


def evaluation(identity: str, hours: float, variation: str = "control", weight: float | None = None, **flag):
    """A landed evaluation of one multivariate feature; with a `weight`, `variation` is an option."""
    environment = flag.pop("environment", "production")
    delivery = flag.pop("delivery_id", None)
    return delivery_of(identity, hours, [state(variation, weight, **flag)], environment, delivery)


def state(variation: str, weight: float | None = None, **flag) -> dict:
    """What a webhook says of one multivariate feature."""
    feature = {
        "id": flag.pop("feature_id", 1),
        "name": flag.pop("feature", "checkout"),
        "type": "MULTIVARIATE",
    }
    said = {
        "enabled": flag.pop("enabled", variation != "off"),
        "feature": feature,
        "feature_segment": None,
        "identity": None,
        "feature_state_value": variation,
        "percentage_allocation": weight,
    } | REASONS[flag.pop("reason", "environment_default")]
    assert not flag, flag
    return said


def delivery_of(
    identity: str, hours: float, flags: list[dict], environment="production", delivery=None, **said
):
    """A landed evaluation of these features, and of the `segments` and `traits` given; a key given as None is left out."""
    body = {"flags": flags, "identity": identity, "segments": [], "traits": []} | said
    body = json.dumps({key: value for key, value in body.items() if value is not None}, sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    digits = hashlib.sha256(f"{environment} {hours} {body}".encode()).hexdigest()[:32]
    delivery = delivery or digits
    return Landed(delivery, environment, at(hours), at(hours), digest, True, "utf-8", body)


def clock(hours: float, environment: str = "production") -> Landed:
    """A landed evaluation of another feature: outcomes up to here count."""
    return evaluation("the last", hours, feature="another", feature_id=99, environment=environment)


def event(identity: str, event_name: str, hours: float, value: float | None = None, environment=None) -> dict:
    return {
        "environment": environment,
        "identity": identity,
        "event_name": event_name,
        "occurred_at": at(hours),
        "value": value,
    }


# The arguments of dbt that build the outcomes, and the identity map that they read.
OUTCOMES = (
    "run",
    "--select",
    "+int_declared_identity_map",
    "int_outcomes",
    "int_outcome_events",
    "int_outcome_problems",
)


class ExperimentWarehouse(Warehouse):
    """A warehouse whose declarations are tables beside it, named to dbt by vars."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.given = set()
        self.settings = {}  # further vars

    def give(self, table: str, rows: list[dict]) -> None:
        """Put rows (missing columns are null) into the table of that name, replacing what was there."""
        used = {name for row in rows for name in row}
        columns = {name: kind for name, kind in TABLES[table].items() if name in used or name not in OPTIONAL}
        marks = ", ".join(f"unnest(cast(? as {kind}[]))" for kind in columns.values())
        names = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        with duckdb.connect(self.path) as connection:
            connection.execute("create schema if not exists given")
            connection.execute(f"create or replace table given.{table} ({names})")
            values = [[row.get(name) for row in rows] for name in columns]
            connection.execute(f"insert into given.{table} select {marks}", values)
        self.given.add(table)

    def variables(self) -> str:
        names = {
            ("experiment_statistics" if table == "statistics" else table): f"given.{table}"
            for table in self.given
        }
        return json.dumps(names | self.settings)

    def land(self, rows: list[Landed]) -> None:
        with duckdb.connect(self.path) as connection:
            connection.execute(landing_schema.TABLES)
            marks = ", ".join("unnest(?)" for _ in Landed._fields)
            connection.execute(
                f"insert into landing.webhooks ({', '.join(Landed._fields)}) select {marks}",
                [list(column) for column in zip(*rows, strict=True)],
            )

    def dbt(self, *arguments: str) -> list:
        """As the parent, without the log file: dbt never closes it, and pytest calls that a warning."""
        return super().dbt(*arguments, "--log-level-file", "none")

    def run(self, *arguments: str) -> list:
        for table in DECLARED - self.given:
            self.give(table, [])
        chosen = arguments or ("run", "--select", NEEDED)
        return self.dbt(*chosen, "--vars", self.variables())
