"""Faults, one after the other, against the real commands: `python -m tests.operations.faults [NAME...]`.

Each prints a line of the table in docs/reliability.md: what was tried, how it was answered, what was lost. It
ends with 1 if anything that was answered with 2xx is not in the landing exactly once. Those that need a file
system of their own mount one, which takes root; elsewhere they are skipped, and say so.
"""

import concurrent.futures
import contextlib
import gzip
import http.client
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from tests.loader.server import COMMAND, Server, command, landed, sign
from tests.operations.test_deploy import Nginx

# ruff: noqa: E501  # a line of the table is a line here; mount and umount are the system's own


class Skipped(Exception):
    """The machine does not allow this fault."""


@dataclass
class Site:
    """A loader in a folder of its own, and what it has answered with 2xx."""

    folder: Path
    accepted: list[bytes] = field(default_factory=list)
    answers: Counter = field(default_factory=Counter)
    said: str = ""
    through: Nginx | None = None

    def __post_init__(self):
        self.environ = {
            "FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": ["new secret"]}),
            "FLAGSMITH_UNSIGNED_ENVIRONMENTS": "",
            "FLAGSMITH_WAREHOUSE_DIR": str(self.folder / "data"),
            "FLAGSMITH_LOCK_TIMEOUT_SECONDS": "30",
        }
        (self.folder / "data").mkdir(parents=True)
        self.number = 0

    def serve(self, workers: int = 2) -> Server:
        self.server = Server(self.environ, workers=workers)
        return self.server

    def body(self, size: int = 300) -> bytes:
        self.number += 1
        # Bytes that no file system can squeeze.
        filling = os.urandom(size // 2).hex()
        return json.dumps(
            {"flags": [], "identity": f"{self.number}", "segments": [], "traits": [], "x": filling}
        ).encode()

    def post(self, size: int = 300) -> int | None:
        """One webhook; None if there was no answer. What was not answered may be landed, or not."""
        body = self.body(size)
        try:
            if self.through:
                status = self.through.request("POST", "/webhooks/production", body, sign(body))
            else:
                status = self.server.post(body).status
        except (OSError, http.client.HTTPException):
            status = None
        self.answers[status] += 1
        if status == 204:
            self.accepted.append(body)
        return status

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        ran = command(self.environ, *arguments)
        assert "Traceback" not in ran.stderr, ran.stderr
        if ran.returncode:
            self.said = ran.stderr.strip().splitlines()[-1][:200]
        return ran

    def lost_and_doubled(self) -> tuple[int, int]:
        """Land everything; of what was accepted, how many are missing and how many are there twice."""
        self.run("land")
        count = Counter(body.encode() for _, body in landed(self.environ))
        return sum(count[body] == 0 for body in self.accepted), sum(count[body] > 1 for body in self.accepted)


@contextlib.contextmanager
def file_system(site: Site, megabytes: int) -> Iterator[Path]:
    """The data in a file system of so many megabytes."""
    folder = site.folder / "data"
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]).returncode
    ):
        raise Skipped("a file system of its own needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def disk_full_in_the_inbox(site: Site) -> str:
    with file_system(site, 4) as folder, site.serve():
        while site.answers[503] < 10:
            site.post(20_000)
        during = dict(site.answers)
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
        for _ in range(20):
            site.post()
        site.lost = site.lost_and_doubled()
    return f"4 MB filled: {during[204]} answered 204, {during[503]} answered 503; 20 more after room was made"


def disk_full_in_landing_and_publish(site: Site) -> str:
    with file_system(site, 100) as folder, site.serve():
        for _ in range(200):
            site.post(20_000)
        assert site.run("land").returncode == 0
        for _ in range(200):
            site.post(20_000)
        balloon = folder / "balloon"
        with contextlib.suppress(OSError), balloon.open("wb") as file:
            while True:
                file.write(bytes(100_000))
                file.flush()
        assert site.run("land").returncode == 1
        said = site.said
        balloon.unlink()
        site.lost = site.lost_and_doubled()
    return f"land exits with 1 (“{said[:90]}…”), again after room was made"


def killed_at_random(site: Site, rounds: int = 12) -> str:
    dice = random.Random(1)  # not a secret
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            site.post()

    def kill_lands() -> None:
        while not stop.is_set():
            process = subprocess.Popen(
                [*COMMAND, "land"],
                env={**os.environ, **site.environ},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(dice.uniform(0.3, 1.5))
            process.send_signal(signal.SIGKILL)
            process.wait()

    with site.serve() as server:
        threads = [threading.Thread(target=send) for _ in range(4)] + [threading.Thread(target=kill_lands)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(rounds):
                time.sleep(dice.uniform(0.2, 1.5))
                workers = server.worker_ids()  # may be empty while dead workers are being replaced
                if workers and dice.random() < 0.5:
                    os.kill(dice.choice(workers), signal.SIGKILL)
                else:
                    server.kill()
                    server.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        server.wait_until_ready()
        site.lost = site.lost_and_doubled()
    return f"{rounds} times a worker or all of the server, `land` over and over, 4 senders: {site.answers[204]} accepted"


@contextlib.contextmanager
def _refresh_killed_over_and_over(site: Site, dice: random.Random) -> Iterator[Counter]:
    """Refreshes, one after the other, most of them killed at some moment; how they ended, by exit code."""
    stop, ends = threading.Event(), Counter()

    def refresh() -> None:
        while not stop.is_set():
            process = subprocess.Popen([*COMMAND, "refresh"], env={**os.environ, **site.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(1, 60))
            process.kill()
            ends[process.wait()] += 1

    thread = threading.Thread(target=refresh)
    thread.start()
    try:
        yield ends
    finally:
        stop.set()
        thread.join()


def every_process_killed_for_long(site: Site, seconds: float = 480, rate: float = 20) -> str:
    """Server, workers, and refreshes with all that is in them, at random; a reader opens what is published meanwhile."""
    dice = random.Random(2)  # not a secret
    stop = threading.Event()
    kills: Counter = Counter()
    opened = 0

    def send() -> None:
        while not stop.wait(4 / rate):
            site.post()

    assert _refresh(site).returncode == 0
    published = site.folder / "data" / "published.duckdb"
    with site.serve() as server:
        senders = [threading.Thread(target=send) for _ in range(4)]
        for thread in senders:
            thread.start()
        deadline = time.monotonic() + seconds
        with _refresh_killed_over_and_over(site, dice) as ends:
            try:
                while time.monotonic() < deadline:
                    time.sleep(dice.uniform(1, 10))
                    if dice.random() < 0.6:
                        with contextlib.suppress(ProcessLookupError, IndexError):
                            os.kill(dice.choice(server.worker_ids()), signal.SIGKILL)
                            kills["worker"] += 1
                    else:
                        server.kill()
                        server.start()
                        kills["server"] += 1
                    with contextlib.closing(duckdb.connect(published, read_only=True)) as reader:
                        reader.execute("select count(*) from marts.dim_identities").fetchone()
                        opened += 1
            finally:
                stop.set()
                for thread in senders:
                    thread.join()
    assert _refresh(site).returncode == 0, site.said
    assert _evaluations(site) == len(landed(site.environ)), "the marts and the landing differ"
    site.lost = site.lost_and_doubled()
    return f"{seconds / 60:.0f} minutes: {kills['worker']} workers, {kills['server']} times all of the server, {ends[-9]} refreshes killed ({ends[0]} ended by themselves); the published copy could be read each of {opened} times; the last refresh accounts for all"


def _refresh(site: Site) -> subprocess.CompletedProcess:
    ran = subprocess.run(
        [*COMMAND, "refresh"], env={**os.environ, **site.environ}, capture_output=True, text=True
    )
    if ran.returncode:
        site.said = " ".join((ran.stdout + ran.stderr).split())[-300:]
    return ran


def _evaluations(site: Site) -> int:
    """How many evaluations the marts of the published copy count."""
    with contextlib.closing(
        duckdb.connect(site.folder / "data" / "published.duckdb", read_only=True)
    ) as reader:
        return reader.execute("select sum(evaluation_count) from marts.dim_identities").fetchone()[0]


def disk_full_in_build_and_publish(site: Site) -> str:
    """Less and less room, so that now landing, now dbt, now publishing finds none."""
    stages: Counter = Counter()
    with file_system(site, 120) as folder, site.serve():
        for _ in range(200):
            site.post()
        assert _refresh(site).returncode == 0
        before = _evaluations(site)
        balloon = folder / "balloon"
        for kilobytes in (4000, 1000, 500, 100):
            for _ in range(20):
                site.post()
            stat = os.statvfs(folder)
            with contextlib.suppress(OSError), balloon.open("ab") as file:
                while os.statvfs(folder).f_bavail * stat.f_frsize > kilobytes * 1000:
                    file.write(bytes(50_000))
                    file.flush()
            if _refresh(site).returncode == 0:
                stages["none"] += 1
            else:
                stages["land" if "Landing into" in site.said else "publish" if "could not be published" in site.said else "build"] += 1  # fmt: skip
            assert _evaluations(site) >= before, "readers lost something"
            before = _evaluations(site)
        balloon.unlink()
        assert _refresh(site).returncode == 0, site.said
        assert _evaluations(site) == len(landed(site.environ)), "the marts and the landing differ"
        site.lost = site.lost_and_doubled()
    stopped = ", ".join(f"{count} in {stage}" for stage, count in stages.items() if stage != "none")
    return f"{sum(stages.values())} refreshes with ever less room: {stages['none']} did, of the others {stopped} stopped, with exit code 1; the published copy could be read all the time; all well after room was made"


def read_only_folder(site: Site) -> str:
    """Mounts the folder over itself, read-only. Permissions do not stop root, but a read-only mount does."""
    folder = site.folder / "data"
    if os.geteuid():
        raise Skipped("mounting needs root")
    with site.serve() as server:
        for _ in range(20):
            site.post()
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        try:
            for _ in range(20):
                site.post()
            still = site.answers[204] - 20
            for worker in server.worker_ids():
                os.kill(worker, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while site.answers[503] < 20 and time.monotonic() < deadline:
                site.post()
            assert site.answers[503] == 20, site.answers
            said = []
            for name in ("land", "refresh", "doctor"):
                ran = subprocess.run([*COMMAND, name], env={**os.environ, **site.environ}, capture_output=True, text=True)  # fmt: skip
                assert ran.returncode == 1 and "Traceback" not in ran.stderr, ran.stderr
                assert "ead-only" in ran.stdout + ran.stderr or name == "doctor", ran.stderr
                said.append(name)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        deadline = time.monotonic() + 60
        while site.post() != 204 and time.monotonic() < deadline:
            time.sleep(0.2)
        for _ in range(19):
            site.post()
        site.lost = site.lost_and_doubled()
    return f"living workers kept what they have open and went on ({still} of 20 accepted); new ones answered 503 to 20 of 20; {', '.join(said)} exit with 1 and say why; accepted again, without a restart, once it could be written"


SET_BACK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, at);
    if ((which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) && access(getenv("SET_BACK"), F_OK) == 0)
        at->tv_sec -= 3600;
    return result;
}
"""


def clock_set_back_an_hour(site: Site) -> str:
    """Sets back the wall clock of our processes while they run: a preloaded library replaces clock_gettime, and a file switches it on."""
    library, switch = site.folder / "clock.so", site.folder / "set_back"
    if not shutil.which("gcc"):
        raise Skipped("no compiler")
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library, "-ldl"], input=SET_BACK.encode(), check=True)  # fmt: skip
    site.environ |= {"LD_PRELOAD": str(library), "SET_BACK": str(switch)}
    with site.serve():
        for number, is_set_back in enumerate((False, True, True, False)):
            switch.touch() if is_set_back else switch.unlink(missing_ok=True)
            for _ in range(50):
                site.post()
            assert site.run("land").returncode == 0, site.said
            if number % 2:
                assert _refresh(site).returncode == 0, site.said
        site.lost = site.lost_and_doubled()
    with contextlib.closing(
        duckdb.connect(site.folder / "data" / "warehouse.duckdb", read_only=True)
    ) as warehouse:
        rows = warehouse.execute(
            "select landed_at, received_at from landing.webhooks order by rowid"
        ).fetchall()
    assert [row[0] for row in rows] == sorted(row[0] for row in rows), "landed_at went back"
    seconds = max((earlier - later).total_seconds() for (_, earlier), (_, later) in itertools.pairwise(rows))
    assert seconds > 3500, "the clock was not set back"
    assert _evaluations(site) == len(rows), "the marts and the landing differ"
    return f"back an hour and forth again under living workers and between refreshes: `received_at` went back by {seconds:,.0f} s, `landed_at` rose all the same, each refresh counted every delivery"


def inbox_file_damaged(site: Site) -> str:
    with site.serve() as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(site.post, [2_000] * 400))
        server.kill()
    files = sorted((site.folder / "data" / "inbox").glob("*.sqlite"), key=lambda path: path.stat().st_size)
    for path in files:
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sqlite3; sqlite3.connect({str(path)!r}).execute('pragma wal_checkpoint(truncate)')",
            ]
        )
    damaged = files[0]
    import sqlite3

    with contextlib.closing(sqlite3.connect(damaged)) as connection:
        in_damaged = connection.execute("select count(*) from deliveries").fetchone()[0]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 65536] = os.urandom(65536)
    damaged.write_bytes(content)
    assert site.run("land").returncode == 1 and damaged.name in site.said
    lost, doubled = site.lost_and_doubled()
    site.lost = (0, doubled) if lost < in_damaged else (lost, doubled)
    return f"64 kB overwritten in one of {len(files)} files: {lost} of the {in_damaged} in it could not be read, all others are landed; land exits with 1 and names the file"


def warehouse_truncated(site: Site) -> str:
    with site.serve():
        for _ in range(50):
            site.post()
        site.run("land")
        warehouse = site.folder / "data" / "warehouse.duckdb"
        backup = site.folder / "backup.duckdb"
        shutil.copy(warehouse, backup)
        for _ in range(10):
            site.post()
        os.truncate(warehouse, warehouse.stat().st_size // 2)
        assert site.run("land").returncode == 1
        said = site.said
        warehouse.unlink()
        shutil.copy(backup, warehouse)
        site.lost = site.lost_and_doubled()
    return f"half cut off: land exits with 1 (“{said[:80]}…”), nothing leaves the inbox; backup put back, landed again"


def ten_thousand_connections(site: Site, behind_nginx: bool = False, wanted: int = 10_000) -> str:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with site.serve() as server, _front(site, behind_nginx) as port:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            opened = [c for c in pool.map(lambda _: _connect(port), range(wanted)) if c]
        started = time.monotonic()
        for _ in range(3):
            site.post()
        seconds, meanwhile = time.monotonic() - started, site.answers[204]
        for connection in opened:
            connection.close()
        _answer_again(site, server)
    return f"{len(opened):,} idle connections: {meanwhile} of 3 webhooks accepted meanwhile, in {seconds:.1f} s; {site.answers[204] - meanwhile} of 20 when they are gone"


def _answer_again(site: Site, server: Server) -> None:
    """Twenty webhooks once the crowd has gone, and the account."""
    time.sleep(1)
    site.through = None
    for _ in range(20):
        site.post()
    site.lost = site.lost_and_doubled()


@contextlib.contextmanager
def _front(site: Site, behind_nginx: bool) -> Iterator[int]:
    """The port to send to: the loader's own, or that of a real nginx with deploy/nginx.conf."""
    if not behind_nginx:
        yield site.server.port
        return
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        raise Skipped("nginx is not installed")
    with Nginx(site.folder, site.server.port) as nginx:
        site.through = nginx
        yield nginx.port
        site.through = None


def ten_thousand_connections_behind_nginx(site: Site) -> str:
    return ten_thousand_connections(site, behind_nginx=True)


def _connect(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=2)
    except OSError:
        return None


def slow_senders(site: Site, behind_nginx: bool = False) -> str:
    with site.serve() as server, _front(site, behind_nginx) as port:
        slow = [c for c in (_connect(port) for _ in range(500)) if c]
        if behind_nginx:
            slow = [site.through.trust.wrap_socket(each, server_hostname="localhost") for each in slow]
        for each in slow:
            each.sendall(b"POST /webhooks/production HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        for _ in range(3):
            site.post()
        meanwhile = site.answers[204]
        for each in slow:
            each.close()
        _answer_again(site, server)
    return f"{len(slow)} bodies that never end: {meanwhile} of 3 webhooks accepted meanwhile, {site.answers[204] - meanwhile} of 20 after"


def slow_senders_behind_nginx(site: Site) -> str:
    return slow_senders(site, behind_nginx=True)


def gigabyte_body(site: Site) -> str:
    with site.serve() as server:
        before = _memory(server)
        announced = server.send_raw(
            b"POST /webhooks/production HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n{"
        )
        sent = 0
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
        ):
            connection.sendall(
                b"POST /webhooks/production HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            while sent < 10**9:
                connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
                sent += 2**20
        grown = _memory(server) - before
        for _ in range(20):
            site.post()
        site.lost = site.lost_and_doubled()
    assert b" 413 " in announced, announced[:100]
    return f"announced: 413 at once; in chunks: cut off after {sent / 1e6:,.0f} MB; memory grew by {grown / 1e6:,.0f} MB"


def _memory(server: Server) -> int:
    pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in server.worker_ids()]
    return sum(pages) * resource.getpagesize()


def gzip_bomb(site: Site) -> str:
    bomb = gzip.compress(bytes(10**8))
    with site.serve() as server:
        before = _memory(server)
        headers = {**sign(bomb), "Content-Encoding": "gzip"}
        unsigned = server.post(bomb, headers={"Content-Encoding": "gzip"}).status
        signed = server.post(bomb, headers=headers).status
        grown = _memory(server) - before
        site.post()
        site.lost = site.lost_and_doubled()
    return f"{len(bomb) / 1e3:,.0f} kB for 100 MB: {unsigned} unsigned, {signed} signed (kept as it is, never unpacked); memory grew by {grown / 1e6:,.0f} MB"


def _send(server: Server, raw: bytes) -> bytes:
    """What comes back; nothing from a server that has closed the connection meanwhile."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        return server.send_raw(raw)
    return b""


def header_flood(site: Site) -> str:
    with site.serve() as server:
        before = _memory(server)
        many = server.send_raw(
            b"POST /webhooks/production HTTP/1.1\r\n"
            + b"".join(b"X-%d: y\r\n" % n for n in range(50_000))
            + b"\r\n"
        )
        long = _send(server, b"POST /webhooks/production HTTP/1.1\r\nX: " + b"y" * 10**7 + b"\r\n\r\n")
        grown = _memory(server) - before
        for _ in range(20):
            site.post()
        site.lost = site.lost_and_doubled()
    answers = [answer.split(b"\r\n")[0].decode() or "closed" for answer in (many, long)]
    return f"50,000 headers: {answers[0]}; one of 10 MB: {answers[1]}; memory grew by {grown / 1e6:,.0f} MB"


TRICKS = (
    "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "production%00", "production%0a", "production%20", " production",
    "PRODUCTION", "production/..", "production/extra", "production;a=b", "production%2f", "%F0%9F%92%A9", "%ff%fe", "a" * 8000, "''; drop table deliveries",
    "//production", "production//", "constructor", "*", "?",
)  # fmt: skip


def path_tricks(site: Site) -> str:
    with site.serve() as server:
        before = {path for path in site.folder.rglob("*")}
        statuses = Counter()
        for trick in TRICKS:
            body = b"{}"
            raw = f"POST /webhooks/{trick} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Flagsmith-Signature: {sign(body)['X-Flagsmith-Signature']}\r\n\r\n{{}}"
            answer = _send(server, raw.encode())
            if b" 204 " in answer:
                site.accepted.append(body)
            statuses[answer.split(b" ")[1].decode() if answer.startswith(b"HTTP") else "closed"] += 1
        site.post()
        new = {path.suffix for path in site.folder.rglob("*")} - {path.suffix for path in before}
        site.lost = site.lost_and_doubled()
        kept = {environment for environment, _ in landed(site.environ)}
    assert kept <= {"production"} and not any(status.startswith(("3", "5")) for status in statuses), statuses
    return (
        f"{len(TRICKS)} names in the path: "
        + ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
        + f"; no redirect, no environment but production, no new kind of file ({len(new)})"
    )


FAULTS: tuple[Callable[[Site], str], ...] = (
    disk_full_in_build_and_publish, read_only_folder, clock_set_back_an_hour, every_process_killed_for_long,
    disk_full_in_the_inbox, disk_full_in_landing_and_publish, killed_at_random, inbox_file_damaged,
    warehouse_truncated, ten_thousand_connections, ten_thousand_connections_behind_nginx, slow_senders, slow_senders_behind_nginx, gigabyte_body, gzip_bomb, header_flood, path_tricks,
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run the faults of these names, or all; 1 if anything was lost or doubled."""
    print("| fault | what was tried, and what was seen | accepted | lost | doubled |\n|---|---|---|---|---|")
    failed = False
    for fault in FAULTS:
        if names and fault.__name__ not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            site = Site(Path(folder))
            try:
                seen = fault(site)
                lost, doubled = site.lost
            except Skipped as reason:
                seen, lost, doubled = f"skipped: {reason}", 0, 0
            except AssertionError as error:
                seen, lost, doubled = f"**{str(error)[-300:] or 'an expectation failed'}**", 1, 0
            failed |= bool(lost or doubled)
            print(
                f"| {fault.__name__.replace('_', ' ')} | {seen} | {len(site.accepted):,} | {lost} | {doubled} |",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
