"""Numbers, tables and charts, shared by the notebooks and the HTML reports.

Colours run evenly from dark to light (the cividis map), so that neighbours differ in greyscale and for the
colour-blind; lines differ in dash and point as well. Every chart names what it shows, its period and its
environment. A `frame` is a pandas DataFrame as `warehouse.ask` returns it; times are naive UTC.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from math import ceil

import altair
import pandas

from flagsmith_warehouse.loader.text import printable, shortened

# Years of days times eight colours are more than the 5,000 rows at which altair gives up; nothing here draws more.
altair.data_transformers.disable_max_rows()

WIDTH = 940  # pixels in all: fits a window of 1,200
COLOURS = ("#002051", "#16396d", "#3d4e6e", "#5f636e", "#7f7c75", "#a19b78", "#c0b26f", "#e2cb5c")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4], [1, 3], [12, 3, 3, 3])
MARGIN = 70  # of that, what an axis of numbers takes
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "stroke")
GREY = "#5f636e"
LISTED = 200  # rows of a table; few people read further
COMPARED = 40  # lines of a chart of intervals
FIRST = ("control", "off")
NOTHING = "–"
COUNTS = altair.Axis(format=",d", tickMinStep=1, labelOverlap=True, labelSeparation=6)
PANEL = altair.Header(labelAngle=0, labelOrient="top", labelAnchor="start", labelFontSize=13, labelLimit=600)
CONFIG = {
    "background": "white",
    "font": "Helvetica, Arial, sans-serif",
    "title": {
        "fontSize": 16,
        "subtitleFontSize": 13,
        "anchor": "start",
        "subtitleColor": "#444",
        "offset": 12,
    },
    "axis": {"labelFontSize": 12, "titleFontSize": 13, "labelLimit": 320, "gridColor": "#e4e4e4"},
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 13,
        "labelLimit": 260,
        "symbolSize": 120,
        "orient": "top",
    },
    "view": {"stroke": None},
}
STYLE = (
    "<style>.answer{border-collapse:collapse;font-size:14px}.answer caption{text-align:left;font-weight:bold;"
    "padding:6px 0}.answer th,.answer td{padding:4px 12px 4px 0;border-bottom:1px solid #ddd;text-align:left;"
    "vertical-align:top}.answer .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".answer .long{overflow-wrap:anywhere;min-width:200px;max-width:420px}.head{font-size:24px;font-weight:bold}"
    ".missing{border-left:4px solid #7f7c75;padding:8px 12px;margin:8px 0}</style>"
)


class Html:
    """A piece of a page: what marimo shows and the report keeps."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return STYLE + self.html


@dataclass(frozen=True)
class Scope:
    """Of which environment and which days (UTC, both included) an answer speaks."""

    environment: str
    start: date
    end: date

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
    digits = 0 if share in (0, 1) and not signed else 1
    return f"{100 * share:{'+' if signed else ''}.{digits}f} %".replace("-", "−")  # a minus


def round_percent(share: float) -> str:
    """0.95 → `95 %`, 0.999 → `99.9 %`: for what somebody has chosen."""
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


def moment(value: pandas.Timestamp | None) -> str:
    """A time (UTC) to the minute: `28 September 2026, 23:55`."""
    return NOTHING if pandas.isna(value) else f"{value.day} {value:%B %Y, %H:%M}"


def day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def period(start: date, end: date) -> str:
    """`1–28 September 2026`, or as much of the first day as differs."""
    if start == end:
        return day(end)
    if (start.year, start.month) == (end.year, end.month):
        return f"{start.day}–{day(end)}"  # from … to
    return f"{day(start)} – {day(end)}"  # from … to


def choices(texts: Iterable[str], values: Iterable[object], most: int = 40) -> dict[str, object]:
    """Map a label of its own for each text to its value: shortened, and numbered where two would look alike."""
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
    """Map each text to a label of its own, as in `choices`."""
    texts = list(dict.fromkeys(texts))
    return {text: label for label, text in choices(texts, texts, most).items()}


def stacked(*frames: pandas.DataFrame) -> pandas.DataFrame:
    """One frame below the other, same columns."""
    return pandas.concat(frames, ignore_index=True)


def in_order(variations: Iterable[str]) -> list[str]:
    """Variations as they are listed everywhere: `control` and `off` first, then by name."""
    return sorted(set(variations), key=lambda name: (name not in FIRST, name))


# Tables and notes.


def note(text: str) -> Html:
    """A sentence that says what is missing and what to do about it."""
    return Html(f'<p class="missing">{escape(printable(text))}</p>')


def heading(text: str) -> str:
    """The HTML of a heading; the text may be anything that somebody calls a flag."""
    return f'<h2 class="head">{escape(shortened(text, 200))}</h2>'


def table(
    frame: pandas.DataFrame,
    title: str,
    headings: Mapping[str, str],
    formats: Mapping[str, object] | None = None,
    otherwise: str = "Nothing to list.",
) -> Html:
    """A table of the columns named in `headings`, or the sentence `otherwise` where there are no rows.

    `formats`: for a column, the function that writes its values where its type does not tell. Of a long frame the
    first rows are listed, and the title says how many there are.
    """
    if frame.empty:
        return Html(f'<p class="missing"><b>{escape(title)}.</b> {escape(otherwise)}</p>')
    frame, title = _first(frame, LISTED, title)
    formats = {name: _format(frame[name]) for name in headings} | dict(formats or {})
    classes = {name: f' class="{_kind(frame[name])}"' for name in headings}
    head = "".join(f"<th{classes[name]}>{escape(text)}</th>" for name, text in headings.items())
    rows = (
        "".join(f"<td{classes[name]}>{escape(formats[name](row[name]))}</td>" for name in headings)
        for row in frame.to_dict("records")
    )
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return Html(f'<table class="answer"><caption>{escape(title)}</caption><tr>{head}</tr>{body}</table>')


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
        return moment
    return _text if _is_text(column) else number


def _text(value: object) -> str:
    if value is None or value is pandas.NA or value != value:
        return NOTHING
    return shortened(str(value), 200)


# Charts.


def by_time(
    frame: pandas.DataFrame,
    values: str,
    colour: str,
    *,
    title: str,
    heading: str,
    scope: Scope,
    order: Iterable[str] = (),
    time: str = "day",
    as_shares: bool = False,
) -> altair.Chart | Html:
    """Stacked bars along time: the column `values`, split by `colour`, a bar for each `time` (day or hour).

    `heading`: the axis title with its unit; `order`: all values of `colour`, so that one keeps its colour
    from chart to chart; `as_shares`: each bar is 100 %.
    """
    if frame.empty:
        return _nothing(title, scope)
    frame, scale = _coloured(frame, colour, values, order)
    frame = frame.groupby([time, colour, f"{colour}_place"], as_index=False)[values].sum()
    axis = altair.Axis(format="%") if as_shares else COUNTS
    chart = altair.Chart(_in_utc(frame, time)).mark_bar(stroke="white", strokeWidth=0.5)
    return _finished(
        chart.encode(
            x=_time(time, scope),
            y=altair.Y(
                f"sum({values}):Q", title=heading, axis=axis, stack="normalize" if as_shares else "zero"
            ),
            color=altair.Color(f"{colour}:N", scale=scale, title=colour.replace("_", " ")),
            order=altair.Order(f"{colour}_place:Q"),
            tooltip=[time, colour, altair.Tooltip(f"sum({values}):Q", format=",")],
        ),
        title,
        scope,
    )


def lines(
    frame: pandas.DataFrame,
    values: str,
    colour: str,
    *,
    title: str,
    heading: str,
    scope: Scope,
    order: Iterable[str] = (),
    time: str = "day",
    number_format: str = ",d",
    band: tuple[str, str] | None = None,
    limits: tuple[float, float] | None = None,
) -> altair.Chart | Html:
    """Lines along time, apart by colour, dash and point.

    `band`: the columns with the ends of an interval; each line then has a panel of its own.
    `limits`: draw no further down and up than this. Of more than 8 lines those with most points are drawn, and
    the title says of how many.
    """
    frame = frame.dropna(subset=[values])
    if frame.empty:
        return _nothing(title, scope)
    found = frame[colour].nunique()
    if found > len(COLOURS):
        order = _most(frame, colour, None, len(COLOURS))
        frame, title = frame[frame[colour].isin(order)], f"{title} ({len(COLOURS)} of {found:,})"
    frame, scale = _coloured(frame, colour, None, order)
    names = scale.domain
    heading_of_colours = colour.replace("_", " ") if band is None else None
    legend = None if band else altair.Undefined  # panels have names
    base = altair.Chart(_in_utc(frame, time)).encode(
        x=_time(time, scope, binned=False),
        color=altair.Color(f"{colour}:N", scale=scale, title=heading_of_colours, legend=legend),
    )
    upright = altair.Scale(domain=limits) if limits else altair.Scale()
    chart = base.mark_line(point={"size": 45}, strokeWidth=2, clip=limits is not None).encode(
        y=altair.Y(f"{values}:Q", title=heading, axis=altair.Axis(format=number_format), scale=upright),
        strokeDash=altair.StrokeDash(f"{colour}:N", scale=_scale(names, DASHES), legend=legend),
        shape=altair.Shape(f"{colour}:N", scale=_scale(names, SHAPES), legend=legend),
        tooltip=[time, colour, altair.Tooltip(f"{values}:Q", format=number_format)],
    )
    if band is None:
        return _finished(chart, title, scope)
    low, high = band
    area = base.mark_area(opacity=0.2, clip=True)
    area = area.encode(y=altair.Y(f"{low}:Q", title=heading, scale=upright), y2=f"{high}:Q")
    zero = altair.Chart().mark_rule(color="#333", strokeDash=[4, 3]).encode(y=altair.datum(0))
    panel = altair.layer(area, zero, chart, data=chart.data).properties(width=WIDTH - MARGIN, height=150)
    name = altair.Row(f"{colour}:N", title=None, sort=names, header=PANEL)
    return _finished(panel.facet(row=name), title, scope, size={})


def bars(
    frame: pandas.DataFrame,
    values: str,
    name: str,
    colour: str | None = None,
    *,
    title: str,
    heading: str,
    scope: Scope,
    order: Iterable[str] = (),
) -> altair.Chart | Html:
    """Horizontal bars, one for each value of the column `name` in the frame's order, with numbers beside."""
    if frame.empty:
        return _nothing(title, scope)
    frame = frame.assign(**{name: frame[name].map(labels(frame[name], 55))})
    names = list(dict.fromkeys(frame[name]))
    side = altair.Y(f"{name}:N", sort=names, title=None)
    room = altair.Scale(domain=[0, 1.08 * frame.groupby(name)[values].sum().max() or 1])
    length = altair.X(f"sum({values}):Q", title=heading, axis=COUNTS, scale=room)
    if colour is None:
        chart = altair.Chart(frame).mark_bar(color=COLOURS[1]).encode(y=side, x=length)
    else:
        frame, scale = _coloured(frame, colour, values, order)
        chart = altair.Chart(frame).mark_bar(stroke="white", strokeWidth=0.5)
        chart = chart.encode(
            y=side,
            x=length,
            color=altair.Color(f"{colour}:N", scale=scale, title=colour.replace("_", " ")),
            order=altair.Order(f"{colour}_place:Q"),
        )
    figures = altair.Chart(frame).mark_text(align="left", dx=4, fontSize=12)
    figures = figures.encode(y=side, x=f"sum({values}):Q", text=altair.Text(f"sum({values}):Q", format=","))
    return _finished(chart + figures, title, scope, height=max(60, 26 * len(names)))


def heat(
    frame: pandas.DataFrame,
    values: str,
    column: str,
    row: str,
    *,
    title: str,
    headings: tuple[str, str, str],
    scope: Scope,
    number_format: str = ".0%",
) -> altair.Chart | Html:
    """A heat map with its number in each cell. `headings`: of the columns, the rows and the colour."""
    if frame.empty:
        return _nothing(title, scope)
    most = frame[values].max()
    cells = altair.Chart(frame).encode(
        x=altair.X(f"{column}:O", title=headings[0], sort=None, axis=altair.Axis(labelAngle=0)),
        y=altair.Y(f"{row}:O", title=headings[1], sort=None, axis=altair.Axis(titlePadding=14)),
    )
    colour = altair.Color(
        f"{values}:Q",
        title=headings[2],
        scale=altair.Scale(domain=[0, most or 1], range=[COLOURS[-1], COLOURS[0]], interpolate="rgb"),
        legend=altair.Legend(format=number_format),
    )
    ink = altair.condition(altair.datum[values] > 0.45 * most, altair.value("white"), altair.value("black"))
    text = cells.mark_text(fontSize=12).encode(
        text=altair.Text(f"{values}:Q", format=number_format), color=ink
    )
    height = max(150, 30 * frame[row].nunique())
    return _finished(cells.mark_rect(stroke="white").encode(color=colour) + text, title, scope, height=height)


def intervals(
    frame: pandas.DataFrame,
    name: str,
    method: str,
    *,
    title: str,
    heading: str,
    scope: Scope,
) -> altair.Chart | Html:
    """Estimates with their intervals (columns `low`, `lift`, `high`), one line for each `name` and `method`."""
    frame = frame.dropna(subset=["low", "high"])
    if frame.empty:
        return _nothing(title, scope)
    names = list(dict.fromkeys(frame[name]))
    if len(names) > COMPARED:
        title = f"{title} (the first {COMPARED} of {len(names):,})"
        frame = frame[frame[name].isin(names[:COMPARED])]
    frame = frame.assign(**{name: frame[name].map(labels(frame[name], 60))})
    frame, scale = _coloured(frame, method, None, ())
    base = altair.Chart(frame).encode(
        y=altair.Y(f"{name}:N", title=None, sort=None),
        yOffset=altair.YOffset(f"{method}:N", scale=altair.Scale(domain=scale.domain)),
        color=altair.Color(f"{method}:N", scale=scale, title=method),
    )
    across = altair.X(
        "low:Q", title=heading, axis=altair.Axis(format="+.0%", labelOverlap=True, labelSeparation=6)
    )
    whole = base.mark_rule(strokeWidth=3).encode(x=across, x2="high:Q")
    middle = base.mark_point(filled=True, size=90, opacity=1).encode(
        x="lift:Q",
        shape=altair.Shape(f"{method}:N", scale=_scale(scale.domain, SHAPES), title=method),
        tooltip=[
            name,
            method,
            *(altair.Tooltip(f"{one}:Q", format="+.1%") for one in ("lift", "low", "high")),
        ],
    )
    zero = altair.Chart(pandas.DataFrame({"zero": [0]})).mark_rule(color="#333", strokeDash=[4, 3])
    height = max(80, 26 * frame[name].nunique() * len(scale.domain))
    return _finished(zero.encode(x="zero:Q") + whole + middle, title, scope, height=height)


def colours(names: int) -> list[str]:
    """Return colours for `names` things (at most 8), as far apart in lightness as they can be."""
    last = len(COLOURS) - 1
    return [COLOURS[round(place * last / max(names - 1, 1))] for place in range(names)]


def _coloured(
    frame: pandas.DataFrame, column: str, weights: str | None, order: Iterable[str]
) -> tuple[pandas.DataFrame, altair.Scale]:
    """Give a column labels, and those labels colours; what is rarest above 8 becomes `others`."""
    names = list(order) or in_order(frame[column])
    if len(names) > len(COLOURS):
        names = _most(frame, column, weights, len(COLOURS) - 1)
    short = labels(names)
    others = next(name for name in ("others", "all others", "all the others") if name not in short.values())
    shown = frame[column].map(lambda name: short.get(name, others))
    domain = [*short.values(), *([others] if (shown == others).any() else [])]
    place = {name: at for at, name in enumerate(domain)}
    frame = frame.assign(**{column: shown, f"{column}_place": shown.map(place)})
    return frame, _scale(domain, colours(len(domain)))


def _most(frame: pandas.DataFrame, column: str, weights: str | None, most: int) -> list[str]:
    sums = frame.groupby(column)[weights].sum() if weights else frame[column].value_counts()
    return in_order(sums.sort_values(ascending=False, kind="stable").index[:most])


def _scale(domain: list[str], range_: Iterable[object]) -> altair.Scale:
    return altair.Scale(domain=domain, range=list(range_)[: len(domain)])


def _in_utc(frame: pandas.DataFrame, time: str) -> pandas.DataFrame:
    """Say that times are UTC: without it a browser takes them for its own time of day."""
    return frame.assign(**{time: pandas.to_datetime(frame[time]).dt.tz_localize("UTC")})


def _time(time: str, scope: Scope, binned: bool = True) -> altair.X:
    ends = [f"{scope.start}T00:00:00Z", f"{scope.end + timedelta(days=1)}T00:00:00Z"]
    unit = {"day": "utcyearmonthdate", "hour": "utcyearmonthdatehours"}[time]
    scale = altair.Scale(type="utc", domain=ends)
    days = (scope.end - scope.start).days + 1
    pattern = "%H:%M" if time == "hour" and days == 1 else "%-d %b"
    # A day's bar begins at its midnight: its label belongs below the middle.
    middle = (WIDTH - MARGIN) / days / 2 if time == "day" and binned else 0
    axis = altair.Axis(
        format=pattern, values=_ticks(time, scope, days), labelOverlap=True, grid=False, tickOffset=middle
    )
    title = f"{time} (UTC)"
    if not binned:
        return altair.X(f"{time}:T", scale=scale, axis=axis, title=title)
    return altair.X(f"{time}:T", timeUnit=unit, scale=scale, axis=axis, title=title)


def _ticks(time: str, scope: Scope, days: int) -> list[int]:
    """At most 14 ticks, in milliseconds since 1970: every so many days or, of a single day, two hours."""
    hours = 2 if time == "hour" and days == 1 else 24 * ceil(days / 14)
    first = pandas.Timestamp(scope.start, tz="UTC").timestamp()
    return [int(1000 * (first + 3600 * passed)) for passed in range(0, 24 * days, hours)]


def _finished(
    chart: altair.Chart, title: str, scope: Scope, height: int = 280, size: dict[str, object] | None = None
) -> altair.Chart:
    heading = altair.TitleParams(text=title, subtitle=str(scope))
    if size is None:
        fit = altair.AutoSizeParams(type="fit-x", contains="padding")
        size = {"width": WIDTH, "height": height, "autosize": fit}
    return chart.properties(title=heading, description=f"{title}. {scope}", **size).configure(**CONFIG)


def _nothing(title: str, scope: Scope) -> Html:
    return Html(f'<p class="missing"><b>{escape(title)}.</b> Nothing to draw for {escape(str(scope))}.</p>')
