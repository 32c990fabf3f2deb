"""Deliveries straight into `landing.webhooks`, as if the loader had landed them: for tests and benchmarks."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import duckdb

from simulator.world import Delivery

LANDING = """
create schema if not exists landing;
create table if not exists landing.webhooks (
    delivery_id varchar not null,
    environment varchar not null,
    received_at timestamp not null,
    landed_at timestamp not null,
    payload_hash varchar not null,
    is_verified boolean not null,
    body_encoding varchar not null,
    body varchar not null using compression zstd
)
"""
_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)


def delivery_id(received_at: datetime, number: int) -> str:
    """Return a UUIDv7: the time in milliseconds, then the number where random bits would be (< 2**62)."""
    stamp = (received_at - _EPOCH) // _MILLISECOND
    digits = f"{stamp:012x}7000{0x8000000000000000 + number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def rows(
    deliveries: Iterable[Delivery], landed_at: datetime | None = None, first_number: int = 0
) -> Iterator[tuple]:
    """Yield rows of `landing.webhooks`. `landed_at` (naive UTC) is one second after receipt where none is given."""
    hashes: dict[bytes, str] = {}
    for number, delivery in enumerate(deliveries, start=first_number):
        body = delivery.body
        if body not in hashes:
            if len(hashes) > 10_000:
                hashes.clear()
            hashes[body] = hashlib.sha256(body).hexdigest()
        received_at = delivery.received_at
        landed = landed_at or received_at + timedelta(seconds=1)
        identifier = delivery_id(received_at, number)
        yield (
            identifier,
            delivery.environment,
            received_at,
            landed,
            hashes[body],
            True,
            "utf-8",
            body.decode(),
        )


def append(
    warehouse: Path | str,
    deliveries: Iterable[Delivery],
    landed_at: datetime | None = None,
    first_number: int = 0,
) -> int:
    """Append deliveries to `landing.webhooks` of a DuckDB file (made where missing), and return how many.

    One transaction, memory bounded by 5,000 bodies. Delivery ids count from `first_number`: give the number of
    deliveries appended before when a world is cut into batches. duckdb.Error where the file is open elsewhere.
    """
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(LANDING)
        connection.execute("begin")
        appender, count = connection.appender("landing.webhooks"), 0
        source = rows(deliveries, landed_at, first_number)
        while batch := list(islice(source, 5_000)):
            appender.append_rows(batch)
            appender.flush()
            count += len(batch)
        connection.execute("commit")
    return count
