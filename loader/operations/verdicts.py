"""Which verdicts of running experiments read differently since verdicts read the population `assigned`, or another declared one.

Release 0.1.0 left whoever saw two variations out. The first refresh of a later release keeps the verdicts of the published copy
that it replaces. `status` compares them with those of the new copy, and says once what it found.
"""

import contextlib
import json

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
KEY = ("experiment", "metric", "variation")


def keep_earlier(settings: Settings) -> None:
    """If 0.1.0 made the published copy, keep its verdicts of running experiments. Called before the copy is replaced."""
    with (
        contextlib.suppress(duckdb.Error),
        contextlib.closing(relations.open_copy(settings.published_file)) as copy,
    ):
        if copy.execute(IS_EARLIER).fetchone()[0]:
            write_record(settings.verdicts_record, {"earlier": copy.execute(EARLIER).fetchall()})


def unsaid(settings: Settings) -> list[dict] | None:
    """The verdicts of running experiments that are others than before: experiment, metric, variation, before and now (None: there
    is none any more). None where nothing was upgraded, and once it has been said.
    """
    if not settings.verdicts_record.exists():
        return None
    with (
        contextlib.suppress(OSError, ValueError, LookupError, TypeError, duckdb.Error),
        contextlib.closing(relations.open_copy(settings.published_file)) as copy,
    ):
        earlier = {
            tuple(key): before
            for *key, before in json.loads(settings.verdicts_record.read_bytes())["earlier"]
        }
        # Fails while the refresh that kept them has not published yet: the copy of 0.1.0 has no is_primary_population.
        now = {tuple(key): verdict for *key, verdict in copy.execute(NOW).fetchall()}
        running = {experiment for experiment, _, _ in now}
        return [
            {**dict(zip(KEY, key, strict=True)), "before": before, "now": now.get(key)}
            for key, before in sorted(earlier.items())
            if key[0] in running and now.get(key) != before
        ]
    return None


def is_said(settings: Settings) -> None:
    """Never say it again."""
    settings.verdicts_record.unlink(missing_ok=True)
