"""`flagsmith-warehouse aa`: A/A tests on past identities. How often does this pipeline find a difference where there is none?

Takes the identities that were evaluated in the last days, with the outcomes that they really had, and splits them at random many
times. The models of experiments judge each split, in a temporary warehouse.
"""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import get_args

import duckdb
import numpy as np

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.filesystem import write_record
from flagsmith_warehouse.loader.operations import dbt, declarations, publish, relations
from flagsmith_warehouse.loader.operations.ask import AGGREGATIONS
from flagsmith_warehouse.loader.settings import WAREHOUSE_DIR, Settings

SPLITS_AT_ONCE = 20  # splits held in memory, each with one number per identity
# The sums of a quantile say nothing of it.
KNOWN = tuple(each for each in AGGREGATIONS if each != "quantile")
SUMS = ("outcome_sum", "outcome_sum_squares", "denominator_sum", "denominator_sum_squares", "outcome_denominator_products",
        "before_sum", "before_sum_squares", "outcome_before_products")  # fmt: skip
# One row per identity that was evaluated in the last days: what it had since, by the metric, and what it had before.
VALUES = """
with assigned as (
    select coalesce(user_id, identity) as identity, min(received_at) as first_exposed_at
    from {int_deliveries} left join {int_declared_identity_map} using (identity)
    where environment = $environment and kind = 'evaluation' and not is_test_identity and received_at > $clock - to_days($days)
    group by all
    having $window is null or min(received_at) + to_hours(1) * $window <= $clock  -- the others had no time yet
), events as (
    select identity, event_name, occurred_at, value
    from {int_outcomes}
    where (environment = $environment or environment is null) and occurred_at <= $clock
        and event_name in ($event_name, $denominator_event_name)
), outcomes as (
    select
        assigned.identity,
        events.event_name = $event_name as is_outcome,
        events.event_name = $denominator_event_name as is_denominator,
        events.occurred_at < assigned.first_exposed_at as is_before,
        events.occurred_at,
        (epoch_us(events.occurred_at) - epoch_us(assigned.first_exposed_at)) / 3.6e9 as hours,
        case when $counts_outcomes then 1 else events.value end as value,
        case when $counts_denominators then 1 else events.value end as denominator
    from assigned inner join events on assigned.identity = events.identity
    where case
        when events.occurred_at < assigned.first_exposed_at
        then events.occurred_at >= assigned.first_exposed_at - to_hours(1) * (24 * $before_days)
        else events.occurred_at >= assigned.first_exposed_at + to_hours(1) * $window_start
            and coalesce(events.occurred_at < assigned.first_exposed_at + to_hours(1) * $window, true)
    end
)
select
    case $aggregation
        when 'days' then count(distinct occurred_at::date) filter (where is_outcome and not is_before)
        when 'hours_to_first' then coalesce(min(hours) filter (where is_outcome and not is_before), 0)
        else coalesce(sum(value) filter (where is_outcome and not is_before), 0)
    end::double,
    count(value) filter (where is_outcome and not is_before),
    case $aggregation
        when 'hours_to_first' then coalesce(bool_or(is_outcome and not is_before), false)::integer
        else coalesce(sum(denominator) filter (where is_denominator and not is_before), 0)
    end::double,
    coalesce(sum(value) filter (where is_outcome and is_before), 0)::double,
    count(value) filter (where is_outcome and is_before)
from assigned left join outcomes on assigned.identity = outcomes.identity
group by assigned.identity
order by assigned.identity
"""
# The settings of the newest experiment that has the metric.
SETTINGS = """
select experiments.alpha, experiments.sequential_tuning, experiments.decision_method
from {int_declared_experiments} as experiments
inner join {int_declared_experiment_metrics} as links on experiments.experiment_key = links.experiment_key
where links.metric_key = ? and experiments.problem is null
order by experiments.started_at desc, experiments.experiment_key limit 1
"""
NEEDED = (
    "int_deliveries",
    "int_outcomes",
    "int_declared_identity_map",
    "int_declared_metrics",
    "int_declared_experiments",
    "int_declared_experiment_metrics",
)
JUDGED = """
select relative_p_value, relative_sequential_p_value, relative_chance_to_win, cuped_relative_p_value,
    cuped_relative_sequential_p_value, cuped_relative_chance_to_win,
    1 - pow(cuped_relative_standard_error / relative_standard_error, 2)
from {} where variation = 'treatment' and dimension is null
"""


class AaError(LoaderError):
    """There is nothing to split. The message says why, and what to do."""


@dataclass(frozen=True)
class Rate:
    """How often a method saw a difference where there is none, with its 95 % interval (Wilson), and how often it may."""

    method: str
    is_declared: bool
    false_alarms: int
    rate: float
    low: float
    high: float
    expected: float


@dataclass(frozen=True)
class Answer:
    """What the splits have shown. `until`: the environment's last webhook. `uniformity_p_value`: of Kolmogorov and Smirnov's test.
    `decision_method`: of the newest experiment that has the metric; None where none has it.
    """

    metric: str
    environment: str
    until: str
    identities: int
    experiments: int
    days: int
    alpha: float
    decision_method: str | None
    is_adjusted: bool
    rates: list[Rate]
    p_values_by_tenth: list[int]
    uniformity_p_value: float
    variance_saved: float | None


@dataclass(frozen=True)
class Data:
    """The declared metric, the settings of its newest experiment (without one no method), and a value of each part for every identity."""

    metric: dict
    alpha: float
    tuning: float
    method: str | None
    environment: str
    clock: datetime
    outcome: np.ndarray
    denominator: np.ndarray
    before: np.ndarray


def judge_splits(
    settings: Settings, metric: str, experiments: int, days: int, environment: str | None, seed: int,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Answer:  # fmt: skip
    """Split, judge and count. Raises AaError where there is nothing to split."""
    with lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait):
        data = _read(settings, metric, days, environment, on_wait)
    sums = split_sums(data.outcome, data.denominator, data.before, experiments, seed)
    rows = _judge(settings, data, sums)
    if not rows:
        raise AaError(
            f"{metric} cannot be compared: nobody has an outcome, or everybody has the same. Try more --days."
        )
    is_adjusted = data.metric["before_days"] is not None and rows[0][3] is not None
    columns = np.array([row[3:6] if is_adjusted else row[:3] for row in rows], dtype=float)
    return Answer(
        metric,
        data.environment,
        data.clock.isoformat(),
        len(data.outcome),
        len(rows),
        days,
        data.alpha,
        data.method,
        is_adjusted,
        _rates(columns, data),
        np.histogram(columns[:, 0], bins=10, range=(0, 1))[0].tolist(),
        uniformity(columns[:, 0]),
        float(np.mean([row[6] for row in rows])) if is_adjusted else None,
    )


def _read(
    settings: Settings,
    metric_key: str,
    days: int,
    environment: str | None,
    on_wait: Callable[[str], None],
) -> Data:
    if not settings.warehouse_file.exists():
        raise AaError(f"There is no {settings.warehouse_file}. Run `flagsmith-warehouse refresh` first.")
    opened = lock.when_free(
        lambda: duckdb.connect(settings.warehouse_file, read_only=True),
        settings.warehouse_file,
        settings.lock_timeout_seconds,
        on_wait,
    )
    with contextlib.closing(opened) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        there = _needed(warehouse)
        metric = _declared_metric(warehouse, there["int_declared_metrics"], metric_key)
        declared = warehouse.execute(SETTINGS.format(**there), [metric_key]).fetchone() or (
            0.05,
            5000.0,
            None,
        )
        environment, clock = _clock(warehouse, there["int_deliveries"], environment)
        given = {
            "environment": environment,
            "clock": clock,
            "days": days,
            "event_name": metric["event_name"],
            "denominator_event_name": metric["denominator_event_name"],
            "aggregation": metric["aggregation"],
            "counts_outcomes": _counts(metric),
            "counts_denominators": metric["denominator_aggregation"] == "count",
            "before_days": metric["before_days"],
            "window": metric["conversion_window_hours"],
            "window_start": metric.get("window_start_hours") or 0,
        }
        values = np.array(warehouse.execute(VALUES.format(**there), given).fetchall(), dtype=float).reshape(
            -1, 5
        )
    if len(values) < 4:
        raise AaError(
            f"{environment} evaluated {len(values)} identities in {days} days: too few to split. Try more --days."
        )
    outcome, before = (_values(metric, values[:, at], values[:, at + 1]) for at in (0, 3))
    if percentile := metric["winsorise_percentile"]:
        cap = max(np.sort(outcome)[math.ceil(percentile * len(outcome)) - 1], 0)
        outcome, before = np.minimum(outcome, cap), np.minimum(before, cap)
    return Data(metric, *declared, environment, clock, outcome, values[:, 2], before)


def _needed(warehouse: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The relations that are read, by the name of their model, as they are written in SQL."""
    (database,) = warehouse.execute("select current_database()").fetchone()
    built = relations.read(warehouse, database)
    found = {model: built.named(model) for model in NEEDED}
    if missing := sorted(model for model, each in found.items() if each is None):
        raise AaError(f"{', '.join(missing)} is not built. Run `flagsmith-warehouse refresh` first.")
    return {model: publish.name(each.schema, each.identifier) for model, each in found.items()}


def _declared_metric(warehouse: duckdb.DuckDBPyConnection, metrics: str, metric_key: str) -> dict:
    found = warehouse.execute(f"from {metrics} where metric_key = ?", [metric_key])
    row = found.fetchone()
    if row is None:
        raise AaError(
            f"No metric {metric_key} is declared, or it has a problem: see `flagsmith-warehouse check`."
        )
    metric = dict(zip([column[0] for column in found.description], row, strict=True))
    if metric["aggregation"] not in KNOWN:
        raise AaError(
            f"{metric_key} is of the aggregation {metric['aggregation']}, which aa cannot split. Try a metric of "
            f"{', '.join(KNOWN[:-1])} or {KNOWN[-1]}."
        )
    return metric


def _clock(warehouse: duckdb.DuckDBPyConnection, deliveries: str, environment: str | None) -> tuple:
    """The environment, by default the one with most deliveries, and the last time that it was heard of."""
    query = (
        f"select environment, max(received_at) from {deliveries} where environment = coalesce(?, environment)"  # noqa: S608
        " group by environment order by count(*) desc, environment limit 1"
    )
    found = warehouse.execute(query, [environment]).fetchone()
    if found is None:
        raise AaError(f"Nothing was ever received from {environment or 'any environment'}.")
    return found


def _counts(metric: dict) -> bool:
    return metric["aggregation"] in ("occurrence", "count") or (
        metric["aggregation"] == "ratio" and metric["numerator_aggregation"] == "count"
    )


def _values(metric: dict, total: np.ndarray, number: np.ndarray) -> np.ndarray:
    if metric["aggregation"] == "occurrence":
        return (total > 0).astype(float)
    return total / np.maximum(number, 1) if metric["aggregation"] == "mean" else total


def split_sums(
    outcome: np.ndarray, denominator: np.ndarray, before: np.ndarray, experiments: int, seed: int
) -> np.ndarray:
    """The number of identities of each arm of each split, and their sums: an array by experiment, arm and sum."""
    parts = (
        outcome,
        outcome**2,
        denominator,
        denominator**2,
        outcome * denominator,
        before,
        before**2,
        outcome * before,
    )
    columns = np.column_stack([np.ones(len(outcome)), *parts])
    drawn = np.random.default_rng(seed)
    treated = [
        (
            drawn.random((min(SPLITS_AT_ONCE, experiments - begin), len(outcome)), dtype=np.float32) < 0.5
        ).astype(float)
        @ columns
        for begin in range(0, experiments, SPLITS_AT_ONCE)
    ]
    treatment = np.concatenate(treated)
    return np.stack([columns.sum(axis=0) - treatment, treatment], axis=1)


def _judge(settings: Settings, data: Data, sums: np.ndarray) -> list[tuple]:
    """What the models say of each split that can be compared."""
    profiles = dbt.project_of(settings) / "profiles.yml"
    if not profiles.exists() or WAREHOUSE_DIR.name not in profiles.read_text(encoding="utf-8"):
        # dbt would judge the splits in the warehouse that people read.
        raise AaError(
            f"{profiles} does not use {WAREHOUSE_DIR.name} for the path of the warehouse, as our profile does. Nothing was done."
        )
    keys = [f"split {number}" for number in range(len(sums))]
    with tempfile.TemporaryDirectory() as folder:
        own = replace(settings, warehouse_dir=Path(folder))
        with duckdb.connect(own.warehouse_file) as warehouse:
            _give(warehouse, data, keys, sums)
        given = {
            name: f"given.{name}"
            for name in ("experiments", "metrics", "experiment_metrics", "experiment_statistics")
        }
        known = given | {
            "conversion_events": None,
            "flagsmith_events_table": None,
            "cohorts": [],
            "retention_days": None,
        }
        before = os.environ.get(WAREHOUSE_DIR.name)
        try:
            places = ("--target-path", f"{folder}/target", "--log-path", folder)
            outcome = dbt.run(
                own,
                "--quiet",
                "run",
                "--select",
                "+int_experiment_series",
                *declarations.variables(settings, known),
                *places,
            )
        finally:
            os.environ.pop(WAREHOUSE_DIR.name) if before is None else os.environ.update(
                {WAREHOUSE_DIR.name: before}
            )
        if not outcome.success:
            raise AaError(f"The splits could not be judged: {dbt.reason(outcome)}")
        with contextlib.closing(duckdb.connect(own.warehouse_file, read_only=True)) as warehouse:
            (database,) = warehouse.execute("select current_database()").fetchone()
            series = relations.read(warehouse, database).named("int_experiment_series")
            rows = warehouse.execute(JUDGED.format(publish.name(series.schema, series.identifier))).fetchall()
    return [row for row in rows if row[0] is not None]


def _give(warehouse: duckdb.DuckDBPyConnection, data: Data, keys: list[str], sums: np.ndarray) -> None:
    """The declarations and the sums, as relations that vars can name."""
    warehouse.execute("create schema given")
    warehouse.execute(
        "create table given.experiments as select unnest(?::varchar[]) as experiment_key, ? as environment, 'a' as feature_name, "
        "'control' as control_variation, '2000-01-01' as started_at, 'environment_default' as assignment_reason, "
        "? as alpha, ? as sequential_tuning",
        [keys, data.environment, str(data.alpha), str(data.tuning)],
    )
    cells = {name: None if value is None else str(value) for name, value in data.metric.items()}
    columns = ", ".join(f'?::varchar as "{name}"' for name in cells)
    warehouse.execute(f"create table given.metrics as select {columns}", list(cells.values()))
    warehouse.execute(
        "create table given.experiment_metrics as select experiment_key, ? as metric_key, 'primary' as role from given.experiments",
        [data.metric["metric_key"]],
    )
    names = ", ".join(f"unnest(?::double[]) as {name}" for name in SUMS)
    arms = [
        "select unnest(?::varchar[]) as experiment_key, ?::varchar as metric_key, ?::varchar as variation, 'assigned' as population, "
        f"date '2000-01-02' as day, unnest(?::bigint[]) as identities, {names}"
        for _ in range(2)
    ]
    parameters = []
    for place, variation in enumerate(("control", "treatment")):
        arm = sums[:, place].T.tolist()
        parameters += [keys, data.metric["metric_key"], variation, *arm]
    warehouse.execute(f"create table given.experiment_statistics as {' union all '.join(arms)}", parameters)


def _rates(columns: np.ndarray, data: Data) -> list[Rate]:
    """The false-alarm rate of each decision method except Flagsmith's own."""
    p_values, sequential, chances = columns.T
    alarms = {
        "frequentist": (p_values < data.alpha, data.alpha),
        "sequential": (sequential < data.alpha, data.alpha),
        "bayesian": ((chances > 1 - data.alpha) | (chances < data.alpha), 2 * data.alpha),
    }
    return [
        Rate(
            method, method == data.method, int(found.sum()), *interval(int(found.sum()), len(found)), expected
        )
        for method, (found, expected) in alarms.items()
    ]


def interval(found: int, of: int) -> tuple[float, float, float]:
    """The share and Wilson's 95 % interval of it."""
    z, share = NormalDist().inv_cdf(0.975), found / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return share, max(centre - half, 0.0), min(centre + half, 1.0)


def uniformity(p_values: np.ndarray) -> float:
    """P-value of Kolmogorov and Smirnov's test that they are uniform: the limiting distribution, with Stephens' correction."""
    ordered, of = np.sort(p_values), len(p_values)
    steps = np.arange(of + 1) / of
    distance = max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())
    scaled = distance * (math.sqrt(of) + 0.12 + 0.11 / math.sqrt(of))
    if scaled < 0.2:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(max(sum(terms), 0.0), 1.0)


def keep(settings: Settings, answer: Answer, on_wait: Callable[[str], None] = lambda text: None) -> None:
    """Write the answer down for the page about A/A tests, in place of the last one of its metric and environment.

    Raises StillHeld where a refresh or another command takes too long. A file that `kept` refuses is replaced.
    """
    with lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait):
        try:
            before = kept(settings)
        except AaError:
            before = []
        others = [
            one
            for one in before
            if (one["metric"], one["environment"]) != (answer.metric, answer.environment)
        ]
        write_record(settings.aa_record, [*others, asdict(answer)])


def kept(settings: Settings) -> list[dict]:
    """The answers that were written down, the oldest first; none without the file. Raises AaError where it is not ours."""
    path = settings.aa_record
    try:
        answers = json.loads(path.read_text("utf-8"))
        if not _fits(answers, list[Answer]):
            raise ValueError("it holds something else than the answers of A/A tests")
        for one in answers:
            datetime.fromisoformat(one["until"]) - timedelta(days=one["days"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise AaError(
            f"{path} cannot be read ({error}). Run `flagsmith-warehouse aa` again: it writes a new file."
        ) from error
    return answers


def _fits(value: object, kind: type) -> bool:
    """Whether something read from JSON is of this type; dataclasses are dicts there."""
    if is_dataclass(kind):
        return isinstance(value, dict) and all(
            each.name in value and _fits(value[each.name], each.type) for each in fields(kind)
        )
    if kind in (int, float):
        is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    if isinstance(kind, type) and not get_args(kind):
        return isinstance(value, kind)
    inner = get_args(kind)
    if len(inner) == 1:  # list[…]
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    return any(_fits(value, each) for each in inner)  # … | None


def as_json(answer: Answer) -> str:
    return json.dumps(asdict(answer), indent=2)
