"""Where else the published copy goes (`publish --to`): a folder of Parquet files, or a DuckLake.

A file is written beside its last version and moved over it, so a reader never sees half of one. The folder is ours: what was
published there before and no longer is, we remove. So the next publication removes an erased person, and `erase` itself
publishes again, wherever we have published before.
"""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import duckdb

from flagsmith_warehouse.loader.filesystem import make_folder, sync
from flagsmith_warehouse.loader.operations.publish import PublishError, in_memory, name, replace, text
from flagsmith_warehouse.loader.operations.relations import EXISTING, rows_of
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import first_line

DUCKLAKE = "ducklake:"
# What is in the folder, and since when.
CONTENTS = "published.json"
UNFINISHED = ".unfinished"
COLUMNS = """
select column_name as name, data_type as type, comment from duckdb_columns()
where database_name = 'copy' and schema_name = ? and table_name = ? order by column_index
"""
# Parquet has no integers wider than 64 bits: DuckDB would write floating-point numbers. As JSON, polars reads bytes.
WRITTEN_AS = {"HUGEINT": "decimal(38, 0)", "UHUGEINT": "decimal(38, 0)", "JSON": "varchar"}
# Errors of a table that Parquet cannot hold: of the host's own, as ours are all of plain types.
NOT_FOR_PARQUET = (duckdb.ConversionException, duckdb.NotImplementedException, duckdb.InvalidInputException)
LONGEST_NAME = 200


@dataclass(frozen=True)
class Table:
    """A table of the copy, and the file that has it."""

    schema: str
    table: str
    file: str
    rows: int
    comment: str | None
    columns: list[dict[str, str | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Put:
    """What was published there: how many tables and rows, and what was left out."""

    tables: int
    rows: int
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.tables} tables, {self.rows:,} rows"


def put(settings: Settings, place: str) -> Put:
    """Publish the published copy to a place, and remember it. The caller holds the locks. Raises PublishError."""
    is_lake = place.startswith(DUCKLAKE)
    if "://" in place.removeprefix("file://"):
        raise PublishError(
            f"{place} is not a folder on this machine. Publish to a local folder, and copy that folder."
        )
    # Remember an absolute path, because `erase` may run in another folder. What has a prefix (`postgres:…`) stays as it is.
    if not is_lake:
        place = str(Path(place.removeprefix("file://")).absolute())
    elif ":" not in (catalog := place.removeprefix(DUCKLAKE)):
        place = f"{DUCKLAKE}{Path(catalog).absolute()}"
    try:
        with contextlib.closing(in_memory(settings.published_file.with_suffix(".spill"))) as connection:
            connection.execute(f"attach {text(str(settings.published_file))} as copy (read_only)")
            write = (_ducklake if is_lake else _folder)(connection, place)
            # Remember the place before writing to it: a run that is killed half-way may have written something.
            _remember(settings, [*dict.fromkeys([*known(settings), place])])
            return write()
    except (duckdb.Error, OSError) as error:
        raise PublishError(
            f"{settings.published_file} could not be published to {place}: {first_line(error)}. What was there stays; run "
            f"`flagsmith-warehouse publish --to {place}` when the cause is gone."
        ) from error


def forget_missing(settings: Settings) -> list[str]:
    """The folders that we have published to and that are not there any more; the next call does not know them."""
    missing = [
        place
        for place in known(settings)
        if not place.startswith(DUCKLAKE)
        and not any(Path(place, name).exists() for name in (CONTENTS, UNFINISHED))
    ]
    if missing:
        _remember(settings, [place for place in known(settings) if place not in missing])
    return missing


def known(settings: Settings) -> list[str]:
    """The places that we have published to."""
    try:
        return json.loads(settings.published_places.read_text("utf-8"))
    except FileNotFoundError:
        return []


def _remember(settings: Settings, places: list[str]) -> None:
    fresh = settings.published_places.with_suffix(".unfinished")
    _write_json(fresh, places)
    replace(settings.published_places, fresh)


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str | None]]:
    """Schema, name and comment of every table of the copy. Where our marts are is said by the folder itself."""
    rows = connection.execute(EXISTING, {"database": "copy"}).fetchall()
    return [row for row in rows if row[0] != "landing"]


def _folder(connection: duckdb.DuckDBPyConnection, place: str) -> Callable[[], Put]:
    folder = Path(place)
    make_folder(folder)
    return functools.partial(_write_folder, connection, folder, _files_of(folder))


def _write_folder(connection: duckdb.DuckDBPyConnection, folder: Path, before: set[str]) -> Put:
    fresh = folder / UNFINISHED
    shutil.rmtree(fresh, ignore_errors=True)  # what a run killed half-way has left
    try:
        written, left_out = [], []
        for schema, table, comment in _tables(connection):
            try:
                written.append(_write_table(connection, fresh, schema, table, comment))
            except NOT_FOR_PARQUET as error:
                left_out.append(f"{schema}.{table}: {first_line(error)}")
        files = {table.file for table in written}
        # Old and new files are listed before any is moved, so that after a kill the next run knows which files are ours.
        _write_contents(
            folder, [*written, *(Table("", "", file, 0, None) for file in sorted(before - files))]
        )
        for file in sorted(files):
            make_folder((folder / file).parent)
            replace(folder / file, fresh / file)
        for file in before - files:
            (folder / file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are in it
                (folder / file).parent.rmdir()
        _write_contents(folder, written)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Put(len(written), sum(table.rows for table in written), tuple(left_out))


def _write_table(
    connection: duckdb.DuckDBPyConnection, folder: Path, schema: str, table: str, comment: str | None
) -> Table:
    """Write a table below the folder, and return when the disk has it: a disk that is full refuses before anything is moved."""
    columns = rows_of(connection.execute(COLUMNS, [schema, table]))
    written_as = [(name(c["name"]), WRITTEN_AS[c["type"]]) for c in columns if c["type"] in WRITTEN_AS]
    chosen = ", ".join(f"cast({column} as {kind}) as {column}" for column, kind in written_as)
    chosen = f"* replace ({chosen})" if chosen else "*"
    file = f"{file_name(schema)}/{file_name(table)}.parquet"
    make_folder((folder / file).parent)
    target = f"{text(str(folder / file))} (format parquet, compression zstd)"
    query = f"select {chosen} from {name('copy', schema, table)}"  # noqa: S608
    (rows,) = connection.execute(f"copy ({query}) to {target}").fetchone()
    sync(folder / file)
    return Table(schema, table, file, rows, comment, columns)


def file_name(identifier: str) -> str:
    """A name for the file system: other characters than letters, digits, `_`, `-`, `.` and `~` as in an address."""
    quoted = quote(identifier, safe="")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > LONGEST_NAME:
        quoted = f"{quoted[: LONGEST_NAME - 17]}-{hashlib.sha256(identifier.encode()).hexdigest()[:16]}"
    return quoted


def _files_of(folder: Path) -> set[str]:
    """The files that we have put into the folder. Raises PublishError where it holds something else instead."""
    contents = folder / CONTENTS
    if not contents.exists():
        if others := sorted(path.name for path in folder.iterdir() if path.name != UNFINISHED):
            raise PublishError(
                f"{folder} holds {others[0]} and is not a folder that we have published to, so nothing was written. Name an "
                "empty folder, or one that does not exist."
            )
        return set()
    try:
        paths = {
            table["file"]: PurePosixPath(table["file"])
            for table in json.loads(contents.read_text("utf-8"))["tables"]
        }
        return {
            file
            for file, path in paths.items()
            if file.endswith(".parquet") and not path.is_absolute() and ".." not in path.parts
        }
    except (ValueError, TypeError, KeyError) as error:
        raise PublishError(
            f"{contents} cannot be read, so nobody knows which files in {folder} are ours, and nothing was written. Empty the "
            "folder, and publish again."
        ) from error


def _write_contents(folder: Path, tables: list[Table]) -> None:
    fresh = folder / UNFINISHED / CONTENTS
    make_folder(fresh.parent)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    _write_json(fresh, {"published_at": at, "tables": [asdict(table) for table in tables]})
    replace(folder / CONTENTS, fresh)


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")


def _ducklake(connection: duckdb.DuckDBPyConnection, place: str) -> Callable[[], Put]:
    connection.execute("set autoinstall_known_extensions = false")
    try:
        connection.execute("load ducklake")
    except duckdb.Error as error:
        raise PublishError(
            f"DuckDB {duckdb.__version__} has no extension `ducklake` here, and we download nothing. Nothing was published to "
            f"{place}. Where the network allows it: python -c \"import duckdb; duckdb.sql('install ducklake')\". Or publish "
            "Parquet files: flagsmith-warehouse publish --to FOLDER"
        ) from error
    # Small tables too: a row that is deleted stays in the pages of a catalog.
    connection.execute(f"attach {text(place)} as lake (data_inlining_row_limit 0)")
    return functools.partial(_write_ducklake, connection)


def _write_ducklake(connection: duckdb.DuckDBPyConnection) -> Put:
    """Replace our schemas in the lake, in one transaction, then delete what older snapshots hold: people may be in it."""
    rows = 0
    connection.begin()
    there = _tables(connection)
    known = connection.execute(EXISTING, {"database": "lake"}).fetchall()
    for schema in {schema for schema, *_ in there}:
        connection.execute(f"create schema if not exists {name('lake', schema)}")
    for schema, table, _ in there:
        query = f"create or replace table {name('lake', schema, table)} as from {name('copy', schema, table)}"
        connection.execute(query)
        (count,) = connection.execute(f"select count(*) from {name('copy', schema, table)}").fetchone()  # noqa: S608
        rows += count
    ours = {schema for schema, *_ in there}
    for schema, table, _ in known:
        if schema in ours and (schema, table) not in {each[:2] for each in there}:
            connection.execute(f"drop table {name('lake', schema, table)}")
    connection.commit()
    connection.execute("call ducklake_expire_snapshots('lake', older_than => now())")
    connection.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
    return Put(len(there), rows)
