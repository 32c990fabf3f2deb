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

import click
import duckdb

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.inbox.identifier import uuid7
from flagsmith_warehouse.loader.landing.batch import EPOCH
from flagsmith_warehouse.loader.landing.land import Landed, Run
from flagsmith_warehouse.loader.landing.schema import LandingError, open_warehouse, transaction
from flagsmith_warehouse.loader.settings import SECRETS, Settings, can_name_environment
from flagsmith_warehouse.loader.signature import SignatureError, verify

# As many lines are described one by one as fit a screen.
DESCRIBED = 10
KEYS = ("received_at", "path", "headers", "body", "secret")
# As servers write it down: X-Flagsmith-Signature, HTTP_X_FLAGSMITH_SIGNATURE.
SIGNATURE = re.compile(r"(?:http[-_])?x[-_]flagsmith[-_]signature", re.IGNORECASE)
# No receipt is from later than this machine's clock, by more than clocks differ.
AHEAD = timedelta(hours=1)
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
    """In the order of columns of `reader.unread`."""
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
                refused.append(
                    f"{click.format_filename(getattr(file, 'name', 'capture'))}, line {number}: {error}"
                )


def read_capture(settings: Settings, line: bytes, environment: str | None) -> Capture:
    """One line. A signature must be that of a secret of the environment, or of the capture's own `secret`.

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
    """The request. Objects inside it are tuples of pairs, so that no header is lost that is there twice."""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, tuple):
        raise CaptureError("is not a JSON object; a capture is one object a line.")
    request = dict(pairs)
    for key in KEYS:
        if sum(each == key for each, _ in pairs) > 1:
            raise CaptureError(f"has `{key}` twice, so nobody can say which was meant.")
    return request


def _environment(path: object, otherwise: str | None) -> str:
    try:
        # As the server does, %2F is a slash.
        route = ROUTE.search(unquote(urlsplit(path).path)) if isinstance(path, str) else None
    except ValueError:
        raise CaptureError(f"its path {path!r} is no address.") from None
    name = route[1] if route else otherwise
    if not name:
        raise CaptureError(
            f"its path {path!r} is not /webhooks/ENVIRONMENT; say whose it is: --environment NAME."
        )
    if not _is_utf8(name):
        raise CaptureError(f"its environment {name!r} has half a character in it.")
    if not can_name_environment(name):
        raise CaptureError(f"{name!r} cannot be an environment, as no address /webhooks/NAME leads there.")
    return name


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
    """What the header says, however the headers were written down; None if it is not there."""
    found = {value for name, value in _pairs(headers) if SIGNATURE.fullmatch(name.strip())}
    if len(found) > 1:
        raise CaptureError("has two different signatures among its headers.")
    if not found and SIGNATURE.search(json.dumps(headers)):
        raise CaptureError(
            "names the signature in its headers otherwise than as the name of one, so nobody can say whether it was signed."
        )
    return found.pop() if found else None


def _pairs(headers: object) -> Iterator[tuple[str, str]]:
    """Name and value of each header. They are an object; or a list of pairs, or of objects with `name` and `value`.

    The value of a name may be a list of values.
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
    """False without a signature. A signature that no secret made: the body is not what Flagsmith sent."""
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
