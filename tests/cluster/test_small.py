"""The small form of the cluster. Skipped where Java or requirements-spark.lock is not installed."""

from ..spark.test_spark import NEEDS_SPARK, run_alone


@NEEDS_SPARK
def test_cluster__small__nothing_is_lost_or_doubled_and_the_mart_equals_that_of_duckdb(tmp_path):
    """Two loaders on an S3 emulator, one of them killed; a build and an increment of Iceberg tables there."""
    printed = run_alone("tests.cluster", "--small", "--folder", str(tmp_path))
    assert "ok    fct_flag_exposures equals DuckDB's" in printed
