"""A batch of deliveries as rows of `landing.webhooks`: without erased people, and with privacy rules applied."""

import base64
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from flagsmith_warehouse.loader.landing import privacy

# About the most bytes of bodies in a batch, and the most that DuckDB gets at once.
BATCH_BYTES, PIECE_BYTES = 160 * 2**20, 16 * 2**20
EPOCH = datetime(1970, 1, 1)


class Batch:
    """Rows for the landing. Each row is read when it is taken, so at most one is held here."""

    def __init__(
        self,
        deliveries: Iterable[tuple],
        landed_at: datetime,
        is_erased: Callable[[str, datetime, bytes], bool],
        apply: privacy.Apply,
    ):
        self._source = iter(deliveries)
        self._is_erased = is_erased
        self._apply = apply
        self._landed_at = landed_at
        self.deliveries = self.bytes = 0
        self.last_row_id: int | None = None
        self.error: sqlite3.Error | None = None
        self.is_over = False

    def piece(self) -> Iterator[tuple]:
        """The next rows, until enough have been taken."""
        enough = min(self.bytes + PIECE_BYTES, BATCH_BYTES)
        try:
            for row_id, delivery_id, environment, microseconds, is_verified, body in self._source:
                self.last_row_id = row_id
                received_at = EPOCH + timedelta(microseconds=microseconds)
                if self._is_erased(environment, received_at, body):
                    continue
                yield self._landing_row(delivery_id, environment, received_at, bool(is_verified), body)
                self.deliveries += 1
                self.bytes += len(body)
                if self.bytes >= enough:
                    self.is_over = self.bytes >= BATCH_BYTES
                    return
        except sqlite3.Error as error:  # the file is damaged: rows before the damage are landed
            self.error = error
        self.is_over = True

    def _landing_row(self, delivery_id: str, environment: str, received_at: datetime, *rest) -> tuple:
        is_verified, body = rest
        landed, original_hash = self._apply(body)
        payload_hash = hashlib.sha256(landed).hexdigest()
        return (
            *(delivery_id, environment, received_at, self._landed_at, payload_hash, is_verified),
            *(*as_text(landed), original_hash),
        )


def as_text(body: bytes) -> tuple[str, str]:
    """The encoding and the text of a body: `utf-8`, or `base64` for bytes that are not UTF-8."""
    try:
        return "utf-8", body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()


def as_bytes(encoding: str, text: str) -> bytes:
    """The body from which `as_text` made the text."""
    return base64.b64decode(text) if encoding == "base64" else text.encode()
