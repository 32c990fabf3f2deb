"""`make report`: write each notebook as one self-contained HTML page, without a browser.

A page is what the notebook shows for the current data: its charts as SVG, its tables and texts as HTML.
"""

import importlib
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import altair
import click
import vl_convert

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.filesystem import keep_private

NOTEBOOKS = ("flag_exposure", "segments_and_cohorts", "experiment_readout", "data_health")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 Helvetica, Arial, sans-serif; color: #111; max-width: 1200px; margin: 24px auto; padding: 0 16px; }}
figure {{ margin: 24px 0; }}
svg {{ max-width: 100%; height: auto; }}
section {{ margin: 20px 0; overflow-x: auto; }}
footer {{ color: #444; border-top: 1px solid #ddd; margin-top: 40px; padding-top: 8px; }}
</style>
</head>
<body>
{body}
<footer>Made {made} UTC from the notebook <code>notebooks/{name}.py</code>.</footer>
</body>
</html>
"""


def page(name: str, picks: dict[str, object] | None = None) -> str:
    """Run a notebook and return its page.

    `picks`: what somebody would choose on its pickers, by the variable that holds it, like `environment`.
    """
    app = importlib.import_module(f"flagsmith_warehouse.notebooks.{name}").app
    outputs, _ = app.run(defs=picks or {})
    body = "\n".join(filter(None, map(_piece, outputs)))
    title = app._config.app_title or name
    return PAGE.format(title=escape(title), body=body, name=name, made=f"{datetime.now(UTC):%d %B %Y, %H:%M}")


def _piece(output: object) -> str | None:
    """Return an output of a cell as HTML; pickers are left out, because nobody can click on them here."""
    if isinstance(output, altair.TopLevelMixin):
        svg = vl_convert.vegalite_to_svg(output.to_dict(), allowed_base_urls=[])
        return f"<figure>{svg}</figure>"
    if type(output).__module__.startswith("marimo._plugins") or output is None:
        return None
    return f"<section>{output._repr_html_() if hasattr(output, '_repr_html_') else output.text}</section>"


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the pages.  [default: reports, in the warehouse's directory]",
)
@click.option(
    "--notebook", "names", multiple=True, type=click.Choice(NOTEBOOKS), help="Only this one; may repeat."
)
@click.option(
    "--pick",
    "picks",
    multiple=True,
    metavar="WHAT=VALUE",
    help="Choose as on the notebook's pickers: environment=production, feature_id=7, experiment=checkout.",
)
def main(folder: Path | None, names: tuple[str, ...], picks: tuple[str, ...]) -> None:
    """Write a page for each notebook, and say where it is."""
    folder = folder or settings.read().warehouse_dir / "reports"
    keep_private()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NOTEBOOKS:
        file = folder / f"{name}.html"
        file.write_text(page(name, dict(map(_pick, picks))), encoding="utf-8")
        click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _pick(text: str) -> tuple[str, object]:
    what, is_pick, value = text.partition("=")
    if not is_pick:
        raise click.BadParameter(f"{text!r} chooses nothing: write it as environment=production.")
    return what, int(value) if what.endswith("_id") else value


if __name__ == "__main__":
    main()
