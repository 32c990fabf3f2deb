"""Once `put` returns, the delivery is on disk; many share a commit. A delivery that cannot be written is refused."""

import contextlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.identifier import Identifiers
from flagsmith_warehouse.loader.inbox.writer import Inbox, InboxError
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.landing import schema as landing_schema
from tests.loader.server import landed


@pytest.fixture
def box(settings):
    opened = Inbox(settings.inbox_dir)
    yield opened
    opened.close()


def put_at_once(box: Inbox, count: int) -> list[Exception]:
    """Put one delivery from each of many threads, at the same time. Returns the errors."""
    errors = []

    def put(number: int) -> None:
        try:
            box.put("production", True, str(number).encode())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return errors


def hold_up(box: Inbox, monkeypatch) -> tuple[threading.Event, list[int]]:
    """Make commits wait until the event is set. Returns the list of their sizes."""
    go_on, sizes = threading.Event(), []
    append = inbox_file.InboxFile.append
    monkeypatch.setattr(
        inbox_file.InboxFile,
        "append",
        lambda file, rows: (sizes.append(len(rows)), go_on.wait(20), append(file, rows)),
    )
    return go_on, sizes


def test_put__returned__is_committed(box, settings):
    box.put("production", True, b"body")
    [path] = inbox_file.files(settings.inbox_dir)
    with reader.connect(path) as other:
        [(row_id, _, environment, _, is_verified, body)] = reader.unread(other, 1, 1)
    assert (row_id, environment, is_verified, body) == (1, "production", 1, b"body")


def test_put__many_while_one_commits__share_the_next_commit(box, settings, monkeypatch):
    go_on, sizes = hold_up(box, monkeypatch)
    threading.Timer(1, go_on.set).start()
    assert put_at_once(box, 20) == []
    assert sum(sizes) == 20
    assert len(sizes) == 2
    assert reader.backlog(settings.inbox_dir)[0] == 20


def test_put__commit_fails__all_that_share_it_are_told_and_none_is_kept(box, settings, monkeypatch):
    go_on = threading.Event()

    def fail(file, rows):
        go_on.wait(20)
        raise sqlite3.OperationalError("database or disk is full")

    box.put("production", True, b"before")
    monkeypatch.setattr(inbox_file.InboxFile, "append", fail)
    threading.Timer(0.5, go_on.set).start()
    errors = put_at_once(box, 10)
    assert len(errors) == 10
    assert all(isinstance(error, InboxError) and "disk is full" in str(error) for error in errors)
    monkeypatch.undo()
    box.put("production", True, b"after")
    assert reader.backlog(settings.inbox_dir)[0] == 2
    assert len(inbox_file.files(settings.inbox_dir)) == 2, "a file that failed is not written to again"


FILL_A_SMALL_DISK = """
import os, resource, signal, sys
from pathlib import Path
from flagsmith_warehouse.loader.inbox import writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
box = writer.Inbox(Path(sys.argv[1]))
box.put("production", True, b"before")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for number in range(3):
    try:
        box.put("production", True, os.urandom(1_000_000))
        print("kept")
    except writer.InboxError as error:
        print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
box.put("production", True, b"after")
"""


def test_put__no_more_room__refused_whole_and_goes_on_when_there_is_room(settings, environ):
    out = subprocess.run(
        [sys.executable, "-c", FILL_A_SMALL_DISK, str(settings.inbox_dir)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert out.returncode == 0, out.stderr
    assert [line.split(":")[0] for line in out.stdout.splitlines()] == ["refused"] * 3
    assert str(settings.inbox_dir) in out.stdout
    landing.land(settings)
    assert landed(environ, "body") == [("before",), ("after",)]
    assert inbox_file.files(settings.inbox_dir) == []


def fill_to_the_brim(file: Path) -> None:
    """Fill the disk to the last byte."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while filler.write(b"x" * 100):
            pass


def put_until_refused(box: Inbox) -> int:
    """Put bodies of 50 KB until one is refused. Returns how many were accepted."""
    for accepted in range(1000):
        try:
            box.put("production", True, os.urandom(50_000))
        except InboxError:
            return accepted
    raise AssertionError("the disk was never full")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk"
)
def test_put__disk_is_full__refused_whole_and_goes_on_when_there_is_room(settings, environ):
    settings.inbox_dir.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(settings.inbox_dir)])
    if mounted.returncode:
        pytest.skip("no mounting in this container")
    box = Inbox(settings.inbox_dir)
    try:
        accepted = put_until_refused(box)
        assert 1 < accepted < 100
        with pytest.raises(InboxError, match="full"):
            box.put("production", True, os.urandom(50_000))
        assert reader.backlog(settings.inbox_dir)[0] == accepted
        fill_to_the_brim(settings.inbox_dir / "filler")
        landing.land(settings)
        assert len(landed(environ)) == accepted
        box.put("production", True, b"after")
        box.close()
        landing.land(settings)
        assert len(landed(environ)) == accepted + 1
    finally:
        box.close()
        subprocess.run(["umount", str(settings.inbox_dir)], check=True)


def test_put__folder_cannot_be_made__refused_until_it_can(settings):
    settings.warehouse_dir.write_text("a file where a folder is needed")
    box = Inbox(settings.inbox_dir)
    with pytest.raises(InboxError):
        box.put("production", True, b"")
    settings.warehouse_dir.unlink()
    box.put("production", True, b"")
    box.close()
    assert reader.backlog(settings.inbox_dir)[0] == 1


def test_put__file_removed_under_us__goes_to_a_new_one(box, settings):
    box.put("production", True, b"lost by whoever removed it")
    shutil.rmtree(settings.inbox_dir)
    box.put("production", True, b"kept")
    assert reader.backlog(settings.inbox_dir)[0] == 1


def test_put__file_has_become_large__begins_a_new_one(box, settings, monkeypatch):
    monkeypatch.setattr(inbox_file, "LARGEST_FILE", 100_000)
    for _ in range(3):
        box.put("production", True, os.urandom(5_000_000))
    assert len(inbox_file.files(settings.inbox_dir)) > 1
    assert landing.land(settings).deliveries == 3
    assert len(inbox_file.files(settings.inbox_dir)) == 1


def test_file__its_worker_lives__others_cannot_take_its_lock(box, settings):
    box.put("production", True, b"")
    [path] = inbox_file.files(settings.inbox_dir)
    with lock.try_hold(inbox_file.lock_of(path)) as is_free:
        assert not is_free
    box.close()
    with lock.try_hold(inbox_file.lock_of(path)) as is_free:
        assert is_free


def test_pragmas__in_force__a_commit_waits_for_the_disk(settings):
    settings.inbox_dir.mkdir(parents=True)
    file = inbox_file.InboxFile(settings.inbox_dir)

    def pragma(name: str):
        return file._connection.execute(f"pragma {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)
    assert (pragma("fullfsync"), pragma("checkpoint_fullfsync")) == (1, 1)
    file.close()


COMMIT_ONE_BY_ONE = """
import sys
from pathlib import Path
from flagsmith_warehouse.loader.inbox.writer import Inbox
box = Inbox(Path(sys.argv[1]))
for number in range(50):
    box.put("production", True, b"x" * 1000)
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed, so nobody counts the fsyncs")
def test_put__fifty_commits__at_least_fifty_syncs_of_the_log(settings, tmp_path):
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    python = [sys.executable, "-c", COMMIT_ONE_BY_ONE, str(settings.inbox_dir)]
    traced = subprocess.run([*strace, *python], capture_output=True, text=True, timeout=60)
    if "PTRACE" in traced.stderr:
        pytest.skip("tracing is not allowed here")
    assert traced.returncode == 0, traced.stderr
    calls = trace.read_text()
    assert len(re.findall(r"sync\(\d+<[^>]*-wal>\)\s+= 0", calls)) >= 50
    assert re.search(rf"sync\(\d+<{settings.inbox_dir}>\)\s+= 0", calls), (
        "the name of the file is not on disk"
    )
    assert re.search(rf"sync\(\d+<{settings.warehouse_dir}>\)\s+= 0", calls), "the name of the folder is not"


def test_backlog__landed_in_part__counts_the_rest_and_knows_its_age(box, settings):
    for body in (b"1", b"2", b"3"):
        box.put("production", True, body)
    [path] = inbox_file.files(settings.inbox_dir)
    with sqlite3.connect(path) as other:
        other.execute("delete from deliveries where row_id = 1")
        [(second,), (third,)] = other.execute("select received_at from deliveries order by row_id")
    other.close()
    later = Inbox(settings.inbox_dir)
    later.put("production", True, b"4")
    later.close()
    assert reader.backlog(settings.inbox_dir) == (3, second)
    # A time that is damaged is left out.
    with sqlite3.connect(path) as other:
        other.execute("update deliveries set received_at = 'x' where row_id = 2")
    other.close()
    assert reader.backlog(settings.inbox_dir) == (2, third)


def test_mean_size__of_each_file_that_can_be_read__is_their_mean(box, settings):
    assert reader.mean_size(settings.inbox_dir) == 0
    other = Inbox(settings.inbox_dir)
    for size in (100, 300):
        box.put("production", True, b"x" * size)
    other.put("production", True, b"x" * 1000)
    other.close()
    (settings.inbox_dir / "0.sqlite").write_bytes(b"not a database" * 100)
    assert reader.mean_size(settings.inbox_dir) == 600


def test_backlog__landed_while_it_is_counted__no_error(box, settings, monkeypatch):
    """Given a `land` that empties the file after the first query."""
    box.put("production", True, b"{}")
    connect = reader.connect

    class Emptied:
        def __init__(self, connection):
            self.connection = connection

        def execute(self, query, values=()):
            answer = self.connection.execute(query, values).fetchall()
            self.connection.execute("delete from deliveries")
            return Answer(answer)

    class Answer(list):
        def fetchone(self):
            return self[0] if self else None

    @contextlib.contextmanager
    def emptied(path):
        with connect(path) as connection:
            yield Emptied(connection)

    monkeypatch.setattr(reader, "connect", emptied)
    assert reader.backlog(settings.inbox_dir)[0] == 1


def test_backlog__nothing_there__nothing(settings):
    assert reader.backlog(settings.inbox_dir) == (0, None)


@given(
    commits=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6), min_size=1, max_size=6),
    pack_bytes=st.integers(1, 60),
    data=st.data(),
)
@hypothesis_settings(deadline=None, max_examples=50)
def test_unread__any_bodies_in_any_packs__are_what_was_put_also_when_the_first_are_gone(
    tmp_path_factory, commits, pack_bytes, data
):
    put = [body for commit in commits for body in commit]
    first = data.draw(st.integers(1, len(put)))
    gone = data.draw(st.integers(0, first - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox_file, "PACK_BYTES", pack_bytes)
        file = inbox_file.InboxFile(tmp_path_factory.mktemp("inbox"))
        for commit in commits:
            file.append([(str(body), 0, "production", 1, body) for body in commit])
        file.close()
    with reader.connect(file.path) as connection:
        connection.execute("delete from deliveries where row_id <= ?", [gone])
        found = [(row_id, body) for row_id, *_, body in reader.unread(connection, first, len(put))]
    assert found == list(enumerate(put, start=1))[first - 1 :]


def test_put__the_same_many_times__takes_hardly_more_room_than_once(settings):
    """Bodies of an environment differ little, and are compressed together."""
    file = inbox_file.InboxFile(settings.inbox_dir)
    body = os.urandom(10_000)
    file.append([(str(number), 0, "production", 1, body) for number in range(100)])
    file.close()
    assert file.path.stat().st_size < 10_000 + 100 * 100 + 20_000


@pytest.mark.parametrize(
    ("damage", "said", "left"),
    [
        (
            "update deliveries set pack = substr(pack, 1, 20) where row_id = 3",
            "up to row 3 are damaged",
            "345",
        ),
        ("update deliveries set pack = zeroblob(50) where row_id = 3", "up to row 3 are damaged", "345"),
        ("update deliveries set pack = 'text' where row_id = 3", "up to row 3 are damaged", "345"),
        ("update deliveries set pack = 7 where row_id = 3", "up to row 3 are damaged", "345"),
        (
            "update deliveries set pack = (select max(pack) from deliveries) where pack is not null",
            "of row",
            None,
        ),
        ("delete from deliveries where row_id = 3", "nothing in it of the rows 1 to 3", "345"),
        ("update deliveries set pack = null where row_id = 3", "nothing in it of the rows 1 to 3", "345"),
        ("delete from deliveries where row_id in (3, 4)", "nothing in it of the rows 1 to 3", "345"),
        ("update deliveries set pack = null where row_id = 6", "nothing in it of the rows 4 to 6", "012"),
        ("update deliveries set row_id = 7 where row_id = 6", "of row 6", "012"),
        ("update deliveries set size = -5, received_at = 'x', environment = 'y'", None, "012345"),
    ],
)
def test_unread__damaged__an_error_and_no_wrong_body(settings, environ, damage, said, left):
    file = inbox_file.InboxFile(settings.inbox_dir)
    put = [(str(number), number, "production", 1, b"%d" % number) for number in range(6)]
    for rows in (put[:3], put[3:]):
        file.append(rows)
    file.close()
    with reader.connect(file.path) as connection:
        connection.execute(damage)
        last = connection.execute("select max(row_id) from deliveries").fetchone()[0]
        assert (said or "None") in str(reader.damage(connection, last))
    assert len(landing.land(settings).unreadable) == bool(said)
    found = landed(environ, "delivery_id, body")
    assert all(delivery_id == body for delivery_id, body in found)
    assert left in (None, "".join(delivery_id for delivery_id, _ in found))


def test_land__a_row_has_lost_its_number__is_damage_and_the_file_stays(settings):
    """Given one delivery, and damage in the schema, after which `row_id` is a column without values."""
    file = inbox_file.InboxFile(settings.inbox_dir)
    file.append([("", 0, "production", 1, b"{}")])
    file.close()
    with reader.connect(file.path) as connection:
        connection.executescript(
            "pragma writable_schema = on;"
            " update sqlite_master set sql = replace(sql, 'integer primary key', 'integer')"
        )
    [said] = landing.land(settings).unreadable
    assert "1 rows have no number" in said and file.path.exists()


def test_unread__one_bit_is_another_anywhere__no_wrong_body_and_the_other_file_is_landed(settings, environ):
    """By hand, in two minutes: BITS=1500."""
    chance = random.Random(20261126)
    for _ in range(int(os.environ.get("BITS", "60"))):
        file = inbox_file.InboxFile(settings.inbox_dir)
        put = {f"{number:04}": chance.randbytes(chance.choice([3, 300, 3000])) for number in range(6)}
        rows = [(name, 1, "production", 1, body) for name, body in put.items()]
        file.append(rows[:3])
        file.append(rows[3:])
        file.close()
        content = bytearray(file.path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.path.write_bytes(content)
        other = inbox_file.InboxFile(settings.inbox_dir)
        other.append([("other", 1, "production", 1, b"other")])
        other.close()
        unreadable = landing.land(settings).unreadable
        with landing_schema.open_warehouse(settings, print) as warehouse:
            found = dict(
                warehouse.execute(
                    "select delivery_id, coalesce(try(from_base64(body)), encode(body)) from landing.webhooks"
                ).fetchall()
            )
            warehouse.execute("delete from landing.webhooks")
        assert found.pop("other") == b"other"
        assert found.items() <= put.items()
        assert len(found) == 6 or unreadable
        for path in inbox_file.files(settings.inbox_dir):
            inbox_file.remove(path)


def test_put__file_marked_as_damaged__begins_a_new_one(box, settings):
    box.put("production", True, b"1")
    [path] = inbox_file.files(settings.inbox_dir)
    inbox_file.mark_damaged(path)
    box.put("production", True, b"2")
    assert len(inbox_file.files(settings.inbox_dir)) == 2
    landing.land(settings)
    assert path not in inbox_file.files(settings.inbox_dir) and not list(settings.inbox_dir.glob("*.damaged"))


def test_unread__one_byte_of_a_body_is_another__is_seen(settings):
    """zstd keeps bytes that it cannot compress as they are; only the checksum tells that one has changed."""
    file = inbox_file.InboxFile(settings.inbox_dir)
    body = os.urandom(1000)
    file.append([("", 0, "production", 1, body)])
    file.close()
    content = file.path.read_bytes()
    spoiled = body[:500] + bytes([body[500] ^ 1]) + body[501:]
    assert content.count(body) == 1
    file.path.write_bytes(content.replace(body, spoiled))
    with reader.connect(file.path) as connection, pytest.raises(sqlite3.DatabaseError, match="damaged"):
        list(reader.unread(connection, 1, 1))


def test_identifiers__clock_set_back_and_standing_still__ids_rise_and_are_uuid7():
    times = iter([5_000_000_000_123_456_789, 5_000_000_000_123_456_789, 1, 1, 5_000_000_000_123_457_789])
    identifiers = Identifiers(lambda: next(times))
    ids = [identifiers.next() for _ in range(5)]
    assert sorted(set(ids)) == ids
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i)
        for i, _ in ids
    )
    assert int(ids[0][0].replace("-", "")[:12], 16) == 5_000_000_000_123
    assert ids[0][1] == 5_000_000_000_123_456


def test_identifiers__many_threads__all_different():
    identifiers, ids = Identifiers(), []
    threads = [
        threading.Thread(target=lambda: ids.extend(identifiers.next()[0] for _ in range(500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 4000
