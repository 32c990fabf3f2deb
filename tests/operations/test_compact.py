"""`compact` makes the warehouse's file smaller, and nothing else."""

import duckdb

from flagsmith_warehouse.loader import lock
from tests.operations.conftest import invoke

# Everything that a file holds besides rows. Bodies are compressed by their column's own setting.
CATALOG = """
select 'table' as kind, schema_name, table_name as name, sql, comment from duckdb_tables()
union all
select 'view', schema_name, view_name, sql, comment from duckdb_views() where not internal
union all
select 'column', schema_name || '.' || table_name, column_name, data_type, comment from duckdb_columns() where not internal
union all
select function_type, schema_name, function_name, macro_definition, comment from duckdb_functions() where not internal
order by all
"""
TABLES = "select schema_name, table_name from duckdb_tables() order by all"
BODIES = "select distinct compression from pragma_storage_info('landing.webhooks') where column_name = 'body' and segment_type = 'VARCHAR'"


def content(file) -> tuple[list, dict, list]:
    with duckdb.connect(file, read_only=True) as warehouse:
        rows = {
            table: sorted(map(repr, warehouse.execute(f'from "{table[0]}"."{table[1]}"').fetchall()))
            for table in warehouse.execute(TABLES).fetchall()
        }
        return warehouse.execute(CATALOG).fetchall(), rows, warehouse.execute(BODIES).fetchall()


def delete_much(file) -> None:
    """Leave as much unused room in the file as retention would."""
    with duckdb.connect(file) as warehouse:
        warehouse.execute("create table landing.old as select uuid() as id from range(200_000)")
        warehouse.execute("checkpoint")
        warehouse.execute("drop table landing.old")
        warehouse.execute(
            "delete from landing.webhooks where delivery_id = (select min(delivery_id) from landing.webhooks)"
        )


def test_compact__much_was_deleted__the_file_is_smaller_and_holds_the_same(warehouse, environ):
    delete_much(warehouse.warehouse_file)
    before, size = content(warehouse.warehouse_file), warehouse.warehouse_file.stat().st_size
    ran = invoke(environ, "compact")
    assert ran.exit_code == 0, ran.output
    smaller = warehouse.warehouse_file.stat().st_size
    assert smaller < 0.7 * size
    assert f"had {size / 1e6:,.1f} MB and has {smaller / 1e6:,.1f} MB" in ran.output
    assert content(warehouse.warehouse_file) == before
    assert warehouse.warehouse_file.stat().st_mode & 0o777 == 0o640
    assert list(warehouse.warehouse_dir.glob("*.unfinished*")) == []


def test_compact__killed_before__clears_up_and_without_room_leaves_the_file_as_it_was(
    warehouse, environ, monkeypatch
):
    left = warehouse.warehouse_file.with_suffix(".unfinished")
    left.write_bytes(b"half of it")
    before = warehouse.warehouse_file.read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("flagsmith_warehouse.loader.operations.publish.sync", refuse)
        ran = invoke(environ, "compact")
    assert ran.exit_code == 1 and "stays as it was" in ran.output and "No space left" in ran.output
    assert warehouse.warehouse_file.read_bytes() == before and not left.exists()
    left.write_bytes(b"half of it")
    assert invoke(environ, "compact").exit_code == 0 and not left.exists()


def test_compact__a_refresh_is_at_work_or_nothing_is_there__says_so(warehouse, environ):
    with lock.hold(warehouse.refresh_lock, 0):
        ran = invoke({**environ, "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "0.1"}, "compact")
    assert ran.exit_code == 1 and "refresh.lock" in ran.output, ran.output
    warehouse.warehouse_file.unlink()
    ran = invoke(environ, "compact")
    assert ran.exit_code == 1 and f"There is no {warehouse.warehouse_file} to compact" in ran.output
