"""Checks the set-up. Each check says what it found and, if something is wrong, what to do."""

import contextlib
import http.client
import os
import shutil
import sqlite3
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.filesystem import open_to_others
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.landing import privacy
from flagsmith_warehouse.loader.landing.land import is_passing
from flagsmith_warehouse.loader.operations import relations
from flagsmith_warehouse.loader.operations.explain import BOM
from flagsmith_warehouse.loader.operations.status import cannot_be_read, last_refresh
from flagsmith_warehouse.loader.settings import SECRETS, SECRETS_DIR, WAREHOUSE_DIR, Settings
from flagsmith_warehouse.loader.text import first_line

LEAST_FREE_BYTES = 2 * 10**9
CLOCK_SECONDS = 5
NEWEST = "select max(received_at) / 1e6 from deliveries where typeof(received_at) = 'integer'"


@dataclass(frozen=True)
class Finding:
    """The result of a check: `verdict` is ok, warn or fail."""

    verdict: str
    subject: str
    text: str


def examine(settings: Settings, url: str | None = None) -> Iterator[Finding]:
    """The results of all checks. `url`: the public address of a webhook, to which we send a request as Flagsmith would."""
    for check in (
        _versions,
        _configuration,
        _privacy,
        _permissions,
        _privacy_key,
        _disk,
        _clock,
        _inbox_files,
        _warehouse,
        _published,
        _refreshed,
    ):
        yield from check(settings)
    if url:
        yield from reach(url)


def _versions(settings: Settings) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wrong, found = [], [f"Python {sys.version.split()[0]}", f"SQLite {sqlite3.sqlite_version}"]
    for text in requires("flagsmith-warehouse") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "none"
        if installed == "none" or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} instead of {requirement.specifier}")
        if requirement.name in ("duckdb", "dbt-core", "dbt-duckdb"):
            found.append(f"{requirement.name} {installed}")
    if wrong:
        yield Finding(
            "fail",
            "versions",
            f"{'; '.join(wrong)}. Install again: pip install -U flagsmith-warehouse (in a clone: make .venv/installed)",
        )
    else:
        yield Finding("ok", "versions", ", ".join(found))


def _configuration(settings: Settings) -> Iterator[Finding]:
    if not settings.environments:
        yield Finding(
            "fail", "configuration", f"no environment has a secret. Set {SECRETS.name} or {SECRETS_DIR.name}."
        )
        return
    yield Finding("ok", "configuration", f"environments {', '.join(sorted(settings.environments))}")
    for environment in sorted(settings.unsigned_environments):
        yield Finding("warn", "configuration", f"anybody can write to {environment}: it needs no signature.")
    for environment, secrets in sorted(settings.secrets.items()):
        if any(secret != secret.strip() for secret in secrets):
            yield Finding(
                "warn",
                "configuration",
                f"a secret of {environment} begins or ends with a blank. Is that intended?",
            )
        if any(secret.strip(b"\"'") != secret for secret in secrets):
            yield Finding(
                "warn", "configuration", f"a secret of {environment} has quotes around it. Is that intended?"
            )
        if any(secret.startswith(BOM) for secret in secrets):
            yield Finding(
                "warn",
                "configuration",
                f"a secret of {environment} begins with a byte order mark. Is that intended?",
            )
    if os.environ.get(SECRETS.name) and not os.environ.get(SECRETS_DIR.name):
        yield Finding(
            "warn",
            "configuration",
            f"secrets are only in {SECRETS.name}, which no reload (SIGHUP) can change in a running server: a new secret "
            f"needs a restart. Keep them in files, in {SECRETS_DIR.name} (deploy/README.md).",
        )


def _privacy(settings: Settings) -> Iterator[Finding]:
    """Whether the privacy rules can be used. If a configured file cannot be used, `land` lands nothing."""
    if settings.privacy_file is None:
        return
    try:
        privacy.read(settings.privacy_file, settings.privacy_key)
        yield Finding("ok", "privacy", f"the rules in {settings.privacy_file} are applied")
    except LoaderError as error:
        yield Finding("fail", "privacy", f"`land` and `refresh` land nothing: {error}")


def _permissions(settings: Settings) -> Iterator[Finding]:
    for folder in (settings.warehouse_dir, settings.inbox_dir):
        if not folder.exists():
            yield Finding(
                "warn",
                "permissions",
                f"{folder} does not exist yet; `serve`, `land` and `refresh` create it.",
            )
            continue
        try:
            probe = folder / f".doctor-{os.getpid()}"
            probe.touch(exist_ok=False)
            probe.unlink()
            yield Finding("ok", "permissions", f"{folder} can be written")
        except OSError as error:
            yield Finding(
                "fail",
                "permissions",
                f"{folder} cannot be written ({error.strerror}). Run as its owner, or set {WAREHOUSE_DIR.name}.",
            )
    folder = os.environ.get(SECRETS_DIR.name)
    files = ((settings.project_dir or Path()) / Path(folder).expanduser()).glob("[!.]*") if folder else []
    readable = [path for path in files if path.is_file() and path.stat().st_mode & 0o004]
    for path in readable:
        yield Finding(
            "warn", "permissions", f"everybody on this machine can read {path}. Run: chmod o-r {path}"
        )
    if is_open := list(open_to_others(settings.warehouse_dir)):
        more = f" and {len(is_open) - 1:,} more" if len(is_open) > 1 else ""
        yield Finding(
            "warn",
            "permissions",
            f"{is_open[0]}{more}: others can read it, or the group can write it. The next refresh corrects it if it can; "
            f"otherwise run: chmod -R g-w,o-rwx {settings.warehouse_dir}",
        )
    elif settings.warehouse_dir.exists() and settings.warehouse_dir.stat().st_mode & 0o007:
        yield Finding(
            "warn",
            "permissions",
            f"others can look into {settings.warehouse_dir}. We leave it open because it holds files that are not ours. "
            f"If nobody else needs it, run: chmod o-rwx {settings.warehouse_dir}",
        )


def _privacy_key(settings: Settings) -> Iterator[Finding]:
    """A reminder about the key that the loader creates for privacy rules that only drop."""
    if settings.privacy_key_file.exists():
        yield Finding(
            "ok",
            "privacy",
            f"{settings.privacy_key_file} keys the hashes of altered bodies. Back it up, but not beside the warehouse: "
            "without it nobody can tell whether a body was landed.",
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    """The free space. Publishing needs room for a second copy, and a full rebuild for a second set of tables."""
    folder = next(path for path in (settings.warehouse_dir, *settings.warehouse_dir.parents) if path.exists())
    files = (settings.warehouse_file, settings.published_file)
    needed = max(LEAST_FREE_BYTES, 2 * sum(path.stat().st_size for path in files if path.exists()))
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB free in {folder}"
    if free < needed / 10:
        yield Finding(
            "fail",
            "disk",
            f"{text}. A refresh may need {needed / 1e9:,.1f} GB: free some space, or delete old data (docs/privacy.md).",
        )
    elif free < needed:
        yield Finding("warn", "disk", f"{text}; a refresh may need {needed / 1e9:,.1f} GB.")
    else:
        yield Finding("ok", "disk", text)
    status = os.statvfs(folder)
    if status.f_files and status.f_favail < 1000:
        yield Finding("fail", "disk", f"only {status.f_favail} more files can be created in {folder}.")


def _clock(settings: Settings) -> Iterator[Finding]:
    """The time of receipt is the only clock. After the clock was set back, there are deliveries from the future."""
    now, newest = time.time(), _newest_delivery(settings)
    if newest and newest > now + CLOCK_SECONDS:
        yield Finding(
            "fail",
            "clock",
            f"a delivery was received {newest - now:,.0f} s in the future: the clock was wrong then, or is wrong now "
            f"({datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC). Set it by NTP: timedatectl set-ntp true",
        )
    else:
        yield Finding(
            "ok",
            "clock",
            f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC, later than every delivery",
        )


def _newest_delivery(settings: Settings) -> float | None:
    newest = []
    for path in inbox_file.files(settings.inbox_dir):
        with contextlib.suppress(sqlite3.Error), reader.connect(path) as connection:
            if connection:
                newest.append(connection.execute(NEWEST).fetchone()[0])
    with (
        contextlib.suppress(duckdb.Error),
        relations.open_copy(settings.published_file) as published,
    ):
        query = "select epoch(max(last_received_at)) from marts.fct_deliveries_hourly"
        newest.append(published.execute(query).fetchone()[0])
    return max(filter(None, newest), default=None)


def _inbox_files(settings: Settings) -> Iterator[Finding]:
    try:
        paths = inbox_file.files(settings.inbox_dir)
        if settings.inbox_dir.exists():
            next(settings.inbox_dir.iterdir(), None)
    except OSError as error:
        yield Finding("fail", "inbox", f"{settings.inbox_dir} cannot be read ({error.strerror}).")
        return
    whole = empty = 0
    for path in paths:
        try:
            with reader.connect(path) as connection:
                if connection is None:  # the file is new, or is landed and about to be removed
                    empty += 1
                    continue
                if (number := reader.format_of(connection)) > inbox_file.FORMAT:
                    yield Finding(
                        "fail", "inbox", f"{path} was not read: it has format {number}, of a later release, "
                        "and this release cannot land it. Install that release again."
                    )  # fmt: skip
                    continue
                damage = reader.damage_between_rows(connection) or reader.damage(connection)
        except (sqlite3.Error, OSError) as error:
            damage = error
        if damage is None:
            whole += 1
        elif isinstance(damage, sqlite3.Error) and is_passing(damage):
            yield Finding("warn", "inbox", f"{path} could not be read now: {damage}. Try again.")
        else:
            yield Finding(
                "fail", "inbox", f"{path} is damaged: {damage}. docs/reliability.md says what to do."
            )
    if whole:
        yield Finding("ok", "inbox", f"{whole} files were read to the end and are undamaged")
    if empty or not paths:
        yield Finding(
            "ok", "inbox", f"{empty} files hold no deliveries" if empty else "there are no inbox files yet"
        )


def _warehouse(settings: Settings) -> Iterator[Finding]:
    path = settings.warehouse_file
    if not path.exists():
        yield Finding("warn", "warehouse", f"there is no {path} yet. Run: flagsmith-warehouse refresh")
        return
    with lock.try_hold(settings.warehouse_lock) as is_free:
        if not is_free:
            yield Finding("ok", "warehouse", "in use by another command just now")
            return
        try:
            with duckdb.connect(path, read_only=True) as warehouse:  # bodies are not read
                deliveries = warehouse.execute("select count(*) from landing.webhooks").fetchone()[0]
            yield Finding("ok", "warehouse", f"{deliveries:,} deliveries landed in {path}")
        except duckdb.Error as error:
            hint = (
                "Close the program that has it open"
                if "lock" in str(error)
                else "docs/reliability.md says how to recover"
            )
            yield Finding("fail", "warehouse", f"{path} cannot be read: {first_line(error)} {hint}.")


def _published(settings: Settings) -> Iterator[Finding]:
    """Read every table of the copy to its end, because only that shows damage."""
    path = settings.published_file
    if not path.exists():
        return  # the refresh says why
    try:
        with duckdb.connect(path, read_only=True) as published:
            tables = published.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, table in tables:
                query = "select bit_xor(hash(read)) from query_table(? || '.' || ?) as read"
                published.execute(query, [schema, table]).fetchall()
        yield Finding("ok", "published", f"{len(tables)} tables were read to the end in {path}")
    except (duckdb.Error, OSError, ValueError) as error:
        yield Finding("fail", "published", cannot_be_read(path, error))


def _refreshed(settings: Settings) -> Iterator[Finding]:
    record = last_refresh(settings)
    if record is not None and record["result"] == "unknown":
        yield Finding("warn", "refresh", record["error"])
    elif record is None:
        yield Finding(
            "warn", "refresh", "there was none yet. deploy/ has a crontab and systemd units that run it."
        )
    elif record["result"] in ("failure", "killed"):
        yield Finding(
            "fail",
            "refresh",
            f"the last one ended with {record['result']}. {record.get('error', '')}".strip(),
        )
    else:
        age = (datetime.now(UTC) - datetime.fromisoformat(record["started_at"])).total_seconds()
        verdict = "warn" if age > 86400 else "ok"
        yield Finding(verdict, "refresh", f"{record['result']}, begun {age / 60:,.0f} minutes ago")


def reach(url: str) -> Iterator[Finding]:
    """Send a request to the address as Flagsmith would, with a signature that must be refused, so that nothing is kept.

    Flagsmith treats a redirect as delivered, so a redirect is a failure here.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "/webhooks/" not in parts.path:
        raise LoaderError(f"{url} is not of the form https://your.name/webhooks/ENVIRONMENT.")
    started = time.monotonic()
    try:
        status, headers = _ask(parts)
    except (OSError, http.client.HTTPException) as error:
        yield Finding(
            "fail", "address", f"{url} does not answer ({_why(error)}). Flagsmith would lose every webhook."
        )
        return
    seconds = time.monotonic() - started
    if 300 <= status < 400:
        target = headers.get("Location", "somewhere")
        yield Finding(
            "fail", "address", f"{url} redirects ({status}) to {target}. Flagsmith treats that as delivered, and the "
            "webhook is lost: give Flagsmith the final address, and switch the redirect off for it."
        )  # fmt: skip
    elif status == 401:
        yield Finding("ok", "address", f"{url} answers, and refuses a wrong signature, in {seconds:.2f} s")
    elif status == 404:
        yield Finding(
            "fail",
            "address",
            f"{url} answers 404: the loader there has no secret for this environment, or a proxy swallows it.",
        )
    elif 200 <= status < 300:
        yield Finding(
            "fail",
            "address",
            f"{url} answers {status} to a wrong signature: either that is not this loader, or the environment needs no signature.",
        )
    else:
        yield Finding(
            "fail",
            "address",
            f"{url} answers {status} instead of 401 to a wrong signature. Is the loader running behind the proxy?",
        )
    yield from _their_clock(headers.get("Date"))


def _ask(parts) -> tuple[int, dict]:
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=10, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    with contextlib.closing(connection):
        headers = {"X-Flagsmith-Signature": "0" * 64, "Content-Type": "application/json"}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, b"{}", headers)
        answer = connection.getresponse()
        answer.read(1000)
        return answer.status, dict(answer.getheaders())


def _their_clock(date: str | None) -> Iterator[Finding]:
    with contextlib.suppress(TypeError, ValueError):
        difference = abs(time.time() - parsedate_to_datetime(date).timestamp())
        if difference > CLOCK_SECONDS:
            yield Finding("warn", "clock", f"the clock of the proxy and ours differ by {difference:,.0f} s.")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
