"""Queries the marts. Each query opens the file read-only and closes it again, so that nobody is blocked.

A report keeps it open for as long as a page takes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas

from flagsmith_warehouse.loader import settings
from flagsmith_warehouse.notebooks import words
from flagsmith_warehouse.notebooks.pages import Person, is_live

WAIT_SECONDS = 10
REPORTED = 12  # the most experiments, environments and stale flags that have a page of their own in a report
NO_STALE_FLAG = "Every flag recently gave different people different values, or is new. The var stale_flag_days sets the period."
REPORTED_EXPERIMENTS = """
        reported as (
            select experiment_key, name, control_variation, environment, feature_name
            from marts.dim_experiments
            order by status = 'running' desc, started_at desc, experiment_key
            limit $most
        )"""
# The estimate that decides, from the columns of a mart of results and the experiment's decision_method: adjusted by what
# people did before, where that was possible, and with the interval of the declared method.
DECIDING = """
    case when cuped_status = 'ok' then cuped_relative_lift else relative_lift end as lift,
    case
        when decision_method = 'sequential' and cuped_status = 'ok' then cuped_relative_sequential_low
        when decision_method = 'sequential' then relative_sequential_low
        when cuped_status = 'ok' then cuped_relative_low
        else relative_low
    end as low,
    case
        when decision_method = 'sequential' and cuped_status = 'ok' then cuped_relative_sequential_high
        when decision_method = 'sequential' then relative_sequential_high
        when cuped_status = 'ok' then cuped_relative_high
        else relative_high
    end as high,
    case when cuped_status = 'ok' then cuped_relative_chance_to_win else relative_chance_to_win end as chance_to_win
"""


class WarehouseError(Exception):
    """The marts cannot be read. The message says which file, why, and what to do."""


@dataclass(frozen=True)
class Source:
    """The DuckDB file to read. `problem` says in Markdown why there is nothing to show, or is None."""

    path: Path
    problem: str | None = None


def source(*marts: str) -> Source:
    """Find the file to read: the published copy if there is one, otherwise the warehouse itself.

    `marts`: names of the tables and table functions that a notebook needs, and of columns that a warehouse of an earlier
    release lacks (table.column). If one is missing, `problem` tells the reader.
    """
    path = _path()
    if not path.exists():
        return Source(
            path,
            f"**There is no warehouse yet.** Looked for `{path}`. `make demo` makes one in `data/demo`; "
            "`flagsmith-warehouse refresh` makes yours. Elsewhere? Set `FLAGSMITH_WAREHOUSE_DIR`.",
        )
    there = set(
        ask("""
            select table_name as name from information_schema.tables where table_schema = 'marts'
            union all
            select table_name || '.' || column_name from information_schema.columns where table_schema = 'marts'
            union all
            select function_name from duckdb_functions() where schema_name = 'marts'
        """).name
    )
    missing = [name for name in marts if name not in there]
    problem = (
        f"**Not built yet:** `{'`, `'.join(missing)}` in `{path}`. Run `flagsmith-warehouse refresh`."
        if missing
        else None
    )
    return Source(path, problem)


def ask(sql: str, **parameters: object) -> pandas.DataFrame:
    """Return the result of a query; `$name` in it stands for the parameter of that name.

    Raises WarehouseError if a writer keeps the file locked for 10 seconds, and duckdb.Error for wrong SQL.
    """
    with _open() as connection:
        return connection.execute(sql, parameters or None).df()


def stale_flags() -> pandas.DataFrame:
    """Return the flags of all environments that recently gave everybody the same value, those with the most identities first.

    Columns: environment, feature_id, name, type, everybody_gets, identities, since (when somebody was last given another value).
    """
    return ask(
        """
        with given as (
            select environment, feature_id, variation, max(last_exposed_at) as last_exposed_at
            from marts.fct_flag_exposures
            group by environment, feature_id, variation
        ),
        alone as (
            select environment, feature_id, arg_max(variation, last_exposed_at) as everybody_gets,
                (list(last_exposed_at order by last_exposed_at desc))[2] as since
            from given
            group by environment, feature_id
        )
        select flags.environment, flags.feature_id, flags.name, lower(flags.type) as type, alone.everybody_gets, flags.identities,
            coalesce(alone.since, flags.first_seen_at) as since
        from marts.dim_flags as flags
        inner join alone on flags.environment = alone.environment and flags.feature_id = alone.feature_id
        where flags.is_stale
        order by flags.identities desc, flags.environment, flags.name
        """
    )


def reported_flags(stale: pandas.DataFrame | None = None) -> pandas.DataFrame:
    """Return the flags that have a page of their own in a report: those of its experiments, and the first of the `stale_flags`.

    Columns: environment, feature_id, name. Empty on a live page, which links to every flag. `stale`: the stale flags, if they are known.
    """
    if is_live():
        return pandas.DataFrame(columns=["environment", "feature_id", "name"])
    stale = stale_flags() if stale is None else stale
    of_experiments = ask(
        f"""
        with {REPORTED_EXPERIMENTS}
        select distinct flags.environment, flags.feature_id, flags.name
        from reported
        inner join marts.dim_flags as flags on reported.environment = flags.environment and reported.feature_name = flags.name
        order by flags.environment, flags.feature_id
        """,
        most=REPORTED,
    )
    listed = pandas.concat([of_experiments, stale[:REPORTED][list(of_experiments)]])
    return listed.drop_duplicates(["environment", "feature_id"], ignore_index=True)


def people_behind(experiment: str, population: str, metric: str, most: int) -> pandas.DataFrame:
    """Return a few identities of each variation whom a result of an experiment counts: those with an outcome first, then the latest.

    Columns: environment, identity, variation, first_exposed_at, quarantine_reason and other_variation (null for those
    who saw one variation), outcome_sum and outcome_count (of the metric, all days), is_known (whether webhooks carried
    this identity, which those of an identity map may not have done). `most`: how many of each variation.
    """
    return ask(
        """
        with people as (
            select experiments.environment, experiments.control_variation, assigned.*
            from marts.fct_experiment_assignments as assigned
            inner join marts.dim_experiments as experiments on assigned.experiment_key = experiments.experiment_key
            where
                assigned.experiment_key = $experiment
                and ($population <> 'activated' or assigned.activated_at is not null)
                and ($population <> 'undisturbed' or not assigned.is_quarantined)
        ),
        outcomes as (
            select identity, sum(outcome_sum) as outcome_sum, sum(outcome_count)::bigint as outcome_count
            from marts.fct_experiment_outcomes
            where
                experiment_key = $experiment
                and metric_key = $metric
                and ($population <> 'until_change' or is_until_change)
            group by identity
        )
        select people.environment, people.identity, people.variation, people.first_exposed_at, people.quarantine_reason,
            people.other_variation, outcomes.outcome_sum, coalesce(outcomes.outcome_count, 0) as outcome_count,
            known.identity is not null as is_known
        from people
        left join outcomes on people.identity = outcomes.identity
        left join marts.dim_identities as known
            on people.environment = known.environment and people.identity = known.identity
        qualify
            row_number() over (
                partition by people.variation
                order by coalesce(outcomes.outcome_count, 0) = 0, people.first_exposed_at desc, people.identity
            ) <= $most
        order by people.variation <> people.control_variation, people.variation, outcome_count = 0,
            people.first_exposed_at desc, people.identity
        """,
        experiment=experiment,
        population=population,
        metric=metric,
        most=most,
    )


def reported_people() -> list[Person]:
    """Return the identities that have a page of their own in a report: one of each variation of its experiments.

    They are chosen by the first primary metric. An experiment without one has nobody, and so has an identity that no webhook carried.
    Empty on a live page, which links to everybody.
    """
    if is_live():
        return []
    leading = ask(
        f"""
        with {REPORTED_EXPERIMENTS}
        select reported.experiment_key, reported.name, results.population, min(results.metric_key) as metric_key
        from reported
        inner join marts.fct_experiment_results as results on reported.experiment_key = results.experiment_key
        where
            results.role = 'primary'
            and results.is_primary_population
            and results.variation <> reported.control_variation
        group by reported.experiment_key, reported.name, results.population
        order by reported.experiment_key
        """,
        most=REPORTED,
    )
    found = [
        Person(
            row.environment, row.identity, f"{words.called(one.experiment_key, one.name_)}: {row.variation}"
        )
        for one in leading.rename(columns={"name": "name_"}).itertuples()
        for row in people_behind(one.experiment_key, one.population, one.metric_key, 1).itertuples()
        if row.is_known
    ]
    # Who is in several experiments has one page.
    return [
        Person(*key, "; ".join(one.known_for for one in found if one[:2] == key))
        for key in dict.fromkeys(one[:2] for one in found)
    ]


def _path() -> Path:
    files = settings.read()
    return files.published_file if files.published_file.exists() else files.warehouse_file


@contextmanager
def kept_open() -> Iterator[None]:
    """Keep the file open, so that a page's questions are answered from one state, and none of them has to open it (0.03 s).

    Raises WarehouseError as `ask` does.
    """
    with _open() if _path().exists() else nullcontext():
        yield


def _open() -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return duckdb.connect(str(_path()), read_only=True)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > deadline:
                raise WarehouseError(
                    f"{_path()} cannot be read: {error}\nNobody else can open it while it is being written. "
                    "Wait for `refresh` to end, or read the copy that `flagsmith-warehouse publish` makes."
                ) from error
            time.sleep(0.1)
