"""Write deliveries directly to `landing.webhooks`, as the loader would, for tests and benchmarks."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader.landing.schema import TABLES
from flagsmith_warehouse.simulator.messages import Delivery

_EPOCH = datetime(1970, 1, 1)
_BODIES_PER_COMMIT = 5_000


def append(warehouse: Path | str, deliveries: Iterable[Delivery], landed_at: datetime | None = None) -> int:
    """Append deliveries to `landing.webhooks` of a DuckDB file (created if missing), and return how many.

    To cut a world into batches, take from one iterator: `append(file, islice(stream, 1_000), landed_at)`.
    A commit every 5,000 bodies keeps memory bounded. Raises duckdb.Error if another process has the file open.
    """
    source, count = rows(deliveries, landed_at), 0
    with duckdb.connect(str(warehouse), config={"memory_limit": "1GiB"}) as connection:
        connection.execute(TABLES)
        appender = connection.appender("landing.webhooks")
        while batch := list(islice(source, _BODIES_PER_COMMIT)):
            appender.append_rows(batch)
            appender.flush()
            count += len(batch)
    return count


def rows(deliveries: Iterable[Delivery], landed_at: datetime | None = None) -> Iterator[tuple]:
    """Yield rows of `landing.webhooks`. `landed_at` (naive UTC) is by default one second after receipt."""
    hash_of = lru_cache(1_000)(_sha256)
    for delivery in deliveries:
        received_at, body = delivery.received_at, delivery.body
        payload_hash = hash_of(body)
        identifier = _delivery_id(delivery.environment, received_at, payload_hash)
        landed = landed_at or received_at + timedelta(seconds=1)
        yield (
            identifier,
            delivery.environment,
            received_at,
            landed,
            payload_hash,
            True,
            "utf-8",
            body.decode(),
            None,
        )


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _delivery_id(environment: str, received_at: datetime, payload_hash: str) -> str:
    """Return a UUIDv7 that depends only on the delivery, however a world is divided into batches."""
    milliseconds, rest = divmod(received_at - _EPOCH, timedelta(milliseconds=1))
    digest = _sha256(f"{environment} {received_at} {payload_hash}".encode())
    time = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{rest.microseconds:03x}"
    return f"{time}-8{digest[:3]}-{digest[3:15]}"
