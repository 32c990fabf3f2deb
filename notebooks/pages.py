"""Lists the pages and the purpose of each, and makes the links between them, in the notebooks and in the report."""

import hashlib
import importlib.util
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

from flagsmith_warehouse.loader import LoaderError


class Page(NamedTuple):
    """A page: its title, the question it answers, and its readers."""

    title: str
    purpose: str
    readers: str


class Person(NamedTuple):
    """An identity that has a page of its own in a report. `known_for`: why it was chosen; `environment`: None if it is searched for."""

    environment: str | None
    identity: str
    known_for: str

    @property
    def picks(self) -> dict[str, str]:
        """The choices on the pickers of its page."""
        chosen = {"environment": self.environment, "identity": self.identity}
        return {key: value for key, value in chosen.items() if value is not None}


PAGES = {
    "index": Page("Overview", "What is here, how fresh it is, and what needs attention.", "everybody"),
    "experiment_readout": Page(
        "Experiments", "Did it win, can you trust the result, and when can you stop?", "product managers"
    ),
    "flag_exposure": Page(
        "Flags",
        "Who was given which variation, what changed and who changed it, and which flags can be removed.",
        "product managers and engineers",
    ),
    "segments_and_cohorts": Page(
        "Segments and cohorts",
        "How large they are, who entered and left, and who came back.",
        "product and marketing",
    ),
    "one_identity": Page(
        "One identity",
        "Everything that one identity was given and did, and why: flags, segments, traits, experiments and outcomes.",
        "support and engineers",
    ),
    "aa_tests": Page(
        "A/A tests",
        "How often a difference is found where there is none, tried on your own history, and what the adjustment saves.",
        "analysts, and everybody who doubts a result",
    ),
    "data_health": Page(
        "Data health",
        "What arrived, what was late, lost or unreadable, and what a refresh costs.",
        "data engineers",
    ),
}

# What can be chosen on a page: the names in its address, and those of `flagsmith-warehouse report --pick`.
CHOICES = (
    *("environment", "feature_id", "experiment", "population", "metric", "first", "second", "identity"),
    *("from", "to"),
)


def need_packages() -> None:
    """Raise LoaderError where the packages that notebooks need are not installed."""
    if missing := [name for name in ("marimo", "pandas") if importlib.util.find_spec(name) is None]:
        raise LoaderError(
            f"Notebooks need {', '.join(missing)}. Install them: pip install 'flagsmith-warehouse[notebook]'"
        )


def is_live() -> bool:
    """Whether the page is a live notebook: its pickers work, and the address holds its state."""
    import marimo

    return marimo.app_meta().mode in ("run", "edit")


def address(name: str, **picks: object) -> str:
    """Return the address of a page with these choices on its pickers."""
    if is_live():
        return "?" + urlencode({"file": f"{name}.py", **picks}, quote_via=quote)
    return file_name(name, picks)


def file_name(name: str, picks: dict[str, object]) -> str:
    """Return the name of a report's file. A text that is not allowed in a file name is replaced by its hash."""
    parts = [str(value) for value in picks.values()]
    safe = [
        part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else hashlib.sha256(part.encode()).hexdigest()[:12]
        for part in parts
    ]
    return ".".join([name, *safe, "html"])
