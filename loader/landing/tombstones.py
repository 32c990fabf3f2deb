"""Tombstones keep erased people erased: deliveries received before the erasure are never landed again.

A tombstone holds no identity, only its keyed hash; the key is drawn once for each warehouse. To find a name in the
middle of a text, it also holds the name's length and 16 bits of a checksum of its beginning.
"""

import hmac
import secrets
import zlib
from collections.abc import Iterator
from datetime import datetime

import duckdb

from flagsmith_warehouse.loader.landing.persons import SHORTEST_LONG_NAME, is_about, is_word

TABLES = """
create table if not exists landing.tombstones (
    environment varchar,  -- null: in every environment
    identity_hash varchar not null,
    hash_key varchar not null,
    erased_at timestamp not null
);
-- Of longer names. A table of its own, so that an earlier release can still read the other one.
create table if not exists landing.tombstone_names (
    identity_hash varchar not null,
    name_length integer not null,
    name_opening integer not null
);
"""


class Tombstones:
    """The tombstones of a warehouse, read once. `erased` tests a body against them."""

    def __init__(self, warehouse: duckdb.DuckDBPyConnection):
        self._warehouse = warehouse
        warehouse.execute(TABLES)
        rows = warehouse.execute("from landing.tombstones").fetchall()
        self._key = rows[0][2] if rows else secrets.token_hex(16)
        self._erased_at: dict[tuple[str | None, str], datetime] = {}
        self._latest: dict[str | None, datetime] = {}
        self._lengths: dict[int, set[int]] = {}
        for environment, hashed, _, at in rows:
            self._keep(environment, hashed, at)
        for length, opening in warehouse.execute(
            "select name_length, name_opening from landing.tombstone_names"
        ).fetchall():
            self._lengths.setdefault(opening, set()).add(length)

    def add(self, identity: str, environment: str | None, at: datetime) -> str:
        """Add a tombstone; if there are two for a person, the later one counts. Returns the hash of the identity."""
        hashed = self._hash(identity)
        self._keep(environment, hashed, at)
        if len(identity) >= SHORTEST_LONG_NAME:
            opening = next(_openings(identity))
            self._lengths.setdefault(opening, set()).add(len(identity))
            self._warehouse.execute(
                "insert into landing.tombstone_names values (?, ?, ?)", [hashed, len(identity), opening]
            )
        self._warehouse.execute(
            "insert into landing.tombstones values (?, ?, ?, ?)", [environment, hashed, self._key, at]
        )
        return hashed

    def erased(self, environment: str, received_at: datetime, body: bytes) -> bool:
        """True if the body is about somebody who was erased after it was received."""
        latest = (self._latest.get(where) for where in (environment, None))
        if not any(at and received_at <= at for at in latest):  # as in most bodies
            return False
        return is_about(body, _Erased(self, environment, received_at))

    def _keep(self, environment: str | None, hashed: str, at: datetime) -> None:
        self._erased_at[environment, hashed] = max(at, self._erased_at.get((environment, hashed), at))
        self._latest[environment] = max(at, self._latest.get(environment, at))

    def is_erased(self, name: str, environment: str, received_at: datetime) -> bool:
        """True if somebody of that name was erased in that environment after that time."""
        hashed = self._hash(name)
        found = (self._erased_at.get((where, hashed)) for where in (environment, None))
        return any(at and received_at <= at for at in found)

    def lengths(self, opening: int) -> set[int]:
        """The lengths of the erased names whose beginning has that checksum."""
        return self._lengths.get(opening, set())

    def has_long_names(self) -> bool:
        return bool(self._lengths)

    def _hash(self, identity: str) -> str:
        return hmac.digest(self._key.encode(), identity.encode(errors="surrogatepass"), "sha256").hex()


class _Erased:
    """Everybody who was erased in an environment after a time, as a persons.Person."""

    def __init__(self, tombstones: Tombstones, environment: str, received_at: datetime):
        self._tombstones = tombstones
        self._when = (environment, received_at)

    def is_called(self, name: str) -> bool:
        return self._tombstones.is_erased(name, *self._when)

    def stands_in(self, text: str, as_word: bool) -> bool:
        """True if the text contains an erased name: only parts with a name's length and beginning are hashed."""
        if not self._tombstones.has_long_names():
            return False
        return any(
            self.is_called(text[start : start + length])
            for start, opening in enumerate(_openings(text))
            for length in self._tombstones.lengths(opening)
            if not as_word or is_word(text, start, start + length)
        )


def _openings(text: str) -> Iterator[int]:
    """For each position in the text: the checksum of the next characters, as many as the shortest long name has."""
    data = text.encode("utf-32-le", "surrogatepass")
    for start in range(0, len(data) - 4 * SHORTEST_LONG_NAME + 4, 4):
        yield zlib.crc32(data[start : start + 4 * SHORTEST_LONG_NAME]) & 0xFFFF
