"""The pages there are, what each is for, and how one links to another: in the notebooks and in the report."""

import hashlib
import importlib.util
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

from flagsmith_warehouse.loader import LoaderError


class Page(NamedTuple):
    """A page: its title, what it answers and who asks that."""

    title: str
    purpose: str
    readers: str


PAGES = {
    "index": Page("Overview", "What is here, how fresh it is, and what needs attention.", "everybody"),
    "experiment_readout": Page(
        "Experiments", "Did it win, can it be believed, and when can you stop?", "product managers"
    ),
    "flag_exposure": Page(
        "Flags",
        "Who was given which variation, what changed and who changed it, and which flags can go.",
        "product managers and engineers",
    ),
    "segments_and_cohorts": Page(
        "Segments and cohorts",
        "How many there are, who entered and who left, and who came back.",
        "product and marketing",
    ),
    "one_identity": Page(
        "One identity",
        "Everything that one identity was given, and why: flags, segments, traits and experiments.",
        "support and engineers",
    ),
    "data_health": Page(
        "Data health", "What arrived, what was late, lost or unreadable, and what it cost.", "data engineers"
    ),
}


def need_packages() -> None:
    """Raise LoaderError where the packages that notebooks need are not installed."""
    if missing := [name for name in ("marimo", "pandas") if importlib.util.find_spec(name) is None]:
        raise LoaderError(
            f"Notebooks need {', '.join(missing)}. Install them: pip install 'flagsmith-warehouse[notebook]'"
        )


def is_live() -> bool:
    """Whether somebody sits at the notebook: its pickers work, and its state is in the address."""
    import marimo

    return marimo.app_meta().mode in ("run", "edit")


def address(name: str, **picks: object) -> str:
    """Return the address of a page, opened with these choices on its pickers."""
    if is_live():
        return "?" + urlencode({"file": f"{name}.py", **picks}, quote_via=quote)
    return file_name(name, picks)


def file_name(name: str, picks: dict[str, object]) -> str:
    """Return the name of a report's file; a text that a file cannot be called is replaced by its hash."""
    parts = [str(value) for value in picks.values()]
    safe = [
        part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else hashlib.sha256(part.encode()).hexdigest()[:12]
        for part in parts
    ]
    return ".".join([name, *safe, "html"])
