"""Collects the status from the inbox, the record of the last refresh and the published copy.

Nothing here waits for other processes or makes them wait. While a refresh holds the warehouse, the figures about
landed deliveries come from the last published copy.
"""

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.filesystem import write_record
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.inbox.landings import Landings
from flagsmith_warehouse.loader.operations import declarations, relations, verdicts
from flagsmith_warehouse.loader.settings import Settings
from flagsmith_warehouse.loader.text import first_line

LATELY_DAYS = 7
# The results that a refresh may record.
RESULTS = ("running", "success", "failure")
NOT_SHOWN = ("alerts", "alert_queries", "built_from", "additions", "variables", "published_from")
# The other parts of the record that `status` and `doctor` show.
RECORDED = {"error": str, "seconds": int | float, "kept_history": dict}
BY_ENVIRONMENT = "select environment, max(received_at), count(*) from deliveries group by environment"
LANDED = "select environment, max(received_at), max(landed_at), count(*) from landing.webhooks group by environment"
LANDED_AS_PUBLISHED = """
select environment, max(last_received_at), max(last_landed_at), sum(deliveries)::bigint
from marts.fct_deliveries_hourly group by environment
"""
MARTS = "select table_name from information_schema.tables where table_schema = 'marts' order by all"
ROWS = "select count(*) from query_table('marts.' || ?)"
QUARANTINED = """
select environment, reason, count(*), max(received_at) from marts.quarantined_deliveries
where received_at >= ? group by environment, reason order by 3 desc
"""
# Figures depend on the clock of the data alone: the last webhook. What people read also knows the wall clock ($now, UTC).
ENDED = "ended, by its declared end"
STATUS_NOW = f"""
case when experiments.status = 'running' and experiments.ended_at <= $now then '{ENDED}' else experiments.status end
"""
# Only names of ours are put in.
EXPERIMENTS = f"""
select experiments.experiment_key, {STATUS_NOW}, experiments.ended_at from marts.dim_experiments as experiments
where experiments.status = 'running' order by all
"""  # noqa: S608
ALARMS = """
select health.experiment_key, health.check_name, health.status, health.message
from marts.fct_experiment_health as health
inner join marts.dim_experiments as experiments on health.experiment_key = experiments.experiment_key
where experiments.status = 'running' and health.status <> 'ok' order by all
"""


@contextlib.contextmanager
def recorded_refresh(settings: Settings, **known) -> Iterator[dict]:
    """Record how a refresh goes. What is known, and everything that the block puts into the dictionary, goes into the record, too."""
    published_from = "spark" if is_of_spark(last_refresh(settings)) else "duckdb"
    record = {
        "result": "running",
        "started_at": _now().isoformat(),
        "published_from": published_from,
        **known,
    }
    started = time.monotonic()
    write_record(settings.refresh_record, record)
    try:
        yield record
        record["result"] = "success"
    except BaseException as error:
        record |= {"result": "failure", "error": str(error) or type(error).__name__}
        raise
    finally:
        record["seconds"] = round(time.monotonic() - started, 1)
        with contextlib.suppress(OSError):  # the disk is full: the caller already gets the reason
            write_record(settings.refresh_record, record)


def gather(settings: Settings) -> dict:
    """The whole status, ready for JSON. Times are ISO 8601 in UTC, sizes are in bytes, ages in seconds."""
    now = _now()
    waiting, by_environment = _inbox(settings.inbox_dir, now)
    published = _published(settings, now)
    refresh = last_refresh(settings)
    # What Spark has built is in no warehouse here.
    landed = None if is_of_spark(refresh) else _landed(settings)
    landed_from = "the warehouse" if landed is not None else "the published copy"
    if landed is None:
        landed = published.pop("landed", [])
    published.pop("landed", None)
    return {
        "at": now.isoformat(),
        "inbox": waiting,
        "landings": _landings(settings.inbox_dir, now),
        "environments": _environments(settings, by_environment, landed),
        "landed_according_to": landed_from,
        "refresh": {key: value for key, value in refresh.items() if key not in NOT_SHOWN}
        if refresh
        else None,
        "alerts": (refresh or {}).get("alerts", []),
        "verdicts": verdicts.unsaid(settings),
        "disk": _disk(settings),
        **published,
    }


def _inbox(folder: Path, now: datetime) -> tuple[dict, dict]:
    """The deliveries that wait to be landed: totals, and for each environment their number and last time of receipt."""
    depth, oldest = reader.backlog(folder)
    environments, unreadable = {}, []
    for path in inbox_file.files(folder):
        try:
            with reader.connect(path) as connection:
                found = connection.execute(BY_ENVIRONMENT).fetchall() if connection else []
        except sqlite3.Error as error:
            if path.exists():  # otherwise it has been landed in the meantime
                unreadable.append(f"{path}: {error}")
            continue
        if not all(isinstance(last, int) for _, last, _ in found):
            unreadable.append(f"{path}: it contains an invalid time")
            continue
        for environment, last, count in found:
            known = environments.get(environment, (0, 0))
            environments[environment] = (max(known[0], last), known[1] + count)
    age = now.timestamp() - oldest / 1e6 if oldest else None
    return {
        "depth": depth,
        "oldest_age_seconds": age,
        "unreadable_files": unreadable,
    }, environments


def _landings(folder: Path, now: datetime) -> dict[str, dict]:
    """If several landings are fed (`land --to`): the deliveries that each lacks, and why it could not be fed."""
    try:
        return {
            name: {
                "depth": depth,
                "oldest_age_seconds": now.timestamp() - oldest / 1e6 if oldest else None,
                "problem": problem,
            }
            for name, depth, oldest, problem in Landings(folder).waiting()
        }
    except sqlite3.Error as error:
        return {
            str(Landings(folder).path): {"depth": None, "oldest_age_seconds": None, "problem": str(error)}
        }


def _environments(settings: Settings, waiting: dict, landed: list[tuple]) -> dict:
    by_name = {name: (received, at, count) for name, received, at, count in landed}
    environments = {}
    for name in sorted({*settings.environments, *waiting, *by_name}):
        received, at, count = by_name.get(name, (None, None, 0))
        last_waiting = _moment(waiting[name][0]) if name in waiting else None
        environments[name] = {
            "last_received_at": _text(max(filter(None, (received, last_waiting)), default=None)),
            "last_landed_at": _text(at),
            "waiting": waiting.get(name, (0, 0))[1],
            "landed": count,
        }
    return environments


def _landed(settings: Settings) -> list[tuple] | None:
    """Figures from the landing itself; None if another process is using the warehouse."""
    if not settings.warehouse_file.exists():
        return []
    with lock.try_hold(settings.warehouse_lock) as is_free:
        if not is_free:
            return None
        with (
            contextlib.suppress(duckdb.Error),
            duckdb.connect(settings.warehouse_file, read_only=True) as warehouse,
        ):
            return warehouse.execute(LANDED).fetchall()
    return None


def _published(settings: Settings, now: datetime) -> dict:
    """Rows of each mart, recent quarantines, running experiments and their alarms; or why the copy cannot be read."""
    path = settings.published_file
    nothing = {
        "published_at": None,
        "published_problem": None,
        "marts": {},
        "quarantined": [],
        "experiments": [],
        "alarms": [],
        "problems": [],
    }
    if not path.exists():
        return {**nothing, "landed": []}
    try:
        return nothing | _read_published(path, now)
    except (duckdb.Error, OSError, ValueError, OverflowError) as error:
        return {**nothing, "published_problem": cannot_be_read(path, error), "landed": []}


def cannot_be_read(published_file: Path, error: Exception) -> str:
    """The message about a published copy that cannot be read."""
    return (
        f"{published_file} cannot be read ({first_line(error)}). Make a new one: flagsmith-warehouse publish"
    )


def _read_published(path: Path, now: datetime) -> dict:
    since = now.replace(tzinfo=None) - timedelta(days=LATELY_DAYS)
    with relations.open_copy(path) as copy:
        marts = [name for (name,) in copy.execute(MARTS).fetchall()]
        has_experiments = {"fct_experiment_health", "dim_experiments"} <= set(marts)
        return {
            "published_at": _text(datetime.fromtimestamp(path.stat().st_mtime, UTC)),
            "marts": {name: copy.execute(ROWS, [name]).fetchone()[0] for name in marts},
            "quarantined": [
                {
                    "environment": environment,
                    "reason": reason,
                    "deliveries": deliveries,
                    "last_received_at": _text(last),
                }
                for environment, reason, deliveries, last in copy.execute(QUARANTINED, [since]).fetchall()
            ],
            "experiments": [
                {"experiment": key, "status": now_is, "ended_at": _text(ended_at)}
                for key, now_is, ended_at in (
                    copy.execute(EXPERIMENTS, {"now": now.replace(tzinfo=None)}).fetchall()
                    if has_experiments
                    else []
                )
            ],
            "alarms": [
                dict(zip(("experiment", "check", "status", "message"), row, strict=True))
                for row in (copy.execute(ALARMS).fetchall() if has_experiments else [])
            ],
            "problems": [asdict(problem) for problem in declarations.problems_of(copy)],
            "landed": copy.execute(LANDED_AS_PUBLISHED).fetchall(),
        }


def last_refresh(settings: Settings) -> dict | None:
    """The record of the last refresh; None if there was none. Says if the refresh was killed; `unknown` for an invalid record."""
    path = settings.refresh_record
    try:
        record = json.loads(path.read_text("utf-8"))
        if not isinstance(record, dict) or record.get("result") not in RESULTS:
            raise ValueError("it is not a record of a refresh")
        if datetime.fromisoformat(record["started_at"]).tzinfo is None:
            raise ValueError("its time has no zone")
        for key, kind in RECORDED.items():
            if key in record and not isinstance(record[key], kind):
                raise ValueError(f"its {key} is not valid")
        if not all(isinstance(day, str) for day in record.get("kept_history", {}).values()):
            raise ValueError("its kept_history is not valid")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        why = f"{path} cannot be read ({error}). The next refresh writes a new one."
        return {"result": "unknown", "started_at": None, "error": why}
    if record["result"] == "running":
        with lock.try_hold(settings.refresh_lock) as is_free:
            record["result"] = "killed" if is_free else "running"
    return record


def mark_published_from_spark(settings: Settings) -> None:
    """Record it just before the copy is replaced: a refresh that is killed then must not leave it to the warehouse to publish again."""
    record = last_refresh(settings)
    if record and record["result"] in RESULTS:
        write_record(settings.refresh_record, record | {"published_from": "spark"})


def is_of_spark(record: dict | None) -> bool:
    """Whether the published copy is of what Spark has built, and not of the warehouse in this folder."""
    record = record or {}
    return record.get("published_from", record.get("target")) == "spark"


def _disk(settings: Settings) -> dict:
    folder = settings.warehouse_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "inbox": sum(map(_size, settings.inbox_dir.glob("*"))) if settings.inbox_dir.exists() else 0,
        "warehouse": _size(settings.warehouse_file),
        "published": _size(settings.published_file),
        "free": shutil.disk_usage(existing).free,
    }


def _size(path: Path) -> int:
    """The size of a file; 0 if it is gone, because `land` may remove it at any moment."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def wall_clock() -> datetime:
    """The time now, UTC and without a zone, as `STATUS_NOW` wants it."""
    return _now().replace(tzinfo=None)


def _now() -> datetime:
    return datetime.now(UTC)


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)


def _text(moment: datetime | None) -> str | None:
    return moment.replace(tzinfo=UTC).isoformat() if moment else None
