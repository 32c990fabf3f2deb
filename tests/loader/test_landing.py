"""From the inbox to the landing: every delivery once, in bounded batches, whatever happens in between."""

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.landing import batch as landing_batch
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, read
from tests.loader.server import command, landed


@pytest.fixture
def box(settings):
    opened = Inbox(settings.inbox_dir)
    yield opened
    opened.close()


def fill(box: Inbox, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        box.put("production", True, f"body {number}".encode())


def bodies(count: int) -> list[tuple[str]]:
    return [(f"body {number}",) for number in range(count)]


def progress(settings) -> list[tuple]:
    with duckdb.connect(settings.warehouse_file) as warehouse:
        return warehouse.execute("select last_row_id from landing.inbox_progress").fetchall()


def test_land__nothing_ever_received__creates_an_empty_landing(settings, environ):
    assert landing.land(settings) == landing.Landed()
    assert landed(environ) == []


def test_land__worker_lives__rows_leave_the_inbox_and_its_file_stays(box, settings, environ):
    fill(box, 3)
    assert landing.land(settings).deliveries == 3
    assert landed(environ, "body") == bodies(3)
    assert reader.backlog(settings.inbox_dir) == (0, None)
    assert len(inbox_file.files(settings.inbox_dir)) == 1
    fill(box, 2, start=3)
    assert landing.land(settings).deliveries == 2
    assert landed(environ, "body") == bodies(5)


def test_land__worker_has_died__file_and_progress_are_gone(box, settings, environ):
    fill(box, 3)
    box.close()
    landing.land(settings)
    assert landed(environ, "body") == bodies(3)
    assert list(settings.inbox_dir.iterdir()) == []
    assert progress(settings) == []


def test_land__columns__as_the_contract_says(box, settings, environ):
    before = datetime.now(UTC).replace(tzinfo=None)
    box.put("ümwelt", False, b"\x00\xff")
    landing.land(settings)
    [(*texts, is_verified, received_at, landed_at)] = landed(
        environ, "environment, payload_hash, body_encoding, body, is_verified, received_at, landed_at"
    )
    assert texts == [
        "ümwelt",
        "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8",
        "base64",
        "AP8=",
    ]
    assert is_verified is False
    assert before <= received_at <= landed_at


@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_land__batches_of_any_size__all_of_it_once(box, settings, environ, monkeypatch, size):
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", size)
    fill(box, 20)
    batches = []
    landing.land(settings, on_batch=batches.append)
    assert landed(environ, "body") == bodies(20)
    assert sum(batches) == 20
    assert len(batches) == {1: 20, 30: 4, 10_000: 1}[size]


def fill_file(settings, bodies: Iterable[bytes]) -> None:
    """Make an inbox file whose worker has died."""
    settings.inbox_dir.mkdir(parents=True, exist_ok=True)
    file = inbox_file.InboxFile(settings.inbox_dir)
    rows = ((f"{number:036d}", 0, "production", 1, body) for number, body in enumerate(bodies))
    while some := list(itertools.islice(rows, 1000)):
        file.append(some)
    file.close()


def test_land__a_row_group_or_more__goes_into_the_file_and_not_through_the_log(settings, environ):
    sent = [f"{number} {'x' * 36_000}".encode() for number in range(4_500)]
    fill_file(settings, sent)
    log, batches, logged = settings.warehouse_dir / "warehouse.duckdb.wal", [], []

    def on_batch(deliveries: int) -> None:
        batches.append(deliveries)
        logged.append(log.stat().st_size if log.exists() else 0)

    landing.land(settings, on_batch)
    assert batches == [2_048, 2_452], "what does not fill another row group comes along"
    assert max(logged) < 100_000
    assert [body for (body,) in landed(environ, "body")] == [body.decode() for body in sent]


def test_batch__pieces__are_bounded_and_all_of_it_in_the_end(monkeypatch):
    monkeypatch.setattr(landing_batch, "PIECE_BYTES", 25)
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", 60)
    deliveries = ((number, "", "production", 0, 1, b"x" * 10) for number in range(20))
    batch = landing_batch.Batch(deliveries, landing_batch.EPOCH, lambda *_: False, landing.privacy.unaltered)
    pieces = []
    while not batch.is_over:
        pieces.append(len(list(batch.piece())))
    assert pieces == [3, 3]
    assert batch.last_row_id == 5


@pytest.mark.parametrize(
    ("mean_bytes", "rows"), [(0, 122_880), (400, 122_880), (8_160, 8_192), (70_000, 2_048), (10**7, 2_048)]
)
def test_row_group_for__bodies_of_a_size__as_many_as_memory_holds(mean_bytes, rows):
    assert landing.row_group_for(mean_bytes) == rows


def test_land__after_a_build_has_merged_row_groups__goes_on_in_smaller_ones(box, settings, environ):
    fill(box, 10)
    landing.land(settings)
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute("create table built as from range(10)")
    fill(box, 10, start=10)
    landing.land(settings)
    assert landed(environ, "body") == bodies(20)


class Killed(BaseException):
    """Stands for a SIGKILL at a line of our choice."""


class Countdown:
    """A process dies at its nth step."""

    def __init__(self, steps: int):
        self.steps = steps

    def step(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise Killed

    def before(self, function):
        """The function, with a step before it."""
        return lambda *arguments, **options: (self.step(), function(*arguments, **options))[1]


class Fragile:
    """A connection on which every statement is a step."""

    def __init__(self, connection, countdown: Countdown):
        self.connection, self.countdown = connection, countdown

    def __getattr__(self, name):
        if name in ("begin", "execute", "commit"):
            self.countdown.step()
        return getattr(self.connection, name)


@pytest.mark.parametrize("worker_is_dead", [False, True])
def test_land__killed_at_any_step__next_run_lands_the_rest_once(
    environ, tmp_path, monkeypatch, worker_is_dead
):
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", 20)
    for stop_at in itertools.count(1):
        folder = {**environ, "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path / str(stop_at))}
        settings = read(folder)
        box = Inbox(settings.inbox_dir)
        fill(box, 6)
        if worker_is_dead:
            box.close()
        was_killed = land_and_be_killed(settings, stop_at)
        landing.land(settings)
        assert landed(folder, "body") == bodies(6)
        assert reader.backlog(settings.inbox_dir)[0] == 0
        if worker_is_dead:
            assert list(settings.inbox_dir.iterdir()) == []
            assert progress(settings) == []
        box.close()
        if not was_killed:
            break
    assert stop_at > 15


def land_and_be_killed(settings, stop_at: int) -> bool:
    """Land, and die at a given step. Returns False if the run had fewer steps (statements, removed files)."""
    countdown = Countdown(stop_at)
    with pytest.MonkeyPatch.context() as patch:
        for module in (duckdb, sqlite3):
            connect = module.connect
            patch.setattr(module, "connect", lambda *a, c=connect, **k: Fragile(c(*a, **k), countdown))
        patch.setattr(Path, "rename", countdown.before(Path.rename))
        patch.setattr(Path, "unlink", countdown.before(Path.unlink))
        try:
            landing.land(settings)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("left", ["landed", "lock"])
def test_land__killed_while_removing_a_file__next_run_removes_the_rest(box, settings, environ, left):
    fill(box, 1)
    box.close()
    [path] = inbox_file.files(settings.inbox_dir)
    with sqlite3.connect(path) as other:
        content = path.read_bytes()
    other.close()
    landing.land(settings)
    if left == "landed":
        path.with_suffix(".landed").write_bytes(content)
    inbox_file.lock_of(path).write_bytes(b"")
    landing.land(settings)
    assert list(settings.inbox_dir.iterdir()) == []
    assert landed(environ, "body") == bodies(1)


def test_landed_at__clock_set_back__rises_with_every_batch(box, settings, environ, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fixed

    monkeypatch.setattr(landing, "datetime", Clock)
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", 1)
    for year in (2030, 2020):
        Clock.fixed = datetime(year, 1, 1)
        fill(box, 3)
        landing.land(settings)
    times = [time for (time,) in landed(environ, "landed_at")]
    assert times == [datetime(2030, 1, 1) + timedelta(microseconds=n) for n in range(6)]


@pytest.mark.parametrize("worker", ["dead", "living"])
@pytest.mark.parametrize("batch_bytes", [50_000, 2**30])
def test_land__a_damaged_file__all_that_can_be_read_is_landed_and_each_run_fails(
    settings, environ, monkeypatch, worker, batch_bytes
):
    """Given damage to 64 KB in the middle, which contains at least 16 commits of two bodies."""
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", batch_bytes)
    box = Inbox(settings.inbox_dir)
    put = [os.urandom(2_000).hex().encode() for _ in range(200)]
    for start in range(0, 200, 2):
        for body in put[start : start + 2]:
            batch, _ = box.join("production", True, body)
        box.commit(batch)
    [damaged] = inbox_file.files(settings.inbox_dir)
    with reader.connect(damaged) as source:
        source.execute("pragma wal_checkpoint(truncate)")
        assert len(list(reader.unread(source, 1, 200))) == 200
    content = bytearray(damaged.read_bytes())
    half = len(content) // 2 // 4096 * 4096
    content[half : half + 65536] = b"\xff" * 65536
    damaged.write_bytes(content)
    if worker == "dead":
        box.close()
    other = Inbox(settings.inbox_dir)
    other.put("production", True, b"in another file")
    other.close()
    for _ in range(3):
        [said] = landing.land(settings).unreadable
        assert str(damaged) in said and "is damaged" in said and ("once more" in said) == (worker == "living")
        bodies = [body.encode() for (body,) in landed(environ, "body")]
        assert len(bodies) == len(set(bodies)) and set(bodies) <= {*put, b"in another file"}
        assert b"in another file" in bodies and put[0] in bodies and put[-1] in bodies
        assert 200 - 45 < len(bodies) < 200
        assert damaged.exists()
        # The living worker is told to begin another file.
        assert damaged.with_suffix(".damaged").exists() == (worker == "living")
    box.put("production", True, b"meanwhile")
    box.close()
    ran = command(environ, "land")
    assert ran.returncode == 1 and damaged.exists()
    assert str(damaged) in ran.stderr and "Traceback" not in ran.stderr
    assert ("meanwhile",) in landed(environ, "body")
    for path in settings.inbox_dir.glob(f"{damaged.stem}.*"):
        path.unlink()
    assert command(environ, "land").returncode == 0 and list(settings.inbox_dir.iterdir()) == []


@pytest.mark.parametrize("why", ["locked", "readonly"])
def test_land__a_living_file_cannot_be_written__is_said_and_nothing_is_lost(
    box, settings, environ, monkeypatch, why
):
    """Given somebody else who has locked the file, or a disk that can only be read for a while."""
    fill(box, 3)
    [path] = inbox_file.files(settings.inbox_dir)
    connect = sqlite3.connect
    other = connect(path, isolation_level=None)

    def connect_in_vain(*of, **options):
        opened = connect(*of, **options | {"timeout": 0})
        opened.execute(f"pragma query_only = {why == 'readonly'}")
        return opened

    if why == "locked":
        other.execute("begin immediate")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_in_vain)
        [said] = landing.land(settings).unreadable
    assert why in said and "Nothing in it is lost" in said and "damaged" not in said
    other.close()
    assert landing.land(settings).unreadable == []
    assert landed(environ, "body") == bodies(3) and reader.backlog(settings.inbox_dir)[0] == 0


@pytest.mark.parametrize(("done", "left"), [(0, ["0", "2"]), (2, ["2"])])
def test_land__damaged_file_and_killed_behind_the_damage__the_next_run_says_so(settings, environ, done, left):
    """Given damage before the last row, and perhaps a run that was killed before it could report it."""
    box = Inbox(settings.inbox_dir)
    for number in range(3):
        box.put("production", True, b"%d" % number)
    box.close()
    [path] = inbox_file.files(settings.inbox_dir)
    with reader.connect(path) as source:
        source.execute("update deliveries set pack = zeroblob(9) where row_id = 2")
    with landing_schema.open_warehouse(settings, print) as warehouse:
        warehouse.execute("insert into landing.inbox_progress values (?, ?)", [path.name, done])
    assert len(landing.land(settings).unreadable) == 1
    assert landed(environ, "body") == [(body,) for body in left] and path.exists()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_land__a_file_that_never_was_an_inbox__holds_up_no_other(box, settings, environ, content):
    fill(box, 2)
    (settings.inbox_dir / "0.sqlite").write_bytes(content)
    assert bool(landing.land(settings).unreadable) == bool(content)
    assert landed(environ, "body") == bodies(2)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak")
def test_land__large_backlog__memory_stays_bounded(settings, environ):
    """Given 200 MB of bodies. (getrusage would not do: its peak includes that of the parent process.)"""
    noise = [f"{number:x}" * 4 for number in range(0, 2**62, 2**62 // 20)]
    fill_file(settings, ((str(number) + noise[number % 20] * 150).encode() for number in range(20_000)))
    code = (
        "import pathlib, re\n"
        "from flagsmith_warehouse.loader import settings\n"
        "from flagsmith_warehouse.loader.landing.land import land\n"
        "landed = land(settings.read())\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(landed.deliveries, re.search(r'VmHWM:\\s+(\\d+)', status)[1])"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **environ}, text=True)
    deliveries, kilobytes = map(int, shown.split())
    assert deliveries == 20_000
    assert kilobytes < 400_000


def test_land__bodies_too_large_for_the_memory__are_landed_with_more(settings, environ, monkeypatch):
    monkeypatch.setattr(landing, "MEMORY", ("30MB", "300MB"))
    monkeypatch.setattr(landing_batch, "BATCH_BYTES", 5_000_000)
    sent = [os.urandom(500_000).hex().encode() for _ in range(60)]
    fill_file(settings, sent)
    assert landing.land(settings).unreadable == []
    assert [body for (body,) in landed(environ, "body")] == [body.decode() for body in sent]


def test_land__memory_never_enough__fails_and_loses_nothing(settings, environ, monkeypatch):
    sent = [os.urandom(500_000).hex().encode() for _ in range(60)]
    fill_file(settings, sent)
    with monkeypatch.context() as patch:
        patch.setattr(landing, "MEMORY", ("30MB", "31MB"))
        with pytest.raises(landing_schema.LandingError, match="still in"):
            landing.land(settings)
    landing.land(settings)
    assert [body for (body,) in landed(environ, "body")] == [body.decode() for body in sent]


@contextlib.contextmanager
def opened_elsewhere(settings, seconds: float):
    """Another process that has the warehouse open for the given time."""
    code = (
        "import duckdb, sys, time; warehouse = duckdb.connect(sys.argv[1]); print('open', flush=True); "
        "time.sleep(float(sys.argv[2]))"
    )
    python = [sys.executable, "-c", code, str(settings.warehouse_file), str(seconds)]
    with subprocess.Popen(python, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        yield other


def test_land__warehouse_open_elsewhere__waits_and_says_so(box, settings, environ):
    fill(box, 1)
    landing.land(settings)
    with opened_elsewhere(settings, seconds=2):
        fill(box, 1, start=1)
        said = []
        assert landing.land(settings, on_wait=said.append).deliveries == 1
    assert len(said) == 1
    assert str(settings.warehouse_file) in said[0]


def test_land__warehouse_open_elsewhere_for_too_long__gives_up_and_loses_nothing(box, settings, environ):
    fill(box, 1)
    landing.land(settings)
    fill(box, 1, start=1)
    with opened_elsewhere(settings, seconds=60) as other:
        ran = command({**environ, "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "0.5"}, "land")
        other.kill()
    assert ran.returncode == 1
    assert "Gave up after 0.5 s" in ran.stderr and "Traceback" not in ran.stderr
    landing.land(settings)
    assert landed(environ, "body") == bodies(2)


def test_land__two_at_once__every_delivery_once(box, settings, environ):
    fill(box, 200)
    threads = [threading.Thread(target=command, args=(environ, "land")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert landed(environ, "body") == bodies(200)


def test_land__lock_held__waits_for_it(settings, environ):
    with lock.hold(settings.warehouse_lock, 0):
        ran = command({**environ, "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "0.2"}, "land")
    assert ran.returncode == 1
    assert "warehouse.lock is held by another process" in ran.stderr


def test_land__while_deliveries_keep_coming__ends(box, settings):
    stop = threading.Event()

    def keep_coming():
        while not stop.is_set():
            box.put("production", True, b"x" * 1000)

    thread = threading.Thread(target=keep_coming)
    thread.start()
    time.sleep(0.2)
    started = time.monotonic()
    landing.land(settings)
    seconds = time.monotonic() - started
    stop.set()
    thread.join()
    assert seconds < 10


def described(file: Path) -> list[tuple]:
    with duckdb.connect(file) as warehouse:
        return warehouse.execute("describe landing.webhooks").fetchall()


def test_create_landing__loader_and_dbt__make_the_same_table(settings, environ, tmp_path):
    landing.land(settings)
    folder = str(PROJECT_FOLDER)
    dbt = [
        str(Path(sys.executable).with_name("dbt")),
        "--quiet",
        "compile",
        "--target-path",
        str(tmp_path / "target"),
    ]
    inline = ["--inline", "{{ create_landing() }}", "--project-dir", folder, "--profiles-dir", folder]
    sql = subprocess.check_output([*dbt, *inline], env={**os.environ, **environ}, text=True, timeout=120)
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.execute(sql)
    assert described(tmp_path / "warehouse.duckdb") == described(settings.warehouse_file)
    assert "body varchar not null using compression zstd" in sql
    assert "body varchar not null using compression zstd" in landing_schema.TABLES


def test_dbt__warehouse_open_elsewhere_for_a_moment__waits(settings, environ, tmp_path):
    landing.land(settings)
    folder = str(PROJECT_FOLDER)
    dbt = [str(Path(sys.executable).with_name("dbt")), "show", "--inline", "select 1 as it_waited"]
    places = ["--target-path", str(tmp_path), "--log-path", str(tmp_path)]
    where = ["--project-dir", folder, "--profiles-dir", folder]
    with duckdb.connect(settings.warehouse_file) as held:
        asked = subprocess.Popen(
            [*dbt, *places, *where], env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
        )
        said = []
        for line in asked.stdout:
            said.append(line)
            if "Found " in line:  # everything has been read; the connection is next
                time.sleep(2)
                held.close()
    asked.stdout.close()
    assert asked.wait() == 0, "".join(said)
    assert "it_waited" in "".join(said)


def test_landing__bodies_alike__take_a_small_part_of_their_size_on_disk(settings):
    """The benchmark measures a fiftieth for 50,000 bodies. For 10,000, fixed costs are a larger part."""
    from benchmarks.loader import bodies as like_flagsmith

    fill_file(settings, like_flagsmith(20, 10_000))
    result = landing.land(settings)
    assert settings.warehouse_file.stat().st_size * 40 < result.bytes
