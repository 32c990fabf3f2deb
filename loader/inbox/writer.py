"""Writes the inbox: one SQLite file per worker process, and one commit for deliveries that arrive together.

A webhook is answered with 2xx only after its commit. Web workers never open the warehouse, because DuckDB lets only one
process write a file; `land` moves committed deliveries there while the workers go on writing.
"""

import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from flagsmith_warehouse.loader.inbox.file import InboxFile
from flagsmith_warehouse.loader.inbox.identifier import Identifiers


class InboxError(Exception):
    """The delivery is not on disk, not even in part. The sender must send it again."""


class SharedCommit:
    """Deliveries that share a commit. `done` is released when the commit has succeeded, or failed with `error`.

    An asynchronous caller sets `committed` and awaits it instead.
    """

    def __init__(self):
        self.rows: list[tuple] = []
        self.error: Exception | None = None
        self.committed: Awaitable | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Inbox:
    """The inbox of this process. Any thread may call `put`; deliveries that come together share a commit.

    `on_commit` receives the seconds that each commit took. If the process is killed, every delivery for which `put`
    has returned is on disk; any other may or may not be.
    """

    def __init__(self, folder: Path, on_commit: Callable[[float], None] = lambda seconds: None):
        self.folder = folder
        self._on_commit = on_commit
        self._identifiers = Identifiers()
        self._file: InboxFile | None = None
        self._batch = SharedCommit()
        self._batch_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def put(self, environment: str, is_verified: bool, body: bytes) -> None:
        """Return when the delivery is on disk. Raises InboxError if it is not."""
        batch, is_first = self.join(environment, is_verified, body)
        if is_first:
            self.commit(batch)
        self._wait_for(batch)

    def join(self, environment: str, is_verified: bool, body: bytes) -> tuple[SharedCommit, bool]:
        """Add a delivery to the next commit. Returns that commit, and True if the caller must make it by calling `commit`."""
        row = (*self._identifiers.next(), environment, is_verified, body)
        with self._batch_lock:
            batch = self._batch
            batch.rows.append(row)
        return batch, batch.rows[0] is row

    def check(self) -> None:
        """Return when something has been written to disk. Raises InboxError if it cannot be."""
        batch = SharedCommit()
        self.commit(batch)
        self._wait_for(batch)

    def close(self) -> None:
        """Release the file; `land` will empty and remove it."""
        with self._commit_lock:
            self._give_up_file()

    def raise_if_failed(self, batch: SharedCommit) -> None:
        """Raise InboxError if the commit, which has ended, failed."""
        if batch.error:
            raise InboxError(f"The inbox {self.folder} cannot be written: {batch.error}") from batch.error

    def commit(self, batch: SharedCommit) -> None:
        """Write all rows or none. Deliveries that arrive while the previous commit still runs join this one.

        After an error the next commit begins a new file; everything that the old file holds is committed.
        """
        with self._commit_lock:
            with self._batch_lock:
                self._batch = SharedCommit()
            try:
                started = time.perf_counter()
                self._usable_file().append(batch.rows)
                self._on_commit(time.perf_counter() - started)
            except BaseException as error:
                batch.error = error
                self._give_up_file()
            finally:
                batch.done.release()

    def _wait_for(self, batch: SharedCommit) -> None:
        batch.done.acquire()
        batch.done.release()
        self.raise_if_failed(batch)

    def _usable_file(self) -> "InboxFile":
        if self._file is None or not self._file.is_usable():
            self._give_up_file()
            self._file = InboxFile(self.folder)
        return self._file

    def _give_up_file(self) -> None:
        if self._file:
            self._file.close()
        self._file = None
