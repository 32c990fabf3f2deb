"""Every webhook answered with 2xx is landed exactly once, whatever process is killed at whatever moment.

`KILLS=500 pytest tests/loader/test_kill.py` is the longer run.
"""

import contextlib
import http.client
import os
import random
import signal
import subprocess
import threading
import time

from tests.loader.server import COMMAND, Server, command, landed, sign

KILLS = int(os.environ.get("KILLS", "24"))
CONNECTIONS = 6


class Senders:
    """Connections that send one numbered body after another, and remember which were answered with 2xx."""

    def __init__(self, server: Server):
        self.server = server
        self.accepted: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(number,)) for number in range(CONNECTIONS)]

    def __enter__(self) -> "Senders":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def send(self, number: int) -> None:
        count = 0
        while not self.stopping.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
                with contextlib.closing(connection):
                    while not self.stopping.is_set():
                        count += 1
                        self.send_one(connection, f"{number} {count} " + "x" * 2000)

    def send_one(self, connection: http.client.HTTPConnection, body: str) -> None:
        connection.request("POST", "/webhooks/production", body, sign(body.encode()))
        answer = connection.getresponse()
        answer.read()
        if answer.status == 204:
            self.accepted.append(body)


def test_kill__server_and_land_at_random_moments__what_was_accepted_is_landed_once(server, environ):
    chance = random.Random(20261123)
    killed = {"server": 0, "land": 0, "land had ended": 0}
    with Senders(server) as senders:
        while killed["server"] + killed["land"] < KILLS:
            time.sleep(chance.uniform(0, 0.3))
            if killed["server"] <= killed["land"]:
                server.kill()
                killed["server"] += 1
                server.start()
            else:
                was_running = kill_land(environ, chance.uniform(0.1, 0.6))
                killed["land" if was_running else "land had ended"] += 1
    server.kill()
    ran = command(environ, "land")
    assert ran.returncode == 0, ran.stderr
    rows = [body for (body,) in landed(environ, "body")]
    assert len(rows) == len(set(rows)), "landed twice"
    assert set(senders.accepted) <= set(rows), "answered with 2xx and lost"
    assert len(senders.accepted) > KILLS * 5
    assert min(killed["server"], killed["land"]) >= KILLS // 2


def kill_land(environ: dict[str, str], after_seconds: float) -> bool:
    """Kill `land`. Returns whether it was still running."""
    land = subprocess.Popen([*COMMAND, "land"], env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
    time.sleep(after_seconds)
    land.send_signal(signal.SIGKILL)
    return land.wait() != 0
