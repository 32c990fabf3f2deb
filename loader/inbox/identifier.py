"""Delivery ids: UUIDv7 (RFC 9562). They begin with the microsecond of receipt, so they sort by time."""

import os
import threading
import time
import uuid
from collections.abc import Callable


class Identifiers:
    """Gives out increasing ids, even if the clock is set back. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns):
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> tuple[str, int]:
        """A delivery id and the time it was made from, in microseconds since 1970, UTC."""
        with self._lock:
            microseconds = self._clock() // 1000
            self._last = max(self._last + 1, uuid7(microseconds, os.urandom(8)))
            return str(uuid.UUID(int=self._last)), microseconds


def uuid7(microseconds: int, chance: bytes) -> int:
    """The bits of an id: 48 of milliseconds, version, 12 of the rest of the time (method 3), variant, 62 of `chance`."""
    milliseconds, rest = divmod(microseconds, 1000)
    return milliseconds << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | int.from_bytes(chance) >> 2
