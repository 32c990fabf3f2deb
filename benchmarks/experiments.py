"""Experiments: how often the real models are right where the truth is known, and their time compared with a plain GROUP BY.

    python -m benchmarks experiments              both (about four minutes on 2 cores)
    python -m benchmarks.experiments truth        coverage, false alarms under peeking, sample ratios
    python -m benchmarks.experiments size         1,000,000 identities, 10 metrics, 10,000,000 events

`truth` replaces the sums (`var('experiment_statistics')`) or the assignments by simulated ones, builds the marts, and
counts its figures in fct_experiment_results_daily and fct_experiment_health.
"""

import resource
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from tests.statistics.experiments import SUMS, ExperimentWarehouse, clock, experiment, link, metric

EXPERIMENTS = 1_000
DAYS = 20
DAILY = 200  # identities an arm and day
SEED = 0.8  # of the sample ratios; 0.5 was that of the simulations after which their threshold was chosen
METRICS = {"purchase": 0.10, "revenue": 0.10}  # true relative lifts where the treatment works


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        truth(Path(directory) / "truth")
        sample_ratios(Path(directory) / "ratios")
        size(Path(directory) / "size")


def outcomes(random: np.random.Generator, lift: float) -> dict[str, np.ndarray]:
    """Return the outcomes of the identities in one arm of all experiments, in order of arrival."""
    shape = (EXPERIMENTS, DAYS * DAILY)
    taste = random.normal(size=shape, scale=0.8)  # known from before, and steering the outcome
    bought = random.random(shape) < 0.1 * (1 + lift)
    revenue = np.exp(2 + taste + random.normal(size=shape, scale=0.6)) * (1 + lift)
    return {"purchase": bought.astype(float), "revenue": revenue, "before": np.exp(2 + taste)}


def cumulative(values: np.ndarray) -> np.ndarray:
    """Return the sums up to the end of each day, an array of (experiments, days)."""
    return values.reshape(EXPERIMENTS, DAYS, DAILY).sum(axis=2).cumsum(axis=1)


def statistics_of(values: dict[str, np.ndarray], metric_key: str) -> dict[str, np.ndarray]:
    outcome, before = values[metric_key], values["before"]
    sums = {"outcome_sum": outcome, "outcome_sum_squares": outcome * outcome}
    if metric_key == "revenue":
        sums |= {
            "before_sum": before,
            "before_sum_squares": before * before,
            "outcome_before_products": outcome * before,
        }
    return {name: cumulative(value) for name, value in sums.items()}


def truth(directory: Path) -> None:
    """Print the coverage of the intervals where the treatment has an effect, and the false alarms of daily looks where it has none."""
    warehouse = ExperimentWarehouse(directory)
    keys = [f"{kind} {i}" for kind in ("works", "nothing") for i in range(EXPERIMENTS)]
    warehouse.give("experiments", [experiment(key) for key in keys])
    warehouse.give("metrics", [metric("purchase"), metric("revenue", aggregation="sum", before_days=14)])
    warehouse.give("experiment_metrics", [link(key, name) for key in keys for name in METRICS])
    warehouse.give("statistics", [])
    random = np.random.default_rng(20261101)
    with duckdb.connect(warehouse.path) as connection:
        for kind in ("works", "nothing"):
            for variation in ("control", "treatment"):
                lift = 0.10 if (kind, variation) == ("works", "treatment") else 0.0
                values = outcomes(random, lift)
                for name in METRICS:
                    insert(connection, kind, name, variation, statistics_of(values, name))
    warehouse.run()
    report(warehouse)


def insert(connection, kind: str, metric_key: str, variation: str, sums: dict[str, np.ndarray]) -> None:
    day = np.tile(np.arange(DAYS), EXPERIMENTS)
    frame = {"i": np.repeat(np.arange(EXPERIMENTS), DAYS), "day": day} | {
        k: v.ravel() for k, v in sums.items()
    }
    connection.register("frame", frame)
    columns = ", ".join(name if name in sums else "0" for name in SUMS)
    connection.execute(
        f"insert into given.statistics select '{kind} ' || i, ?, ?, 'assigned', date '2026-01-01' + cast(day as integer),"
        f" (day + 1) * {DAILY}, {columns} from frame",
        [metric_key, variation],
    )
    connection.unregister("frame")


def report(warehouse: ExperimentWarehouse) -> None:
    last = date(2026, 1, 1) + timedelta(days=DAYS - 1)
    print(f"{EXPERIMENTS} experiments of {DAYS} days, {DAYS * DAILY} identities an arm. True lift 10 %:\n")
    print("| metric | interval | covers the truth |\n|---|---|---|")
    for name, prefix in (("purchase", ""), ("revenue", ""), ("revenue", "cuped_")):
        for method in ("", "bayesian_", "sequential_"):
            low, high = (f"{prefix}relative_{method}{end}" for end in ("low", "high"))
            row = warehouse.query(
                f"select avg(cast({low} <= 0.1 and {high} >= 0.1 as integer)) as share"
                " from marts.fct_experiment_results_daily"
                " where experiment_key like 'works%' and variation = 'treatment' and metric_key = ? and day = ?",
                *(name, last),
            )[0]
            print(f"| {name} | {prefix}relative_{method}low … high | {row['share']:.1%} |")
    print("\nTrue lift 0, looked at every day, called a difference as soon as p < 0.05:\n")
    print("| metric | test | false alarms |\n|---|---|---|")
    for name in METRICS:
        for column in ("relative_p_value", "relative_sequential_p_value"):
            row = warehouse.query(
                f"select avg(cast(smallest < 0.05 as integer)) as share from ("
                f" select experiment_key, min({column}) as smallest from marts.fct_experiment_results_daily"
                " where experiment_key like 'nothing%' and variation = 'treatment' and metric_key = ?"
                " group by experiment_key)",
                name,
            )[0]
            print(f"| {name} | {column} | {row['share']:.1%} |")


def sample_ratios(directory: Path) -> None:
    """Print how often the sample ratio check raises an alarm: on a fair split, with weights changed half-way, and with lost identities."""
    warehouse = ExperimentWarehouse(directory)
    worlds = {
        "fair": ("auto", 20_000, 500, (0.5, 0.5)),
        "changed": ("auto", 20_000, 500, (0.5, 0.8)),
        "changed, naive": ("control=20;blue=80", 2_000, 500, (0.5, 0.8)),
        "a tenth of blue lost": ("auto", 500, 14_000, (0.45 / 0.95, 0.45 / 0.95)),
    }
    keys = {world: [f"{world} {i}" for i in range(size)] for world, (_, size, _, _) in worlds.items()}
    warehouse.give(
        "experiments",
        [experiment(key, expected_weights=worlds[world][0]) for world in worlds for key in keys[world]],
    )
    warehouse.run()
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(f"set threads = 1; select setseed({SEED})")
        connection.execute("delete from intermediate.int_experiment_assignments")
        connection.execute(
            "delete from intermediate.int_experiment_epochs where experiment_key not like '%naive%'"
        )
        for world, (_, number, identities, shares) in worlds.items():
            assign(connection, world, number, identities, shares)
    tables = ("int_experiment_variation_counts", "int_experiment_share_tests")
    warehouse.run("run", "--select", *tables, "fct_experiment_health")
    print("\n| sample ratio | experiments | alarms |\n|---|---|---|")
    for world, (_, number, identities, _) in worlds.items():
        row = warehouse.query(
            "select avg(cast(is_alarm as integer)) as share, count(*) filter (where is_alarm) as alarms"
            " from (select experiment_key, bool_or(status = 'alarm') as is_alarm"
            " from marts.fct_experiment_health where check_name = 'sample_ratio' group by all)"
            " where regexp_full_match(experiment_key, ?)",
            world + " [0-9]+",
        )[0]
        print(f"| {world}, {identities} identities | {number} | {row['alarms']} ({row['share']:.2%}) |")


def assign(connection, world: str, number: int, identities: int, shares: tuple[float, float]) -> None:
    """Assign half of the identities in each epoch; `shares` are the shares of the variation blue."""
    connection.execute(
        "insert into intermediate.int_experiment_assignments"
        " (experiment_key, identity, variation, epoch, is_quarantined, first_exposed_at)"
        " select ? || ' ' || e, i, case when random() < case when i % 2 = 0 then ? else ? end then 'blue' else 'control' end,"
        " case when ? or i % 2 = 0 then 1 else 2 end, false, timestamp '2026-01-01'"
        " from range(?) as experiments(e), range(?) as identities(i)",
        [world, *shares, "naive" in world, number, identities],
    )
    if "naive" in world:
        return
    intended = {1: 50, 2: 50 if world in ("fair", "a tenth of blue lost") else 80}
    for epoch, weight in intended.items():
        connection.execute(
            "insert into intermediate.int_experiment_epochs by name"
            " select ? || ' ' || e as experiment_key, ? as epoch, variation,"
            " case variation when 'blue' then ? else 100 - ? end as weight, timestamp '2026-01-01' as valid_from"
            " from range(?) as experiments(e), (values ('blue'), ('control')) as arms(variation)",
            [world, epoch, weight, weight, number],
        )


def size(directory: Path, identities: int = 1_000_000, events: int = 10_000_000, metrics: int = 10) -> None:
    """Time the models of one large experiment beside a plain GROUP BY over the same events."""
    warehouse = ExperimentWarehouse(directory)
    names = [f"event_{i}" for i in range(metrics)]
    warehouse.land([clock(24 * 40)])
    warehouse.give("experiments", [experiment("large", ended_at="2026-02-01")])
    warehouse.give("metrics", [metric(name, aggregation="sum") for name in names])
    warehouse.give("experiment_metrics", [link("large", name) for name in names])
    warehouse.run()
    chain = ("run", "--select", "int_experiment_assignments+", "--exclude", "int_experiment_assignments")
    empty = busy(lambda: warehouse.run(*chain, "--full-refresh"))
    with duckdb.connect(warehouse.path) as connection:
        fill(connection, identities, events, metrics)
    plain = busy(lambda: group_by(warehouse, PLAIN))
    whole = busy(lambda: warehouse.run(*chain, "--full-refresh"))
    same_questions = busy(lambda: warehouse.run(*chain, *LATER_QUESTIONS, "--full-refresh"))
    plain = (plain + busy(lambda: group_by(warehouse, PLAIN))) / 2
    with duckdb.connect(warehouse.path) as connection:
        connection.execute(
            "insert into given.conversion_events select environment, identity, event_name,"
            " occurred_at + interval 1 day, value from given.conversion_events where occurred_at >= timestamp '2026-01-28'"
        )
    again = busy(lambda: warehouse.run(*chain))
    numbers = busy(lambda: group_by(warehouse, NUMBERS))
    per_identity = busy(lambda: group_by(warehouse, PER_IDENTITY))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\n{identities:,} identities, {metrics} metrics, {events:,} events, 28 days:\n")
    print("| | seconds of processor | times |\n|---|--:|--:|")
    for what, seconds in (
        ("plain group by: variation, event, day over the joined events", plain),
        ("plain group by: per identity first, as sums of squares need", per_identity),
        ("numbers of identities, which 0.1.0 gave in its int_experiment_identities", numbers),
        ("these, and all after int_experiment_assignments, with dbt", numbers + whole),
        ("the same for what 0.1.0 answered", numbers + same_questions),
        ("of that, what no event costs: dbt's start, planning", empty),
        ("one more day, with dbt", again),
    ):
        print(f"| {what} | {seconds:.1f} | {seconds / plain:.1f} |")
    print(f"\nGreatest memory of the process: {peak:.1f} GB")


# Models of what 0.1.0 did not answer (curves, breakdowns, overlap), and the mart that it built before its int_experiment_identities.
LATER_QUESTIONS = (
    "int_experiment_curve_sums",
    "int_experiment_breakdown*",
    "int_experiment_overlap",
    "int_experiment_shared_identities",
    "fct_experiment_curves",
    "fct_experiment_results_by",
    "fct_experiment_overlap",
    "fct_experiment_assignments",
)

# As int_experiment_assignments makes them.
NUMBER = "md5_number(sha256('5:large' || length({identity}) || ':' || {identity}))"
NUMBERS = f"select max({NUMBER.format(identity='identity')}) from intermediate.int_experiment_assignments"
PLAIN = """
select variation, event_name, cast(occurred_at as date), count(*), sum(value)
from given.conversion_events join intermediate.int_experiment_assignments using (identity)
where occurred_at >= first_exposed_at group by all
"""
PER_IDENTITY = """
select variation, event_name, sum(value), sum(value * value) from (
    select variation, event_name, identity, sum(value) as value
    from given.conversion_events join intermediate.int_experiment_assignments using (identity)
    where occurred_at >= first_exposed_at group by all
) group by all
"""


def group_by(warehouse: ExperimentWarehouse, sql: str) -> None:
    warehouse.query(sql)


def busy(work) -> float:
    """Return the processor time of a piece of work. Other work on the machine disturbs it less than wall time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def fill(connection, identities: int, events: int, metrics: int) -> None:
    connection.execute("set threads = 1; select setseed(0.5)")
    number = NUMBER.format(identity="('user-' || i)")
    connection.execute(
        "insert into intermediate.int_experiment_assignments"
        " (experiment_key, identity, identity_number, variation, epoch, is_quarantined, first_exposed_at)"
        f" select 'large', 'user-' || i, {number},"
        " case when i % 2 = 0 then 'control' else 'blue' end, 1, false,"
        " timestamp '2026-01-01' + cast(random() * 7 * 86400 as integer) * interval 1 second from range(?) as t(i)",
        [identities],
    )
    connection.execute(
        "insert into given.conversion_events select null, 'user-' || cast(floor(random() * ?) as bigint), 'event_' || i % ?,"
        " timestamp '2026-01-01' + cast(random() * 28 * 86400 as integer) * interval 1 second,"
        " round(random() * 100, 2) from range(?) as t(i)",
        [identities, metrics, events],
    )


if __name__ == "__main__":
    parts = {"truth": (truth, sample_ratios), "size": (size,)}
    with tempfile.TemporaryDirectory() as directory:
        for part in parts[sys.argv[1]] if sys.argv[1:] else (truth, sample_ratios, size):
            part(Path(directory) / part.__name__)
