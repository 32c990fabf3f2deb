"""Sends deliveries over HTTP as Flagsmith does: three attempts, no redirects, a new connection each time."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from queue import Queue
from threading import Event
from urllib.parse import urlsplit
from zlib import crc32

from flagsmith_warehouse.simulator import capture
from flagsmith_warehouse.simulator.dice import Dice
from flagsmith_warehouse.simulator.messages import Delivery

TIMEOUT_SECONDS = 10.0
LONGEST_WAITS = (1.0, 2.0)  # the most seconds before the second and the third attempt


class Fate(Enum):
    """The outcome of a delivery. Flagsmith treats a redirect as delivered, although nobody received it."""

    DELIVERED = "delivered"
    REDIRECTED = "redirected"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """One finished delivery. Refused: the last attempt was answered with 4xx or 5xx. Lost: it had no answer."""

    delivery: Delivery
    fate: Fate
    attempts: int
    statuses: tuple[int | None, ...]


@dataclass(frozen=True)
class Receiver:
    """Where deliveries go: a base URL (`http://127.0.0.1:8080`), and the secrets by environment."""

    url: str
    secrets: capture.Secrets
    timeout: float = TIMEOUT_SECONDS

    def post(self, environment: str, body: bytes, headers: dict[str, str] | None = None) -> int | None:
        """Make one attempt. Returns the status of the answer, None if there was none. `headers` replace ours."""
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=self.timeout)
        sent = headers or capture.headers(body, self.secrets.get(environment, ""))
        try:
            connection.request("POST", parts.path.rstrip("/") + capture.path(environment), body, sent)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()


def deliver(
    delivery: Delivery, receiver: Receiver, dice: Dice, sleep: Callable[[float], None] = time.sleep
) -> Outcome:
    """Try up to three times, with Flagsmith's waits between; every attempt sends the same bytes."""
    body, statuses = delivery.body, []
    for longest_wait in (0.0, *LONGEST_WAITS):
        sleep(longest_wait * dice.random())
        statuses.append(receiver.post(delivery.environment, body))
        if statuses[-1] is not None and statuses[-1] < 400:
            break
    return Outcome(delivery, _fate(statuses[-1]), len(statuses), tuple(statuses))


def _fate(status: int | None) -> Fate:
    if status is None:
        return Fate.LOST
    if status >= 400:
        return Fate.REFUSED
    return Fate.DELIVERED if status < 300 else Fate.REDIRECTED


def send(
    deliveries: Iterable[Delivery],
    receiver: Receiver,
    on_outcome: Callable[[Outcome], None],
    rate: float | None = None,
    concurrency: int = 16,
) -> None:
    """Send deliveries, at most `rate` per second (None: as fast as they are answered), and report each outcome.

    `concurrency` deliveries are under way at a time, but those of one identity one after the other, so that the
    result can be compared with the intention; Flagsmith itself keeps no order. `on_outcome` is called in
    the caller's thread.
    """
    outcomes: Queue[Outcome | None] = Queue()
    lanes: list[Queue[Delivery | None]] = [Queue(maxsize=64) for _ in range(concurrency)]
    stopping = Event()
    with ThreadPoolExecutor(concurrency + 1) as pool:
        tasks = [
            pool.submit(_work, lane, receiver, Dice(f"waits {number}"), outcomes)
            for number, lane in enumerate(lanes)
        ]
        tasks.append(pool.submit(_feed, deliveries, lanes, rate, stopping))
        try:
            for outcome in _until_all_finish(outcomes, concurrency):
                on_outcome(outcome)
        finally:
            stopping.set()
        for task in tasks:
            task.result()


def _feed(deliveries: Iterable[Delivery], lanes: list[Queue], rate: float | None, stopping: Event) -> None:
    """Distribute deliveries over the lanes. An identity always has the same lane. Each lane ends with None."""
    started = time.monotonic()
    try:
        for number, delivery in enumerate(deliveries):
            if rate is not None:
                stopping.wait(max(0.0, started + number / rate - time.monotonic()))
            if stopping.is_set():
                break
            sender = f"{delivery.environment}/{delivery.sender}"
            lanes[crc32(sender.encode()) % len(lanes)].put(delivery)
    finally:
        for lane in lanes:
            lane.put(None)


def _work(lane: Queue, receiver: Receiver, dice: Dice, outcomes: Queue) -> None:
    """Send the deliveries of a lane. After a fault, keep emptying it, because otherwise the feeder would wait for ever."""
    try:
        for delivery in iter(lane.get, None):
            outcomes.put(deliver(delivery, receiver, dice))
    except BaseException:
        deque(iter(lane.get, None), maxlen=0)
        raise
    finally:
        outcomes.put(None)


def _until_all_finish(outcomes: Queue, workers: int) -> Iterator[Outcome]:
    while workers:
        if (outcome := outcomes.get()) is None:
            workers -= 1
        else:
            yield outcome
