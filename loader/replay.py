"""Captured webhooks from files into the landing: from a proxy's log, or from another loader.

A capture is a line of JSON: `received_at`, `path`, `headers`, `body` (the raw body as a text) and, where it is
known, the `secret` that signed it. Landed exactly once by environment, `received_at` and hash of the body:
landed again, or killed and started again, nothing is there twice.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import duckdb

from loader import LoaderError
from loader.landing import EPOCH, Landed, LandingError, Run, open_warehouse, transaction
from loader.settings import SECRETS, Settings
from loader.signature import SignatureError, verify

# As many lines are described one by one as fit a screen.
DESCRIBED = 10
ROUTE = re.compile(r"/webhooks/([^/]+)/?$")
# Of one capture that is there twice, the verified one. Its id follows from environment, time and body.
ONLY_NEW = """
create or replace temp table captured as
select distinct on (delivery_id) captured.* from captured
anti join landing.webhooks as known using (environment, received_at, payload_hash)
anti join landing.webhooks as replayed using (delivery_id)
order by delivery_id, is_verified desc
"""


class CaptureError(LoaderError):
    """A line that is not landed, and why."""


@dataclass(frozen=True)
class Capture:
    """One captured request, read and verified. `received_at` in microseconds since 1970, UTC."""

    environment: str
    received_at: int
    is_verified: bool
    body: bytes

    @property
    def delivery_id(self) -> str:
        """A UUIDv7 that follows from what the capture is known by, so that it is the same every time."""
        milliseconds, rest = divmod(self.received_at, 1000)
        known_by = f"{self.environment}\n{self.received_at}\n".encode() + self.body
        chance = int.from_bytes(hashlib.sha256(known_by).digest()[:8]) >> 2
        return str(
            uuid.UUID(int=milliseconds << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | chance)
        )


def replay(
    settings: Settings,
    files: Iterable[BinaryIO],
    environment: str | None,
    on_batch: Callable[[int], None] = lambda deliveries: None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Landed:
    """Land the captures in `files` that are not in the landing yet. The caller holds the warehouse's lock.

    `environment` is that of captures whose path does not name one; without it, the one that is configured where
    there is only one. What cannot be landed is in `unreadable` of the result, and holds up nothing else. Raises
    LandingError.
    """
    if environment is None and len(settings.environments) == 1:
        (environment,) = settings.environments
    try:
        with open_warehouse(settings, on_wait) as warehouse:
            run = Run(settings, warehouse, on_batch)
            warehouse.execute("create temp table captured as from landing.webhooks limit 0")
            captures = _rows(_read(settings, files, environment, run.landed.unreadable))
            while _land_batch(run, captures):
                pass
            warehouse.execute("checkpoint")
    except duckdb.Error as error:
        raise LandingError(
            f"Landing captures into {settings.warehouse_file} stopped: {error}. Land the same files again when "
            "the cause is gone; what is there already is not landed twice."
        ) from error
    run.landed.unreadable = _described(run.landed.unreadable)
    return run.landed


def _described(refused: list[str]) -> list[str]:
    more = len(refused) - DESCRIBED
    return refused[:DESCRIBED] + ([f"… and {more:,} more lines."] if more > 0 else [])


def _land_batch(run: Run, captures: Iterator[tuple]) -> bool:
    """One transaction: those of a bounded number of captures that are new. False if there were none."""
    batch = run.batch(captures)
    with transaction(run.warehouse):
        run.append(batch, "captured")
        run.warehouse.execute(ONLY_NEW)
        size = run.warehouse.execute("select coalesce(sum(strlen(body)), 0) from captured").fetchone()[0]
        new = run.warehouse.execute("insert into landing.webhooks from captured").fetchone()[0]
        run.warehouse.execute("delete from captured")
    run.count(new, size)
    return batch.last_row_id is not None


def _rows(captures: Iterable[Capture]) -> Iterator[tuple]:
    """In the order of columns of `inbox.unread`."""
    for number, each in enumerate(captures):
        yield number, each.delivery_id, each.environment, each.received_at, each.is_verified, each.body


def _read(
    settings: Settings, files: Iterable[BinaryIO], environment: str | None, refused: list[str]
) -> Iterator[Capture]:
    """The captures in the files; what is wrong with each of the others goes to `refused`."""
    for file in files:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip():
                    yield read_capture(settings, line, environment)
            except CaptureError as error:
                refused.append(f"{getattr(file, 'name', 'capture')}, line {number}: {error}")


def read_capture(settings: Settings, line: bytes, environment: str | None) -> Capture:
    """One line. A signature must be that of a secret of the environment, or of the capture's own `secret`.

    Raises CaptureError.
    """
    request = _object(line)
    name = _environment(request, environment)
    body = _body(request)
    secrets = settings.secrets.get(name, ())
    if isinstance(request.get("secret"), str) and request["secret"]:
        secrets = (*secrets, request["secret"].encode(errors="replace"))
    return Capture(name, _microseconds(request), _is_verified(request, body, secrets, name), body)


def _object(line: bytes) -> dict:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise CaptureError("is not a JSON object; a capture is one object a line.")
    return request


def _environment(request: dict, otherwise: str | None) -> str:
    route = ROUTE.search(urlsplit(str(request.get("path", ""))).path)
    name = unquote(route[1]) if route else otherwise
    if not name:
        raise CaptureError(
            f"its path {request.get('path')!r} is not /webhooks/ENVIRONMENT; say whose it is: --environment NAME."
        )
    return name


def _body(request: dict) -> bytes:
    try:
        return request["body"].encode()
    except (KeyError, AttributeError):
        raise CaptureError("has no `body`, the raw body of the request as a text.") from None
    except UnicodeEncodeError:
        raise CaptureError("its body has half a surrogate pair, so it is not what was sent.") from None


def _microseconds(request: dict) -> int:
    try:
        at = datetime.fromisoformat(request["received_at"])
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return (at.astimezone(UTC).replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise CaptureError(
            "has no `received_at` like 2026-05-03T12:00:00.123456Z, when the request was received."
        ) from None


def _is_verified(request: dict, body: bytes, secrets: tuple[bytes, ...], environment: str) -> bool:
    """False without a signature. A signature that no secret made: the body is not what Flagsmith sent."""
    headers = request.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    signatures = [value for name, value in headers.items() if name.lower() == "x-flagsmith-signature"]
    if not signatures:
        return False
    try:
        verify(body, str(signatures[0]), secrets)
    except SignatureError:
        raise CaptureError(
            f"no secret of the environment {environment} made its signature. Add the secret that did to "
            f"{SECRETS.name}, or ask why: flagsmith-warehouse doctor verify --help."
        ) from None
    return True
