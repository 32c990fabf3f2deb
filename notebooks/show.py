"""Writes numbers, names, tables and notes for people. The notebooks and the report pages share it.

A `frame` is a pandas DataFrame as `warehouse.ask` returns it; times are naive UTC. Texts from others
are escaped when they become HTML, and nowhere else.
"""

import base64
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape, unescape
from pathlib import Path

import duckdb
import marimo
import pandas

from flagsmith_warehouse.loader.operations.status import ENDED
from flagsmith_warehouse.loader.text import counted, printable, shortened
from flagsmith_warehouse.notebooks.pages import CHOICES, PAGES, address, is_live

LISTED = 200  # the most rows of a table; few people read further
PHONE = 42  # the letters that fit beside each other on a phone
BESIDE = 26  # the most letters that a narrow page shows beside their heading
PROSE = 14  # the fewest letters of a column of texts
WORD = 40  # the most letters of a word; what is longer is a name or a value, and shortened in a table
CELL = 2_000  # the most letters of a text in a CSV file, and of one that we look through for long words
DRAWN = re.compile("<title>.*?</title>|<[^>]*>", re.S)  # what is no text of a page
FIRST = ("control", "off")
NOTHING = "–"
# Each verdict has a shape, a word and a colour.
BADGES = {
    "winning": ("▲", "winning", "good"),
    "losing": ("▼", "losing", "bad"),
    "inconclusive": ("◆", "inconclusive", ""),
    "collecting_data": ("…", "collecting data", ""),
    "do_not_trust": ("✖", "do not trust", "bad"),
    "control": ("○", "control", ""),
    "harmed": ("▼", "harmed", "bad"),
    "no_harm_shown": ("✓", "no harm shown", "good"),
    "worse": ("▼", "worse than its margin", "bad"),
    "not_worse_than_margin": ("✓", "not worse than its margin", "good"),
    "undecided": ("◆", "undecided", ""),
    "too_little_data": ("…", "too little data", ""),
    "ok": ("✓", "ok", "good"),
    "warn": ("⚠", "warning", "care"),
    "warning": ("⚠", "warning", "care"),
    "alarm": ("✖", "alarm", "bad"),
    "problem": ("✖", "problem", "bad"),
    "running": ("▶", "running", "good"),
    "ended": ("■", "ended", ""),
    ENDED: ("■", ENDED, ""),
    "success": ("✓", "succeeded", "good"),
    "failure": ("✖", "failed", "bad"),
    "killed": ("✖", "was killed", "bad"),
}


class Html:
    """A piece of a page. It looks the same in a notebook and in a report."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        unbroken = re.sub(r"(?<=[0-9]) %", "&nbsp;%", self.html)
        return f'<div class="piece">{unbroken}</div>'


@dataclass(frozen=True)
class Scope:
    """The environment and days (UTC, both included) of an answer. Days in the wrong order are swapped."""

    environment: str
    start: date
    end: date

    def __post_init__(self) -> None:
        start, end = sorted((self.start, self.end))
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)

    def __str__(self) -> str:
        return f"{shortened(self.environment)} · {period(self.start, self.end)} (UTC)"


# Numbers and names as people write them.


def number(value: float | None) -> str:
    """1234567 → `1,234,567`; 0.1234 → `0.123`; null → `–`."""
    if pandas.isna(value):
        return NOTHING
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    if 0 < value < 0.001:
        return "< 0.001"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.3g}"


def percent(share: float | None, signed: bool = False) -> str:
    """0.1234 → `12.3 %`, signed `+12.3 %`; null → `–`."""
    if pandas.isna(share):
        return NOTHING
    digits = 0 if share == 0 or (share == 1 and not signed) else 1
    share = round(share, 3) + 0.0  # what rounds to zero has no sign
    return f"{100 * share:{'+' if signed and share else ''}.{digits}f} %".replace("-", "−")  # a minus


def round_percent(share: float) -> str:
    """0.95 → `95 %`, 0.999 → `99.9 %`: for numbers that people have chosen."""
    return f"{100 * share:.6g} %"


def p_value(value: float | None) -> str:
    """0.0004 → `< 0.001`; 0.0312 → `0.031`; null → `–`."""
    if pandas.isna(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """75 → `1 min 15 s`; 7300 → `2 h 2 min`; 0.25 → `0.25 s`."""
    if pandas.isna(value):
        return NOTHING
    if value < 60:
        return f"{number(value)} s"
    hours, rest = divmod(round(value), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {left} s"


def megabytes(count: float) -> str:
    """1234567 bytes → `1.23 MB`."""
    return f"{number(count / 1e6)} MB"


def moment(value: pandas.Timestamp | None) -> str:
    """A time (UTC) to the minute: `28 September 2026, 23:55`."""
    return NOTHING if pandas.isna(value) else f"{value.day} {value:%B %Y, %H:%M}"


def short_moment(value: pandas.Timestamp | None) -> str:
    """The same, shorter: `28 Sep 2026, 23:55`."""
    return NOTHING if pandas.isna(value) else f"{value.day} {value:%b %Y, %H:%M}"


def day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def period(start: date, end: date) -> str:
    """`1–28 September 2026`. The first day omits the month and year if they are the same."""
    if start == end:
        return day(end)
    if (start.year, start.month) == (end.year, end.month):
        return f"{start.day}–{day(end)}"  # from … to
    return f"{day(start)} – {day(end)}"  # from … to


def capital(text: str) -> str:
    """The text with a capital first letter. The others stay: `NPS`, `planID`."""
    return text[:1].upper() + text[1:]


def choices(texts: Iterable[str], values: Iterable[object], most: int = 40) -> dict[str, object]:
    """Map a distinct label for each text to its value. Labels are shortened, and numbered if two would look alike."""
    chosen: dict[str, object] = {}
    alike: Counter[str] = Counter()
    for text, value in zip(texts, values, strict=True):
        name = label = shortened(text, most)
        while name in chosen:
            alike[label] += 1
            name = f"{label} ({alike[label] + 1})"
        chosen[name] = value
    return chosen


def labels(texts: Iterable[str], most: int = 40) -> dict[str, str]:
    """Map each text to a distinct label, as in `choices`."""
    texts = list(dict.fromkeys(texts))
    return {text: label for label, text in choices(texts, texts, most).items()}


def stacked(*frames: pandas.DataFrame) -> pandas.DataFrame:
    """One frame below the other, same columns."""
    return pandas.concat(frames, ignore_index=True)


def in_order(variations: Iterable[str]) -> list[str]:
    """Variations in the order used everywhere: `control` and `off` first, then by name."""
    return sorted(set(variations), key=lambda name: (name not in FIRST, name))


# Pickers. The address holds their values, so a link shows what its sender saw. A report has no address: `chosen` holds them.


class Chosen:
    """The choices for one page of a report, by their names in CHOICES, and what became of them.

    `taken`: those that a picker of the page has. `refused`: the others that a picker was asked for, each with what it has instead.
    """

    def __init__(self, texts: Mapping[str, str]):
        self.texts = texts
        self.taken: set[str] = set()
        self.refused: dict[str, list[str]] = {}


_chosen: ContextVar[Chosen | None] = ContextVar("chosen", default=None)


@contextmanager
def choosing(texts: Mapping[str, str]) -> Iterator[Chosen]:
    """Let the pickers of a page that is run here have these choices."""
    before = _chosen.set(Chosen(texts))
    try:
        yield _chosen.get()
    finally:
        _chosen.reset(before)


def _asked(key: str) -> str | None:
    """What the address or the report chooses for a picker; None if it leaves that open."""
    assert key in CHOICES
    if is_live():
        return marimo.query_params().get(key)
    return _chosen.get().texts.get(key) if _chosen.get() else None


def _answer(key: str, is_taken: bool, instead: Iterable[str] = ()) -> None:
    """Tell the report whether its choice was taken."""
    if (chosen := _chosen.get()) and key in chosen.texts:
        if is_taken:
            chosen.taken.add(key)
        else:
            chosen.refused[key] = list(instead)


def picker(
    key: str, options: Mapping[str, object], label: str, searchable: bool = False, default: str | None = None
) -> marimo.ui.dropdown:
    """A dropdown whose value is in the address as `key`. Without one, the default or the first option is chosen."""
    asked = _asked(key)
    found = next((text for text, value in options.items() if _in_address(value) == asked), None)
    _answer(key, found is not None, map(_in_address, options.values()))
    return marimo.ui.dropdown(
        options,
        found or default or next(iter(options)),
        label=label,
        searchable=searchable,
        on_change=lambda value: _remember(key, value),
    )


def text_picker(key: str, label: str) -> marimo.ui.text:
    """A text field, whose value is in the address as `key`."""
    asked = _asked(key)
    _answer(key, is_taken=True)
    return marimo.ui.text(asked or "", label=label, on_change=lambda value: _remember(key, value))


def period_picker(first: date, last: date) -> marimo.ui.date_range:
    """A range of days within [first, last], in the address as `from` and `to`."""
    start, end = (_day_asked(key, first, last) for key in ("from", "to"))
    start, end = sorted((start or first, end or last))
    return marimo.ui.date_range(
        first,
        last,
        (start, end),
        label="Period (UTC)",
        on_change=lambda days: [
            _remember(key, day)
            for key, day in zip(("from", "to"), sorted(days or (first, last)), strict=True)
        ],
    )


def choice(*pickers: marimo.ui.dropdown) -> object:
    """The pickers that a cell shows: those with more than one option."""
    shown = [one for one in pickers if len(getattr(one, "options", (1, 2))) > 1]
    return marimo.hstack(shown, justify="start", wrap=True) if shown else None


def _remember(key: str, value: object) -> None:
    if is_live():
        marimo.query_params().set(key, _in_address(value))


def _in_address(value: object) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _day_asked(key: str, first: date, last: date) -> date | None:
    try:
        day = date.fromisoformat(_asked(key) or "")
    except ValueError:
        day = None
    _answer(key, day is not None and first <= day <= last, [f"a day from {first} to {last}"])
    return day and min(max(day, first), last)


# Pieces of a page.


def masthead(name: str, words: str) -> Html:
    """The links to all pages, the page's title and a sentence."""
    links = "".join(
        f'<li><a href="{escape(address(other))}"{" aria-current=page" if other == name else ""}>{page.title}</a></li>'
        for other, page in PAGES.items()
    )
    return Html(
        f'<nav aria-label="Pages"><ul class="links">{links}</ul></nav>'
        f"<h1>{PAGES[name].title}</h1><p>{escape(words)}</p>"
    )


def note(text: str) -> Html:
    """A sentence about what is missing and what to do."""
    return Html(f'<p class="missing">{escape(printable(text))}</p>')


def paragraph(text: str, kind: str = "") -> Html:
    """One or more sentences; `faint` if they are not the answer itself."""
    return Html(f'<p class="{kind}">{escape(printable(text))}</p>')


def heading(text: str) -> str:
    """The HTML of a heading. The text may be anything, for example the name of a flag."""
    return f"<h2>{escape(shortened(text, 200))}</h2>"


def link(text: str, name: str, **picks: object) -> Html:
    """A link to a page, opened with these choices."""
    return Html(f'<a href="{escape(address(name, **picks))}">{escape(shortened(text, 80))}</a>')


def link_if_live(text: str, name: str, **picks: object) -> Html | str:
    """The same for a page that a report does not contain; there it returns only the text."""
    return link(text, name, **picks) if is_live() else shortened(text, 80)


def identity_links(people: pandas.DataFrame, written: Iterable[tuple[str, str]] = ()) -> list[Html | str]:
    """A link to the page of each identity: `environment` and `identity`. `written`: both, of those that a report has.

    Nobody has a page where `is_known`, if there is such a column, is false: no webhook carried that identity.
    """
    written = set(written)
    return [
        shortened(row.identity, 80)
        if not getattr(row, "is_known", True)
        else (link if (row.environment, row.identity) in written else link_if_live)(
            row.identity, "one_identity", environment=row.environment, identity=row.identity
        )
        for row in people.itertuples()
    ]


def flag_links(flags: pandas.DataFrame, reported: pandas.DataFrame) -> list[Html | str]:
    """A link to the page of each flag: `name`, `environment` and `feature_id`. `reported`: the flags that a report has a page of."""
    written = set(zip(reported.environment, reported.feature_id, strict=True))
    return [
        (link if (row.environment, row.feature_id) in written else link_if_live)(
            row.name, "flag_exposure", environment=row.environment, feature_id=row.feature_id
        )
        for row in flags.itertuples()
    ]


def badge(status: str, words: str | None = None) -> Html:
    """A status as a badge: a shape, a word and a colour say the same."""
    shape, word, kind = BADGES.get(status, ("", shortened(str(status)), ""))
    return Html(
        f'<span class="badge {kind}"><span aria-hidden="true">{shape}</span> {escape(words or word)}</span>'
    )


def between(lift: float, low: float, high: float) -> Html:
    """A lift in bold, with the ends of its interval below."""
    if pandas.isna(lift):
        return Html(NOTHING)
    low, high = percent(low, signed=True), percent(high, signed=True)
    return Html(
        f'<span><b>{percent(lift, signed=True)}</b><br><span class="faint">{low} to {high}</span></span>'
    )


def joined(*pieces: Html | str | None, by: str = "") -> Html:
    """Several pieces as one. Texts are escaped."""
    return Html(
        by.join(one.html if isinstance(one, Html) else escape(printable(one)) for one in pieces if one)
    )


def card(title: Html | str, *pieces: Html, kind: str = "card", level: int = 3) -> Html:
    """A box with a heading."""
    return Html(f'<div class="{kind}"><h{level}>{joined(title).html}</h{level}>{joined(*pieces).html}</div>')


def cards(pieces: Iterable[Html]) -> Html:
    """Cards side by side, as many as fit."""
    return Html(f'<div class="cards">{joined(*pieces).html}</div>')


def facts(pairs: Mapping[str, Html | str]) -> Html:
    """Names with their values, as a list."""
    return Html(
        "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{joined(v).html}</dd>" for k, v in pairs.items()) + "</dl>"
    )


def sentences(texts: Iterable[Html | str]) -> Html:
    """Sentences as a list, one per item."""
    return Html("<ul>" + "".join(f"<li>{joined(one).html}</li>" for one in texts) + "</ul>")


def folded(summary: Html | str, content: Html, is_open: bool = False) -> Html:
    """A line that opens to show more."""
    return Html(
        f"<details{' open' if is_open else ''}><summary>{joined(summary).html}</summary>{content.html}</details>"
    )


def to_copy(summary: str, text: str) -> Html:
    """A text to copy, folded, with one button that copies all of it. A live page runs no script of ours; marimo adds the button."""
    content = f'<pre tabindex="0" aria-label="{escape(summary)}">{escape(printable(text))}</pre>'
    button = (
        ""
        if is_live()
        else '<button type="button" onclick="navigator.clipboard.writeText(this.nextElementSibling.textContent)'
        ".then(() => { this.textContent = 'Copied' })\">Copy</button>"
    )
    return folded(summary, Html(f'{button}<div class="codehilite">{content}</div>'))


def table(
    frame: pandas.DataFrame,
    title: str,
    headings: Mapping[str, str],
    formats: Mapping[str, Callable] | None = None,
    otherwise: str = "Nothing to list.",
    is_full: bool = False,
    saved: Iterable[str] | None = None,
    numbers: Iterable[str] = (),
) -> Html:
    """A table of the columns named in `headings`, or the sentence `otherwise` where there are no rows.

    `formats`: for a column, the function that writes its values where its type does not tell; it returns text, or
    Html. Of a long frame the first rows are listed, and the title says how many there are. All rows can be
    downloaded, with the columns that are shown or those `saved`; with none, nothing is offered. `numbers`: columns
    of texts that are numbers. On a narrow page, a table that `is_full` or does not fit shows its cells one below the other.
    """
    if frame.empty:
        return Html(f'<p class="missing"><b>{escape(title)}.</b> {escape(otherwise)}</p>')
    listed, long_title = _first(frame, LISTED, title)
    formats = {name: _format(frame[name]) for name in headings} | dict(formats or {})
    classes = {
        name: f' class="{"number long" if name in numbers else _kind(listed[name])}"' for name in headings
    }
    head = "".join(
        f'<th scope="col" role="columnheader"{classes[name]}>{_breakable(text)}</th>'
        for name, text in headings.items()
    )

    cells = {name: [joined(formats[name](value)).html for value in listed[name]] for name in headings}
    texts = {name: [unescape(re.sub(DRAWN, "", html)) for html in cells[name]] for name in headings}
    widths = [_least_width(headings[name], texts[name], "number" in classes[name]) + 1 for name in headings]
    is_stacked = is_full or sum(widths) > PHONE

    def cell(name: str, html: str, text: str) -> str:
        # A narrow page shows the heading beside the cell, or above a long text, and leaves out what is empty.
        label = f' data-label="{escape(headings[name])}"' if is_stacked and html != NOTHING else ""
        kind = classes[name] if len(text) <= BESIDE else f'{classes[name][:-1]} tall"'
        return f'<td{kind} role="cell"{label}>{html}</td>'

    rows = zip(*(map(cell, [name] * len(listed), cells[name], texts[name]) for name in headings), strict=True)
    body = ["".join(row) for row in rows]
    kind = " ".join(word for word, applies in (("full", is_full), ("stacked", is_stacked)) if applies)
    html = grid(long_title, head, body, kind)
    columns = list(headings if saved is None else saved)
    return Html(html + (download(frame[columns], title).html if columns else ""))


def _breakable(text: str) -> str:
    """The text of a heading as HTML. A word that would make its column wide, such as the name of a flag, may be broken."""
    return re.sub(r"\S+", lambda word: "<wbr>".join(map(escape, re.findall(".{1,16}", word[0]))), text)


def _least_width(heading: str, texts: list[str], is_number: bool) -> int:
    """About how many letters wide a column is at least. Texts wrap between words, numbers do not; a narrow column of prose is no help."""
    words = [heading, *([] if is_number else texts)]
    longest = max((len(word) for text in words for word in re.split(r"[\s-]", text)), default=0)
    return max(longest, max(len(text) if is_number else min(len(text), PROSE) for text in texts))


def grid(title: str, head: str, rows: Iterable[str], kind: str = "", has_caption: bool = True) -> str:
    """The HTML of a table that scrolls on a narrow page, also by keyboard.

    `head` and each of `rows`: cells with their roles. A narrow page lays tables out as blocks, and in some browsers a
    block is a part of a table for a screen reader only if its role says so.
    """
    caption = f'<div class="caption">{escape(title)}</div>' if has_caption else ""
    body = "".join(f'<tr role="row">{row}</tr>' for row in rows)
    return (
        f'{caption}<div class="wide" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<table class="{kind}" role="table" aria-label="{escape(title)}">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )


def download(frame: pandas.DataFrame, title: str) -> Html:
    """Links that save the whole frame as CSV and as Parquet. The links contain the files, so nothing is loaded."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in title.split(",")[0])
    csv = "\ufeff" + frame.map(_cell).to_csv(index=False)  # the mark tells Excel that it is UTF-8
    rows = counted(len(frame), "row", "rows")
    files = (
        ("CSV", "text/csv;charset=utf-8", csv.encode("utf-8", "replace")),
        ("Parquet", "application/vnd.apache.parquet", _parquet(frame)),
    )
    links = " · ".join(
        f'<a download="{name[:60]}.{kind.lower()}" href="data:{media};base64,{base64.b64encode(data).decode("ascii")}" '
        f'aria-label="Download {escape(title)} as {kind}">{kind}</a>'
        for kind, media, data in files
    )
    return Html(f'<p class="download">{links} <span class="faint">({rows})</span></p>')


def _parquet(frame: pandas.DataFrame) -> bytes:
    """The frame as a Parquet file: values as they are, times and numbers with their types."""
    with tempfile.TemporaryDirectory() as folder, _memory().cursor() as connection:
        file = Path(folder) / "table.parquet"
        connection.register("saved", frame)
        connection.execute("copy saved to $file (format parquet, compression zstd)", {"file": str(file)})
        return file.read_bytes()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """A database in memory, opened once: 3 ms for a file instead of 24 ms. Each session has a cursor of its own."""
    return duckdb.connect()


def _cell(value: object) -> object:
    """A cell of a CSV file. A text that a spreadsheet would treat as a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = printable(value if len(value) <= CELL else value[: CELL - 1] + "…")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _first(frame: pandas.DataFrame, most: int, title: str) -> tuple[pandas.DataFrame, str]:
    return (
        (frame, title)
        if len(frame) <= most
        else (frame[:most], f"{title} (the first {most} of {len(frame):,})")
    )


def _kind(column: pandas.Series) -> str:
    if not _is_text(column):
        return "number"
    return "long" if column.map(lambda value: len(str(value))).max() > 30 else "text"


def _is_text(column: pandas.Series) -> bool:
    return not (pandas.api.types.is_numeric_dtype(column) or pandas.api.types.is_datetime64_any_dtype(column))


def _format(column: pandas.Series) -> object:
    if pandas.api.types.is_bool_dtype(column):
        return lambda value: "yes" if value else "no"
    if pandas.api.types.is_datetime64_any_dtype(column):
        return short_moment
    return _text if _is_text(column) else number


def _text(value: object) -> str | Html:
    if isinstance(value, Html):
        return value
    if value is None or value is pandas.NA or value != value:
        return NOTHING
    text = str(value)
    # Sentences are shown whole. A name that no line can break would make the row a tower.
    is_prose = max(map(len, text[:CELL].split()), default=0) <= WORD
    return shortened(text, 600 if is_prose else 2 * WORD)
