"""Numbers as people write them, and colours that survive greyscale and colour-blindness."""

import base64
import re
from datetime import date, timedelta
from itertools import combinations
from math import dist

import duckdb
import pandas
import pytest

from flagsmith_warehouse.notebooks import charts, show, words

SCOPE = show.Scope("production", date(2026, 9, 1), date(2026, 9, 2))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (show.number(1234567), "1,234,567"),
        (show.number(0.12345), "0.123"),
        (show.number(1234.56), "1,234.6"),
        (show.number(1e-120), "< 0.001"),
        (show.number(float("nan")), "–"),
        (show.percent(0.1234), "12.3 %"),
        (show.percent(-0.052, signed=True), "−5.2 %"),
        (show.percent(1), "100 %"),
        (show.percent(-0.0002, signed=True), "0.0 %"),
        (show.round_percent(0.95), "95 %"),
        (show.p_value(0.0004), "< 0.001"),
        (show.seconds(75), "1 min 15 s"),
        (show.seconds(7300), "2 h 1 min"),
        (show.moment(pandas.Timestamp("2026-09-08 23:05")), "8 September 2026, 23:05"),
        (show.period(date(2026, 9, 1), date(2026, 9, 28)), "1–28 September 2026"),
        (show.period(date(2026, 8, 31), date(2026, 9, 1)), "31 August 2026 – 1 September 2026"),
        (show.period(date(2026, 9, 1), date(2026, 9, 1)), "1 September 2026"),
        (show.shortened("a b\n c"), "a b c"),
        (show.shortened(""), "(empty text)"),
    ],
)
def test_formats__a_value__is_written_as_people_write_it(written, text):
    assert written == text


def test_shortened__wide_letters__count_twice():
    assert len(show.shortened("旗" * 200, 40)) <= 20


def test_labels__texts_that_look_alike_when_shortened__stay_apart():
    texts = ["x" * 50 + middle + "y" * 50 for middle in "abc"]
    assert len(set(show.labels(texts).values())) == 3


def test_labels__20_000_texts_that_look_alike__each_has_its_own():
    texts = [f"{'x' * 600}{number}{'y' * 600}" for number in range(20_000)]
    assert len(set(show.labels(texts).values())) == 20_000


def test_choices__a_text_that_looks_like_a_numbered_one__can_still_be_chosen():
    assert show.choices(["x", "x (2)", "x", "x"], [1, 2, 3, 4]) == {
        "x": 1,
        "x (2)": 2,
        "x (3)": 3,
        "x (4)": 4,
    }


def luminance(colour: str, kind: list[list[float]] | None = None) -> list[float]:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    if kind:
        linear = [min(1, max(0, sum(w * c for w, c in zip(row, linear, strict=True)))) for row in kind]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


# How colours look to somebody without one of the cones: Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "all colours": None,
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def seen(colour: str, kind: list[list[float]] | None = None) -> tuple[float, float, float]:
    """A colour in CIE L*a*b*, as such eyes see it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    if kind:
        linear = [min(1, max(0, sum(w * c for w, c in zip(row, linear, strict=True)))) for row in kind]
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    white = (0.9505, 1, 1.089)
    parts = [
        sum(w * c for w, c in zip(row, linear, strict=True)) / full
        for row, full in zip(xyz, white, strict=True)
    ]
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("names", range(2, 9))
def test_colours__seen_with_fewer_cones__stay_apart(names, eyes, is_dark):
    """A difference of 10 is plain to see; control and the first variation are further apart."""
    colours = [seen(colour, EYES[eyes]) for colour in charts.colours(names, is_dark)]
    assert min(dist(one, other) for one, other in combinations(colours, 2)) > 10
    assert dist(*colours[:2]) > 20
    lightness = [colour[0] for colour in colours]
    assert abs(lightness[-1] - lightness[0]) > 30, "in grey, the first and the last differ"


def test_table__text_of_anybody__is_never_markup():
    html = show.table(pandas.DataFrame({"a": ["<b>&"]}), "<i>", {"a": "<u>"}).html
    assert not {"<b>", "<i>", "<u>"} & {html[at : at + 3] for at in range(len(html))}


def test_table__a_long_name_and_a_long_sentence__are_shortened_and_shown_whole():
    sentence = "This is what it means. " * 20
    html = show.table(pandas.DataFrame({"a": ["w" * 200, sentence]}), "T", {"a": "A"}, saved=()).html
    assert "w" * 81 not in html and "…" in html and sentence.strip() in html


def test_table__full__tells_a_narrow_page_the_heading_of_each_cell_that_has_something():
    html = show.table(pandas.DataFrame({"a": [1.0, None]}), "T", {"a": "<A>"}, is_full=True, saved=()).html
    assert html.count('data-label="&lt;A&gt;"') == 1


@pytest.mark.parametrize(
    ("cells", "is_stacked"),
    [
        ({"a": ["one"], "b": [1]}, False),
        ({"a": ["a sentence of many words that wraps"], "b": [1]}, False),
        ({"a": ["a" * 30], "b": ["b" * 30]}, True),
        ({name: pandas.Timestamp("2026-09-01") for name in "abc"}, True),
        ({name: ["a few words"] for name in "abcde"}, True),
    ],
)
def test_table__wider_than_a_phone__shows_a_narrow_page_its_cells_one_below_the_other(cells, is_stacked):
    frame = pandas.DataFrame(cells, index=[0])
    html = show.table(frame, "Title", {name: "Heading" for name in frame}).html
    assert ("stacked" in html, "data-label" in html) == (is_stacked, is_stacked)


def test_table__no_rows__says_so_in_the_sentence_it_was_given():
    assert "Nobody." in show.table(pandas.DataFrame({"a": []}), "Who", {"a": "A"}, otherwise="Nobody.").html


def test_table__more_rows_than_anybody_reads__lists_the_first_and_says_of_how_many():
    html = show.table(pandas.DataFrame({"a": range(5_000)}), "Numbers", {"a": "A"}).html
    assert html.count("<tr ") == 1 + show.LISTED and "(the first 200 of 5,000)" in html


CHARTS = {
    "by_time": lambda frame: charts.by_time(frame, "n", "kind", title="T", heading="n a day", scope=SCOPE),
    "lines": lambda frame: charts.lines(frame, "n", "kind", title="T", heading="n a day", scope=SCOPE),
    "bars": lambda frame: charts.bars(frame, "n", "kind", title="T", heading="n a day", scope=SCOPE),
    "heat": lambda frame: charts.heat(
        frame, "n", "day", "kind", title="T", headings=("kind", "n a day"), scope=SCOPE, write=show.number
    ),
}


@pytest.mark.parametrize("chart", CHARTS)
def test_charts__any__name_what_they_show_its_unit_period_and_environment(chart):
    frame = pandas.DataFrame({"day": ["2026-09-01"], "kind": ["a"], "n": [3]})
    html = CHARTS[chart](frame).html
    assert "<figcaption>T<span>production · 1–2 September 2026 (UTC)</span>" in html
    assert "n a day" in html


@pytest.mark.parametrize("chart", CHARTS)
def test_charts__any__can_be_downloaded_and_says_its_number_in_text(chart):
    frame = pandas.DataFrame({"day": ["2026-09-01"], "kind": ["a"], "n": [3]})
    html = CHARTS[chart](frame).html
    assert 'href="data:text/csv' in html and ">3<" in html


PARTS = {
    "table": "table",
    "thead": "rowgroup",
    "tbody": "rowgroup",
    "tr": "row",
    "td": "cell",
    'th scope="col"': "columnheader",
    'th scope="row"': "rowheader",
}


@pytest.mark.parametrize("of", ["table", "bars", "heat", "spells"])
def test_tables__each_part__says_its_role(of):
    """A phone lays them out as blocks, which are no part of a table for the screen reader of some browsers."""
    frame = pandas.DataFrame({"day": ["2026-09-01"], "kind": ["a"], "n": [3], "n_": [None]})
    spells = frame.assign(since=pandas.Timestamp("2026-09-01"), until=pandas.NaT)
    html = {
        "table": lambda: show.table(frame, "T", {"kind": "Kind", "n": "N", "n_": "Empty"}, is_full=True),
        "bars": lambda: CHARTS["bars"](frame),
        "heat": lambda: CHARTS["heat"](frame),
        "spells": lambda: charts.spells(spells, "kind", "day", title="T", scope=SCOPE),
    }[of]().html
    tags = re.findall(r"<((?:table|thead|tbody|tr|td|th)\b[^>]*)>", html)
    assert len(tags) > 7
    for tag in tags:
        part = next(part for part in PARTS if tag.split(" class")[0].split(" role")[0].startswith(part))
        assert f'role="{PARTS[part]}"' in tag, tag


def test_spells__more_rows_than_are_drawn__says_of_how_many():
    frame = pandas.DataFrame(
        {"name": [f"trait {n}" for n in range(80)], "state": "a", "since": pandas.Timestamp("2026-09-01")}
    ).assign(until=pandas.NaT)
    html = charts.spells(frame, "name", "state", title="T", scope=SCOPE).html
    assert "T (60 of 80)" in html and html.count('class="spell"') + html.count('class="spell ') == 60


def test_lines__days_since_exposure__are_counted_and_broken_where_one_is_missing():
    frame = pandas.DataFrame({"days": [0, 1, 3, 4], "kind": "a", "n": 1.5})
    html = charts.lines(frame, "n", "kind", title="T", heading="n", scope=SCOPE, time="days").html
    assert html.partition("<svg role")[2].count('class="path"') == 2
    assert ">day 4<" in html and "a, day 0: 1.5" in html


def test_lines__a_day_is_missing__are_broken_there():
    frame = pandas.DataFrame(
        {
            "day": pandas.to_datetime(["2026-09-01", "2026-09-02", "2026-09-04", "2026-09-05"]),
            "kind": "a",
            "n": 1,
        }
    )
    scope = show.Scope("production", date(2026, 9, 1), date(2026, 9, 5))
    html = charts.lines(frame, "n", "kind", title="T", heading="n", scope=scope).html
    assert html.partition("<svg role")[2].count('class="path"') == 2


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("names", range(1, 9))
def test_colours__on_paper__have_a_contrast_of_three_to_one(names, is_dark):
    paper = 0.0089 if is_dark else 1.0  # of --paper in style.css
    for colour in charts.colours(names, is_dark):
        lightness = luminance(colour)
        y = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
        assert (max(y, paper) + 0.05) / (min(y, paper) + 0.05) >= 3


def test_download__a_text_that_a_spreadsheet_would_compute__is_a_text():
    html = show.download(pandas.DataFrame({"a": ["=1+1", "-x", "fine"], "n": [-1, 2, 3]}), "T").html
    text = base64.b64decode(html.partition("base64,")[2].partition('"')[0]).decode("utf-8-sig")
    assert text == "a,n\n'=1+1,-1\n'-x,2\nfine,3\n"


def test_download__parquet__has_values_and_types_as_they_are(tmp_path):
    frame = pandas.DataFrame(
        {
            "at": pandas.to_datetime(["2026-09-01 10:00", None]),
            "name": ["=1+1", None],
            "n": [1, 2],
            "x": [0.5, None],
        }
    )
    html = show.download(frame, "T").html
    file = tmp_path / "T.parquet"
    file.write_bytes(base64.b64decode(html.partition("parquet;base64,")[2].partition('"')[0]))
    rows = duckdb.sql(f"select \"at\"::varchar, name, n, x from '{file}'").fetchall()
    assert rows == [("2026-09-01 10:00:00", "=1+1", 1, 0.5), (None, None, 2, None)]


@pytest.mark.parametrize("chart", CHARTS)
def test_charts__nothing_to_draw__say_of_what_and_where(chart):
    frame = pandas.DataFrame({"day": [], "kind": [], "n": []})
    html = CHARTS[chart](frame).html
    assert "<b>T.</b>" in html and "production · 1–2 September 2026 (UTC)" in html


@pytest.mark.parametrize(("days", "ticks"), [(1, 1), (2, 2), (14, 14), (15, 8), (28, 14), (400, 14)])
def test_clock__any_period__marks_days_within_it_and_no_more_than_fit(days, ticks):
    scope = show.Scope("production", date(2026, 9, 1), date(2026, 9, 1) + timedelta(days=days - 1))
    marked = charts.Clock(scope, "day").ticks()
    assert len(marked) == ticks
    assert marked[0][1].startswith("1 Sep") and all(0 <= at <= 1000 for at, _ in marked)


DAYS = pandas.date_range("2016-09-01", "2026-09-01", freq="D")
TEN_YEARS = show.Scope("production", DAYS[0].date(), DAYS[-1].date())


@pytest.mark.parametrize("chart", [charts.by_time, charts.lines])
def test_charts__ten_years_of_days__are_drawn(chart):
    frame = pandas.DataFrame([(day, kind, 1) for day in DAYS for kind in "abc"], columns=["day", "kind", "n"])
    drawn = chart(frame, "n", "kind", title="T", heading="n", scope=TEN_YEARS)
    assert len(drawn.frame) == len(frame) > 5_000


def many(names: int) -> pandas.DataFrame:
    return pandas.DataFrame({"day": ["2026-09-01"] * names, "kind": [f"v{n}" for n in range(names)], "n": 1})


def test_by_time__thousands_of_variations__are_added_up_to_eight():
    rows = charts.by_time(many(6_000), "n", "kind", title="T", heading="n", scope=SCOPE).frame
    assert len(rows) == 8 and rows.n.sum() == 6_000


def test_by_time__a_variation_called_others__is_not_mixed_with_the_rest():
    frame = pandas.concat([many(20), many(1).assign(kind="others", n=100)])
    rows = charts.by_time(frame, "n", "kind", title="T", heading="n", scope=SCOPE).frame.set_index("kind").n
    assert rows[rows.index.str.contains("others")].to_dict() == {"others": 100, "all others": 14}


def test_lines__more_than_eight__says_so_and_joins_no_two_into_one():
    chart = charts.lines(many(12), "n", "kind", title="T", heading="n", scope=SCOPE)
    assert chart.title == "T (8 of 12)" and chart.frame.kind.nunique() == len(chart.frame) == 8


def test_words__of_places_and_headings__what_is_unknown_is_left_out():
    assert words.cell(3, "started_at") == ", row 3, started_at"
    assert words.cell(None, None) == words.cell(float("nan"), float("nan")) == ""
    assert [show.capital(text) for text in ("NPS", "planID", "plan", "")] == ["NPS", "PlanID", "Plan", ""]


def test_bars__more_than_the_most__the_longest_are_drawn_first_and_the_title_says_so():
    frame = pandas.DataFrame({"name": ["a", "b", "c", "b"], "how": ["x", "x", "y", "y"], "n": [2, 1, 3, 4]})
    chart = charts.bars(frame, "n", "name", "how", title="T", heading="n", scope=SCOPE, most=2)
    assert chart.frame.groupby("name", sort=False).n.sum().to_dict() == {"b": 5, "c": 3}
    assert "T (the 2 longest of 3)" in chart.html
    chart = charts.bars(frame, "n", "name", title="T", heading="n", scope=SCOPE, most=3)
    assert list(chart.frame.name.unique()) == ["b", "c", "a"] and "longest" not in chart.html


def test_html__a_number_and_its_per_cent__stay_on_one_line():
    assert show.Html("<p>−24.6 % of 7 days, % and x % y</p>")._repr_html_() == (
        '<div class="piece"><p>−24.6&nbsp;% of 7 days, % and x % y</p></div>'
    )
