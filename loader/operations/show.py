"""Prints the status and the findings of `doctor` for people, on a terminal."""

from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flagsmith_warehouse.loader.operations.doctor import Finding
from flagsmith_warehouse.loader.text import printable, shortened

COLOURS = {"success": "green", "running": "yellow"}
SIGNS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def show_status(status: dict) -> None:
    """Print the status in a few tables, without empty ones."""
    console = Console(highlight=False)
    now = datetime.fromisoformat(status["at"])
    console.print(_refresh(status["refresh"], now))
    if kept := (status["refresh"] or {}).get("kept_history"):
        console.print(
            f"Rows from before {max(kept.values())} keep an earlier logic: {', '.join(sorted(kept))}"
        )
    console.print(_inbox(status["inbox"]))
    for name, landing in status.get("landings", {}).items():
        console.print(_landing(name, landing), soft_wrap=True)
    _table(
        console,
        "Environment",
        _environments(status, now),
        "last delivery",
        "last landing",
        "waiting",
        "landed",
    )
    _table(console, "Mart", [(name, f"{rows:,}") for name, rows in status["marts"].items()], "rows")
    _table(
        console,
        "Quarantined in the last 7 days",
        [(q["environment"], q["reason"], f"{q['deliveries']:,}", ago(q["last_received_at"], now)) for q in status["quarantined"]],
        "reason", "deliveries", "last",
    )  # fmt: skip
    _table(
        console,
        "Experiment",
        [(e["experiment"], e["status"], (e["ended_at"] or "none")[:16].replace("T", " ")) for e in status.get("experiments", [])],
        "status", "declared end, UTC",
    )  # fmt: skip
    if status.get("verdicts") is not None:
        _upgraded(console, status["verdicts"])
    _table(
        console,
        "Alarms and warnings of running experiments",
        [(a["experiment"], a["check"], a["status"], a["message"]) for a in status["alarms"]],
        "check", "status", "what it means",
    )  # fmt: skip
    _table(
        console,
        "Mistakes in declarations",
        [
            (f"{p['declared_in']}, row {p['row_number']}, {p['column_name']}", p["severity"], p["problem"], p["remedy"])
            for p in status["problems"]
        ],
        "severity", "what is wrong", "what to write",
    )  # fmt: skip
    if problem := status["published_problem"]:
        console.print(f"[red]{_plain(problem)}[/]", soft_wrap=True)
    disk = status["disk"]
    sizes = ", ".join(f"{name} {size(disk[name])}" for name in ("inbox", "warehouse", "published"))
    console.print(
        f"On disk: {sizes}; {size(disk['free'])} free. Published {ago(status['published_at'], now)}."
    )


def _upgraded(console: Console, changed: list[dict]) -> None:
    """What an upgrade has done to the verdicts of running experiments. It is said once."""
    console.print(
        "Since the upgrade, verdicts read everybody who was assigned, in the variation first given (the population `assigned`: "
        "intention to treat). Before, whoever saw two variations was left out. "
        + (
            "These verdicts of running experiments are others than before:"
            if changed
            else "No verdict of a running experiment has changed."
        ),
        soft_wrap=True,
    )
    _table(
        console,
        "Experiment",
        [(each["experiment"], each["metric"], each["variation"], each["before"], each["now"] or "none") for each in changed],
        "metric", "variation", "before", "now",
    )  # fmt: skip


def show_findings(findings: list[Finding]) -> None:
    """Print one line per finding."""
    console = Console(highlight=False)
    for finding in findings:
        console.print(f"{SIGNS[finding.verdict]} {finding.subject}: {_plain(finding.text)}", soft_wrap=True)


def ago(at: str | None, now: datetime) -> str:
    """How long ago, in the largest suitable unit."""
    if at is None:
        return "never"
    seconds = (now.astimezone(UTC) - datetime.fromisoformat(at)).total_seconds()
    if seconds < 0:
        return f"{-seconds:,.0f} s in the future"
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size(number: int) -> str:
    """Bytes in decimal units."""
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if number >= length:
            return f"{number / length:,.1f} {unit}"
    return f"{number / 1e3:,.0f} kB"


def _refresh(record: dict | None, now: datetime) -> str:
    if record is None:
        return "Last refresh: never. Run: flagsmith-warehouse refresh"
    result = record["result"]
    detail = f" after {record['seconds']} s" if "seconds" in record else ""
    why = f"\n  {_plain(record['error'])}" if "error" in record else ""
    if record["started_at"] is None:
        return f"Last refresh: [red]unknown[/]{why}"
    return f"Last refresh: [{COLOURS.get(result, 'red')}]{result}[/]{detail}, begun {ago(record['started_at'], now)}{why}"


def _inbox(inbox: dict) -> str:
    waiting = f"{inbox['depth']:,} deliveries wait to be landed"
    if inbox["oldest_age_seconds"] is not None:
        waiting += f", the oldest for {inbox['oldest_age_seconds']:,.0f} s"
    return "\n".join(
        [f"Inbox: {waiting}", *(f"  [red]cannot be read:[/] {_plain(f)}" for f in inbox["unreadable_files"])]
    )


def _landing(name: str, landing: dict) -> str:
    lacks = f"  {_plain(name)} lacks {landing['depth'] or 0:,} of them"
    if landing["oldest_age_seconds"] is not None:
        lacks += f", the oldest for {landing['oldest_age_seconds']:,.0f} s"
    return lacks + (f"\n    [red]{_plain(landing['problem'])}[/]" if landing["problem"] else "")


def _environments(status: dict, now: datetime) -> list[tuple]:
    return [
        (
            name,
            ago(e["last_received_at"], now),
            ago(e["last_landed_at"], now),
            f"{e['waiting']:,}",
            f"{e['landed']:,}",
        )
        for name, e in status["environments"].items()
    ]


def _table(console: Console, first: str, rows: list[tuple], *columns: str) -> None:
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("waiting", "landed", "rows", "deliveries") else "left"
        )
    for row in rows:
        table.add_row(*(escape(shortened(cell, 200)) for cell in row))
    console.print(table)


def _plain(text: str) -> str:
    """The text with everything escaped that the terminal or rich would act upon."""
    return escape(printable(text))
