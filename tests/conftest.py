"""What all tests share."""

import os


def pytest_unconfigure():
    """Keep pytest's closing line the last one: at exit DuckDB's binding lists on standard error what is still referred to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
