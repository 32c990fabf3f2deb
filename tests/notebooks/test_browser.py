"""The notebooks in a real browser: Debian's Chromium, driven by playwright. Skipped where there is no Chromium.

To have it: apt-get install chromium. The screenshots are kept in the folder that NOTEBOOK_SCREENSHOTS names.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright import sync_api as playwright

from flagsmith_warehouse.notebooks import report
from flagsmith_warehouse.notebooks.report import NOTEBOOKS

from ..marts.warehouse import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

WITHIN_SECONDS = 120
# On each notebook: how many figures, what to choose on which picker, and what is drawn only afterwards.
FIGURES = {
    "index": 0,
    "experiment_readout": 1,
    "flag_exposure": 5,
    "segments_and_cohorts": 5,
    "one_identity": 1,
    "data_health": 5,
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


@pytest.fixture(scope="module")
def server(month):
    """`make notebook` on a free port: its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = [f"notebooks/{name}.py" for name in NOTEBOOKS]
    command = [
        sys.executable,
        "-m",
        "marimo",
        "-q",
        "run",
        "--headless",
        "--no-token",
        "--port",
        str(port),
        *files,
    ]
    environ = {**os.environ, "FLAGSMITH_WAREHOUSE_DIR": str(month)}
    with subprocess.Popen(command, cwd=PROJECT, env=environ) as process:
        deadline = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < deadline and not listens(port):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
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
    page.goto(f"{server}/?file={name}.py")
    page.locator("h1").first.wait_for()
    page.wait_for_function(f"document.querySelectorAll('figure').length >= {FIGURES[name]}")
    page.locator("marimo-callout-output, .marimo-error").first.wait_for(state="detached")
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


def choose(page, label: str, choice: str) -> None:
    picker = page.locator("marimo-dropdown", has_text=label).first
    if picker.locator("select").count():
        picker.locator("select").select_option(choice)
    else:
        picker.locator("button").click()
        page.get_by_role("option", name=choice, exact=True).click()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_report__in_a_browser__shows_its_charts_without_an_error(name, month, page, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(month))
    file = tmp_path / f"{name}.html"
    file.write_text(report.page(name), encoding="utf-8")
    for scheme, width in (("light", 1400), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        assert page.locator("figure").count() == FIGURES[name]
        assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        assert page.locator("svg[role=img]:not([aria-label]), a:not([href])").count() == 0
        screenshot(page, f"{name}_report_{scheme}", tmp_path)
