"""Delivery ids: UUIDv7 (RFC 9562), the microsecond of receipt in front, so that they sort by time."""

import os
import threading
import time
import uuid
from collections.abc import Callable


class Identifiers:
    """Gives out rising ids, even if the clock is set back. Any thread may ask."""

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
    """Milliseconds in 48 bits, version, the rest of the time in 12 (method 3), variant, 62 bits of `chance`."""
    milliseconds, rest = divmod(microseconds, 1000)
    return milliseconds << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | int.from_bytes(chance) >> 2
