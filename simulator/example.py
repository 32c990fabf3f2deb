"""The example month: the world of `make demo` and of `seeds/example_conversion_events.csv`."""

from flagsmith_warehouse.simulator.parameters import Parameters

# `conversions(World(MONTH))` are the rows of the seed.
MONTH = Parameters(deliveries=20_000, identities=2_000, environments=("example",))
