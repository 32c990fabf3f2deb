"""The target `spark`: the same models, the same rows. Skipped where Java or requirements-spark.lock is not installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from .compare import unequal_rows

NEEDS_SPARK = pytest.mark.skipif(
    not (shutil.which("java") and all(map(importlib.util.find_spec, ("pyspark", "dbt.adapters.spark")))),
    reason="the target `spark` needs Java 17 and requirements-spark.lock (docs/scale.md)",
)


def run_alone(module: str, *arguments: str) -> str:
    """What a module prints that is run in a process of its own. Raises AssertionError with the end of it if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=1_800,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


@NEEDS_SPARK
@pytest.mark.parametrize("options", [[], ["--erase"]])
def test_spark__two_parts_landed__marts_equal_those_of_duckdb(tmp_path, options):
    """A full build, then an increment, in one process of its own: the JVM ends with it. With a person erased in between."""
    assert "Every mart of Spark equals" in run_alone("tests.spark", "--folder", str(tmp_path), *options)


@pytest.mark.parametrize(
    "expected, built",
    [
        ([("a", 1)], []),
        ([("a", 1), ("a", 1)], [("a", 1)]),
        ([("a", 1.0)], [("a", 1.00000001)]),
        ([("a", None)], [("a", "")]),
        ([("a", datetime(2026, 5, 1))], [("a", datetime(2026, 5, 1, 0, 0, 0, 1))]),
    ],
)
def test_compare__rows_that_differ__are_named(expected, built):
    assert unequal_rows("dim_flags", expected, built, examples=3)[0].startswith("dim_flags: ")


def test_compare__floats_that_differ_in_the_last_digits__are_equal():
    assert unequal_rows("dim_flags", [("a", 0.1 + 0.2)], [("a", 0.3)], examples=3) == []
