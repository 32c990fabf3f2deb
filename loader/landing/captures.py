"""Lands captured webhooks from files, such as a proxy's log or captures of another loader.

A capture is a line of JSON: `received_at`, `path`, `headers`, `body` (the raw body as a text) and, if it is
known, the `secret` that signed it. Each environment, `received_at` and body is landed exactly once, even if the file
is landed again or the command is killed and started again.
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

import click
import duckdb

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.inbox.identifier import uuid7
from flagsmith_warehouse.loader.landing.batch import EPOCH
from flagsmith_warehouse.loader.landing.land import Landed, Run
from flagsmith_warehouse.loader.landing.schema import LandingError, open_warehouse, transaction
from flagsmith_warehouse.loader.settings import SECRETS, Settings, can_name_environment
from flagsmith_warehouse.loader.signature import SignatureError, verify
from flagsmith_warehouse.loader.text import shortened

# At most this many lines are described one by one, so that they fit a screen.
DESCRIBED = 10
SHOWN_LETTERS = 200  # the most letters of a path in a message
KEYS = ("received_at", "path", "headers", "body", "secret")
# Servers write the header's name as X-Flagsmith-Signature or HTTP_X_FLAGSMITH_SIGNATURE.
SIGNATURE = re.compile(r"(?:http[-_])?x[-_]flagsmith[-_]signature", re.IGNORECASE)
# The most by which a time of receipt may be later than this machine's clock, because clocks differ.
AHEAD = timedelta(hours=1)
ROUTE = re.compile(r"/webhooks/([^/]+)/?$")
# If a capture occurs twice, the verified one counts. Its id follows from environment, time and body.
ONLY_NEW = """
create or replace temp table captured as
select distinct on (delivery_id) captured.* from captured
anti join landing.webhooks as known using (environment, received_at, payload_hash)
anti join landing.webhooks as replayed using (delivery_id)
order by delivery_id, is_verified desc
"""


class CaptureError(LoaderError):
    """A line that cannot be landed. The message says why."""


@dataclass(frozen=True)
class Capture:
    """One captured request, read and verified. `received_at` in microseconds since 1970, UTC."""

    environment: str
    received_at: int
    is_verified: bool
    body: bytes

    @property
    def delivery_id(self) -> str:
        """A UUIDv7 derived from environment, time and body, so that it is the same every time."""
        known_by = f"{self.environment}\n{self.received_at}\n".encode() + self.body
        chance = hashlib.sha256(known_by).digest()[:8]
        return str(uuid.UUID(int=uuid7(self.received_at, chance)))


def replay(
    settings: Settings,
    files: Iterable[BinaryIO],
    environment: str | None,
    on_batch: Callable[[int], None] = lambda deliveries: None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Landed:
    """Land the captures in `files` that are not in the landing yet. The caller holds the warehouse's lock.

    `environment`: for captures whose path does not name one. The default is the configured environment, if there is only
    one. Captures that cannot be landed are listed in `unreadable` of the result; all others are landed. Raises
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
            "the cause is gone; captures that have been landed are not landed twice."
        ) from error
    run.landed.unreadable = _described(run.landed.unreadable)
    return run.landed


def _described(refused: list[str]) -> list[str]:
    more = len(refused) - DESCRIBED
    return refused[:DESCRIBED] + ([f"… and {more:,} more lines."] if more > 0 else [])


def _land_batch(run: Run, captures: Iterator[tuple]) -> bool:
    """Land the new ones among the next captures, in one transaction. Returns False if no captures were left."""
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
    """The captures as rows with the columns of `reader.unread`."""
    for number, each in enumerate(captures):
        yield number, each.delivery_id, each.environment, each.received_at, each.is_verified, each.body


def _read(
    settings: Settings, files: Iterable[BinaryIO], environment: str | None, refused: list[str]
) -> Iterator[Capture]:
    """The captures in the files. For each line that is not one, the reason goes to `refused`."""
    for file in files:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip():
                    yield read_capture(settings, line, environment)
            except CaptureError as error:
                refused.append(
                    f"{click.format_filename(getattr(file, 'name', 'capture'))}, line {number}: {error}"
                )


def read_capture(settings: Settings, line: bytes, environment: str | None) -> Capture:
    """The capture in a line. A secret of the environment, or the capture's own `secret`, must have made its signature.

    Raises CaptureError.
    """
    request = _object(line)
    name = _environment(request.get("path"), environment)
    body = _body(request)
    secrets = settings.secrets.get(name, ())
    if isinstance(request.get("secret"), str) and request["secret"]:
        secrets = (*secrets, request["secret"].encode(errors="replace"))
    signature = _signature(request.get("headers"))
    return Capture(name, _microseconds(request), _is_verified(signature, body, secrets, name), body)


def _object(line: bytes) -> dict:
    """The request. Objects inside it are tuples of pairs, so that repeated headers are not lost."""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, tuple):
        raise CaptureError("is not a JSON object; write one object per line.")
    request = dict(pairs)
    for key in KEYS:
        if sum(each == key for each, _ in pairs) > 1:
            raise CaptureError(f"has `{key}` twice, so nobody can say which was meant.")
    return request


def _environment(path: object, otherwise: str | None) -> str:
    try:
        # As on the server, %2F is a slash.
        route = ROUTE.search(unquote(urlsplit(path).path)) if isinstance(path, str) else None
    except ValueError:
        raise CaptureError(f"its path {_shown(path)} is not an address.") from None
    name = route[1] if route else otherwise
    if not name:
        raise CaptureError(
            f"its path {_shown(path)} is not /webhooks/ENVIRONMENT; say whose it is: --environment NAME."
        )
    if not _is_utf8(name):
        raise CaptureError(f"its environment {_shown(name)} has half a character in it.")
    if not can_name_environment(name):
        raise CaptureError(
            f"{_shown(name)} cannot be an environment, as no address /webhooks/NAME leads there. Correct its path, or the "
            "name given with --environment."
        )
    return name


def _shown(value: object) -> str:
    """A value as Python writes it; only its two ends if it is very long."""
    return shortened(repr(value), SHOWN_LETTERS)


def _body(request: dict) -> bytes:
    body = request.get("body")
    if not isinstance(body, str):
        raise CaptureError("has no `body`, the raw body of the request as a text.")
    if not _is_utf8(body):
        raise CaptureError("its body has half a surrogate pair, so it is not what was sent.")
    return body.encode()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _microseconds(request: dict) -> int:
    try:
        at = datetime.fromisoformat(request["received_at"])
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        microseconds = (at.astimezone(UTC).replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise CaptureError(
            "has no `received_at` like 2026-05-03T12:00:00.123456Z, when the request was received."
        ) from None
    if microseconds < 0:
        raise CaptureError(f"was received before 1970 ({at.isoformat()}), so its `received_at` is not true.")
    if at > datetime.now(UTC) + AHEAD:
        raise CaptureError(
            f"was received in the future ({at.isoformat()}), more than an hour after this machine's clock. One of the "
            "two is wrong; if it is this clock, set it and land again."
        )
    return microseconds


def _signature(headers: object) -> str | None:
    """The value of the header, in whatever form the headers were recorded; None if it is missing."""
    found = {value for name, value in _pairs(headers) if SIGNATURE.fullmatch(name.strip())}
    if len(found) > 1:
        raise CaptureError("has two different signatures among its headers.")
    if not found and SIGNATURE.search(json.dumps(headers)):
        raise CaptureError(
            "mentions the signature in its headers, but not as the name of a header, so nobody can say whether it was signed."
        )
    return found.pop() if found else None


def _pairs(headers: object) -> Iterator[tuple[str, str]]:
    """Name and value of each header. Headers are an object, a list of pairs, or a list of objects with `name` and `value`.

    A name may have a list of values.
    """
    if headers is None:
        return
    for header in headers if isinstance(headers, tuple | list) else [headers]:
        if isinstance(headers, list) and isinstance(header, tuple):
            header = (dict(header).get("name"), dict(header).get("value"))
        if not (isinstance(header, tuple | list) and len(header) == 2 and isinstance(header[0], str)):
            raise CaptureError(
                "its `headers` are neither an object nor a list of pairs, so nobody can say whether it was signed."
            )
        name, values = header
        for value in values if isinstance(values, list) else [values]:
            yield name, value if isinstance(value, str) else json.dumps(value)


def _is_verified(signature: str | None, body: bytes, secrets: tuple[bytes, ...], environment: str) -> bool:
    """False without a signature. Raises CaptureError if no secret made the signature: the body is not as Flagsmith sent it."""
    if signature is None:
        return False
    try:
        verify(body, signature.strip(), secrets)
    except SignatureError:
        raise CaptureError(
            f"no secret of the environment {environment} made its signature. Add the secret that did to "
            f"{SECRETS.name}, or ask why: flagsmith-warehouse doctor verify --help."
        ) from None
    return True
