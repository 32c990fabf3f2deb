"""The small form of the cluster. Skipped where Java or requirements-spark.lock is not installed."""

import os
import subprocess
import sys
from pathlib import Path

from ..spark.test_spark import NEEDS_SPARK


@NEEDS_SPARK
def test_cluster__small__nothing_is_lost_or_doubled_and_the_mart_equals_that_of_duckdb(tmp_path):
    """Two loaders on an S3 emulator, one of them killed; a build and an increment of Iceberg tables there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster", "--small", "--folder", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=1_800,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    assert "ok    fct_flag_exposures equals DuckDB's" in done.stdout
