"""Opens the warehouse for the loader: its tables, its settings, and the upgrade from an earlier release."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.filesystem import make_folder, refuse_network, restrict_permissions
from flagsmith_warehouse.loader.settings import Settings

# landing.webhooks must be the same as in macros/engine/create_landing.sql; a test compares the two.
TABLES = """
create schema if not exists landing;
create table if not exists landing.webhooks (
    delivery_id varchar not null,
    environment varchar not null,
    received_at timestamp not null,
    landed_at timestamp not null,
    payload_hash varchar not null,
    is_verified boolean not null,
    body_encoding varchar not null,
    body varchar not null using compression zstd,
    original_payload_hash varchar
);
create table if not exists landing.inbox_progress (inbox_file varchar not null, last_row_id bigint not null);
create table if not exists landing.schema_version (version integer not null);
"""
# 1: the first release. 2: original_payload_hash.
SCHEMA_VERSION = 2
# Row groups must be multiples of the first number of rows; the second is DuckDB's default.
ROW_GROUP_STEP, LARGEST_ROW_GROUP = 2_048, 122_880
# `land` takes about 150 MB more than it allows DuckDB. Row groups are written one by one.
DUCKDB = {"threads": 2, "write_buffer_row_group_count": 1}
# DuckDB holds the bodies of up to 2,048 rows at once. If the first limit is too small for that, it gets the next.
MEMORY = ("256MB", "1GB", "4GB")


class LandingError(LoaderError):
    """Landing stopped. Deliveries that have not been landed are still in the inbox."""


@contextlib.contextmanager
def open_warehouse(
    settings: Settings,
    on_wait: Callable[[str], None],
    row_group: int = LARGEST_ROW_GROUP,
    memory: str = MEMORY[0],
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, with the landing in it, once no other process has it open. Raises lock.StillHeld.

    `row_group`: the number of rows in new row groups. `memory`: the memory that DuckDB may use.
    """
    refuse_network(settings.warehouse_dir)
    make_folder(settings.warehouse_dir)
    opened = lock.when_free(
        lambda: _connect(settings.warehouse_file, row_group, memory),
        settings.warehouse_file,
        settings.lock_timeout_seconds,
        on_wait,
    )
    with contextlib.closing(opened) as warehouse:
        restrict_permissions(settings.warehouse_dir)
        warehouse.execute("set enable_progress_bar = false")  # our own says more
        upgrade(warehouse)
        yield warehouse


def _connect(file: Path, row_group: int, memory: str) -> duckdb.DuckDBPyConnection:
    """Attach the file to a connection in memory, because row-group size can only be set in ATTACH."""
    warehouse = duckdb.connect(config={**DUCKDB, "memory_limit": memory, "temp_directory": f"{file}.tmp"})
    try:
        warehouse.execute("attach ? as warehouse (row_group_size ?)", [str(file), row_group])
        warehouse.execute("use warehouse")
    except BaseException:
        warehouse.close()
        raise
    return warehouse


def upgrade(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Create the landing, or upgrade the landing of an earlier release.

    Raises LandingError for the landing of a later release, because this release might damage it.
    """
    warehouse.execute(TABLES)
    (version,) = warehouse.execute("select coalesce(max(version), 1) from landing.schema_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LandingError(
            f"The landing has format {version}, and this release knows format {SCHEMA_VERSION}: a later release has "
            "written it. Install that release again; nothing was changed."
        )
    if version < SCHEMA_VERSION:
        # Format 2 marks bodies that privacy rules have altered.
        warehouse.execute(
            "alter table landing.webhooks add column if not exists original_payload_hash varchar"
        )
        warehouse.execute("insert into landing.schema_version values (?)", [SCHEMA_VERSION])


@contextlib.contextmanager
def transaction(warehouse: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A transaction: everything in the block happens, or nothing."""
    warehouse.begin()
    try:
        yield
    except BaseException:
        warehouse.rollback()
        raise
    warehouse.commit()
