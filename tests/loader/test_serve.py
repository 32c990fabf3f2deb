"""The server as a whole, in real processes: stopping, restarting, changing secrets, counting."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flagsmith_warehouse.loader.receive.server import create_worker
from tests.loader.server import COMMAND, Server, command, free_port, landed, sign

BODY = b'{"identity": "a"}'
FORK = multiprocessing.get_context("fork")
SIGNATURE = "X-Flagsmith-Signature"
HEAD = b"POST /webhooks/production HTTP/1.1\r\nHost: x\r\n"


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


def metrics(server: Server) -> dict[str, float]:
    text = server.request("GET", "/metrics").body.decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("path", ["/webhooks/production", "/webhooks/production/"])
def test_webhook__over_http__204_and_no_redirect(server, path):
    answer = server.request("POST", path, BODY, sign(BODY))
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    "path",
    [
        b"//webhooks//production",
        b"/webhooks//production",
        b"/webhooks/production//",
        b"/webhooks/%00",
        b"/webhooks/%ff%fe%fd",
        b"/webhooks/%zz",
        b"/webhooks/..%2f..",
        b"/webhooks/\xff\xfe",
        b"/webhooks/" + b"x" * 50_000,
        b"*",
        b"http://elsewhere/webhooks/unknown",
    ],
)
def test_webhook__odd_paths_over_http__neither_a_redirect_nor_an_error_of_ours(server, path):
    raw = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert 400 <= status(server.send_raw(raw)) < 500
    assert server.post(BODY).status == 204


@pytest.mark.parametrize("header", [b"\xff\xfe", b"\xc3\xa9" * 64, b"0" * 64, b"x" * 10_000, b"\t"])
def test_webhook__odd_signatures_over_http__401(server, header):
    raw = HEAD + b"X-Flagsmith-Signature: " + header + b"\r\nContent-Length: 17\r\n\r\n" + BODY
    assert status(server.send_raw(raw)) == 401


def test_webhook__chunked__accepted_when_signed_and_413_when_too_large(environ):
    signature = f"X-Flagsmith-Signature: {sign(BODY)[SIGNATURE]}\r\n".encode()
    chunked = signature + b"Transfer-Encoding: chunked\r\n\r\n"
    with Server({**environ, "FLAGSMITH_MAX_BODY_BYTES": "1000"}) as server:
        assert status(server.send_raw(HEAD + chunked + b"11\r\n" + BODY + b"\r\n0\r\n\r\n")) == 204
        assert status(server.send_raw(HEAD + chunked + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")) == 413
        unsigned = (HEAD + chunked).replace(b"production", b"development")
        assert status(server.send_raw(unsigned + b"11\r\n" + BODY + b"\r\n0\r\n\r\n")) == 411
        assert status(server.send_raw(HEAD + b"Content-Length: 1001\r\n\r\n")) == 413


def test_webhook__too_large_and_sent_in_one_go__the_sender_reads_413(environ):
    """Given a client that reads the answer only after it has sent everything; then it is not cut off before."""
    body = b"x" * 5_000_000
    with Server({**environ, "FLAGSMITH_MAX_BODY_BYTES": "1000"}) as server:
        for _ in range(10):
            assert server.request("POST", "/webhooks/production", body, sign(body)).status == 413
        assert server.post(BODY).status == 204


def test_webhook__connection_lost_before_the_end__lands_nothing(server, environ):
    for environment in (b"production", b"development"):
        head = HEAD.replace(b"production", environment)
        server.send_raw(head + b"Content-Length: 100\r\n\r\n" + BODY, half_closed=True)
        server.send_raw(head + b"Transfer-Encoding: chunked\r\n\r\n11\r\n" + BODY + b"\r\n", half_closed=True)
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        gone.sendall(HEAD + b"Content-Length: 100\r\n\r\n" + BODY)
    time.sleep(0.3)
    assert "exception" not in server.log.read_text()
    command(environ, "land")
    assert landed(environ) == []


def test_webhook__commit_fails__503_as_json_and_counted_once(server, environ):
    server.post(BODY)
    folder = Path(environ["FLAGSMITH_WAREHOUSE_DIR"]) / "inbox"
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is needed")
    refused = server.post(BODY)
    assert (refused.status, json.loads(refused.body)["error"]) == (503, "service_unavailable")
    folder.unlink()
    assert server.post(BODY).status == 204
    counted = metrics(server)
    assert counted["flagsmith_webhooks_received_total"] == 3
    assert counted['flagsmith_webhooks_accepted_total{environment="production",secret="0"}'] == 2
    assert counted['flagsmith_webhooks_refused_total{reason="service_unavailable"}'] == 1


def test_webhook__hundreds_of_bodies_that_never_end__hold_up_nobody(server):
    sizes = [b"100"] * 200 + [b"5000000"] * 100
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in sizes]
    for connection, size in zip(slow, sizes, strict=True):
        connection.sendall(HEAD + b"Content-Length: " + size + b"\r\n\r\n{")
    time.sleep(0.5)
    assert [server.post(BODY).status for _ in range(5)] == [204] * 5
    for connection in slow:
        connection.close()
    large = b"x" * 3_000_000
    assert server.post(large).status == 204


def test_serve__no_secret__refuses_to_start_and_says_how_to_set_one(environ):
    ran = command(
        {"FLAGSMITH_WAREHOUSE_DIR": environ["FLAGSMITH_WAREHOUSE_DIR"]},
        *("serve", "--port", str(free_port())),
        timeout=30,
    )
    assert ran.returncode == 1
    assert "FLAGSMITH_WEBHOOK_SECRETS='{" in ran.stderr and "Traceback" not in ran.stderr


def test_serve__port_taken__fails_and_names_the_port(environ):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = command(environ, "serve", "--port", str(port), timeout=30)
    assert ran.returncode == 1
    assert f"Cannot listen at 127.0.0.1, port {port}: the port is taken" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_serve__no_such_address__fails_and_names_it(environ):
    ran = command(environ, "serve", "--host", "256.0.0.1", "--port", str(free_port()), timeout=30)
    assert ran.returncode == 1
    assert "Cannot listen at 256.0.0.1" in ran.stderr and "Traceback" not in ran.stderr


def test_serve__secrets_in_the_environment__not_in_the_log(server):
    server.post(BODY, headers=sign(BODY, "wrong"))
    server.post(BODY)
    server.stop()
    log = server.log.read_text()
    assert "Webhook refused" in log
    for line in log.splitlines():
        assert not [
            private
            for private in ("new secret", "old-S", "identity", sign(BODY)[SIGNATURE])
            if private in line
        ]
        json.loads(line)


def test_stop__requests_under_way__each_answered_with_2xx_is_landed(server, environ):
    accepted, lock, stopping = [], threading.Lock(), threading.Event()

    def send(number: int) -> None:
        for count in range(100_000):
            body = f"{number} {count}".encode()
            try:
                if server.post(body).status == 204:
                    with lock:
                        accepted.append(body.decode())
            except OSError:
                if stopping.is_set():
                    return

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    stopping.set()
    assert server.stop() == 0
    for thread in threads:
        thread.join(20)
    command(environ, "land")
    rows = [body for (body,) in landed(environ, "body")]
    assert len(rows) == len(set(rows))
    assert set(accepted) <= set(rows)
    assert len(accepted) > 100
    assert list((Path(environ["FLAGSMITH_WAREHOUSE_DIR"]) / "inbox").iterdir()) == []


def test_stop__body_received_but_not_yet_committed__is_answered(server, environ):
    """The request has been read when SIGTERM comes; a slow disk holds up its commit."""
    import sqlite3

    server.post(BODY)
    held = []
    for path in (Path(environ["FLAGSMITH_WAREHOUSE_DIR"]) / "inbox").glob("*.sqlite"):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        held.append(other)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.post(BODY).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    for other in held:
        other.close()
    for thread in threads:
        thread.join(10)
    assert server.process.wait(10) == 0
    assert answers == [204] * 8
    command(environ, "land")
    assert len(landed(environ)) == 9


def test_stop__connections_that_say_nothing__do_not_hold_it_up(server):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    idle[0].sendall(HEAD + b"Content-Length: 100\r\n\r\n")
    time.sleep(0.1)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    for connection in idle:
        connection.close()


def test_restart__imports_included__takes_less_than_three_seconds(server):
    """Flagsmith gives up after three attempts, about three seconds after the first."""
    seconds = []
    for _ in range(5):  # on a busy machine the best of several is more reliable
        started = time.monotonic()
        server.stop()
        server.start()
        assert server.post(BODY).status == 204
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 3


def test_stop__worker_still_starting__ends_at_once():
    """It has inherited the server's handler, which would swallow the signal until the server kills it."""
    worker = FORK.Process(target=begin_with_handler_of_server)
    worker.start()
    worker.join(8)
    assert worker.exitcode == -signal.SIGTERM


def begin_with_handler_of_server() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    create_worker("builtins:object")
    os.kill(os.getpid(), signal.SIGTERM)


def test_secrets__rotated_in_files__old_and_new_pass_and_no_restart_is_needed(environ, tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "production").write_text("old\n")
    environ = {**environ, "FLAGSMITH_WEBHOOK_SECRETS_DIR": str(folder), "FLAGSMITH_WEBHOOK_SECRETS": ""}
    with Server(environ) as server:
        assert [server.post(BODY, headers=sign(BODY, s)).status for s in ("old", "new")] == [204, 401]
        (folder / "production").write_text("new\nold\n")
        before = set(server.worker_ids())
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while before & set(server.worker_ids()) and time.monotonic() < deadline:
            assert server.post(BODY, headers=sign(BODY, "old")).status == 204
        answers = [
            [server.post(BODY, headers=sign(BODY, s)).status for s in ("old", "new")] for _ in range(10)
        ]
        assert answers == [[204, 204]] * 10
        counted = metrics(server)
        assert counted['flagsmith_webhooks_accepted_total{environment="production",secret="0"}'] >= 10
        assert counted['flagsmith_webhooks_accepted_total{environment="production",secret="1"}'] >= 10


def test_worker_killed__another_takes_its_place_and_its_inbox_is_landed(server, environ):
    for _ in range(20):
        assert server.post(BODY).status == 204
    killed = server.worker_ids()[0]
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while killed in server.worker_ids() and time.monotonic() < deadline:
        time.sleep(0.05)
    server.wait_until_ready()
    assert len(server.worker_ids()) == 2
    command(environ, "land")
    assert len(landed(environ)) == 20


def test_server_killed__its_workers_end_too(server):
    workers = server.worker_ids()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert wait_until(lambda: not any(is_running(worker) for worker in workers))


def test_server_killed_before_a_worker_looks__that_worker_ends_too(tmp_path):
    note = tmp_path / "worker"
    server = FORK.Process(target=start_late_worker_and_end, args=(note,))
    server.start()
    server.join()
    assert wait_until(lambda: note.exists() and note.read_text())
    assert wait_until(lambda: not is_running(int(note.read_text())))


def start_late_worker_and_end(note: Path) -> None:
    FORK.Process(target=begin_without_server, args=(os.getpid(), note)).start()
    os.kill(os.getpid(), signal.SIGKILL)


def begin_without_server(server: int, note: Path) -> None:
    while os.getppid() == server:
        time.sleep(0.01)
    note.write_text(str(os.getpid()))
    create_worker("time:time")
    time.sleep(60)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_running(process: int) -> bool:
    """Whether the process is still running. (An orphan that has ended is listed until the machine's init reaps it.)"""
    try:
        fields = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields.rpartition(")")[2].split()[0] not in "ZX"


def test_metrics__several_workers__each_answers_for_all(server):
    for _ in range(30):
        server.post(BODY)
    for _ in range(7):
        server.post(BODY, headers={})
    server.request("POST", "/webhooks/unknown")
    for _ in range(10):
        counted = metrics(server)
        assert counted["flagsmith_webhooks_received_total"] == 38
        assert counted['flagsmith_webhooks_accepted_total{environment="production",secret="0"}'] == 30
        assert counted['flagsmith_webhooks_refused_total{reason="unauthorized_missing"}'] == 7
        assert counted['flagsmith_webhooks_refused_total{reason="not_found"}'] == 1
        assert counted["flagsmith_webhooks_accepted_bytes_total"] == 30 * len(BODY)
        assert counted["flagsmith_inbox_depth"] == 30
        assert 0 < counted["flagsmith_inbox_age_seconds"] < 60
        assert 1 <= counted["flagsmith_inbox_commit_seconds_count"] <= 31 + 20


def test_flask_run__works_too(environ):
    port = free_port()
    flask = [
        str(Path(COMMAND[0]).with_name("flask")),
        "--app",
        "flagsmith_warehouse.loader.receive.app",
        "run",
        "--port",
        str(port),
    ]
    with subprocess.Popen(
        flask, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as ran:
        try:
            server = Server(environ, port=port)
            server.process = ran
            server.wait_until_ready()
            assert server.post(BODY).status == 204
            assert server.request("POST", "/webhooks/production/", BODY, sign(BODY)).status == 204
            assert re.search(
                r"flagsmith_webhooks_received_total 2\.0", server.request("GET", "/metrics").body.decode()
            )
        finally:
            ran.kill()
    command(environ, "land")
    assert len(landed(environ)) == 2


def test_webhook__method_in_small_letters_beside_others__none_is_an_error(server):
    """Flask treats `post` as POST. It must wait for a commit like all others that share it."""
    raw = b"post /webhooks/development HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    statuses, stopping = set(), threading.Event()

    def send(one: Callable[[], int]) -> None:
        while not stopping.is_set():
            statuses.add(one())

    senders = [lambda: status(server.send_raw(raw))] * 3 + [lambda: server.post(BODY).status] * 5
    threads = [threading.Thread(target=send, args=(one,)) for one in senders]
    for thread in threads:
        thread.start()
    time.sleep(2)
    stopping.set()
    for thread in threads:
        thread.join()
    assert statuses == {204}
