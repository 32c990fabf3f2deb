"""`flagsmith-warehouse report` writes the notebooks as self-contained HTML pages, without a browser.

A page shows what the notebook shows for the current data. `index.html` comes first; the pages that it links to, such as
one for each experiment, are written as well. A page loads nothing and can be mailed. Its only script belongs to a copy button.
"""

import functools
import importlib
from base64 import b64encode
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.loader.text import shortened
from flagsmith_warehouse.notebooks.pages import CHOICES, PAGES, Person, file_name, need_packages

if TYPE_CHECKING:
    from flagsmith_warehouse.notebooks.show import Chosen

NOTEBOOKS = tuple(PAGES)
HERE = Path(__file__).parent


def page(name: str, picks: dict[str, object] | None = None) -> str:
    """Run a notebook and return its page.

    `picks`: the choices on its pickers, by their names in CHOICES, such as `environment`.
    """
    return _written(name, _run(name, picks or {})[0])


def _run(
    name: str, picks: dict[str, object], people: list | None = None
) -> tuple[list[object], dict[str, object], "Chosen"]:
    """The outputs of a notebook's cells, its variables, and what became of the choices.

    On the first page the variables are `linked`, the pages that it links to, and `people`. The page of one identity is told whose
    pages there are.
    """
    from flagsmith_warehouse.notebooks.show import choosing
    from flagsmith_warehouse.notebooks.warehouse import kept_open

    told = {} if people is None or name != "one_identity" else {"reported": people}
    with kept_open(), choosing({key: str(value) for key, value in picks.items()}) as chosen:
        outputs, found = importlib.import_module(f"flagsmith_warehouse.notebooks.{name}").app.run(defs=told)
    return list(outputs), dict(found), chosen


def _written(name: str, outputs: list[object]) -> str:
    return (
        (HERE / "page.html")
        .read_text(encoding="utf-8")
        .format(
            title=escape(PAGES[name].title),
            style=_fonts() + (HERE / "style.css").read_text(encoding="utf-8"),
            body="\n".join(filter(None, map(_piece, outputs))),
            name=name,
            made=f"{datetime.now(UTC):%d %B %Y, %H:%M}",
        )
    )


@functools.cache
def _fonts() -> str:
    """CSS with the fonts of the live pages, which marimo ships, so that a report looks the same on every computer."""
    import marimo

    def rule(weight: str, file: Path) -> str:
        font = b64encode(file.read_bytes()).decode("ascii")
        return (
            f'@font-face {{ font-family: "PT Sans"; font-weight: {weight}; '
            f"src: url(data:font/woff2;base64,{font}) }}\n"
        )

    assets = Path(marimo.__file__).parent / "_static" / "assets"
    return "".join(
        rule(weight, file)
        for weight, name in (("normal", "Regular"), ("bold", "Bold"))
        for file in assets.glob(f"PTSans-{name}-*.woff2")
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
    picked = dict(map(_pick, picks))
    people = [Person(None, one, "named when this report was made") for one in dict.fromkeys(identities)]
    linked = [("one_identity", one.picks) for one in people]
    pages, answers = {}, []
    for name in names or NOTEBOOKS:
        outputs, found, chosen = _run(name, picked, people)
        pages[f"{name}.html"] = _written(name, outputs)
        answers.append(chosen)
        if name == "index" and not names:
            linked += found.get("linked", [])
            people += found.get("people", [])
    _refuse_unknown(answers)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages.items():
        _write(folder / file, text)
    for name, its_picks in linked:
        _write(folder / file_name(name, its_picks), _written(name, _run(name, its_picks, people)[0]))


def _refuse_unknown(answers: list["Chosen"]) -> None:
    """Raise BadParameter for a choice that pages have a picker for, but none of them has that choice."""
    taken = set().union(*(one.taken for one in answers))
    for one in answers:
        for key, instead in one.refused.items():
            if key not in taken:
                listed = ", ".join(shortened(each) for each in instead[:20])
                raise click.BadParameter(
                    f"no page has {key}={shortened(one.texts[key])}. It can be {listed}"
                    f"{f' and {len(instead) - 20:,} more' if len(instead) > 20 else ''}. No page was written.",
                    param_hint="--pick",
                )


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _pick(text: str) -> tuple[str, str]:
    what, is_pick, value = text.partition("=")
    if not is_pick:
        raise click.BadParameter(
            f"{text!r} is not a choice: write it like environment=production.", param_hint="--pick"
        )
    if what not in CHOICES:
        raise click.BadParameter(
            f"no page lets you choose {what!r}. You can choose {', '.join(CHOICES)}.", param_hint="--pick"
        )
    return what, value
