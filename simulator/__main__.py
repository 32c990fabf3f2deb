"""`python -m simulator` is `flagsmith-warehouse simulate`."""

from simulator.cli import simulate

simulate(prog_name="python -m simulator")
