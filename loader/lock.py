"""Locks between processes. A lock is a file that a process holds; the system releases it when the process dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.filesystem import make_folder, open_file

Opened = TypeVar("Opened")


class StillHeld(LoaderError):
    """Another process held the lock for longer than we were willing to wait."""


def create_held(path: Path) -> int:
    """Create the lock file `path` and hold it. No other process ever sees it free.

    Returns a file descriptor. Closing it releases the lock; so does the end of the process.
    """
    hidden = path.with_name(f".{path.name}")
    descriptor = open_file(hidden, os.O_EXCL)
    _take(descriptor)
    hidden.rename(path)
    return descriptor


@contextlib.contextmanager
def try_hold(path: Path) -> Iterator[bool]:
    """Hold the lock if it is free, and say whether it was. A lock file that does not exist is not free."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _take(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold(
    path: Path, timeout_seconds: float, on_wait: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Hold the lock; create its file if needed. Raises StillHeld when others have held it for `timeout_seconds`."""
    make_folder(path.parent)
    descriptor = open_file(path)
    try:
        wait_until(lambda: _take(descriptor), f"{path} is held by another process", timeout_seconds, on_wait)
        yield
    finally:
        os.close(descriptor)


def wait_until(
    is_done: Callable[[], bool], why_not: str, timeout_seconds: float, on_wait: Callable[[str], None]
) -> None:
    """Call `is_done` until it returns True. Tells `on_wait` once what we wait for. Raises StillHeld after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    is_announced = False
    while not is_done():
        if time.monotonic() >= deadline:
            raise StillHeld(
                f"Gave up after {timeout_seconds:g} s: {why_not}. Try again when that process has ended."
            )
        if not is_announced:
            on_wait(f"Waiting up to {timeout_seconds:g} s: {why_not}.")
            is_announced = True
        time.sleep(0.05)


def when_free(
    open_it: Callable[[], Opened], file: Path, timeout_seconds: float, on_wait: Callable[[str], None]
) -> Opened:
    """The result of `open_it`, once no other process has the DuckDB file `file` open. Raises StillHeld."""
    import duckdb  # imported here, because web workers use locks too but do not need DuckDB

    opened: list[Opened] = []

    def is_open() -> bool:
        try:
            opened.append(open_it())
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
        return bool(opened)

    why_not = f"{file} is open in another process (dbt, a notebook, a database client)"
    wait_until(is_open, why_not, timeout_seconds, on_wait)
    return opened[0]


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
