"""What all tests share."""

import atexit
import os
from pathlib import Path

# The parts with the longest files, the longest first.
LONGEST = (
    "marts/test_incremental",
    "notebooks/test_notebooks",
    "notebooks/test_browser",
    "judge",
    "marts",
    "statistics",
    "simulator",
    "declarations",
    "rules",
    "project",
    "operations",
)


def pytest_collection_modifyitems(items):
    """Let long files begin first, so that no process is left with one of them at the end."""
    tests = Path(__file__).parent

    def place(item) -> int:
        path = item.path.relative_to(tests).as_posix()
        return next((n for n, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))

    items.sort(key=place)


def pytest_configure():
    """Keep pytest's closing line the last: at exit DuckDB's binding lists on standard error what is still referred to."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
