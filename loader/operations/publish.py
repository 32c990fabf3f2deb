"""The published copy: what people read, in a file of its own that is replaced whole.

DuckDB gives a file to one process at a time, so a notebook left open on the warehouse would stop every
refresh. Readers open the copy instead. They keep what they have opened, also when a newer copy takes its
name, and block nobody. Killed at any moment: the last copy stays as it was.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.filesystem import close_to_others, mend, sync
from flagsmith_warehouse.loader.settings import Settings

# What is published: the marts, and what people declared, which says what the marts mean.
SCHEMAS = ("marts", "seeds")
# DuckDB 1.2 and everything after it can open the copy.
STORAGE_VERSION = "v1.2.0"

TABLES = """
select schema_name, table_name, comment from duckdb_tables() where database_name = 'warehouse'
union all
select schema_name, view_name, comment from duckdb_views() where database_name = 'warehouse' and not internal
order by all
"""
COLUMN_COMMENTS = """
select schema_name, table_name, column_name, comment from duckdb_columns()
where database_name = 'warehouse' and comment is not null
"""
FUNCTIONS = """
select schema_name, function_name, parameters, macro_definition from duckdb_functions()
where database_name = 'warehouse' and function_type = 'table_macro'
"""


class PublishError(LoaderError):
    """Nothing was published; the last published copy is as it was."""


class NothingToPublish(PublishError):
    """There are no marts yet."""


@dataclass(frozen=True)
class Published:
    """What was published: how many tables, rows over all of them, and the size of the file in bytes."""

    tables: int
    rows: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.tables} tables, {self.rows:,} rows, {self.bytes / 1e6:,.1f} MB"


def publish(settings: Settings, on_wait: Callable[[str], None] = lambda text: None) -> Published:
    """Copy the marts of the warehouse to the published file. The caller holds the lock of the warehouse.

    Tables by `create table as`, views as tables; descriptions and table functions (`marts.traits_as_of`, …)
    come along. Raises PublishError, and lock.StillHeld where another process has the file open for too long.
    """
    if not settings.warehouse_file.exists():
        raise NothingToPublish(
            f"There is no {settings.warehouse_file} to publish. Run `flagsmith-warehouse refresh` first."
        )
    mend(settings.warehouse_dir)
    fresh = beside(settings.published_file)
    try:
        remove(fresh)  # what a run killed half-way has left
        tables, rows = _copy(settings, fresh, on_wait)
        return Published(tables, rows, replace(settings.published_file, fresh))
    except (duckdb.Error, OSError) as error:
        raise PublishError(
            f"{settings.warehouse_file} could not be published: {error}. The last published copy stays; run "
            "`flagsmith-warehouse publish` when the cause is gone."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            remove(fresh)


def publish_alone(settings: Settings, on_wait=lambda text: None) -> Published:
    """`publish`, with the locks that a refresh would hold. Raises PublishError and lock.StillHeld."""
    with (
        lock.hold(settings.refresh_lock, settings.lock_timeout_seconds, on_wait),
        lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait),
    ):
        return publish(settings, on_wait)


def _copy(settings: Settings, fresh: Path, on_wait: Callable[[str], None]) -> tuple[int, int]:
    """How many tables, and how many rows in all, were written to the new file."""
    warehouse_file = settings.warehouse_file
    with contextlib.closing(in_memory(fresh.with_suffix(".spill"))) as connection:
        attach = f"attach {text(str(warehouse_file))} as warehouse (read_only)"
        lock.when_free(
            lambda: connection.execute(attach), warehouse_file, settings.lock_timeout_seconds, on_wait
        )
        connection.execute(
            f"attach {text(str(fresh))} as published (storage_version {text(STORAGE_VERSION)})"
        )
        connection.execute("use warehouse")  # what views and functions name without a database
        counts = [_copy_table(connection, *table) for table in _selected(connection, TABLES)]
        if not counts:
            raise NothingToPublish(
                f"{warehouse_file} has no marts yet. Run `flagsmith-warehouse refresh` first."
            )
        for schema, table, column, comment in _selected(connection, COLUMN_COMMENTS):
            _comment(connection, f"column {name('published', schema, table, column)}", comment)
        for function in _selected(connection, FUNCTIONS):
            _copy_function(connection, *function)
        connection.execute("checkpoint published")
    return len(counts), sum(counts)


def in_memory(spill_folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection to no file, so that neither file is opened but by `attach`, and few bytes are held."""
    return duckdb.connect(
        config={
            "memory_limit": "1GB",
            "temp_directory": str(spill_folder),
            "preserve_insertion_order": False,
        }
    )


def _selected(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple]:
    rows = connection.execute(query).fetchall()
    return (row for row in rows if row[0] in SCHEMAS)


def _copy_table(connection: duckdb.DuckDBPyConnection, schema: str, table: str, comment: str | None) -> int:
    source, target = name("warehouse", schema, table), name("published", schema, table)
    connection.execute(f"create schema if not exists {name('published', schema)}")
    (rows,) = connection.execute(f"create table {target} as from {source}").fetchone()
    if comment is not None:
        _comment(connection, f"table {target}", comment)
    return rows


def _copy_function(
    connection: duckdb.DuckDBPyConnection, schema: str, function: str, parameters: list[str], definition: str
) -> None:
    """The function, with what it reads named by schema alone: a reader may attach the copy under any name."""
    for each in SCHEMAS:
        definition = definition.replace(f"warehouse.{each}.", f"{each}.")
    signature = f"{name(schema, function)}({', '.join(parameters)})"
    connection.execute("use published")
    connection.execute(f"create macro {signature} as table {definition}")
    connection.execute("use warehouse")


def _comment(connection: duckdb.DuckDBPyConnection, what: str, comment: str) -> None:
    connection.execute(f"comment on {what} is {text(comment)}")


def beside(file: Path) -> Path:
    """Where the next version of a file is written: on the same disk, also where the file is a link to another one."""
    return file.resolve().with_suffix(".unfinished")


def replace(file: Path, fresh: Path) -> int:
    """Put the new file in the place of the old one, for good; its size in bytes. A link stays a link."""
    file = file.resolve()
    close_to_others(fresh)
    sync(fresh)
    size = fresh.stat().st_size
    fresh.rename(file)
    sync(file.parent)
    return size


def remove(file: Path) -> None:
    """Remove a DuckDB file, its log, and what its readers and writers left of what had no room in memory."""
    for path in (file, Path(f"{file}.wal")):
        path.unlink(missing_ok=True)
    remove_spilled(file)


def remove_spilled(file: Path) -> None:
    """Remove what processes that were killed have left of what had no room in memory."""
    for folder in (Path(f"{file}.tmp"), file.with_suffix(".spill")):
        shutil.rmtree(folder, ignore_errors=True)


def name(*parts: str) -> str:
    """A name as it is written in SQL, its parts from the widest to the narrowest."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def text(value: str) -> str:
    """A text as it is written in SQL."""
    return "'" + value.replace("'", "''") + "'"
