"""Charts of the notebooks and the report pages, as HTML and SVG.

Shapes stretch with the page. Texts are HTML, so they keep their size, wrap, and are never cut off, whatever the
font. Colours follow the light or dark setting. Every chart names its subject, period and environment, tells a screen
reader its lowest and highest values, and lists its numbers below, for download. `spells` has no numbers: its page lists them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from math import ceil, floor, isfinite, log10

import pandas

from flagsmith_warehouse.notebooks.show import (
    NOTHING,
    Html,
    Scope,
    download,
    folded,
    grid,
    in_order,
    labels,
    moment,
    number,
    table,
)

# Two hues, each from dark to light on a white page and from light to dark on a black one. Neighbours differ in hue and in
# lightness. All have a contrast of at least 3 to 1 with the page.
BLUES = ("#002957", "#003671", "#004489", "#0253a3", "#1763b6", "#2b73c8", "#3c83da", "#4d94ec")
BROWNS = ("#422202", "#572d00", "#6b3900", "#804500", "#955202", "#ab5f05", "#c16d09", "#d67b19")
DARK_BLUES = ("#e0ecfd", "#bedafe", "#9dc8fe", "#7bb5fe", "#5aa1fb", "#488fe7", "#357dd3", "#226bbf")
DARK_BROWNS = ("#fee7d6", "#fecea8", "#feb579", "#fa9c45", "#e5892e", "#d1770e", "#b96705", "#a15800")
MOST = len(BLUES)
DASHES = ("", "7 4", "2 3", "10 3 2 3", "5 2", "12 5", "1 4", "14 3 3 3")
TITLED = (
    3_000  # the most shapes of a chart that show their number when pointed at; more would make the page slow
)
WIDEST_BAR = 150  # thousandths of a chart, so that a single day does not look like a wall
SPELL_ROWS = 60  # the most rows in a chart of spells
UNITS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Chart(Html):
    """A chart with the numbers that it draws."""

    html: str
    title: str
    frame: pandas.DataFrame


def colours(names: int, is_dark: bool = False) -> list[str]:
    """Return colours for `names` things (at most 8): blue and brown in turn, as different in lightness as possible."""
    hues = (DARK_BLUES, DARK_BROWNS) if is_dark else (BLUES, BROWNS)
    if names == 1:
        return [hues[0][MOST // 2]]
    return [hues[place % 2][round(place * (MOST - 1) / max(names - 1, 1))] for place in range(names)]


def styles(names: int) -> list[str]:
    """Return for each of `names` things the CSS that gives it its colour, in light and in dark."""
    pairs = zip(colours(names), colours(names, is_dark=True), strict=True)
    return [f"--series: light-dark({light}, {dark})" for light, dark in pairs]


# Along time.


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
    events: pandas.DataFrame | None = None,
) -> Html:
    """Stacked bars along time: the column `values`, split by `colour`, with one bar per `time` (day or hour).

    `heading`: the unit; `order`: all values of `colour`, so that each keeps its colour from chart to chart;
    `as_shares`: each bar is 100 %; `events`: events to draw as marks (columns `at` and `text`).
    """
    if frame.empty:
        return nothing(title, scope)
    frame, names = _grouped(frame, colour, values, order)
    frame = frame.groupby([time, colour], as_index=False)[values].sum()
    totals = frame.groupby(time)[values].transform("sum")
    heights = (frame[values] / totals.where(totals > 0, 1)) if as_shares else frame[values]
    write = _share if as_shares else number
    axis = Axis(0, 1 if as_shares else float(frame.groupby(time)[values].sum().max()), write, not as_shares)
    clock = Clock(scope, time)
    place = {name: at for at, name in enumerate(names)}
    drawn = frame.assign(height=heights, place=frame[colour].map(place)).sort_values([time, "place"])
    drawn["top"] = drawn.groupby(time)["height"].cumsum()
    is_titled = len(drawn) <= TITLED
    shapes = []
    for (name, rows), style in zip(_split(drawn, colour, names), styles(len(names)), strict=True):
        bars = (
            _bar(clock, axis, row, f"{name}, {clock.write(row.at)}: {write(row.value)}" if is_titled else "")
            for row in rows.assign(at=rows[time], value=heights if as_shares else rows[values]).itertuples()
        )
        shapes.append(f'<g style="{style}">{"".join(bars)}</g>')
    plot = _plot(
        clock,
        axis,
        "".join(shapes) + _events(clock, events),
        heading,
        f"{title}. {scope}. {_ends(frame, values, colour)}",
    )
    return _figure(
        title,
        scope,
        _legend(names, "bar", events) + plot,
        frame,
        _pivoted(frame, time, colour, values, names),
        clock,
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
    write: object = number,
    band: tuple[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    events: pandas.DataFrame | None = None,
) -> Html:
    """Lines along time. They differ in colour, dash and point. A line breaks where a day or an hour is missing.

    `time`: `day`, `hour`, or a column that counts days from 0.
    `band`: the columns with the ends of an interval; each line then has its own panel.
    `limits`: the lowest and highest value to draw. If there are more than 8 lines, the 8 with the most points are
    drawn, and the title gives the total.
    """
    frame = frame.dropna(subset=[values])
    if frame.empty:
        return nothing(title, scope)
    found = frame[colour].nunique()
    if found > MOST:
        order = _most(frame, colour, None, MOST)
        frame, title = frame[frame[colour].isin(order)], f"{title} ({MOST} of {found:,})"
    frame, names = _grouped(frame, colour, None, order)
    clock = Clock(scope, time) if time in UNITS else Count(int(frame[time].max()))
    columns = [values, *(band or ())]
    low, high = limits or (min(0.0, frame[columns].min().min()), frame[columns].max().max())
    is_whole = bool((frame[values] % 1 == 0).all()) and band is None
    axis = Axis(low, high, write, is_whole)
    drawn = [
        f'<g style="{style}">{_line(clock, axis, rows.assign(at=rows[time], value=rows[values]), name, place, band)}</g>'
        for place, ((name, rows), style) in enumerate(
            zip(_split(frame, colour, names), styles(len(names)), strict=True)
        )
    ]
    spoken = f"{title}. {scope}. {_ends(frame, values, colour, write)}"
    after = _events(clock, events)
    if band is None:
        body = _legend(names, "line", events) + _plot(clock, axis, "".join(drawn) + after, heading, spoken)
    else:
        body = "".join(
            _legend([name], "line", events, place, len(names))
            + _plot(clock, axis, shapes + after, heading, f"{name}: {spoken}", is_low=True)
            for place, (name, shapes) in enumerate(zip(names, drawn, strict=True))
        )
    return _figure(title, scope, body, frame, _pivoted(frame, time, colour, values, names), clock, write)


class Axis:
    """The numbers on an axis: few, round, and enclosing everything that is drawn."""

    def __init__(self, low: float, high: float, write: object, is_whole: bool = False) -> None:
        span = (high - low) or abs(high) or 1.0
        step = 10 ** floor(log10(span / 4))
        step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= 5)
        if is_whole:
            step = max(1, ceil(step))
        self.low, self.high = floor(low / step) * step, max(ceil(high / step), floor(low / step) + 1) * step
        self.ticks = [
            round(self.low + step * at, 12) for at in range(round((self.high - self.low) / step) + 1)
        ]
        self.write = write

    def at(self, value: float) -> float:
        """The vertical position of a value, in thousandths from the top."""
        value = min(max(value, self.low), self.high)
        return round(1000 - 1000 * (value - self.low) / (self.high - self.low), 1)


class Clock:
    """The days or hours below a chart."""

    def __init__(self, scope: Scope, unit: str) -> None:
        self.start, self.unit = pandas.Timestamp(scope.start), unit
        self.days = (scope.end - scope.start).days + 1
        self.next = UNITS[unit]
        self.step = 1000 * (self.next / timedelta(days=self.days))
        self.middle = self.step / 2 if unit == "day" else 0

    def at(self, value: object) -> float:
        """The horizontal position of a time, in thousandths from the left."""
        return round(1000 * ((pandas.Timestamp(value) - self.start) / timedelta(days=self.days)), 2)

    def write(self, value: object) -> str:
        value = pandas.Timestamp(value)
        return f"{value.day} {value:%B %Y}" + (f", {value:%H:%M}" if self.unit == "hour" else "")

    def ticks(self) -> list[tuple[float, str]]:
        """At most 14 ticks with their texts: every two hours for a single day, otherwise at a fixed number of days."""
        if self.unit == "hour" and self.days == 1:
            return [(1000 * hour / 24, f"{hour:02}:00") for hour in range(0, 24, 2)]
        every = ceil(self.days / 14)
        days = [(at, self.start + timedelta(days=at)) for at in range(0, self.days, every)]
        form = "%b %Y" if self.days > 400 else "%b"
        return [(1000 * at / self.days + self.middle, f"{day.day} {day:{form}}") for at, day in days]


class Count:
    """Whole numbers from 0 below a chart, such as the days since the first evaluation."""

    def __init__(self, last: int) -> None:
        self.last, self.next, self.middle = max(last, 1), 1, 0

    def at(self, value: int) -> float:
        return round(1000 * value / self.last, 2)

    def write(self, value: int) -> str:
        return f"day {value}"

    def ticks(self) -> list[tuple[float, str]]:
        return [(self.at(day), str(day)) for day in range(0, self.last + 1, ceil((self.last + 1) / 14))]


def _bar(clock: Clock, axis: Axis, row: tuple, said: str) -> str:
    width = min(clock.step - min(clock.step * 0.06, 2), WIDEST_BAR)
    top, foot = axis.at(row.top), axis.at(row.top - row.height)
    title = f"<title>{escape(said)}</title>" if said else ""
    return (
        f'<path class="bar" d="M{clock.at(row.at) + (clock.step - width) / 2:.1f} {foot}V{top}'
        f'h{width:.1f}V{foot}z">{title}</path>'
    )


def _line(
    clock: Clock | Count, axis: Axis, rows: pandas.DataFrame, name: str, place: int, band: tuple | None
) -> str:
    rows = rows.sort_values("at")
    # A line breaks where a day or an hour is missing.
    stretch = (rows["at"].diff() > clock.next).cumsum()
    shapes = []
    for _, part in rows.groupby(stretch):
        across = [clock.at(at) + clock.middle for at in part["at"]]
        if band:
            shapes.append(_band(across, part[band[0]], part[band[1]], axis))
        points = [f"{x:.1f} {axis.at(y)}" for x, y in zip(across, part["value"], strict=True)]
        if len(points) > 1:
            shapes.append(f'<path class="path" stroke-dasharray="{DASHES[place]}" d="M{"L".join(points)}"/>')
        if len(rows) <= 100 or len(points) == 1:
            shape = "dot square" if place % 2 else "dot"
            shapes += [
                f'<path class="{shape}" d="M{point}h.01"><title>'
                f"{escape(f'{name}, {clock.write(at)}: {axis.write(value)}')}</title></path>"
                for point, at, value in zip(points, part["at"], part["value"], strict=True)
            ]
    return "".join(shapes)


def _band(across: list[float], low: pandas.Series, high: pandas.Series, axis: Axis) -> str:
    ends = [
        (x, axis.at(lower), axis.at(upper))
        for x, lower, upper in zip(across, low, high, strict=True)
        if isfinite(lower) and isfinite(upper)
    ]
    if not ends:
        return ""
    there = "L".join(f"{x:.1f} {upper}" for x, _, upper in ends)
    back = "L".join(f"{x:.1f} {lower}" for x, lower, _ in reversed(ends))
    return f'<path class="band" d="M{there}L{back}z"/>'


def _events(clock: Clock, events: pandas.DataFrame | None) -> str:
    if events is None:
        return ""
    return "".join(
        f'<path class="event" d="M{clock.at(row.at)} -25V1000"><title>{escape(f"{moment(row.at)}: {row.text}")}</title></path>'
        for row in events[:200].itertuples()
    )


def _plot(
    clock: Clock | Count, axis: Axis, shapes: str, heading: str, spoken: str, is_low: bool = False
) -> str:
    levels = [(axis.at(tick), axis.write(tick).replace(".0 %", " %"), tick) for tick in axis.ticks]
    upright = "".join(
        f'<span style="bottom:{100 - at / 10:.1f}%">{escape(text)}</span>' for at, text, _ in levels
    )
    widest = max((text for _, text, _ in levels), key=len)
    rules = "".join(
        f'<path class="{"zero" if tick == 0 and axis.low < 0 else "grid"}" d="M0 {at}H1000"/>'
        for at, _, tick in levels
    )
    along = "".join(
        f'<span{"" if place % 3 == 0 else " class=minor"} style="left:{at / 10:.2f}%">{text}</span>'
        for place, (at, text) in enumerate(clock.ticks())
    )
    height = ' style="--height:130px;--height-narrow:110px"' if is_low else ""
    return (
        f'<div class="plot"><div class="unit">{escape(heading)}</div>'
        f'<div class="upright" aria-hidden="true"><i>{escape(widest)}</i>{upright}</div>'
        f'<div class="area"{height}><svg role="img" aria-label="{escape(spoken)}" viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none">{rules}{shapes}</svg></div>'
        f'<div class="along" aria-hidden="true">{along}</div></div>'
    )


def _legend(names: list[str], kind: str, events: object, first: int = 0, of: int | None = None) -> str:
    keys = []
    for place, (name, style) in enumerate(zip(names, styles(of or len(names))[first:], strict=False), first):
        shape = (
            '<path class="bar" d="M4 0H22V12H4z"/>'
            if kind == "bar"
            else f'<path class="path" stroke-dasharray="{DASHES[place]}" d="M0 6H26"/>'
            f'<path class="dot{" square" if place % 2 else ""}" d="M13 6h.01"/>'
        )
        keys.append((style, shape, name))
    if events is not None and len(events):
        keys.append(("", '<path class="event" d="M13 0V12"/>', "a change in Flagsmith"))
    items = (
        f'<li><svg aria-hidden="true" style="{style}">{shape}</svg>{escape(name)}</li>'
        for style, shape, name in keys
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _figure(
    title: str,
    scope: Scope,
    body: str,
    frame: pandas.DataFrame,
    numbers: pandas.DataFrame,
    clock: Clock | Count,
    write: object = number,
) -> Chart:
    heads = {name: name for name in numbers}
    first = next(iter(heads))
    formats = {name: write for name in heads if name != first} | {first: clock.write}
    below = folded("The numbers", table(numbers, title, heads, formats))
    return Chart(_framed(title, scope, body + below.html), title, frame)


def _framed(title: str, scope: Scope, body: str) -> str:
    return f"<figure><figcaption>{escape(title)}<span>{escape(str(scope))}</span></figcaption>{body}</figure>"


def _ends(frame: pandas.DataFrame, values: str, colour: str, write: object = number) -> str:
    """The text of a chart for screen readers: the smallest and the largest number of each line or colour."""
    ends = frame.groupby(colour)[values].agg(["min", "max"])
    return "; ".join(
        f"{name}: {write(row['min'])} to {write(row['max'])}" for name, row in ends[:MOST].iterrows()
    )


def _pivoted(
    frame: pandas.DataFrame, time: str, colour: str, values: str, names: list[str]
) -> pandas.DataFrame:
    wide = frame.pivot_table(index=time, columns=colour, values=values, aggfunc="sum", sort=False)
    return wide.reindex(columns=names).sort_index().reset_index()


def spells(frame: pandas.DataFrame, name: str, state: str, *, title: str, scope: Scope) -> Html:
    """One row per value of `name`, along time, with one bar per spell from `since` to `until`, labelled with its state."""
    if frame.empty:
        return nothing(title, scope)
    clock = Clock(scope, "hour" if scope.start == scope.end else "day")
    found = list(dict.fromkeys(frame[name]))
    names = found[:SPELL_ROWS]
    title += f" ({SPELL_ROWS} of {len(found):,})" if len(found) > SPELL_ROWS else ""
    said = labels(names, 48)
    rows = []
    for one in names:
        own = frame[frame[name] == one]
        bars_ = "".join(
            _spell(clock, row.since, row.until, str(getattr(row, state)), place % 2)
            for place, row in enumerate(own.itertuples())
        )
        is_over = not pandas.isna(own["until"].iloc[-1])
        last = NOTHING if is_over else labels([str(own[state].iloc[-1])], 40).popitem()[1]
        rows.append(
            f'<th scope="row" role="rowheader" class="text">{escape(said[one])}</th><td role="cell">{escape(last)}</td>'
            f'<td class="length-cell" role="cell"><div class="spells">{bars_}</div></td>'
        )
    along = "".join(f'<span style="left:{at / 10:.2f}%">{text}</span>' for at, text in clock.ticks()[::3])
    head = (
        '<th scope="col" role="columnheader">What</th><th scope="col" role="columnheader">Now</th>'
        '<th scope="col" role="columnheader" class="clock"><span class="unseen">From when to when</span>'
        f'<div class="along" aria-hidden="true">{along}</div></th>'
    )
    body = grid(title, head, rows, "full", has_caption=False)
    return Chart(_framed(title, scope, body), title, frame)


def _spell(clock: Clock, start: object, end: object, state: str, is_odd: int) -> str:
    left = max(0.0, clock.at(start) / 10)
    right = 100.0 if pandas.isna(end) else min(100.0, clock.at(end) / 10)
    text = labels([state], 40).popitem()[1]
    until = "now" if pandas.isna(end) else moment(end)
    said = escape(f"{text}: {moment(start)}" + ("" if end == start else f" to {until}"))
    return (
        f'<span class="spell{" odd" if is_odd else ""}" style="left:{left:.2f}%;width:{max(right - left, 0.3):.2f}%" '
        f'title="{said}">{escape(text)}</span>'
    )


# Charts without a time axis: tables whose cells are drawn.


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
    most: int | None = None,
) -> Html:
    """Horizontal bars with numbers beside them, one for each value of the column `name`, in the frame's order.

    `most`: how many bars there are at most: then the longest come first, and the title says how many are left out.
    """
    if frame.empty:
        return nothing(title, scope)
    if most:
        longest = frame.groupby(name)[values].sum().sort_values(ascending=False, kind="stable").index
        title += f" (the {most} longest of {len(longest):,})" if len(longest) > most else ""
        frame = frame.set_index(name).loc[longest[:most]].reset_index()
    frame = frame.assign(**{name: frame[name].map(labels(frame[name], 60))})
    parts = [""]
    if colour:
        frame, parts = _grouped(frame, colour, values, order)
    whole = frame.groupby(name)[values].sum().max() or 1
    looks = dict(zip(parts, styles(len(parts)), strict=True)) if colour else {"": ""}
    rows = []
    for one in dict.fromkeys(frame[name]):
        own = frame[frame[name] == one]
        sums = own.groupby(colour)[values].sum() if colour else pandas.Series({"": own[values].sum()})
        there = [part for part in parts if part in sums]
        said = [f"{part} {number(sums[part])}".strip() for part in there]
        pieces = "".join(
            f'<span style="width:{100 * sums[part] / whole:.2f}%;{looks[part]}" title="{escape(text)}"></span>'
            for part, text in zip(there, said, strict=True)
        )
        split = ", ".join(said) if len(parts) > 1 else ""
        rows.append(
            f'<th scope="row" role="rowheader" class="text">{escape(one)}</th>'
            f'<td class="number" role="cell">{number(own[values].sum())}</td>'
            f'<td class="length-cell" role="cell"><div class="length">{pieces}</div><span class="faint">{escape(split)}</span></td>'
        )
    head = (
        f'<td role="cell"></td><th scope="col" role="columnheader" class="number">{escape(heading)}</th>'
        '<td role="cell"></td>'
    )
    legend = _legend(parts, "bar", None) if colour else ""
    body = legend + grid(title, head, rows, "full", has_caption=False)
    columns = [name, *([colour] if colour else []), values]
    return Chart(_framed(title, scope, body + download(frame[columns], title).html), title, frame)


def heat(
    frame: pandas.DataFrame,
    values: str,
    column: str,
    row: str,
    *,
    title: str,
    headings: tuple[str, str],
    scope: Scope,
    write: object,
    incomplete: str | None = None,
    otherwise: str = "",
) -> Html:
    """A table in which larger numbers have darker cells. `headings`: the headings of the rows and of the columns.

    `incomplete`: the column that says whether a cell's number may still grow; such a cell is framed and marked.
    `otherwise`: the text of an empty cell.
    """
    if frame.empty:
        return nothing(title, scope)
    most = frame[values].max() or 1
    across = list(dict.fromkeys(frame[column]))
    cells = {(one[row], one[column]): one for one in frame.to_dict("records")}
    rows = []
    for name in dict.fromkeys(frame[row]):
        found = [cells.get((name, other)) for other in across]
        drawn = "".join(
            f'<td role="cell">{escape(otherwise)}</td>'
            if one is None
            else _heat_cell(one, values, most, write, incomplete)
            for one in found
        )
        rows.append(f'<th scope="row" role="rowheader">{escape(str(name))}</th>{drawn}')
    tops = "".join(
        f'<th scope="col" role="columnheader" class="number">{escape(str(other))}</th>' for other in across
    )
    head = f'<th scope="col" role="columnheader">{escape(headings[0])}</th>{tops}'
    said = f'<p class="faint">Columns: {escape(headings[1])}.</p>'
    table_html = grid(title, head, rows, "heat", has_caption=False)
    return Chart(_framed(title, scope, said + table_html + download(frame, title).html), title, frame)


def _heat_cell(one: Mapping, values: str, most: float, write: object, incomplete: str | None) -> str:
    is_open = bool(incomplete and one[incomplete])
    mark = ' <span title="not over yet">so far</span>' if is_open else ""
    share = 0 if pandas.isna(one[values]) else 45 * one[values] / most
    return f'<td role="cell" class="cell{" incomplete" if is_open else ""}" style="--share:{share:.0f}%">{write(one[values])}{mark}</td>'


def interval(
    low: float,
    middle: float,
    high: float,
    limits: tuple[float, float],
    kind: str,
    said: str,
    outer: tuple[float, float] | None = None,
) -> Html:
    """A table cell that draws an interval and its middle. `outer` is a wider interval; the dashed line is zero."""
    if pandas.isna(low) or pandas.isna(high):
        return Html("–")
    left, right = limits

    def at(value: float) -> str:
        return f"{200 * (min(max(value, left), right) - left) / (right - left):.1f}"

    def line(kind: str, start: float, end: float, top: int = 10, foot: int = 10) -> str:
        return f'<line class="{kind}" x1="{at(start)}" x2="{at(end)}" y1="{top}" y2="{foot}"/>'

    wider = line("outer", *outer) if outer and not pandas.isna(outer[0]) else ""
    lines_ = (
        line("zero", 0, 0, 0, 20)
        + wider
        + line(f"whisker {kind}", low, high)
        + line("middle", middle, middle, 3, 17)
    )
    return Html(
        f'<svg class="interval" role="img" aria-label="{escape(said)}" viewBox="0 0 200 20" preserveAspectRatio="none">'
        f"<title>{escape(said)}</title>{lines_}</svg>"
    )


def limits(ends: pandas.DataFrame) -> tuple[float, float]:
    """The scale of intervals in one column: all of them, but at most from −120 % to +200 %, and zero."""
    low, high = max(ends.min().min(), -1.2), min(ends.max().max(), 2.0)
    return (-1.0, 1.0) if pandas.isna(low) else (min(low, -0.01), max(high, 0.01))


def around(intervals: pandas.DataFrame) -> tuple[float, float]:
    """The scale of a chart of lifts, symmetric about zero, in which these intervals (`low`, `high`) have room."""
    widest = 1.25 * max([0.1, *intervals.low.abs().dropna(), *intervals.high.abs().dropna()])
    return -widest, widest


def nothing(title: str, scope: Scope) -> Html:
    return Html(f'<p class="missing"><b>{escape(title)}.</b> Nothing in {escape(str(scope))}.</p>')


# Names and their order.


def _grouped(
    frame: pandas.DataFrame, column: str, weights: str | None, order: Iterable[str]
) -> tuple[pandas.DataFrame, list[str]]:
    """Give the values of a column labels, in order. If there are more than 8, the rarest become `others`."""
    names = list(order) or in_order(frame[column])
    if len(names) > MOST:
        names = _most(frame, column, weights, MOST - 1)
    short = labels(names)
    others = next(name for name in ("others", "all others", "all the others") if name not in short.values())
    shown = frame[column].map(lambda name: short.get(name, others))
    return frame.assign(**{column: shown}), [*short.values(), *([others] if (shown == others).any() else [])]


def _most(frame: pandas.DataFrame, column: str, weights: str | None, most: int) -> list[str]:
    sums = frame.groupby(column)[weights].sum() if weights else frame[column].value_counts()
    return in_order(sums.sort_values(ascending=False, kind="stable").index[:most])


def _split(frame: pandas.DataFrame, colour: str, names: list[str]) -> list[tuple[str, pandas.DataFrame]]:
    return [(name, frame[frame[colour] == name]) for name in names]


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
