"""What a day of webhooks costs: building and storing, measured over sizes, fitted, and carried on to larger days.

`python -m benchmarks scale` lands and builds histories of up to 1,000,000 deliveries on DuckDB, once with few states (a
state is what an identity was given, until something of it changes) and once with a state for every call. To each cost it fits

    cost = fixed + per delivery * deliveries + per state * states        (no part below 0)

by least squares of relative errors. It says how far the fit is from the measurements, and how well a fit of the smaller sizes
foretells the largest. Then it computes days that were not measured. SCALE_DELIVERIES="10000 100000" names other sizes.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb
import numpy as np
from scipy.optimize import nnls

from benchmarks.growth import processor_seconds
from benchmarks.transform import Project, parameters
from flagsmith_warehouse.simulator.landing import append
from flagsmith_warehouse.simulator.world import World

SIZES = [
    int(size) for size in os.environ.get("SCALE_DELIVERIES", "10000 30000 100000 300000 1000000").split()
]
INCREMENT = 10_000
# Shares of calls that make a state of their own, beside those of the simulated world (7.4 calls per state).
TRAFFIC = {"few states": 0.0, "every call a state": 1.0}
# As `land --to` writes files.
FILES = """
copy (select *, strftime(landed_at, '%Y-%m-%d') as day from landing.webhooks order by body)
to '{}' (format parquet, compression zstd, partition_by (day))
"""
# What the days below take for granted.
DAYS = (10**6, 10**8, 10**10)
CALLS_PER_STATE = 10
REFRESHES = 24  # a day
LANDINGS = 288  # a day, of each loader: one every five minutes
PEAK = 3  # the busiest hour, in mean hours
WEBHOOKS_A_SECOND = 9_000  # of one loader on 2 cores (`python -m benchmarks loader`)
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class History:
    """How long it is."""

    traffic: str
    deliveries: int
    states: int


@dataclass(frozen=True)
class Costs(History):
    """One history, and what it took."""

    body_bytes: int
    file_bytes: int
    warehouse_bytes: int
    build_seconds: float
    increment_seconds: float


# By the name of a cost: its unit, and what it is of a history.
Fitted = dict[str, tuple[str, Callable[[History], float]]]
# What is fitted, over the deliveries and states of a history. Figures of increments are of the history before it.
FITTED: Fitted = {
    "full build": ("s of processor", lambda costs: costs.build_seconds),
    "increment of 10,000": ("s of processor", lambda costs: costs.increment_seconds),
    "warehouse file": ("bytes", lambda costs: costs.warehouse_bytes),
    "Parquet files": ("bytes", lambda costs: costs.file_bytes),
}


@dataclass(frozen=True)
class Fit:
    """The parts of a cost, and relative errors: the median and largest of the fit, and that of the largest size foretold."""

    parts: np.ndarray
    median_error: float
    largest_error: float
    foretold_error: float


def measure(directory: Path, traffic: str, deliveries: int) -> Costs:
    """Land and build a history, and then an increment."""
    directory.mkdir()
    project = Project(directory)
    stream = iter(World(parameters(deliveries + INCREMENT, TRAFFIC[traffic])).deliveries())
    append(project.file, islice(stream, deliveries))
    with duckdb.connect(project.file) as warehouse:
        warehouse.execute(FILES.format(directory / "files"))
        (body_bytes,) = warehouse.execute("select sum(strlen(body)) from landing.webhooks").fetchone()
    project.dbt("seed")
    build_seconds = processor_seconds(lambda: project.dbt("run"))
    with duckdb.connect(project.file) as warehouse:
        (states,) = warehouse.execute("select count(*) from intermediate.int_state_spells").fetchone()
        warehouse.execute("checkpoint")
    warehouse_bytes = project.file.stat().st_size
    append(project.file, stream, datetime(2027, 2, 1))
    increment_seconds = processor_seconds(lambda: project.dbt("run"))
    file_bytes = sum(file.stat().st_size for file in (directory / "files").rglob("*.parquet"))
    shutil.rmtree(directory)
    return Costs(
        *(traffic, deliveries, states, body_bytes),
        *(file_bytes, warehouse_bytes, build_seconds, increment_seconds),
    )


def fit(measured: Sequence[History], cost: Callable[[History], float]) -> Fit:
    """Fit a cost to all histories, and once more without the longest."""
    parts, errors = _fit(measured, cost, measured)
    longest = max(costs.deliveries for costs in measured)
    _, foretold = _fit(
        [costs for costs in measured if costs.deliveries < longest],
        cost,
        [costs for costs in measured if costs.deliveries == longest],
    )
    return Fit(parts, float(np.median(errors)), float(max(errors)), float(max(foretold)))


def _fit(
    known: Sequence[History], cost: Callable[[History], float], asked: Sequence[History]
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of a cost according to some histories, and the relative errors for others."""

    def terms(histories: Sequence[History]) -> np.ndarray:
        return np.array([(1, costs.deliveries, costs.states) for costs in histories], dtype=float)

    def values(histories: Sequence[History]) -> np.ndarray:
        return np.array([cost(costs) for costs in histories])

    relative = terms(known) / values(known)[:, None]
    scale = relative.max(axis=0)  # so that no part is lost to the size of another
    parts = nnls(relative / scale, np.ones(len(known)))[0] / scale
    return parts, abs(terms(asked) @ parts / values(asked) - 1)


def main() -> None:
    """Print what was measured, the fits with their errors, and the days computed from them."""
    if len({*SIZES}) < 2:
        sys.exit("SCALE_DELIVERIES must name two sizes at least: the largest is foretold from the others.")
    scratch = Path(tempfile.mkdtemp())
    try:
        measured = [
            measure(scratch / f"{size}", traffic, size) for traffic in TRAFFIC for size in sorted(SIZES)
        ]
    finally:
        shutil.rmtree(scratch)
    print(
        "| traffic | deliveries | states | bodies | Parquet files | warehouse | full build | increment of 10,000 |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for costs in measured:
        print(
            f"| {costs.traffic} | {costs.deliveries:,} | {costs.states:,} | {megabytes(costs.body_bytes)} |"
            f" {megabytes(costs.file_bytes)} | {megabytes(costs.warehouse_bytes)} |"
            f" {costs.build_seconds:.1f} s | {costs.increment_seconds:.1f} s |"
        )
    fits = print_fits(FITTED, measured)
    days(fits, measured[0].body_bytes / measured[0].deliveries)


def print_fits(fitted: Fitted, measured: Sequence[History]) -> dict[str, Fit]:
    """Fit each cost, and print the parts with their errors."""
    fits = {name: fit(measured, cost) for name, (_, cost) in fitted.items()}
    print(
        "\n| cost | fixed | per million deliveries | per million states | error: median, largest | largest size foretold |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for name, (unit, _) in fitted.items():
        found = fits[name]
        said = [in_units(part * scale, unit) for part, scale in zip(found.parts, (1, 1e6, 1e6), strict=True)]
        print(
            f"| {name} | {' | '.join(said)} | {found.median_error:.0%}, {found.largest_error:.0%} |"
            f" {found.foretold_error:.0%} off |"
        )
    return fits


def days(fits: dict[str, Fit], bytes_of_a_body: float) -> None:
    """Print days of several sizes: what they need, if each cost goes on as it was fitted."""
    print(
        f"\nDays with {CALLS_PER_STATE} calls per state, bodies of {bytes_of_a_body / 1000:.1f} KB, a busiest hour of {PEAK}"
        f" times the mean, {REFRESHES} refreshes, and a landing every {SECONDS_A_DAY // LANDINGS // 60} minutes. Costs of building"
        " are those of the models on DuckDB, without what a longer history adds to each refresh.\n"
    )
    print(
        "| deliveries a day | webhooks a second at the peak | loaders | bodies | Parquet files | files (puts)"
        " | warehouse grows by | building |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for deliveries in DAYS:
        states = deliveries / CALLS_PER_STATE
        peak = PEAK * deliveries / SECONDS_A_DAY
        loaders = int(np.ceil(peak / WEBHOOKS_A_SECOND))
        body_bytes = deliveries * bytes_of_a_body
        files = max(loaders * LANDINGS, int(np.ceil(body_bytes / (160 * 2**20))))
        grown = fits["warehouse file"].parts @ (0, deliveries, states)
        building = fits["full build"].parts @ (REFRESHES, deliveries, states)
        print(
            f"| {deliveries:,} | {peak:,.0f} | {loaders} | {megabytes(body_bytes)} |"
            f" {megabytes(fits['Parquet files'].parts @ (0, deliveries, states))} | {files:,} | {megabytes(grown)} |"
            f" {building / 3600:,.1f} core hours |"
        )


def in_units(value: float, unit: str) -> str:
    return megabytes(value) if unit == "bytes" else f"{value:,.1f} s"


def megabytes(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e6:,.1f} MB"


if __name__ == "__main__":
    main()
