"""The notebooks and the report's pages in a real browser: Debian's Chromium, driven by playwright. Skipped where there is none.

To have it: apt-get install chromium. axe-core looks for what keeps out people
who use a keyboard or a screen reader, or need contrast. The screenshots are kept in the folder that NOTEBOOK_SCREENSHOTS names.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas
import pytest
from click.testing import CliRunner
from playwright import sync_api as playwright

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.operations import aa, explore
from flagsmith_warehouse.notebooks import charts, report, show
from flagsmith_warehouse.notebooks.report import NOTEBOOKS
from flagsmith_warehouse.notebooks.show import percent

from ..marts.warehouse import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

WITHIN_SECONDS = 120
# On each page: what it draws, and how many; what to choose on which picker, and what is drawn only afterwards.
DRAWN = {
    "index": (".card", 8),
    "experiment_readout": ("figure", 2),
    "flag_exposure": ("figure", 5),
    "segments_and_cohorts": ("figure", 5),
    "one_identity": ("figure", 1),
    "aa_tests": (".missing, figure", 1),
    "data_health": ("figure", 5),
}
CLICKS = {
    "flag_exposure": ("Flag", "dark_mode", "text=Evaluations of dark_mode per day >> nth=0"),
    "segments_and_cohorts": (
        "Look at",
        "segment beta testers",
        "figcaption:has-text('left segment beta testers')",
    ),
    "experiment_readout": ("Population", "those activated", ".caption:has-text('among those activated')"),
}

# Texts that somebody else chooses, by the mart that has them.
LONG = (
    ("dim_flags", "name"),
    ("dim_experiments", "feature_name"),
    ("dim_cohorts", "name"),
    ("fct_flag_exposures_daily", "variation"),
    ("fct_flag_exposures", "variation"),
    ("fct_flag_assignments", "variation"),
    ("fct_segment_sizes_daily", "segment_name"),
    ("fct_segment_memberships", "segment_name"),
    ("fct_cohort_flag_exposures", "variation"),
    ("fct_experiment_results", "variation"),
    ("fct_experiment_results_daily", "variation"),
    ("fct_experiment_results_by", "variation"),
    ("fct_experiment_results_by", "dimension_value"),
    ("fct_experiment_curves", "variation"),
    ("fct_experiment_power", "variation"),
    ("dim_experiments", "name"),
    ("dim_metrics", "name"),
    ("dim_metrics", "unit"),
    ("fct_experiment_health", "message"),
    ("fct_identity_traits", "value_text"),
)


@pytest.fixture(scope="module")
def server(month, tmp_path_factory):
    """`flagsmith-warehouse notebook` on a free port: the address that it prints, and the file in which it logs.

    A cell that fails leaves nothing on the page when a notebook is only run: the log alone has it.
    """
    log = tmp_path_factory.mktemp("server") / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "flagsmith-warehouse", "notebook", "--port", str(port)]
    environ = {**os.environ, "FLAGSMITH_WAREHOUSE_DIR": str(month)}
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
    ):
        printed = re.search(r"http://\S+", process.stdout.readline())[0]
        deadline = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < deadline and not listens(port):
            time.sleep(0.1)
        yield printed, log
        process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page far from UTC, that fails the test for an error in it or a request to elsewhere."""
    page = browser.new_page(viewport={"width": 1200, "height": 4000}, timezone_id="America/Los_Angeles")
    page.set_default_timeout(1000 * WITHIN_SECONDS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url) if is_elsewhere(request.url) else None)
    yield page
    page.close()
    assert wrong == []


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:"))


def screenshot(page, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("NOTEBOOK_SCREENSHOTS") or tmp_path)
    page.screenshot(path=folder / f"{name}.png")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook__opened_and_clicked__draws_its_charts_without_an_error(name, server, page, tmp_path):
    address, log = server
    page.goto(f"{address.partition('?')[0]}?file={name}.py")
    page.locator("h1").first.wait_for()
    selector, times = DRAWN[name]
    page.wait_for_function(f"document.querySelectorAll('{selector}').length >= {times}")
    assert "Error" not in log.read_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200, "something is cut off"
    screenshot(page, name, tmp_path)
    if name not in CLICKS:
        return
    label, choice, then = CLICKS[name]
    assert page.locator(then).count() == 0
    choose(page, label, choice)
    page.locator(then).first.wait_for()
    page.wait_for_function("location.search.split('&').length > 1")  # the choice is in the address
    screenshot(page, f"{name}_clicked", tmp_path)
    assert "Error" not in log.read_text()


def test_overview__five_questions__are_answered_in_three_clicks(server, month, page):
    """The paths of docs/pages.md, as somebody new would go them."""
    overview, log = server
    with duckdb.connect(str(month / "warehouse.duckdb"), read_only=True) as connection:
        ((lift,),) = connection.execute(
            "select relative_lift from marts.fct_experiment_results where experiment_key = 'example_checkout' "
            "and metric_key = 'example_purchased' and is_primary_population and variation = 'variant_b'"
        ).fetchall()
        ((entered,),) = connection.execute(
            "select count(*) from marts.fct_cohort_memberships where cohort_key = 'paying' and entered_at >= '2026-09-22'"
        ).fetchall()
        ((ann, by),) = connection.execute(
            "select identity, changed_by from marts.fct_explained_assignments "
            "where feature_name = 'checkout_button' and variation = 'variant_b' order by identity limit 1"
        ).fetchall()
        stale = [
            name
            for (name,) in connection.execute("select name from marts.dim_flags where is_stale").fetchall()
        ]

    # Did it win? Which flags can go? The overview says so.
    page.goto(overview)
    page.get_by_text(f"variant_b is winning on purchases: {percent(lift, signed=True)}").first.wait_for()
    page.get_by_text("Nothing needs attention").first.wait_for()
    for name in stale:
        page.get_by_role("link", name=name, exact=True).first.wait_for()
    # One click more shows the flag.
    page.get_by_role("link", name="theme", exact=True).click()
    page.get_by_text("Evaluations of theme per day").first.wait_for()

    # Is anything broken? The overview says so, and one click more shows what arrived.
    page.goto(overview)
    page.get_by_role("link", name="Data health", exact=True).first.click()
    page.get_by_text("Everything that arrived could be read.").first.wait_for()

    # Did it win? One click more shows the numbers behind it.
    page.goto(overview)
    page.get_by_role("link", name="Checkout button", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="variant_b").filter(has_text="winning").first
    row.wait_for()
    assert percent(lift, signed=True) in row.inner_text().replace("\xa0", " ")

    # Why did Ann see B? One click, and her name.
    page.goto(overview)
    page.get_by_role("link", name="One identity", exact=True).first.click()
    page.get_by_label("Identity").first.fill(ann)
    page.keyboard.press("Enter")
    page.get_by_text(
        f"the weights changed, now drawn by the 50 % share of variant_b, by {by}"
    ).first.wait_for()

    # How many paying users entered last week? One click.
    page.get_by_role("link", name="Segments and cohorts", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="Paying customers").first
    row.wait_for()
    assert row.get_by_role("cell").nth(3).inner_text() == str(entered)
    assert "Error" not in log.read_text()


def test_report__five_questions__are_answered_in_three_clicks(month, page, tmp_path, monkeypatch):
    """The paths of docs/pages.md in a report that was made with --identity: no server, only files."""
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(month))
    with duckdb.connect(str(month / "warehouse.duckdb"), read_only=True) as connection:
        ((ann, by),) = connection.execute(
            "select identity, changed_by from marts.fct_explained_assignments "
            "where feature_name = 'checkout_button' and variation = 'variant_b' order by identity limit 1"
        ).fetchall()
        ((entered,),) = connection.execute(
            "select count(*) from marts.fct_cohort_memberships where cohort_key = 'paying' and entered_at >= '2026-09-22'"
        ).fetchall()
    done = CliRunner().invoke(report.main, ["--to", str(tmp_path), "--identity", ann])
    assert done.exit_code == 0, done.output
    overview = (tmp_path / "index.html").as_uri()

    # Did it win? One click, and one more line for the people behind the numbers.
    page.goto(overview)
    page.get_by_text("variant_b is winning on purchases").first.wait_for()
    page.get_by_role("link", name="Checkout button", exact=True).first.click()
    page.get_by_role("row").filter(has_text="variant_b").filter(has_text="winning").first.wait_for()
    page.get_by_text("The people behind the numbers").click()
    page.get_by_role("region", name="Purchases: three of each variation").get_by_role("link").first.click()
    page.get_by_text("has now, and why").first.wait_for()

    # Why did Ann see B? Two clicks.
    page.goto(overview)
    page.get_by_role("link", name="One identity", exact=True).first.click()
    page.get_by_role("link", name=ann, exact=True).first.click()
    page.get_by_text(f"now drawn by the 50 % share of variant_b, by {by}").first.wait_for()

    # Which flags can go? One click shows the evidence.
    page.goto(overview)
    page.get_by_role("link", name="theme", exact=True).click()
    page.get_by_text("Since then everybody has been given green.").wait_for()

    # Is anything broken? None, or one click.
    page.goto(overview)
    page.get_by_text("Nothing needs attention").first.wait_for()
    page.get_by_role("link", name="Data health", exact=True).first.click()
    page.get_by_text("Everything that arrived could be read.").first.wait_for()

    # How many paying users entered last week? One click.
    page.goto(overview)
    page.get_by_role("link", name="Segments and cohorts", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="Paying customers").first
    assert row.get_by_role("cell").nth(3).inner_text() == str(entered)


@pytest.mark.parametrize("is_live", [True, False])
def test_markdown__one_button__copies_the_whole_read_out(is_live, server, month, page, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(month))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    file = tmp_path / "page.html"
    file.write_text("" if is_live else report.page("experiment_readout"), encoding="utf-8")
    page.goto(f"{server[0].partition('?')[0]}?file=experiment_readout.py" if is_live else file.as_uri())
    fold = page.locator("details").filter(has=page.locator("summary", has_text="Copy as Markdown")).first
    fold.locator("summary").click()
    buttons = fold.get_by_role("button")
    buttons.first.wait_for()
    assert buttons.count() == 1
    assert opacity(buttons.first) == 1, "it is seen without a mouse"
    page.evaluate("navigator.clipboard.writeText('')")
    buttons.first.click()
    copied = ""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not copied and time.monotonic() < deadline:
        copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("## Checkout button") and copied.count("| purchases |") == 4
    assert copied == fold.locator("pre").text_content()


def opacity(element) -> float:
    """How opaque an element is, with all that contain it."""
    return element.evaluate("""
        one => {
            let opacity = 1;
            for (; one; one = one.parentElement) opacity *= getComputedStyle(one).opacity;
            return opacity;
        }
    """)


def test_period__on_a_live_page__has_the_day_before_the_month(server, page):
    """Given a browser set to American English; then 1 September is not 9/1."""
    page.goto(f"{server[0].partition('?')[0]}?file=flag_exposure.py")
    page.get_by_role("spinbutton").first.wait_for()
    assert [part.inner_text() for part in page.get_by_role("spinbutton").all()] == [
        "01",
        "09",
        "2026",
        "28",
        "09",
        "2026",
    ]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook__live__can_be_read_by_everybody(name, width, server, page):
    """What is ours: marimo's menus and pickers are left out."""
    page.set_viewport_size({"width": width, "height": 1200})
    page.emulate_media(color_scheme="light" if width > 1000 else "dark")
    page.goto(f"{server[0].partition('?')[0]}?file={name}.py")
    selector, times = DRAWN[name]
    page.wait_for_function(f"document.querySelectorAll('{selector}').length >= {times}")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert violations(page, {"include": [[".piece"]]}) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


def choose(page, label: str, choice: str) -> None:
    picker = page.locator("marimo-dropdown", has_text=label).first
    if picker.locator("select").count():
        picker.locator("select").select_option(choice)
    else:
        picker.locator("button").click()
        page.get_by_role("option", name=choice, exact=True).click()


@pytest.fixture(scope="module")
def crowded(month, tmp_path_factory):
    """The month with 230 flags, and with names of 200 letters that no line can break."""
    folder = tmp_path_factory.mktemp("crowded")
    shutil.copy(month / "warehouse.duckdb", folder)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("""
            insert into marts.dim_flags
            select flags.* replace (feature_id + n * 1000 as feature_id, name || n as name)
            from marts.dim_flags as flags, range(1, 10) as numbers (n)
        """)
        for table, column in LONG:
            connection.execute(
                f"update marts.{table} set {column} = {column} || repeat('w', 180) || {column}"
            )
    rates = [aa.Rate("bayesian", True, 109, 0.109, 0.091, 0.131, 0.1)]
    aa.keep(
        settings.read({"FLAGSMITH_WAREHOUSE_DIR": str(folder)}),
        aa.Answer(
            *("w" * 200, "e" * 200, "2026-09-28T23:55:00", 9, 100, 28, 0.05, "bayesian"),
            *(True, rates, [10] * 10, 0.5, 0.4),
        ),
    )
    return folder


@pytest.fixture(scope="module")
def empty(month, tmp_path_factory):
    """The marts as they are built before the first webhook."""
    folder = tmp_path_factory.mktemp("empty")
    shutil.copy(month / "warehouse.duckdb", folder)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        for (table,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'marts'"
        ).fetchall():
            connection.execute(f"delete from marts.{table}")
    return folder


@pytest.mark.parametrize("of", ["month", "crowded", "empty"])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_report__in_a_browser__fits_and_can_be_read_by_everybody(
    name, of, request, page, tmp_path, monkeypatch
):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(request.getfixturevalue(of)))
    file = tmp_path / f"{name}.html"
    file.write_text(report.page(name), encoding="utf-8")
    for scheme, width in (("light", 1400), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        selector, times = DRAWN[name]
        assert of == "empty" or page.locator(selector).count() >= times
        fonts = page.evaluate("document.fonts.ready.then(() => [...document.fonts].map(one => one.status))")
        assert fonts == ["loaded", "loaded"], "the regular and the bold one, from the page itself"
        assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        screenshot(page, f"{name}_{of}_{scheme}", tmp_path)
        assert hidden(page) == [], "part of a table is out of sight"
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert cut_off(page) == []
        # Computers with other fonts, and the widest letters that there are.
        for font in ("sans-serif", "serif", "monospace"):
            page.add_style_tag(content=f".piece, .piece * {{ font-family: {font} !important }}")
            assert page.evaluate("document.documentElement.scrollWidth") == width, f"it does in {font}"
            assert cut_off(page) == [], font
        assert violations(page) == []


def test_table__on_a_phone__is_the_same_table_for_a_screen_reader(page, tmp_path):
    """Given a table that a phone shows as blocks, with an empty cell; then its headings and cells are read out as on a wide page."""
    frame = pandas.DataFrame({"a": ["one", "two"], "b": ["x" * 30, None], "c": [1, 2]})
    table = show.table(frame, "T", {"a": "Name", "b": "Value", "c": "Number"}, is_full=True)
    file = tmp_path / "table.html"
    style = (report.HERE / "style.css").read_text()
    file.write_text(f"<meta charset=utf-8><style>{style}</style>{table._repr_html_()}")
    page.goto(file.as_uri())
    wide = page.locator("table").aria_snapshot()
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate("getComputedStyle(document.querySelector('tr')).display") == "block"
    assert page.locator("table").aria_snapshot() == wide
    assert wide.count("columnheader") == 3 and wide.count("- cell") == 6


def test_spells__a_state_without_room__is_out_of_sight_and_not_cut_off(page, tmp_path):
    """Given a state of an hour and one of a day; then only the second is written in the picture, and both where one points."""
    hour, day = (pandas.Timestamp("2026-09-01 01:00"), pandas.Timestamp("2026-09-03"))
    frame = pandas.DataFrame(
        {
            "name": "t",
            "state": ["enterprise", "professional"],
            "since": [pandas.Timestamp("2026-09-01"), hour],
        }
    ).assign(until=[hour, day])
    chart = charts.spells(
        frame,
        "name",
        "state",
        title="T",
        scope=show.Scope("e", day.date(), pandas.Timestamp("2026-09-01").date()),
    )
    file = tmp_path / "spells.html"
    style = (report.HERE / "style.css").read_text()
    file.write_text(f"<meta charset=utf-8><style>{style}</style>{chart._repr_html_()}")
    page.goto(file.as_uri())
    tops = page.evaluate("""
        [...document.querySelectorAll('.spell')].map(spell => {
            const range = document.createRange(); range.selectNodeContents(spell);
            return range.getBoundingClientRect().top < spell.getBoundingClientRect().bottom - 1;
        })
    """)
    assert tops == [False, True]
    assert [one.get_attribute("title").split(":")[0] for one in page.locator(".spell").all()] == [
        "enterprise",
        "professional",
    ]


def cut_off(page) -> list[str]:
    """The texts of which a part is out of sight: beyond the page, or beyond a box that neither grows nor scrolls.

    A state in a picture of spells is left out whole where it has no room, and what only a screen reader reads is not looked at.
    """
    return page.evaluate("""
        () => {
            const found = [], range = document.createRange();
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const isUnseen = one => getComputedStyle(one).clipPath !== 'none' || getComputedStyle(one).visibility === 'hidden';
            while (texts.nextNode()) {
                const text = texts.currentNode, parents = [];
                for (let one = text.parentElement; one; one = one.parentElement) parents.push(one);
                if (!text.data.trim() || parents.some(one => isUnseen(one) || one.matches('.spell, title, style, script'))) continue;
                range.selectNodeContents(text);
                const box = range.getBoundingClientRect();
                if (!box.width) continue;
                const scrolls = one => ['auto', 'scroll'].includes(getComputedStyle(one).overflowX);
                const inside = parents.slice(0, parents.findIndex(scrolls) + 1 || parents.length);
                const isCut = one => {
                    const edge = one.getBoundingClientRect(), [x, y] = [getComputedStyle(one).overflowX, getComputedStyle(one).overflowY];
                    return ['hidden', 'clip'].includes(x) && (box.left < edge.left - 1 || box.right > edge.right + 1)
                        || ['hidden', 'clip'].includes(y) && (box.top < edge.top - 1 || box.bottom > edge.bottom + 1);
                };
                const isBeyond = !parents.some(scrolls) && (box.left < 0 || box.right > document.documentElement.clientWidth + 1);
                if (isBeyond || inside.some(isCut)) found.push(`${text.parentElement.className}: ${text.data.slice(0, 60)}`);
            }
            return found;
        }
    """)


def hidden(page) -> list[str]:
    """The tables that have to be scrolled sideways. Matrices may: their first column stays in sight."""
    return page.evaluate("""
        document.querySelectorAll('details').forEach(one => one.open = true);
        [...document.querySelectorAll('.wide:not(:has(.heat))')]
            .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.getAttribute('aria-label'))
    """)


def test_docs__a_link_that_names_a_graph__loads_the_page_which_then_draws_it(page, tmp_path):
    file = tmp_path / "docs.html"
    count = "<script>sessionStorage.loads = 1 + Number(sessionStorage.loads || 0)</script>"
    link = '<a href="#!/overview?g_v=1&g_i=1%2Bmarts.connectors">draw</a><a href="#!/words">words</a>'
    file.write_text(count + link + explore.DRAW_ON_CLICK)
    page.goto(file.as_uri())
    page.get_by_text("words").click()
    assert page.evaluate("sessionStorage.loads") == "1"
    page.get_by_text("draw").click()
    page.wait_for_function("sessionStorage.loads === '2'")
    assert page.url.endswith("#!/overview?g_v=1&g_i=1%2Bmarts.connectors")


def violations(page, context: dict | None = None) -> list[str]:
    """What axe-core finds: contrast below AA, charts and links without a name, what the keyboard cannot reach, and the like.

    `context`: the part of the page to look at, as axe-core takes it; without, all of it.
    """
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python: make test"
    )
    found = axe.Axe().run(page, context).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
