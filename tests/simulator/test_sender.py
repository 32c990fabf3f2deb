"""The sender does to a receiver what Flagsmith does to one."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest

from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.sender import Fate, Receiver, deliver, send
from flagsmith_warehouse.simulator.wire import sign
from flagsmith_warehouse.simulator.world import World

WORLD = World(Parameters(deliveries=200, identities=20))
DELIVERY = next(WORLD.deliveries())


@contextmanager
def receiver_that(answers: Callable[[int], int | None]) -> Iterator[tuple[str, list]]:
    """Run a server that answers the n-th request with `answers(n)`, None = hangs up; its URL and requests."""
    requests: list[tuple[str, dict, bytes, tuple]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, dict(self.headers), body, self.client_address))
            status = answers(len(requests))
            self.close_connection = True
            if status is not None:
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def deliver_to(url: str, timeout: float = 10) -> tuple[Fate, tuple, list[float]]:
    waits: list[float] = []
    outcome = deliver(DELIVERY, Receiver(url, {"production": "s€cret"}, timeout), Dice("waits"), waits.append)
    return outcome.fate, outcome.statuses, waits


def test_deliver__accepted__is_one_signed_attempt():
    with receiver_that(lambda _: 204) as (url, requests):
        assert deliver_to(url)[:2] == (Fate.DELIVERED, (204,))
    [(path, headers, body, _)] = requests
    assert path == "/webhooks/production"
    assert body == DELIVERY.body
    assert headers["X-Flagsmith-Signature"] == sign(DELIVERY.body, "s€cret")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_deliver__refused__is_three_attempts_of_the_same_bytes_on_new_connections(status):
    with receiver_that(lambda _: status) as (url, requests):
        fate, statuses, waits = deliver_to(url)
    assert (fate, statuses) == (Fate.REFUSED, (status,) * 3)
    assert {body for _, _, body, _ in requests} == {DELIVERY.body}
    assert len({address for *_, address in requests}) == 3
    assert waits[0] == 0 and 0 <= waits[1] <= 1 and 0 <= waits[2] <= 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_deliver__redirect__is_taken_for_delivered_and_not_followed(status):
    with receiver_that(lambda _: status) as (url, requests):
        assert deliver_to(url)[:2] == (Fate.REDIRECTED, (status,))
    assert [path for path, *_ in requests] == ["/webhooks/production"]


def test_deliver__third_attempt_accepted__is_delivered():
    with receiver_that(lambda number: 204 if number == 3 else None) as (url, requests):
        assert deliver_to(url)[:2] == (Fate.DELIVERED, (None, None, 204))
    assert len(requests) == 3


def test_deliver__nobody_listens__is_lost_after_three_attempts():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert deliver_to(f"http://127.0.0.1:{port}")[:2] == (Fate.LOST, (None,) * 3)


def test_deliver__answer_later_than_the_timeout__counts_as_none():
    is_done = threading.Event()
    with receiver_that(lambda _: 204 if is_done.wait(5) else None) as (url, _):
        assert deliver_to(url, timeout=0.05)[:2] == (Fate.LOST, (None,) * 3)
        is_done.set()


def test_receiver__not_told_otherwise__waits_ten_seconds():
    assert Receiver("http://127.0.0.1", {}).timeout == 10


def test_deliver__waits__differ_and_reach_up_to_one_and_two_seconds():
    dice, waits = Dice("waits"), []
    with receiver_that(lambda _: 500) as (url, _):
        for _ in range(30):
            deliver(DELIVERY, Receiver(url, {}), dice, waits.append)
    assert max(waits[1::3]) > 0.8 and max(waits[2::3]) > 1.6 and min(waits[1::3]) < 0.2


def test_send__many__arrive_once_each_and_in_order_for_an_identity():
    outcomes = []
    with receiver_that(lambda _: 204) as (url, requests):
        send(WORLD.deliveries(), Receiver(url, {}), outcomes.append, concurrency=8)
    sent = list(WORLD.deliveries())
    assert Counter(body for _, _, body, _ in requests) == Counter(delivery.body for delivery in sent)
    assert Counter(outcome.fate for outcome in outcomes) == {Fate.DELIVERED: len(sent)}
    for identity in {delivery.sender for delivery in sent} - {""}:
        intended = [delivery.body for delivery in sent if delivery.sender == identity]
        bodies = set(intended)
        assert [body for _, _, body, _ in requests if body in bodies] == intended


def test_send__a_rate__is_not_exceeded():
    outcomes = []
    with receiver_that(lambda _: 204) as (url, _):
        started = time.monotonic()
        send(islice(WORLD.deliveries(), 21), Receiver(url, {}), outcomes.append, rate=100)
        assert time.monotonic() - started >= 0.2
    assert len(outcomes) == 21


def test_send__a_fault_in_a_worker__comes_out_and_nothing_hangs():
    with pytest.raises(ValueError, match="port"):
        send(WORLD.deliveries(), Receiver("http://127.0.0.1:no-port", {}), lambda _: None, concurrency=2)


def test_send__the_caller_fails__stops_sending():
    class Stop(Exception):
        pass

    def fail(_: object) -> None:
        raise Stop

    endless = World(Parameters(deliveries=1_000_000, identities=20)).deliveries()
    with receiver_that(lambda _: 204) as (url, _), pytest.raises(Stop):
        send(endless, Receiver(url, {}), fail, concurrency=2)
