"""The server keeps running through reloads with a wrong configuration, workers that die repeatedly, and full disks."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flagsmith_warehouse.loader.receive import supervisor
from tests.loader.server import COMMAND, Server, command, free_port, landed, sign

BODY = b'{"identity": "a"}'
RELOADED, REFUSED = "Reloaded", "Reload refused"


def lines(server: Server, message: str) -> list[dict]:
    found = map(json.loads, server.log.read_text().splitlines())
    return [line for line in found if line["message"].startswith(message)]


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def reload(server: Server) -> str:
    """Send SIGHUP. Returns the log line that ends the reload."""
    said = len(lines(server, "Reload"))
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(lines(server, "Reload")) > said)
    return lines(server, "Reload")[said]["message"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "production").write_text("old\n")
    return folder


@pytest.fixture
def rotating(environ, folder):
    """A server whose secrets are in files."""
    settings = {"FLAGSMITH_WEBHOOK_SECRETS_DIR": str(folder), "FLAGSMITH_WEBHOOK_SECRETS": ""}
    with Server({**environ, **settings, "FLAGSMITH_UNSIGNED_ENVIRONMENTS": ""}) as running:
        yield running


def unlink_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


WRONG = {
    "an empty line": lambda folder: (folder / "production").write_text("new\n\nold\n"),
    "an empty file": lambda folder: (folder / "production").write_text(""),
    "not UTF-8": lambda folder: (folder / "production").write_bytes(b"\xff\xfen\0e\0w\0"),
    "a NUL": lambda folder: (folder / "production").write_bytes(b"n\0e\0w\0"),
    "a folder": lambda folder: (folder / "staging").mkdir(),
    "a dangling link": lambda folder: (folder / "staging").symlink_to(folder / "nowhere"),
    "a pipe": lambda folder: os.mkfifo(folder / "staging"),
    "no environment": unlink_all,
    "no directory": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "a name of no environment": lambda folder: (folder / os.fsdecode(b"\xff")).write_text("s"),
}


def test_reload__wrong_configuration__refused_and_the_workers_go_on_even_when_one_is_killed(rotating, folder):
    workers = rotating.worker_ids()
    for name, make in WRONG.items():
        saved = folder.with_name("saved")
        subprocess.run(["cp", "-a", folder, saved], check=True)
        make(folder)
        assert reload(rotating) == lines(rotating, REFUSED)[0]["message"], name
        assert "FLAGSMITH_WEBHOOK_SECRETS" in lines(rotating, REFUSED)[-1]["why"], name
        assert rotating.post(BODY, headers=sign(BODY, "old")).status == 204, name
        subprocess.run(["rm", "-rf", folder], check=True)
        saved.rename(folder)
    assert rotating.worker_ids() == workers
    (folder / "production").write_text("")
    reload(rotating)
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: len(set(rotating.worker_ids()) - set(workers)) == 1)
    for _ in range(10):
        assert rotating.post(BODY, headers=sign(BODY, "old")).status == 204
    (folder / "production").write_text("new\n")
    assert reload(rotating).startswith(RELOADED)
    assert [rotating.post(BODY, headers=sign(BODY, s)).status for s in ("old", "new")] == [401, 204]


def test_reload__new_and_removed_environment__taken_up_and_named_in_the_log(rotating, folder):
    (folder / "production").rename(folder / "staging")
    assert reload(rotating).startswith(RELOADED)
    line = lines(rotating, RELOADED)[-1]
    assert (line["environments"], line["no_longer_accepted"]) == (["staging"], ["production"])
    answers = [rotating.post(BODY, name, sign(BODY, "old")).status for name in ("production", "staging")]
    assert answers == [404, 204]


def test_reload__twice_at_once_and_with_a_broken_privacy_file__webhooks_are_received(
    rotating, folder, environ
):
    (folder / "production").write_text("new\n")
    for _ in range(3):
        rotating.process.send_signal(signal.SIGHUP)
    wait_for(lambda: lines(rotating, RELOADED))
    assert rotating.post(BODY, headers=sign(BODY, "new")).status == 204
    assert rotating.stop() == 0
    broken = {**rotating.environ, "FLAGSMITH_PRIVACY_FILE": str(folder / "nowhere.toml")}
    with Server(broken) as server:
        assert server.post(BODY, headers=sign(BODY, "new")).status == 204
        assert "nowhere.toml" in lines(server, "Webhooks are received")[0]["why"]


def test_reload__many_signals_while_one_is_handled__none_holds_the_server_up(rotating, folder):
    (folder / "production").write_text("new\n")
    until = time.monotonic() + 1
    while time.monotonic() < until:
        rotating.process.send_signal(signal.SIGHUP)
    wait_for(lambda: lines(rotating, RELOADED))
    assert rotating.post(BODY, headers=sign(BODY, "new")).status == 204
    assert rotating.stop() == 0


def test_reload__worker_that_is_about_to_end__leaves_new_connections_to_the_others(server):
    """A connection accepted in the last moment would be closed before its request is read."""
    os.kill(server.worker_ids()[0], signal.SIGUSR1)
    time.sleep(0.2)
    answers = [server.post(BODY, headers=sign(BODY)) for _ in range(50)]
    assert {answer.status for answer in answers} == {204}
    assert [answer.headers.get("connection") for answer in answers if "connection" in answer.headers] == []


def test_reload__senders_that_keep_connections_and_that_do_not__each_is_answered(server):
    """Given connections that are used all the time, sometimes, and once."""
    unanswered, answered, stop = [], [], threading.Event()

    def send(is_kept: bool, pause: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        while not stop.is_set():
            try:
                connection.request("POST", "/webhooks/production", BODY, sign(BODY))
                response = connection.getresponse()
                response.read()
                answered.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                unanswered.append(repr(error))
                connection.close()
            if not is_kept:
                connection.close()
            time.sleep(pause)
        connection.close()

    kinds = [(True, 0)] * 6 + [(True, 0.05)] * 6 + [(False, 0)] * 4
    senders = [threading.Thread(target=send, args=kind) for kind in kinds]
    for sender in senders:
        sender.start()
    try:
        for _ in range(2):
            time.sleep(0.5)
            assert reload(server).startswith(RELOADED)
    finally:
        stop.set()
        for sender in senders:
            sender.join()
    assert unanswered == [] and set(answered) == {204} and len(answered) > 1000


def test_reload__new_workers_that_never_become_ready__old_workers_and_old_settings_stay():
    """Given such a reload; then a worker that dies later is replaced by one with the old settings."""
    server = object.__new__(supervisor.Supervisor)
    stopped = []
    server._settings, server._configuration = "old", lambda: "new"
    server.workers, server.wrks, server.interrupt_signal = 2, ["first", "second"], False
    server._start = lambda place, target: f"{server._settings} {place}"
    server._becomes_ready = lambda worker: worker == "new 0"
    server._stop = stopped.extend
    server._reload(None, None)
    assert (server._settings, server.wrks) == ("old", ["first", "second"])
    assert stopped == ["new 0", "new 1"]


def test_workers__killed_over_and_over__the_server_stays_and_counts_and_keeps_all(server, environ):
    accepted = 0
    for _ in range(6):
        for worker in server.worker_ids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        server.wait_until_ready()
        accepted += server.post(BODY).status == 204
    assert server.process.poll() is None and accepted == 6
    assert len(lines(server, "A worker has died")) >= 6
    counted = server.request("GET", "/metrics").body.decode()
    assert 'flagsmith_webhooks_accepted_total{environment="production",secret="0"} 6.0' in counted
    assert server.stop() == 0
    command(environ, "land")
    assert len(landed(environ)) == 6


def test_workers__that_fail_at_every_start__the_server_stays_and_stops_when_told(environ, tmp_path):
    """Started with an application that cannot be made, as if its libraries were just being replaced."""
    code = f"from flagsmith_warehouse.loader.receive.server import serve; serve('127.0.0.1', {free_port()}, 2, 'json:loads')"
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        python = str(Path(COMMAND[0]).with_name("python"))
        process = subprocess.Popen([python, "-c", code], env={**os.environ, **environ}, stderr=stderr)
    try:
        wait_for(lambda: log.read_text().count("A worker has died") >= 5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 0), (2, 0.2), (3, 0.4), (7, 5), (10**6, 5)])
def test_pause_after__the_more_deaths_in_a_row__the_longer_but_never_long(deaths, seconds):
    assert supervisor.pause_after(deaths) == seconds


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),  # noqa: S104
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "127.0.0.1"),
        ("127.0.0.1", "::"),
        ("::1", "::"),
    ],
)
def test_listen__the_port_is_taken_at_that_or_every_address__says_so(monkeypatch, first, second):
    monkeypatch.setattr(supervisor, "PORT_SECONDS", 0.3)
    if ":" in first + second and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    with supervisor.listen(first, port), pytest.raises(supervisor.AddressError, match=f"{port}.*is taken"):
        supervisor.listen(second, port)


def test_serve__a_second_one_on_the_same_port__says_that_it_is_taken_and_takes_no_webhook(server, environ):
    other = {**environ, "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["another"]}'}
    ran = command(other, "serve", "--port", str(server.port), timeout=30)  # if it started, it would not end
    assert ran.returncode == 1 and "is taken" in ran.stderr and "Traceback" not in ran.stderr
    assert [server.post(BODY).status for _ in range(20)] == [204] * 20


@pytest.fixture
def small(tmp_path):
    """A disk of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk that is small enough to be filled")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    filling = folder / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filling


@pytest.mark.parametrize("is_full_before", [True, False], ids=["before the start", "after the start"])
def test_serve__disks_of_data_and_temporary_files_full__503_and_204_again_without_a_restart(
    environ, tmp_path, small, is_full_before
):
    """New workers start on the full disk, too."""
    server = Server({**environ, "FLAGSMITH_WAREHOUSE_DIR": str(small / "data"), "TMPDIR": str(small)})
    server.log = tmp_path / "log"
    server.wait_until_ready = lambda: wait_for(lambda: readiness(server) in (200, 503))
    if is_full_before:
        filling = fill(small)
    with server:
        if not is_full_before:
            assert server.post(BODY).status == 204
            filling = fill(small)
        send_until(server, 503)
        for worker in server.worker_ids():
            os.kill(worker, signal.SIGKILL)
        server.wait_until_ready()
        send_until(server, 503)
        filling.unlink()
        assert [server.post(BODY).status for _ in range(5)] == [204] * 5
        assert [line for line in lines(server, "A worker has died") if line["exit_code"] != -9] == []


def readiness(server: Server) -> int:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return server.request("GET", "/readyz").status
    return 0


def send_until(server: Server, status: int) -> None:
    """The free rest of a disk page or of an open file still accepts some."""
    body = os.urandom(5000)
    wait_for(lambda: server.post(body).status == status)


def test_shared_folder__server_killed__removed_by_the_next_but_never_that_of_a_living_one(
    monkeypatch, tmp_path
):
    from flagsmith_warehouse.loader.receive import server as serve

    monkeypatch.setattr(serve, "SHARED_FOLDERS", (str(tmp_path),))
    abandoned = tmp_path / f"{serve.SHARED_PREFIX}abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    with serve.shared_folder(["0a"]) as first, serve.shared_folder(["0a"]) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert list(tmp_path.iterdir()) == []


def test_shared_folder__no_disk_has_room__workers_count_for_themselves(monkeypatch, caplog):
    from flagsmith_warehouse.loader.receive import server as serve

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with serve.shared_folder(["0a"]) as folder:
        assert folder is None
    assert "/metrics" in caplog.text
