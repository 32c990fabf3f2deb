"""`flagsmith-warehouse report` writes the notebooks as self-contained HTML pages, without a browser.

A page shows what the notebook shows for the current data. `index.html` comes first; the pages that it links to, such as
one for each experiment, are written as well. A page loads nothing and can be mailed. Its only script belongs to a copy button.
"""

import importlib
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import click

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.notebooks.pages import PAGES, Person, file_name, need_packages

NOTEBOOKS = tuple(PAGES)
HERE = Path(__file__).parent


def page(name: str, picks: dict[str, object] | None = None) -> str:
    """Run a notebook and return its page.

    `picks`: the choices on its pickers, by the variable that holds each, such as `environment`.
    """
    return _written(name, _run(name, picks or {})[0])


def _run(name: str, picks: dict[str, object]) -> tuple[list[object], dict[str, object]]:
    """The outputs of a notebook's cells, and its variables: on the first page `linked`, the pages that it links to, and `people`."""
    outputs, found = importlib.import_module(f"flagsmith_warehouse.notebooks.{name}").app.run(defs=picks)
    return list(outputs), dict(found)


def _written(name: str, outputs: list[object]) -> str:
    return (
        (HERE / "page.html")
        .read_text(encoding="utf-8")
        .format(
            title=escape(PAGES[name].title),
            style=(HERE / "style.css").read_text(encoding="utf-8"),
            body="\n".join(filter(None, map(_piece, outputs))),
            name=name,
            made=f"{datetime.now(UTC):%d %B %Y, %H:%M}",
        )
    )


def _piece(output: object) -> str | None:
    """Return the output of a cell as HTML. Pickers are left out, because they do not work in a report."""
    from flagsmith_warehouse.notebooks.show import Html

    if isinstance(output, Html):
        return output._repr_html_()
    is_text = output is not None and type(output).__module__.startswith("marimo._output")
    return f'<div class="piece">{output.text}</div>' if is_text and "<marimo-ui" not in output.text else None


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the pages.  [default: reports, in the warehouse's directory]",
)
@click.option(
    "--notebook",
    "names",
    multiple=True,
    type=click.Choice(NOTEBOOKS),
    help="Write only this page, without those that it links to; may repeat.",
)
@click.option(
    "--pick",
    "picks",
    multiple=True,
    metavar="WHAT=VALUE",
    help="Choose what a page shows: environment=production, feature_id=7, experiment=checkout; may repeat.",
)
@click.option(
    "--identity",
    "identities",
    multiple=True,
    help="Write the page of this identity too, since a report has those of a few only; may repeat.",
)
def main(
    folder: Path | None, names: tuple[str, ...], picks: tuple[str, ...], identities: tuple[str, ...]
) -> None:
    """Write the pages as HTML files that you can mail, with those that they link to, and print where they are."""
    need_packages()
    folder = folder or settings.read().warehouse_dir / "reports"
    keep_private()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = dict(map(_pick, picks))
    people = [Person(None, one, "named when this report was made") for one in dict.fromkeys(identities)]
    linked = [("one_identity", one.picks) for one in people]
    for name in names or NOTEBOOKS:
        outputs, found = _run(name, {**chosen, **_reported(name, people)})
        _write(folder / f"{name}.html", _written(name, outputs))
        if name == "index" and not names:
            linked += found.get("linked", [])
            people += found.get("people", [])
    for name, its_picks in linked:
        _write(folder / file_name(name, its_picks), page(name, {**its_picks, **_reported(name, people)}))


def _reported(name: str, people: list) -> dict[str, object]:
    """What the page of one identity is told: whose pages there are."""
    return {"reported": people} if name == "one_identity" else {}


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _pick(text: str) -> tuple[str, object]:
    what, is_pick, value = text.partition("=")
    if not is_pick:
        raise click.BadParameter(f"{text!r} is not a choice: write it like environment=production.")
    return what, int(value) if what.endswith("_id") else value
