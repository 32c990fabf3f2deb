"""The example month: the world of `make demo` and of `simulator/example_month/example_conversion_events.csv`."""

from pathlib import Path

from flagsmith_warehouse.simulator.parameters import Parameters

# `conversions(World(MONTH))` are the rows of that file.
MONTH = Parameters(deliveries=20_000, identities=2_000, environments=("example",))

# Shorter than the month, so that some flags have given everybody the same for long enough to be cleaned up.
STALE_FLAG_DAYS = 14

FOLDER = Path(__file__).resolve().parent / "example_month"


def declared() -> dict[str, str]:
    """The vars that make dbt read the example's declarations and outcomes from their folder."""
    seeds = {
        name: f"read_csv('{FOLDER / name}.csv', all_varchar = true, header = true)"
        for name in ("experiments", "metrics", "experiment_metrics")
    }
    return seeds | {
        "conversion_events": f"read_csv('{FOLDER / 'example_conversion_events'}.csv', all_varchar = true)"
    }
