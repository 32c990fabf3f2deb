"""From the inbox to Parquet on object storage: every delivery once, whatever happens in between; also with a warehouse."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
from click.testing import CliRunner

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import WAREHOUSE, Landings
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.landing import batch as landing_batch
from flagsmith_warehouse.loader.landing import lake
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.operations import erase as erase_module
from flagsmith_warehouse.loader.operations import status
from flagsmith_warehouse.loader.operations.cli import main
from flagsmith_warehouse.loader.receive import metrics
from tests.loader.object_storage import ObjectStorage, serving
from tests.loader.server import landed

pytest.importorskip("obstore", reason="land --to needs the extra object-storage")

S3 = "s3://bucket/some/prefix"
KILLS = int(os.environ.get("KILLS", "10"))
COLUMNS = "delivery_id, environment, received_at, payload_hash, is_verified, body_encoding, body, original_payload_hash"
PERSON = "forget-me-Zoë@example.com"


class Killed(BaseException):
    """As if the process had died here."""


@pytest.fixture
def url(tmp_path):
    return (tmp_path / "lake").as_uri()


@pytest.fixture
def storage(monkeypatch):
    stored = ObjectStorage()
    with serving(stored) as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield stored


@pytest.fixture
def box(settings):
    opened = Inbox(settings.inbox_dir)
    yield opened
    opened.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(lake, "RETRY_SECONDS", 0.1)


def fill(box: Inbox, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        box.put("production", True, b"body %d" % number)


def evaluation(identity: str) -> bytes:
    return json.dumps({"flags": [], "identity": identity, "segments": [], "traits": []}).encode()


def rows_below(url: str, columns: str = "body") -> list[tuple]:
    """The rows that any Parquet reader finds, in the order of receipt."""
    if url.startswith("s3:"):
        raise AssertionError("of a folder")
    folder = urlsplit(url).path
    return duckdb.sql(
        f"select {columns} from read_parquet('{folder}/**/*.parquet') order by delivery_id"
    ).fetchall()


def rows_in(storage: ObjectStorage, folder: Path, columns: str = "body") -> list[tuple]:
    for path, content in storage.objects.items():
        file = folder / "objects" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return rows_below((folder / "objects").as_uri(), columns)


def bodies(count: int) -> list[tuple[str]]:
    return [(f"body {number}",) for number in range(count)]


# The landed rows.


@pytest.mark.parametrize("first", ["warehouse", "object storage"])
def test_land_to__beside_the_warehouse__the_same_rows_but_for_landed_at(
    settings, environ, url, tmp_path, first
):
    rules = tmp_path / "privacy.toml"
    rules.write_text('identity = "hash"\n[traits]\nemail = "drop"\n')
    environ |= {"FLAGSMITH_PRIVACY_FILE": str(rules), "FLAGSMITH_PRIVACY_KEY": "a key of 16 letters"}
    settings = settings_module.read(environ)
    Landings(settings.inbox_dir).feed(lake.normal(url))
    trait = {"id": 1, "trait_key": "email", "trait_value": "a@b.c", "transient": False}
    sent = [
        *(
            b"",
            b"\x00\xff",
            b'{"a": "\\ud800"}',
            "Zoë\0☃".encode(),
            b"1e999",
            b"[" * 5_000,
            evaluation("somebody"),
        ),
        json.dumps({"flags": [], "identity": "x", "segments": [], "traits": [trait]}).encode(),
    ]
    living, dead = Inbox(settings.inbox_dir), Inbox(settings.inbox_dir)
    for number, body in enumerate(sent):
        (living, dead)[number % 2].put(
            ("production", "ümwelt", "development")[number % 3], number % 3 != 2, body
        )
    dead.close()
    runs = [lambda: landing.land(settings), lambda: lake.land(settings, url)]
    assert [run().deliveries for run in runs[:: 1 if first == "warehouse" else -1]] == [len(sent)] * 2
    assert rows_below(url, COLUMNS) == landed(environ, COLUMNS)
    assert len(rows_below(url)) == len(sent)
    described = "select column_name, column_type from (describe from {})"
    with duckdb.connect(settings.warehouse_file) as warehouse:
        files = f"read_parquet('{urlsplit(url).path}/**/*.parquet', hive_partitioning = false)"
        assert (
            warehouse.sql(described.format(files)).fetchall()
            == warehouse.sql(described.format("landing.webhooks")).fetchall()
        )
    assert reader.backlog(settings.inbox_dir) == (0, None)
    (left,) = inbox_file.files(settings.inbox_dir)  # the file of the living worker
    assert Landings(settings.inbox_dir).progress("warehouse").keys() == {left.name}
    assert [run().deliveries for run in runs] == [0, 0]
    living.close()


def test_land_to__a_file__is_in_the_hour_of_landing_under_the_loaders_id(box, settings, url):
    box.put("production", True, b"received now")
    last = Landings(settings.inbox_dir)
    lake.land(settings, url)
    [(day, hour, landed_at, path)] = rows_below(url, "day, hour, landed_at, filename")
    # DuckDB reads "01" as text and "14" as a number.
    assert (str(day), int(hour)) == (f"{landed_at:%Y-%m-%d}", landed_at.hour)
    assert abs((datetime.now(UTC).replace(tzinfo=None) - landed_at).total_seconds()) < 300
    assert Path(path).name.startswith(f"{last.loader_id()}-")


def test_land_to__clock_set_back__landed_at_still_rises(box, settings, url):
    fill(box, 1)
    lake.land(settings, url)
    with sqlite3.connect(settings.inbox_dir / "landings.db") as known:
        ahead = known.execute(
            "update landings set last_landed_at = last_landed_at + 7200e6 returning last_landed_at"
        )
        latest = max(at for (at,) in ahead.fetchall())
    known.close()
    fill(box, 1, start=1)
    lake.land(settings, url)
    newest = rows_below(url, "epoch_us(landed_at)")[-1][0]
    assert newest == latest + 1


def test_land_to__repeated_bodies__lie_together_under_zstd(box, settings, url):
    distinct = [random.Random(number).randbytes(2_000).hex().encode() for number in range(20)]
    for body in distinct * 5:
        batch, _ = box.join("production", True, body)
    box.commit(batch)
    lake.land(settings, url, only=True)
    [file] = Path(urlsplit(url).path).rglob("*.parquet")
    in_file = duckdb.sql(
        f"select body from read_parquet('{file}', file_row_number = true) order by file_row_number"
    )
    assert in_file.fetchall() == [(body.decode(),) for body in sorted(distinct) for _ in range(5)]
    compressions = duckdb.sql(f"select distinct compression from parquet_metadata('{file}')").fetchall()
    assert compressions == [("ZSTD",)]
    assert file.stat().st_size < 2 * sum(map(len, distinct))


@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_land_to__files_of_any_size__all_of_it_once(box, settings, url, monkeypatch, size):
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", size)
    fill(box, 6)
    assert lake.land(settings, url).files == {1: 6, 30: 2, 10_000: 1}[size]
    assert rows_below(url) == bodies(6)


# How long deliveries stay in the inbox.


def test_land_to__nobody_has_landed_the_other_way_yet__the_inbox_keeps_it(box, settings, environ, url):
    fill(box, 2)
    lake.land(settings, url)
    assert reader.backlog(settings.inbox_dir)[0] == 2
    fill(box, 1, start=2)
    assert landing.land(settings).deliveries == 3
    assert reader.backlog(settings.inbox_dir)[0] == 1
    assert {name: depth for name, depth, *_ in Landings(settings.inbox_dir).waiting()} == {
        WAREHOUSE: 0,
        url: 1,
    }
    box.close()
    assert landing.land(settings).deliveries == 0 and reader.backlog(settings.inbox_dir)[0] == 1
    assert lake.land(settings, url).deliveries == 1
    assert inbox_file.files(settings.inbox_dir) == []
    assert rows_below(url) == landed(environ, "body") == bodies(3)


def test_land_to__only__the_warehouse_is_not_waited_for_until_somebody_goes_back(box, settings, environ, url):
    fill(box, 1)
    landing.land(settings, only=True)
    assert not Landings(settings.inbox_dir).path.exists(), "the warehouse was fed alone already"
    fill(box, 1, start=1)
    lake.land(settings, url, only=True)
    assert reader.backlog(settings.inbox_dir)[0] == 0 and Landings(settings.inbox_dir).names() == [url]
    fill(box, 1, start=2)
    said = []
    assert landing.land(settings, on_wait=said.append, only=True).deliveries == 1
    assert url in said[0] and Landings(settings.inbox_dir).names() == [WAREHOUSE]
    assert reader.backlog(settings.inbox_dir)[0] == 0
    assert (rows_below(url), landed(environ, "body")) == ([("body 1",)], [("body 0",), ("body 2",)])


def test_land_to__a_url_that_nobody_answers_at__is_not_waited_for(
    box, settings, storage, impatient, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    fill(box, 1)
    with pytest.raises(lake.LakeError, match=r"s3://bucket/some/prefix cannot be read"):
        lake.land(settings, S3)
    landing.land(settings)
    assert reader.backlog(settings.inbox_dir)[0] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "data/lake",
        "s3://",
        "file://lake/here",
        "file:///",
        "http://x/y",
        "s3://key:secret@bucket/a",
        "s3://b/a?x=1",
    ],
)
def test_land_to__no_place_to_land_to__says_how_one_is_written(environ, wrong):
    ran = CliRunner().invoke(main, ["land", "--to", wrong], env=environ)
    assert ran.exit_code == 1 and "s3://bucket/prefix or file:///folder" in ran.output


def test_land_to__with_captures__is_wrong_usage(environ, url, tmp_path):
    capture = tmp_path / "capture"
    capture.write_text("")
    ran = CliRunner().invoke(main, ["land", "--to", url, "--from", str(capture)], env=environ)
    assert ran.exit_code == 2 and "--from without --to" in ran.output


def test_land_to__obstore_is_not_installed__says_what_to_install(environ, url, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    ran = CliRunner().invoke(main, ["land", "--to", url], env=environ)
    assert ran.exit_code == 1 and "flagsmith-warehouse[object-storage]" in ran.output


def test_land_to__only_elsewhere_while_a_file_waits_to_be_put__it_is_given_up(
    box, settings, url, storage, tmp_path, impatient
):
    lake.land(settings, S3, only=True)
    storage.is_full = True
    fill(box, 1)
    with pytest.raises(lake.LakeError):
        lake.land(settings, S3)
    assert lake.land(settings, url, only=True).deliveries == 1
    storage.is_full = False
    fill(box, 1, start=1)
    assert lake.land(settings, S3, only=True).deliveries == 1
    assert (rows_in(storage, tmp_path), rows_below(url)) == ([("body 1",)], [("body 0",)])


# Faults.


def dies(*_, **__):
    raise Killed


def dies_after(function):
    def call(*arguments, **options):
        function(*arguments, **options)
        raise Killed

    return call


@pytest.mark.parametrize(
    ("place", "name", "death"),
    [
        (lake, "_parquet", dies),
        (Landings, "begin", dies),
        (Landings, "begin", dies_after),
        (lake.Store, "put", dies_after),
        (Landings, "end", dies),
        (Landings, "end", dies_after),
        (reader, "delete_landed", dies),
        (reader, "delete_landed", dies_after),
    ],
)
def test_land_to__killed_anywhere__the_next_run_puts_the_same_file_and_finds_it_there(
    box, settings, storage, tmp_path, monkeypatch, place, name, death
):
    fill(box, 3)
    with monkeypatch.context() as patched:
        patched.setattr(place, name, dies if death is dies else dies_after(getattr(place, name)))
        with pytest.raises(Killed):
            lake.land(settings, S3, only=True)
    before = dict(storage.objects)
    fill(box, 1, start=3)
    lake.land(settings, S3, only=True)
    assert rows_in(storage, tmp_path) == bodies(4)
    assert before.items() <= storage.objects.items()
    assert reader.backlog(settings.inbox_dir)[0] == 0
    assert lake.land(settings, S3).deliveries == 0


def test_land_to__the_answer_is_lost__tries_again_and_finds_it_there(box, settings, storage, tmp_path):
    storage.lost_answers = 1
    fill(box, 3)
    said = []
    lake.land(settings, S3, on_wait=said.append)
    assert "Trying again" in said[0]
    assert len(storage.puts) == 2 and len({*storage.puts}) == len(storage.written) == 1
    assert rows_in(storage, tmp_path) == bodies(3)


def test_land_to__storage_is_full__the_inbox_goes_on_and_status_and_metrics_say_since_when(
    box, settings, storage, tmp_path, impatient
):
    lake.land(settings, S3, only=True)
    storage.is_full = True
    fill(box, 2)
    with pytest.raises(lake.LakeError, match="Nothing is lost"):
        lake.land(settings, S3)
    fill(box, 1, start=2)
    told = status.gather(settings)["landings"][S3]
    assert told["depth"] == 3 and told["oldest_age_seconds"] > 0 and "507" in told["problem"]
    shown = metrics.render(settings.inbox_dir).decode()
    assert f'flagsmith_landing_waiting{{landing="{S3}"}} 3.0' in shown
    [age] = [line for line in shown.splitlines() if line.startswith("flagsmith_landing_age_seconds{")]
    assert float(age.split()[-1]) > 0
    out = (
        CliRunner()
        .invoke(main, ["status"], env={"FLAGSMITH_WAREHOUSE_DIR": str(settings.warehouse_dir)})
        .output
    )
    assert f"{S3} lacks 3 of them" in out and "507" in out
    storage.is_full = False
    tried = {*storage.puts}
    assert lake.land(settings, S3).deliveries == 3
    assert tried == {storage.written[0]} and rows_in(storage, tmp_path) == bodies(3)
    assert status.gather(settings)["landings"][S3] == {
        "depth": 0,
        "oldest_age_seconds": None,
        "problem": None,
    }


def test_land_to__while_a_put_takes_its_time__webhooks_are_accepted_and_the_warehouse_is_fed(
    box, settings, environ, storage, tmp_path
):
    lake.land(settings, S3)
    fill(box, 1)

    def meanwhile() -> None:
        storage.before_put = lambda: None
        fill(box, 1, start=1)
        assert landing.land(settings).deliveries == 2

    storage.before_put = meanwhile
    assert lake.land(settings, S3).deliveries == 1
    assert lake.land(settings, S3).deliveries == 1
    assert rows_in(storage, tmp_path) == landed(environ, "body") == bodies(2)
    assert reader.backlog(settings.inbox_dir)[0] == 0


def test_land_to__a_damaged_inbox_file__holds_up_no_other_and_stays(settings, url):
    box, other = Inbox(settings.inbox_dir), Inbox(settings.inbox_dir)
    fill(box, 3)
    fill(other, 1, start=3)
    other.close()
    [damaged] = [path for path in inbox_file.files(settings.inbox_dir) if path.name == box._file.path.name]
    with reader.connect(damaged) as source:
        source.execute("update deliveries set pack = x'00' where row_id = 2")
    [said] = lake.land(settings, url, only=True).unreadable
    assert "once more" in said and damaged.with_suffix(".damaged").exists()
    box.close()
    for _ in range(2):
        [said] = lake.land(settings, url, only=True).unreadable
        assert str(damaged) in said and "is damaged" in said
        assert rows_below(url) == [("body 0",), ("body 2",), ("body 3",)]
        assert inbox_file.files(settings.inbox_dir) == [damaged]


LANDS = """
import sys
from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.landing import batch, lake
batch.BATCH_BYTES = 3_000
read = settings.read()
print("ready", flush=True)
sys.stdin.readline()
lake.land(read, sys.argv[1], only=True)
"""


def test_kill__two_loaders_below_one_prefix__every_delivery_is_there_once(environ, storage, tmp_path):
    """`KILLS=200 pytest tests/loader/test_lake.py -k kill` is the longer run."""
    chance = random.Random(20261127)
    environs = [
        {**os.environ, **environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / name)} for name in ("one", "two")
    ]
    loaders = [settings_module.read(each) for each in environs]
    boxes = [Inbox(each.inbox_dir) for each in loaders]

    def start(number: int) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", LANDS, S3],
            env=environs[number % 2],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    sent = killed = 0
    waiting = [start(number) for number in range(2)]
    for number in range(KILLS):
        waiting.append(start(number))
        for box in boxes:
            fill(box, 20, start=sent)
            sent += 20
        running = waiting.pop(0)
        assert running.stdout.readline() == "ready\n"
        running.stdin.write("\n")
        running.stdin.flush()
        time.sleep(chance.uniform(0, 0.25))
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        running.stdin.close()
        running.stdout.close()
    for running in waiting:
        running.communicate("\n", timeout=120)
        assert running.returncode == 0
    for each in loaders:
        lake.land(each, S3)
    found = sorted(int(body.split()[1]) for (body,) in rows_in(storage, tmp_path))
    assert found == list(range(sent))
    assert len(storage.written) == len({*storage.written})
    assert killed > KILLS / 4 and len({Path(path).name.split("-")[0] for path in storage.written}) == 2
    for box in boxes:
        box.close()


# Erasures.


def test_erase__several_loaders__nobody_lands_the_person_and_no_file_holds_them(
    settings, environ, storage, tmp_path
):
    """Given the person in an uploaded file, in the inbox of the loader that erases, and in that of another loader."""
    other = settings_module.read({**environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / "other")})
    about = [evaluation(PERSON), evaluation("somebody else")]
    boxes = [Inbox(settings.inbox_dir), Inbox(other.inbox_dir)]
    for box in boxes:
        for body in about:
            box.put("production", True, body)
    lake.land(settings, S3)
    boxes[0].put("production", True, about[0])
    receipt = erase_module.erase(settings, PERSON)
    assert receipt["rows_deleted"] == {"inbox": 2, S3: 1}
    lake.land(other, S3, only=True)
    assert rows_in(storage, tmp_path) == [(about[1].decode(),)] * 2
    assert reader.backlog(settings.inbox_dir) == reader.backlog(other.inbox_dir) == (0, None)
    tombstones = [path for path in storage.objects if "_tombstones" in path]
    assert len(tombstones) == 1 and PERSON.encode() not in storage.objects[tombstones[0]]
    kept = b"".join(file.read_bytes() for file in settings.warehouse_dir.rglob("*") if file.is_file())
    assert PERSON.encode() not in kept and json.dumps(PERSON)[1:-1].encode() not in kept
    boxes[1].put("production", True, about[0])  # later than the erasure: landed, as in the warehouse
    assert lake.land(other, S3).deliveries == 1
    for box in boxes:
        box.close()


def test_erase__while_another_loaders_file_is_on_its_way__that_loader_takes_the_person_out(
    box, settings, storage, environ, tmp_path
):
    other = settings_module.read({**environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / "other")})
    lake.land(other, S3)
    box.put("production", True, evaluation(PERSON))
    box.put("production", True, b"somebody else")

    def meanwhile() -> None:
        storage.before_put = lambda: None
        erase_module.erase(other, PERSON)

    storage.before_put = meanwhile
    lake.land(settings, S3, only=True)
    assert rows_in(storage, tmp_path) == [("somebody else",)]
    assert lake.land(settings, S3).deliveries == 0


def test_erase__after_a_loader_was_killed_behind_its_put__the_file_does_not_come_back(
    box, settings, storage, environ, tmp_path, monkeypatch
):
    """The file is rewritten under its own name, so a repeated put finds it there."""
    other = settings_module.read({**environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / "other")})
    lake.land(other, S3)
    box.put("production", True, evaluation(PERSON))
    box.put("production", True, b"somebody else")
    with monkeypatch.context() as patched:
        patched.setattr(Landings, "end", dies)
        with pytest.raises(Killed):
            lake.land(settings, S3, only=True)
    assert erase_module.erase(other, PERSON)["rows_deleted"] == {S3: 1}
    lake.land(settings, S3, only=True)
    assert rows_in(storage, tmp_path) == [("somebody else",)]


def test_erase__before_object_storage_was_fed__is_heeded_there(box, settings, url):
    """Given an inbox file from before the erasure, restored from a copy."""
    box.put("production", True, evaluation(PERSON))
    box.put("production", True, b"somebody else")
    [path] = inbox_file.files(settings.inbox_dir)
    with reader.connect(path) as source:
        source.execute("pragma wal_checkpoint(truncate)")
    copy = path.read_bytes()
    box.close()
    erase_module.erase(settings, PERSON)
    again = path.with_name(f"again-{path.name}")
    again.write_bytes(copy)
    again.with_suffix(".lock").touch()
    assert lake.land(settings, url, only=True).deliveries == 1
    assert rows_below(url) == [("somebody else",)]


def test_erase__storage_does_not_answer__says_that_not_everything_is_erased(
    box, settings, storage, impatient, monkeypatch
):
    lake.land(settings, S3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(erase_module.EraseError, match="not everything is erased"):
        erase_module.erase(settings, PERSON)
    assert erase_module.preview(settings, PERSON)["not_looked_through"] == [S3]


def test_prune__files_with_older_and_newer_deliveries__keeps_the_newer_of_each_environment(settings, url):
    """Given a file with both kinds, one with old ones only, and one that nobody names; then the second one is gone."""
    folder = Path(urlsplit(url).path) / "day=2026-05-03" / "hour=14"
    folder.mkdir(parents=True)
    days = {"both": [1, 9], "old": [1, 2], "unnamed": [1]}
    for name, received in days.items():
        rows = ", ".join(
            f"('{name}-{each}-{day}', '{each}', timestamp '2026-05-0{day}', timestamp '2026-05-03 14:00', 'h', true, 'utf-8', 'b', null)"
            for day in received
            for each in (["busy", "quiet"] if name == "both" else ["busy"])
        )
        columns = "delivery_id, environment, received_at, landed_at, payload_hash, is_verified, body_encoding, body, original_payload_hash"
        duckdb.execute(f"copy (from (values {rows}) as rows ({columns})) to '{folder}/{name}.parquet'")
    paths = [f"day=2026-05-03/hour=14/{name}.parquet" for name in ("both", "old")]
    cutoffs = {"busy": datetime(2026, 5, 9)}
    assert lake.prune(settings, url, paths, cutoffs) == 3
    assert rows_below(url, "delivery_id") == [
        ("both-busy-9",),
        ("both-quiet-1",),
        ("both-quiet-9",),
        ("unnamed-busy-1",),
    ]
    assert sorted(each.stem for each in folder.iterdir()) == ["both", "unnamed"]
    assert lake.prune(settings, url, paths[:1], cutoffs) == 0
