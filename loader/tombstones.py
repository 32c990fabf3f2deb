"""Who was erased stays erased: what was received before is not landed again, from wherever it comes.

A tombstone holds no identity, only its keyed hash; the key is drawn once for each warehouse.
"""

import hmac
import json
import re
import secrets
from datetime import datetime

import duckdb

TABLE = """
create table if not exists landing.tombstones (
    environment varchar,  -- null: in every environment
    identity_hash varchar not null,
    hash_key varchar not null,
    erased_at timestamp not null
)
"""
# In what is not JSON, or not to be read: whatever looks like an identity.
LOOKS_LIKE = re.compile(r'"identity(?:_identifier)?"\s*:\s*"((?:[^"\\]|\\.)*)"')


class Tombstones:
    """The tombstones of a warehouse, read once; `erased` asks them."""

    def __init__(self, warehouse: duckdb.DuckDBPyConnection):
        self._warehouse = warehouse
        warehouse.execute(TABLE)
        rows = warehouse.execute("from landing.tombstones").fetchall()
        self._key = rows[0][2] if rows else secrets.token_hex(16)
        self._erased_at = {(environment, hashed): at for environment, hashed, _, at in rows}

    def add(self, identity: str, environment: str | None, at: datetime) -> str:
        """Put one up; the later one counts. The hash by which the identity is known from here on."""
        hashed = self._hash(identity)
        self._erased_at[environment, hashed] = at
        self._warehouse.execute(
            "insert into landing.tombstones values (?, ?, ?, ?)", [environment, hashed, self._key, at]
        )
        return hashed

    def erased(self, environment: str, received_at: datetime, body: bytes) -> bool:
        """True if the body is about somebody who was erased after it was received."""
        if not self._erased_at:
            return False
        for hashed in map(self._hash, identities_in(body)):
            for where in (environment, None):
                at = self._erased_at.get((where, hashed))
                if at and received_at <= at:
                    return True
        return False

    def _hash(self, identity: str) -> str:
        return hmac.digest(self._key.encode(), identity.encode(errors="surrogatepass"), "sha256").hex()


def identities_in(body: bytes) -> set[str]:
    """Whom a body is about: its `identity`, or the identity whose override a change is about.

    Of a body that is no JSON, whatever looks like one. Raises nothing, whatever the bytes.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        spellings = (body.decode(errors="replace"), body.decode("latin-1"))
        return {_unescaped(text) for spelling in spellings for text in LOOKS_LIKE.findall(spelling)}
    if not isinstance(value, dict):
        return set()
    found = {value.get("identity")}
    data = value.get("data")
    for state in ("new_state", "previous_state") if isinstance(data, dict) else ():
        if isinstance(data.get(state), dict):
            found.add(data[state].get("identity_identifier"))
    return {identity for identity in found if isinstance(identity, str)}


def _unescaped(text: str) -> str:
    try:
        return json.loads(f'"{text}"')
    except ValueError:
        return text
