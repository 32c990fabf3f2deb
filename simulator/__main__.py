"""`python -m flagsmith_warehouse.simulator` is `flagsmith-warehouse simulate`."""

from flagsmith_warehouse.simulator.cli import simulate

simulate(prog_name="python -m flagsmith_warehouse.simulator")
