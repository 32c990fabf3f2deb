"""Which verdicts of running experiments read differently since verdicts read the population `assigned`, or another declared one.

Release 0.1.0 left whoever saw two variations out. The first refresh of a later release compares its verdicts with those of the
published copy that it replaces, and `status` says once what it found.
"""

import contextlib
import json
from dataclasses import asdict, dataclass

import duckdb

from flagsmith_warehouse.loader.filesystem import write_record
from flagsmith_warehouse.loader.operations import relations
from flagsmith_warehouse.loader.settings import Settings

EARLIER = """
select experiment_key, metric_key, variation, verdict
from marts.fct_experiment_results as results
inner join marts.dim_experiments as experiments using (experiment_key)
where experiments.status = 'running' and results.population = 'assigned' and results.verdict is not null
"""
NOW = """
select experiment_key, metric_key, variation, verdict
from marts.fct_experiment_results as results
inner join marts.dim_experiments as experiments using (experiment_key)
where experiments.status = 'running' and results.is_primary_population
"""
IS_EARLIER = """
select count(*) filter (where table_name = 'fct_experiment_results' and column_name = 'verdict') = 1
    and count(*) filter (where table_name = 'dim_experiments' and column_name = 'status') = 1
    and count(*) filter (where column_name = 'primary_population') = 0
from information_schema.columns
where table_schema = 'marts' and table_name in ('fct_experiment_results', 'dim_experiments')
"""
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Changed:
    """A verdict that is another one than before. `now` is null if there is none any more."""

    experiment: str
    metric: str
    variation: str
    before: str
    now: str | None


def of_earlier_release(settings: Settings) -> dict[Key, str] | None:
    """The verdicts of running experiments in the published copy, if 0.1.0 made it. None for another copy, or without one."""
    with (
        contextlib.suppress(duckdb.Error),
        contextlib.closing(relations.open_copy(settings.published_file)) as copy,
    ):
        if copy.execute(IS_EARLIER).fetchone()[0]:
            return {row[:3]: row[3] for row in copy.execute(EARLIER).fetchall()}
    return None


def note(settings: Settings, earlier: dict[Key, str]) -> None:
    """Write down, for `status`, which verdicts the new published copy has changed."""
    with contextlib.closing(relations.open_copy(settings.published_file)) as copy:
        now = {row[:3]: row[3] for row in copy.execute(NOW).fetchall()}
    running = {key[0] for key in now}
    changed = [
        Changed(*key, before, now.get(key))
        for key, before in sorted(earlier.items())
        if key[0] in running and now.get(key) != before
    ]
    write_record(settings.verdicts_record, {"changed": [asdict(each) for each in changed]})


def unsaid(settings: Settings) -> list[dict] | None:
    """The changed verdicts, until they have been said. None afterwards, and where nothing was upgraded."""
    try:
        return json.loads(settings.verdicts_record.read_text(encoding="utf-8"))["changed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_said(settings: Settings) -> None:
    """Never say it again."""
    settings.verdicts_record.unlink(missing_ok=True)
