"""The published copy: readers keep the copy they opened, nobody waits, and no copy is ever incomplete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.operations import publish
from tests.loader.server import command
from tests.operations.conftest import invoke, receive

READER = """
import sys, duckdb
copy = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(copy.execute(f"select coalesce(sum(hash(row)), 0) from {line.strip()} as row").fetchone()[0], flush=True)
"""
BODY = b'{"flags": [], "identity": "%d", "segments": [], "traits": []}'


class Reader:
    """A client in a separate process that keeps the published file open."""

    def __init__(self, path: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def contents(self, table: str) -> int:
        """A checksum of the rows of a table."""
        self.process.stdin.write(f"{table}\n")
        return int(self.process.stdout.readline())


def described(path: Path) -> tuple[dict, dict]:
    """Rows and comments of the marts, by name, in the published file or the warehouse."""
    with duckdb.connect(path, read_only=True) as connection:
        tables = connection.execute(
            "select table_name, comment from duckdb_tables() where schema_name in ('marts', 'seeds') union all "
            "select view_name, comment from duckdb_views() where schema_name in ('marts', 'seeds')"
        ).fetchall()
        columns = connection.execute(
            "select table_name, column_name, data_type, comment from duckdb_columns() "
            "where schema_name in ('marts', 'seeds') order by all"
        ).fetchall()
    return dict(tables), columns


def rows(path: Path, table: str) -> list[tuple]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(f"from {table} order by all").fetchall()


def test_publish__warehouse_open_elsewhere__waits_for_it(warehouse, environ):
    """Given a client in another process; when it closes; then the copy is made, and a message said what we waited for."""
    holder = (
        "import sys, duckdb; held = duckdb.connect(sys.argv[1]); print('open', flush=True);"
        " sys.stdin.readline(); held.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(warehouse.warehouse_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "open\n"
        said: list[str] = []

        def let_go(text: str) -> None:
            said.append(text)
            process.stdin.write("\n")
            process.stdin.flush()

        with publish.locked(warehouse, let_go):
            published = publish.publish(warehouse, let_go)
    assert published.tables and "is open in another process" in said[0]


def test_publish__after_a_refresh__has_every_mart_with_its_rows_and_descriptions(warehouse):
    names, columns = described(warehouse.published_file)
    assert (names, columns) == described(warehouse.warehouse_file)
    assert names["fct_flag_assignments"].startswith("One row per") and any(c[3] for c in columns)
    for name in [name for name in names if name.startswith(("fct_", "dim_", "flagsmith_"))]:
        table = f"marts.{name}"
        assert rows(warehouse.published_file, table) == rows(warehouse.warehouse_file, table)
    assert rows(warehouse.published_file, "marts.flagsmith_events")


def test_publish__table_functions__work_in_the_copy_also_attached_under_another_name(warehouse, tmp_path):
    moved = tmp_path / "elsewhere.duckdb"
    moved.write_bytes(warehouse.published_file.read_bytes())
    warehouse.warehouse_file.unlink()
    for function in ("traits_as_of", "segments_as_of", "flags_as_of"):
        assert rows(moved, f"marts.{function}(timestamp '2099-01-01')")
    ((environment, identity), *_) = rows(moved, "(select environment, identity from marts.dim_identities)")
    assert rows(moved, f"marts.timeline_of('{environment}', '{identity}')")


def test_publish__no_bodies__the_landing_stays_in_the_warehouse(warehouse):
    with duckdb.connect(warehouse.published_file, read_only=True) as connection:
        schemas = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
    assert {schema for (schema,) in schemas} <= set(publish.SCHEMAS)


def test_publish__a_reader_keeps_the_copy_open__it_is_replaced_three_times_and_the_reader_reads_what_it_opened(
    warehouse, environ, tmp_path
):
    """Memory may answer for a table that was read before, so after each copy a table is read for the first time."""
    tables = (
        "marts.fct_deliveries_hourly",
        "marts.fct_flag_assignments",
        "marts.fct_identity_traits",
        "marts.dim_flags",
    )
    first = tmp_path / "first.duckdb"
    shutil.copy(warehouse.published_file, first)
    receive(warehouse, BODY % 1)
    with Reader(warehouse.published_file) as reader, Reader(first) as same:
        assert reader.contents(tables[0]) == same.contents(tables[0])
        for number in range(1, 4):
            inode = warehouse.published_file.stat().st_ino
            ran = invoke(environ, "refresh" if number == 1 else "publish")
            assert ran.exit_code == 0, ran.output
            assert warehouse.published_file.stat().st_ino != inode
            with Reader(warehouse.published_file) as newcomer:
                assert newcomer.contents(tables[0]) != same.contents(tables[0])
            assert reader.contents(tables[number]) == same.contents(tables[number])
    newest = rows(warehouse.published_file, "marts.dim_identities")
    assert "1" in {row[1] for row in newest}


def test_refresh__the_build_fails__exits_non_zero_and_the_last_copy_stays(warehouse, environ):
    before = warehouse.published_file.read_bytes()
    with duckdb.connect(warehouse.warehouse_file) as connection:
        connection.execute("alter table landing.webhooks rename column body to lost")
    receive(warehouse, BODY % 1)
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 1
    assert "dbt build failed" in ran.stderr and "Traceback" not in ran.stderr
    assert warehouse.published_file.read_bytes() == before


def test_publish__disk_refuses_half_way__says_so_leaves_nothing_and_the_last_copy_stays(
    warehouse, monkeypatch
):
    before = warehouse.published_file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish, "sync", full)
    with pytest.raises(publish.PublishError, match=r"No space left on device.*The last published copy stays"):
        publish.publish(warehouse)
    assert warehouse.published_file.read_bytes() == before
    assert [path.name for path in warehouse.warehouse_dir.glob("published*")] == ["published.duckdb"]


def test_publish__a_mart_cannot_be_read__fails_and_the_last_copy_stays(warehouse):
    before = warehouse.published_file.read_bytes()
    with duckdb.connect(warehouse.warehouse_file) as connection:
        connection.execute("drop table marts.dim_flags")
        connection.execute("create view marts.dim_flags as select cast('x' as integer) as n")
    with pytest.raises(publish.PublishError, match="could not be published"):
        publish.publish(warehouse)
    assert warehouse.published_file.read_bytes() == before


def test_publish__a_described_view_of_the_host_cannot_be_read__is_left_out_by_name(warehouse):
    with duckdb.connect(warehouse.warehouse_file) as connection:
        ((schema,),) = connection.execute(
            "select schema_name from duckdb_tables() where table_name = 'dbt_relations'"
        ).fetchall()
        connection.execute("create schema host; create view host.broken as select cast('x' as integer) as n")
        connection.execute("comment on view host.broken is 'One row per mistake.'")
        connection.execute(f"insert into {schema}.dbt_relations values ('host', 'broken', 'own', 'broken')")
    (left_out,) = publish.publish(warehouse).left_out
    assert left_out.startswith("host.broken: ")


def test_publish__killed_half_way_before__takes_no_notice_of_what_that_left(warehouse, environ):
    unfinished = warehouse.published_file.with_suffix(".unfinished")
    unfinished.write_bytes(b"half a file")
    Path(f"{unfinished}.wal").write_bytes(b"half a log")
    ran = command(environ, "publish")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"Published {warehouse.published_file}: ")
    assert not unfinished.exists()
    assert rows(warehouse.published_file, "marts.dim_flags")


def test_publish__before_any_refresh__says_what_to_do(environ):
    ran = command(environ, "publish")
    assert ran.returncode == 1
    assert "flagsmith-warehouse refresh" in ran.stderr and "Traceback" not in ran.stderr


def test_publish__a_refresh_is_at_work__waits_and_then_gives_up(warehouse, environ):
    with lock.hold(warehouse.refresh_lock, 0):
        ran = command({**environ, "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "0.2"}, "publish")
    assert ran.returncode == 1
    assert "Waiting up to 0.2 s" in ran.stderr and "Gave up" in ran.stderr


def test_publish_to__every_table_of_the_copy__is_a_closed_file_with_its_rows(warehouse, environ, tmp_path):
    """Given a refreshed warehouse; when published to a folder; then each table of the copy is there, readable without us."""
    folder = tmp_path / "lake"
    ran = invoke(environ, "publish", "--to", str(folder))
    assert ran.exit_code == 0 and f"Published {folder}: " in ran.output, ran.output
    with duckdb.connect(warehouse.published_file, read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '/' || table_name from duckdb_tables() order by all"
        ).fetchall()
        written = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
        assert written == {f"{table}.parquet" for (table,) in tables} | {"published.json"}
        for (table,) in tables:
            mart, file = table.replace("/", "."), f"'{folder / table}.parquet'"
            assert connection.execute(f"describe from {file}").fetchall() == [
                (column[0], column[1].replace("JSON", "VARCHAR"), "YES", *column[3:])
                for column in connection.execute(f"describe {mart}").fetchall()
            ]
            assert connection.execute(f"from {mart} except all from {file}").fetchall() == []
            assert connection.execute(f"from {file} except all from {mart}").fetchall() == []
        codecs = f"select distinct compression from parquet_metadata('{folder}/marts/dim_flags.parquet')"
        assert connection.execute(codecs).fetchall() == [("ZSTD",)]
    assert {path.stat().st_mode & 0o037 for path in folder.rglob("*.*")} == {0}


def test_publish__a_client_of_duckdb_1__reads_tables_descriptions_and_functions(warehouse):
    """FLAGSMITH_TEST_DUCKDB_1 names a Python that has duckdb 1.x: docs/operations.md says how to make one."""
    python = os.environ.get("FLAGSMITH_TEST_DUCKDB_1")
    if not python:
        pytest.skip("FLAGSMITH_TEST_DUCKDB_1 names no Python with duckdb 1.x (see docs/operations.md)")
    script = (
        "import sys, duckdb; c = duckdb.connect(sys.argv[1], read_only=True); "
        "assert duckdb.__version__.startswith('1.'), duckdb.__version__; "
        "print(len(c.execute('from marts.fct_flag_assignments').fetchall()), "
        "len(c.execute(\"from marts.flags_as_of(timestamp '2099-01-01')\").fetchall()), "
        "c.execute(\"select comment from duckdb_tables() where table_name = 'dim_flags'\").fetchone()[0])"
    )
    ran = subprocess.run(
        [python, "-c", script, str(warehouse.published_file)], capture_output=True, text=True, check=True
    )
    assignments = len(rows(warehouse.published_file, "marts.fct_flag_assignments"))
    current = len(rows(warehouse.published_file, "marts.flags_as_of(timestamp '2099-01-01')"))
    assert ran.stdout.startswith(f"{assignments} {current} One row per")
