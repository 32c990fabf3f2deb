"""Warehouses that are built in parts, killed and rebuilt in odd orders, beside one that is built at once."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb

from flagsmith_warehouse.loader.landing.schema import TABLES

from ..marts.warehouse import paths
from . import dbt
from .bodies import History, Landed
from .cohorts import COHORTS
from .expected import Difference, differences
from .experiments import METRICS
from .histories import World, world
from .marts import KEYS, expected

ZONES = ["UTC", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati", "Europe/Berlin"]
VARS = {
    "cohorts": COHORTS,
    "experiments": "declared.experiments",
    "metrics": "declared.metrics",
    "experiment_metrics": "declared.experiment_metrics",
    "conversion_events": "declared.events",
    "test_identities": "declared.test_identities",
}
DECLARED = """
create schema if not exists declared;
create or replace table declared.experiments (
    experiment_key varchar, environment varchar, feature_name varchar, control_variation varchar, started_at timestamp,
    ended_at timestamp, assignment_reason varchar, expected_weights varchar, activation_event varchar, alpha double,
    decision_method varchar, sequential_tuning double, power double
);
create or replace table declared.metrics (
    metric_key varchar, event_name varchar, aggregation varchar, numerator_aggregation varchar,
    denominator_event_name varchar, denominator_aggregation varchar, direction varchar, conversion_window_hours double,
    winsorise_percentile double, minimum_sample bigint, before_days double, prior_mean double,
    prior_standard_deviation double, prior_type varchar, quantile double
);
create or replace table declared.experiment_metrics (
    experiment_key varchar, metric_key varchar, role varchar, target_lift double
);
create or replace table declared.events (
    identity varchar, event_name varchar, occurred_at timestamp, value double, environment varchar
);
create or replace table declared.test_identities (environment varchar, identity varchar);
"""
# What somebody might build alone, and then the rest.
SELECTIONS = [
    *(["--select", "staging"], ["--select", "+fct_flag_exposures"], ["--exclude", "marts"]),
    *(
        ["--select", "fct_deliveries_hourly"],
        ["--select", "int_deliveries+"],
        ["--exclude", "int_state_spells+"],
    ),
    *(["--select", "marts"], ["--select", "stg_flagsmith__deliveries", "int_deliveries"]),
    *(["--exclude", "int_deliveries"], ["--select", "fct_flag_assignments", "fct_experiment_results"]),
]
REBUILDS = [
    *(
        ["stg_flagsmith__deliveries", "int_deliveries"],
        ["int_state_spells"],
        ["fct_flag_exposures"],
        ["staging"],
    ),
    *(["int_deliveries"], ["fct_identity_traits", "fct_segment_memberships"], ["stg_flagsmith__payloads"]),
    *(["int_flag_set_elements"], ["intermediate"], ["fct_flag_exposures_daily", "fct_deliveries_hourly"]),
]


class Warehouse:
    """A new DuckDB file in `directory`. The directory itself is reused, because dbt parses the project once per directory."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.path = directory, directory / "warehouse.duckdb"
        for file in directory.glob("warehouse.duckdb*"):
            file.unlink()

    def declare(self, history: World) -> None:
        with duckdb.connect(self.path) as connection:
            connection.execute(TABLES + DECLARED)
            connection.begin()
            for e in history.experiments:
                connection.execute(
                    "insert into declared.experiments (experiment_key, environment, feature_name, started_at, ended_at,"
                    " assignment_reason, activation_event, expected_weights, control_variation)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?, 'control')",
                    list(e),
                )
            for m in METRICS:
                connection.execute(
                    "insert into declared.metrics (metric_key, event_name, aggregation, numerator_aggregation,"
                    " denominator_event_name, denominator_aggregation, conversion_window_hours, quantile, direction)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?, 'higher_is_better')",
                    list(m),
                )
            links = [(e.key, m.key, "secondary", None) for e in history.experiments for m in METRICS]
            for table, rows in (
                ("experiment_metrics", links),
                ("events", history.events),
                ("test_identities", list(history.test_identities)),
            ):
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    connection.executemany(f"insert into declared.{table} values ({marks})", rows)
            connection.commit()

    def land(self, rows: list[Landed]) -> None:
        with duckdb.connect(self.path) as connection:
            if rows:
                connection.begin()
                connection.executemany(
                    f"insert into landing.webhooks ({', '.join(Landed._fields)}) values (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
                connection.commit()

    def dbt(self, *arguments: str, zone: str = "UTC", killed_after: float | None = None) -> str | None:
        """Run dbt in a process of its own. Return None, or what it said where it failed or was killed."""
        further = [*paths(self.directory / "target"), "--no-write-json", "--vars", json.dumps(VARS)]
        return dbt.run([*arguments, *further], self.directory, zone, killed_after)

    def tables(self, schema: str) -> list[str]:
        return [name for (name,) in self._query(
            "select table_name from information_schema.tables where table_schema = ? order by 1", schema)]  # fmt: skip

    def rows(self, table: str, schema: str = "marts") -> list[dict]:
        with duckdb.connect(self.path, read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            cursor = connection.execute(f"select * from {schema}.{table}")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _query(self, sql: str, *parameters) -> list[tuple]:
        with duckdb.connect(self.path, read_only=True) as connection:
            return connection.execute(sql, list(parameters)).fetchall()


@dataclass
class Verdict:
    """What a history showed: what was run, and what differs from the judge and between the two warehouses."""

    steps: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    at_once: list[Difference] = field(default_factory=list)
    in_parts: list[Difference] = field(default_factory=list)
    between: list[Difference] = field(default_factory=list)


def together(
    seeds: list[int], parts: int = 3, deliveries: int = 300, without: frozenset = frozenset()
) -> World:
    """The histories of several seeds in one landing, each in environments of its own."""
    worlds = [
        world(seed, parts, deliveries, "" if n == 0 else f"_{seed}", without) for n, seed in enumerate(seeds)
    ]
    dealt = [
        sorted((row for w in worlds for row in w.parts[n]), key=lambda row: row.landed_at)
        for n in range(parts)
    ]
    # Parts are landed one after another, whatever the seeds.
    last, landed = None, []
    for rows in dealt:
        shift = max(last - min(r.landed_at for r in rows), timedelta()) if last and rows else None
        landed.append([row._replace(landed_at=row.landed_at + shift) if shift else row for row in rows])
        last = max((row.landed_at for row in landed[-1]), default=last)
    ids = Counter(row.delivery_id for w in worlds for row in {r.delivery_id: r for r in w.rows}.values())
    assert max(ids.values(), default=1) == 1
    return World(
        landed,
        [e for w in worlds for e in w.experiments],
        [e for w in worlds for e in w.events],
        set().union(*(w.test_identities for w in worlds)),
    )


def judge(
    directory: Path,
    seeds: list[int],
    parts: int = 3,
    deliveries: int = 300,
    odd: bool = True,
    without: frozenset = frozenset(),
) -> Verdict:
    """Build the history of these seeds in both ways, and compare."""
    history, rng, verdict = together(seeds, parts, deliveries, without), Random(str(seeds)), Verdict()
    in_parts, at_once = Warehouse(directory / "in_parts"), Warehouse(directory / "at_once")

    def run(warehouse: Warehouse, *arguments: str, is_odd: bool = False, **how) -> None:
        said = warehouse.dbt("run", *arguments, **how)
        verdict.steps.append(
            " ".join(
                [
                    "run",
                    *arguments,
                    *(f"{k}={v}" for k, v in how.items() if v),
                    "" if said is None else "(failed)",
                ]
            )
        )
        if said and said != "killed" and not is_odd:
            verdict.failures.append(_errors(said))

    in_parts.declare(history)
    for rows in history.parts:
        in_parts.land(rows)
        verdict.steps.append(f"land {len(rows)}")
        dice = rng.random() if odd else 1
        if dice < 0.35:
            run(in_parts, killed_after=rng.uniform(3, 16), zone=rng.choice(ZONES), is_odd=True)
        elif dice < 0.6:
            run(in_parts, *rng.choice(SELECTIONS), zone=rng.choice(ZONES), is_odd=True)
        elif dice < 0.85:
            run(
                in_parts,
                "--full-refresh",
                "--select",
                *rng.choice(REBUILDS),
                zone=rng.choice(ZONES),
                is_odd=True,
            )
        run(in_parts, zone=rng.choice(ZONES))
    at_once.declare(history)
    at_once.land(history.rows)
    run(at_once)

    _compare(verdict, history, at_once, in_parts)
    return verdict


def _compare(verdict: Verdict, history: World, at_once: Warehouse, in_parts: Warehouse) -> None:
    """Add to the verdict what differs from the judge in either warehouse, and between the two."""
    wanted = expected(History(history.rows, history.test_identities), history.experiments, history.events)
    for warehouse, found in ((at_once, verdict.at_once), (in_parts, verdict.in_parts)):
        for mart, key in KEYS.items():
            got = warehouse.rows(mart)
            if mart == "fct_experiment_results":
                got = [row for row in got if row["identities"]]
            found += differences(mart, key, wanted[mart], got)
    for mart in at_once.tables("marts"):
        verdict.between += unlike(mart, at_once.rows(mart), in_parts.rows(mart))


def unlike(mart: str, at_once: list[dict], in_parts: list[dict]) -> list[Difference]:
    """Rows that only one of the two warehouses has, bookkeeping (columns that begin with `_`) left out."""

    def plain(rows: list[dict]) -> Counter:
        return Counter(
            repr({k: _rounded(v) for k, v in row.items() if not k.startswith("_")}) for row in rows
        )

    one, other = plain(at_once), plain(in_parts)
    # Whatever is in one and not in the other is shown beside the nearest of the other, by order.
    only, extra = sorted((one - other).elements()), sorted((other - one).elements())
    return [
        Difference(mart, "parts differ from at once", (), a, b)
        for a, b in zip(
            only + [None] * (len(extra) - len(only)), extra + [None] * (len(only) - len(extra)), strict=True
        )
    ]


def _rounded(value):
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _errors(said: str) -> str:
    lines = [line for line in said.splitlines() if "rror" in line or "Failure" in line]
    return "\n".join(lines[:12]) or said[-800:]
