"""The commands for readers: notebooks in the browser, and the documentation of every table."""

import os
import socket
import sys
from pathlib import Path

import click

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER

# dbt's page draws the graph that its address names only when it is loaded. With this, the links of models/overview.md draw too.
DRAW_ON_CLICK = """
<script>
addEventListener("click", (event) => {
  const link = event.target.closest("a[href*='g_v=1']");
  if (!link) return;
  event.preventDefault();
  event.stopPropagation();
  // With another query, the browser loads the page for sure. A change behind the # does not, and a reload could overtake that change.
  location.assign(`${location.pathname}?${Date.now()}${link.getAttribute("href")}`);
}, true);
</script>
"""


@click.command()
@click.option("--port", default=2718, show_default=True, type=click.IntRange(1, 65535), help="The port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
def notebook(host: str, port: int) -> None:
    """Serve the pages to a browser at the address that it prints, until told to stop. If the port is in use, another one is chosen."""
    from flagsmith_warehouse.notebooks.pages import PAGES, need_packages

    need_packages()
    settings = settings_module.read()
    os.environ[settings_module.WAREHOUSE_DIR.name] = str(settings.warehouse_dir)
    port = _free_port(host, port)
    # Without the file, marimo shows its own list of the notebooks.
    click.echo(f"The overview is at http://{host}:{port}/?file=index.py (Ctrl-C ends the notebooks).")
    sys.stdout.flush()
    files = [str(PROJECT_FOLDER / "notebooks" / f"{name}.py") for name in PAGES]
    marimo = [sys.executable, "-m", "marimo", "--quiet", "run", "--no-token", "--include-code"]
    os.execv(sys.executable, [*marimo, "--headless", "--host", host, "--port", str(port), *files])  # noqa: S606 -- ours


def _free_port(host: str, port: int) -> int:
    for candidate in (port, 0):
        try:
            with socket.create_server((host, candidate)) as free:
                return free.getsockname()[1]
        except OSError:
            continue
    raise LoaderError(f"No port can be opened at {host}. Name another address with --host.")


@click.command()
@click.option("--to", "file", type=click.Path(dir_okay=False, path_type=Path), help="The HTML file to write.")
def docs(file: Path | None) -> None:
    """Describe every table and column in one HTML file."""
    from flagsmith_warehouse.loader import lock
    from flagsmith_warehouse.loader.operations import dbt, declarations

    settings = settings_module.read()
    target = dbt.project_of(settings) / "target" / "docs"
    with lock.hold(
        settings.warehouse_lock, settings.lock_timeout_seconds, lambda text: click.echo(text, err=True)
    ):
        arguments = ["--static", "--target-path", str(target), *declarations.variables(settings)]
        outcome = dbt.run(settings, "docs", "generate", *arguments)
    if not outcome.success:
        raise dbt.DbtError(f"The documentation could not be written: {dbt.reason(outcome)}")
    page = target / "static_index.html"
    with page.open("a", encoding="utf-8") as text:
        text.write(DRAW_ON_CLICK)
    if file is not None:
        page = page.replace(file)
    click.echo(f"Open {page}")
