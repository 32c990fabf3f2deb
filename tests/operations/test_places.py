"""`publish --to`: Parquet files that anybody reads, never half of one, and nobody in them who was erased."""

import json
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import places, publish
from tests.operations.conftest import environ_of

LONG = "long_" * 60


@pytest.fixture
def copy(tmp_path):
    """The settings of a folder with a small published copy, whose names and types try a file system and Parquet."""
    settings = settings_module.read(environ_of(tmp_path / "data"))
    settings.warehouse_dir.mkdir()
    with duckdb.connect(settings.published_file) as connection:
        for schema in ("marts", "..", "a/b"):
            connection.execute(f'create schema "{schema}"')
        connection.execute("create table marts.people as select 'ann' as identity, 1 as visits")
        connection.execute("comment on table marts.people is 'One row per person.'")
        connection.execute("comment on column marts.people.identity is 'Who.'")
        for name in ("..", "day=1", "50%", "été", "x'y", "[a]*?", LONG + "1", LONG + "2"):
            connection.execute(
                f'create table "a/b"."{name}" as select \'{name.replace(chr(39), "")}\' as name'
            )
        connection.execute(
            'create table "..".totals as select 123456789012345678901234567890::hugeint as total'
        )
        connection.execute(
            'create table "..".broken as select 340282366920938463463374607431768211455::uhugeint as x'
        )
    return settings


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def query(sql: str) -> list[tuple]:
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def test_publish_to__contents__say_when_and_what(copy, tmp_path):
    places.put(copy, str(tmp_path / "lake"))
    contents = json.loads((tmp_path / "lake" / "published.json").read_text())
    assert contents["published_at"].endswith("+00:00")
    (people,) = [table for table in contents["tables"] if table["table"] == "people"]
    assert people == {
        **{"schema": "marts", "table": "people", "file": "marts/people.parquet", "rows": 1},
        "comment": "One row per person.",
        "columns": [
            {"name": "identity", "type": "VARCHAR", "comment": "Who."},
            {"name": "visits", "type": "INTEGER", "comment": None},
        ],
    }


def test_publish_to__names_that_a_file_system_dislikes__are_spelled_out_and_stay_apart(copy, tmp_path):
    folder = tmp_path / "lake"
    put = places.put(copy, str(folder))
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("data", "lake")] == []
    contents = json.loads((folder / "published.json").read_text())
    assert files(folder) == {"published.json", *(table["file"] for table in contents["tables"])}
    assert len({table["file"] for table in contents["tables"]}) == put.tables == 10
    for table in contents["tables"]:
        if table["schema"] == "a/b":
            read = f"from read_parquet('{folder / table['file']}')"  # neither a pattern nor a partition for DuckDB
            assert query(read) == [(table["table"].replace("'", ""),)]


def test_publish_to__integers_beyond_64_bits__stay_exact_or_are_left_out_by_name(copy, tmp_path):
    put = places.put(copy, str(tmp_path / "lake"))
    totals = query(f"from '{tmp_path}/lake/%2E./totals.parquet'")
    assert [(int(total),) for (total,) in totals] == [(123456789012345678901234567890,)]
    assert [line.split(":")[0] for line in put.left_out] == ["...broken"]


def test_publish_to__again__replaces_files_that_a_reader_keeps_and_removes_those_that_are_gone(
    copy, tmp_path
):
    """Given a reader with a file open, and a file of somebody else's; then neither is touched, and no old row is left."""
    folder = tmp_path / "lake"
    places.put(copy, str(folder))
    (folder / "marts" / "notes.txt").write_text("mine")
    with (folder / "marts" / "people.parquet").open("rb") as opened:
        before = (folder / "marts" / "people.parquet").read_bytes()
        with duckdb.connect(copy.published_file) as connection:
            connection.execute("delete from marts.people")
            connection.execute('drop table "..".totals')
        places.put(copy, str(folder))
        assert opened.read() == before
    assert query(f"from '{folder}/marts/people.parquet'") == []
    assert not (folder / "%2E.").exists()
    assert (folder / "marts" / "notes.txt").read_text() == "mine"


def test_publish_to__the_disk_refuses_half_way__every_old_file_stays(copy, tmp_path, monkeypatch):
    folder = tmp_path / "lake"
    places.put(copy, str(folder))
    before = {file: (folder / file).read_bytes() for file in files(folder)}
    with duckdb.connect(copy.published_file) as connection:
        connection.execute("insert into marts.people values ('bob', 2)")

    def full(path):
        if path.name == "people.parquet":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(places, "sync", full)
    with pytest.raises(publish.PublishError, match=r"No space left on device.*What was there stays"):
        places.put(copy, str(folder))
    assert {file: (folder / file).read_bytes() for file in files(folder)} == before


@pytest.mark.parametrize("moves", (1, 2, 6, 11, 12))
def test_publish_to__killed_at_any_move__the_next_run_leaves_nothing_old(copy, tmp_path, monkeypatch, moves):
    """Given a kill between two moves, and a table that is gone by the next run; then its file is gone as well."""
    folder, rename = tmp_path / "lake", Path.rename

    def killed(path, target, left=[moves]):  # noqa: B006 -- counts its calls
        if folder in path.parents:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        places.put(copy, str(folder))
    monkeypatch.setattr(Path, "rename", rename)
    with duckdb.connect(copy.published_file) as connection:
        connection.execute("drop table marts.people")
    places.put(copy, str(folder))
    contents = json.loads((folder / "published.json").read_text())
    assert files(folder) == {"published.json", *(table["file"] for table in contents["tables"])}
    assert "marts/people.parquet" not in files(folder)


def test_publish_to__a_folder_of_something_else__is_left_alone_and_not_remembered(copy, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.doc").write_text("mine")
    with pytest.raises(publish.PublishError, match=r"home holds thesis\.doc.*nothing was written"):
        places.put(copy, str(tmp_path / "home"))
    assert files(tmp_path / "home") == {"thesis.doc"} and places.known(copy) == []


@pytest.mark.parametrize(
    "place, why",
    [("ducklake:lake.ducklake", "install ducklake"), ("s3://bucket/marts", "not a folder on this machine")],
)
def test_publish_to__a_place_that_cannot_be_reached__says_what_to_do(copy, place, why, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.warehouse_dir))  # where DuckDB keeps extensions
    with pytest.raises(publish.PublishError, match=why):
        places.put(copy, place)
    assert places.known(copy) == []


def test_publish_to__a_lake_in_the_current_folder__is_known_from_any_folder(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "_ducklake", lambda connection, place: lambda: place)
    given = ("ducklake:here.ducklake", f"ducklake:{tmp_path}/there.ducklake", "ducklake:postgres:dbname=lake")
    assert [places.put(copy, place) for place in given] == places.known(copy)
    assert places.known(copy) == [f"ducklake:{tmp_path}/here.ducklake", *given[1:]]


def test_forget_missing__killed_before_its_first_contents__is_not_forgotten(copy, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(places, "_write_table", killed)
    monkeypatch.setattr(places.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        (tmp_path / "lake" / ".unfinished").mkdir(parents=True)
        places.put(copy, str(tmp_path / "lake"))
    assert places.forget_missing(copy) == []
    (tmp_path / "lake" / ".unfinished").rmdir()
    assert places.forget_missing(copy) == [str(tmp_path / "lake")]


def test_publish_to__contents_that_name_a_file_elsewhere__it_is_left_alone(copy, tmp_path):
    places.put(copy, str(tmp_path / "lake"))
    mine = tmp_path / "mine.parquet"
    mine.touch()
    contents = tmp_path / "lake" / "published.json"
    said = json.loads(contents.read_text())
    for file in (str(mine), f"/{mine}", "../mine.parquet"):
        said["tables"][0]["file"] = file
        contents.write_text(json.dumps(said))
        places.put(copy, str(tmp_path / "lake"))
        assert mine.exists(), file
