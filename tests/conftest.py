"""What all tests share."""

import atexit
import os


def pytest_configure():
    """Keep pytest's closing line the last: at exit DuckDB's binding lists on standard error what is still referred to."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def pytest_collection_modifyitems(items):
    """Files of quick tests come last, so that no process is left with a slow file while the others have nothing to do."""
    items.sort(key=lambda item: item.path.parent.name in ("loader", "simulator"))
