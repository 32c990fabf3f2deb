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
from flagsmith_warehouse.loader.filesystem import close_to_others, restrict_permissions, sync
from flagsmith_warehouse.loader.operations import relations
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import first_line

# What is published: the marts, the declarations (they explain the marts), and the host project's own models.
LAYERS = ("marts", "seeds", "own")
# The schemas of the first two, where the project has not named them otherwise.
SCHEMAS = ("marts", "seeds")
# DuckDB 1.2 and everything after it can open the copy.
STORAGE_VERSION = "v1.2.0"

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
    """What was published: how many tables, rows over all of them, the size of the file in bytes, and what was not."""

    tables: int
    rows: int
    bytes: int
    left_out: tuple[str, ...] = ()

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
    restrict_permissions(settings.warehouse_dir)
    fresh = beside(settings.published_file)
    try:
        remove(fresh)  # what a run killed half-way has left
        tables, rows, left_out = _copy(settings, fresh, on_wait)
        return Published(tables, rows, replace(settings.published_file, fresh), left_out)
    except (duckdb.Error, OSError) as error:
        raise PublishError(
            f"{settings.warehouse_file} could not be published: {error}. The last published copy stays; run "
            "`flagsmith-warehouse publish` when the cause is gone."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            remove(fresh)


@contextlib.contextmanager
def locked(settings: Settings, on_wait=lambda text: None) -> Iterator[None]:
    """Hold the locks that a refresh would hold. Raises lock.StillHeld."""
    with (
        lock.hold(settings.refresh_lock, settings.lock_timeout_seconds, on_wait),
        lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait),
    ):
        yield


def _copy(
    settings: Settings, fresh: Path, on_wait: Callable[[str], None]
) -> tuple[int, int, tuple[str, ...]]:
    """Copy all relations to the new file. Returns the number of tables and rows, and the host's relations that could not be read."""
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
        there = relations.read(connection)
        chosen = there.of(*LAYERS)
        if not there.of("marts"):
            raise NothingToPublish(
                f"{warehouse_file} has no marts yet. Run `flagsmith-warehouse refresh` first."
            )
        counts, left_out = {}, []
        for relation in chosen:
            try:
                counts[relation.schema, relation.identifier] = _copy_relation(connection, relation)
            except duckdb.Error as error:
                if relation.layer != "own":
                    raise
                left_out.append(f"{relation.schema}.{relation.identifier}: {first_line(error)}")
        _describe(connection, chosen, set(counts))
        schemas = {schema for schema, _ in counts}
        for function in connection.execute(FUNCTIONS).fetchall():
            if function[0] in schemas:
                _copy_function(connection, schemas, *function)
        relations.copy_record(connection, chosen)
        connection.execute("checkpoint published")
    return len(counts), sum(counts.values()), tuple(left_out)


def compact(settings: Settings, on_wait=lambda text: None) -> tuple[int, int]:
    """Make the warehouse's file as small as what is in it; its size before and after. Raises PublishError and lock.StillHeld."""
    if not settings.warehouse_file.exists():
        raise PublishError(f"There is no {settings.warehouse_file} to compact.")
    with locked(settings, on_wait):
        before = settings.warehouse_file.stat().st_size
        try:
            return before, rewrite_warehouse(settings)
        except (duckdb.Error, OSError) as error:
            raise PublishError(f"{settings.warehouse_file} stays as it was: {error}") from error
        finally:
            remove(beside(settings.warehouse_file))


def rewrite_warehouse(settings: Settings) -> int:
    """Rewrite the warehouse into a new file, without deleted rows, and replace the old file. Returns the new size."""
    fresh = beside(settings.warehouse_file)
    remove(fresh)
    with contextlib.closing(in_memory(fresh.with_suffix(".spill"))) as connection:
        connection.execute(f"attach {text(str(settings.warehouse_file))} as warehouse")
        connection.execute(f"attach {text(str(fresh))} as fresh")
        connection.execute("copy from database warehouse to fresh")
        connection.execute("checkpoint fresh")
    return replace(settings.warehouse_file, fresh)


def in_memory(spill_folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory, with a small memory limit. Files are opened only by `attach`."""
    return duckdb.connect(
        config={
            "memory_limit": "1GB",
            "temp_directory": str(spill_folder),
            "preserve_insertion_order": False,
        }
    )


def _copy_relation(connection: duckdb.DuckDBPyConnection, relation: relations.Relation) -> int:
    place = (relation.schema, relation.identifier)
    source, target = name("warehouse", *place), name("published", *place)
    connection.execute(f"create schema if not exists {name('published', relation.schema)}")
    (rows,) = connection.execute(f"create table {target} as from {source}").fetchone()
    return rows


def _describe(
    connection: duckdb.DuckDBPyConnection, chosen: list[relations.Relation], copied: set[tuple[str, str]]
) -> None:
    """Copy the descriptions of tables and columns, in one transaction: hundreds of commits would each wait for the disk."""
    columns = connection.execute(COLUMN_COMMENTS).fetchall()
    connection.execute("begin")
    for each in chosen:
        if (each.schema, each.identifier) in copied and each.comment is not None:
            _comment(connection, f"table {name('published', each.schema, each.identifier)}", each.comment)
    for schema, table, column, comment in columns:
        if (schema, table) in copied:
            _comment(connection, f"column {name('published', schema, table, column)}", comment)
    connection.execute("commit")


def _copy_function(
    connection: duckdb.DuckDBPyConnection,
    schemas: set[str],
    schema: str,
    function: str,
    parameters: list[str],
    definition: str,
) -> None:
    """The function, with what it reads named by schema alone: a reader may attach the copy under any name."""
    for each in schemas:
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
    """Put the new file in the place of the old one, for good; its size in bytes. A link stays a link.

    A new file on another disk is first copied beside the old one.
    """
    file = file.resolve()
    if fresh.stat().st_dev != file.parent.stat().st_dev:
        fresh = Path(shutil.copyfile(fresh, beside(file)))
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
