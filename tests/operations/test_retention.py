"""Retention: the remaining rows equal, one by one, those of a warehouse that never pruned."""

import collections
import itertools
import json
import os
import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader.operations.erase import erase
from flagsmith_warehouse.loader.operations.publish import compact
from flagsmith_warehouse.loader.operations.refresh import in_words, pruning_in_words
from flagsmith_warehouse.loader.settings import read
from tests.marts.conftest import landed
from tests.marts.histories import History
from tests.marts.warehouse import Warehouse
from tests.operations.conftest import environ_of
from tests.rules.test_cohort_models import COHORTS, KEYS

DAYS = 10
# For other seeds, by hand: SEED=2 pytest tests/operations/test_retention.py
SEED = int(os.environ.get("SEED", "1"))
# An identity that is evaluated once, with a set of flags that nobody else has.
QUIET = json.dumps(
    {
        "identity": "quiet",
        "flags": [{"enabled": True, "feature": {"id": 77, "name": "only for one", "type": "STANDARD"}}],
        "segments": [{"id": 77, "name": "only for one", "member": True}],
        "traits": [{"trait_key": "plan", "trait_value": "x"}],
    }
)
NOTHING_SAID = json.dumps({"identity": "ann", "flags": [], "segments": [], "traits": []})
MODELS = (
    "--exclude",
    "marts.experiment_results",
    "intermediate.experiments",
    "marts.connectors",
    "fct_canary_calls",
)
# The models that a run must build before it prunes.
DECLARATIONS = ("int_declaration_*", "int_declared_experiments")


class Retaining(Warehouse):
    """A warehouse that is built with vars."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        directory.mkdir()

    def build(self, *arguments: str, command: str = "run", **variables) -> None:
        """Raises AssertionError with dbt's output if the build fails."""
        declared = {"cohorts": COHORTS, "flagsmith_environments": KEYS, **variables}
        self.dbt(command, *arguments, *MODELS, "--vars", json.dumps(declared))

    def said(self) -> list[str]:
        """The sentences of `refresh` about retention in the last build."""
        return pruning_in_words(read(environ_of(self.directory)))

    def landed(self) -> dict[str, int]:
        rows = self.query("select environment, count(*) as deliveries from landing.webhooks group by all")
        return {row["environment"]: row["deliveries"] for row in rows}

    def cutoffs(self) -> dict[str, datetime]:
        """The time up to which each environment was pruned."""
        rows = self.query("select environment, pruned_before from landing.pruned")
        return {row["environment"]: row["pruned_before"] for row in rows}


def steps(seed: int, count: int = 480, landings: int = 3) -> list[list]:
    """Deliveries in a few landings: roughly in the order of receipt, and late by less than the retention period."""
    # No two in the same microsecond, because only one of them would make spells, while all are exposures (see seen_before).
    moment = itertools.count()
    apart = collections.defaultdict(lambda: timedelta(microseconds=next(moment)))
    rows = [
        row._replace(received_at=row.received_at + apart[row.delivery_id])
        for row in History(seed).deliveries(count)
    ]
    chance = random.Random(seed)
    late = {row.delivery_id: timedelta(days=chance.choice([0, 0, 0, 1, DAYS - 1])) for row in rows}
    rows.sort(key=lambda row: row.received_at + late[row.delivery_id])
    rows.insert(0, landed(QUIET, rows[0].received_at, "quiet"))
    size = -(-count // landings)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


# The column of each mart with the end or the moment of a row: rows from before the cutoff are deleted.
ENDS = {
    "fct_flag_assignments": "valid_to",
    "fct_segment_memberships": "left_at",
    "fct_identity_traits": "valid_to",
    "fct_cohort_memberships": "left_at",
    "quarantined_deliveries": "received_at",
    "int_deliveries": "received_at",
    "stg_flagsmith__deliveries": "received_at",
}
# Counts and first times: nothing is deleted.
WHOLE = (
    "fct_flag_exposures",
    "fct_flag_exposures_daily",
    "fct_flag_changes",
    "fct_deliveries_hourly",
    "fct_segment_sizes_daily",
    "fct_cohort_sizes_daily",
    "dim_identities",
    "dim_flags",
)
# Of several names that a flag or segment had, the one shown may be another; sets of flags that nobody has any more
# say nothing of what is ambiguous.
LEFT_OUT = ("_build_number", "segment_name", "ambiguous_variations")


def schema_of(name: str) -> str:
    return {"int": "intermediate", "stg": "staging"}.get(name[:3], "marts")


def compared(warehouse: Warehouse, name: str, cutoffs: dict[str, datetime]) -> list[str]:
    end = ENDS.get(name)
    earlier = (
        (lambda row: row[end] < cutoffs.get(row["environment"], datetime.min))
        if end == "received_at"
        else (lambda row: row[end] is not None and row[end] <= cutoffs.get(row["environment"], datetime.min))
    )
    rows = [row for row in warehouse.mart(name, schema_of(name)) if end is None or not earlier(row)]
    return sorted(repr({k: v for k, v in row.items() if k not in LEFT_OUT}) for row in rows)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> Retaining:
    """A warehouse built in steps; each step prunes. From the second step on, some deliveries are landed too late to be kept."""
    warehouse = Retaining(tmp_path_factory.mktemp("retention") / "pruned")
    for batch in steps(SEED):
        warehouse.land(batch)
        if warehouse.path.exists() and (seen := _cutoffs_if_any(warehouse)):
            too_late = min(seen.values()) - timedelta(days=3)
            warehouse.land([landed(NOTHING_SAID, too_late, f"too-late-{too_late}", min(seen))])
        warehouse.build(retention_days=DAYS)
        cutoffs = warehouse.cutoffs()
        assert all(cutoffs[environment] >= before for environment, before in seen.items())
    return warehouse


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Retaining:
    """The same deliveries, built at once, without retention."""
    warehouse = Retaining(tmp_path_factory.mktemp("retention") / "whole")
    warehouse.land([row for batch in steps(SEED) for row in batch])
    warehouse.build()
    return warehouse


@pytest.fixture
def mine(pruned, tmp_path) -> Retaining:
    """A copy of the pruned warehouse that a test may change."""
    warehouse = Retaining(tmp_path / "mine")
    shutil.copy(pruned.path, warehouse.path)
    return warehouse


def _cutoffs_if_any(warehouse: Retaining) -> dict[str, datetime]:
    known = warehouse.query("from duckdb_tables() where table_name = 'pruned'")
    return warehouse.cutoffs() if known else {}


def test_prune__any_history_in_steps__what_is_kept_equals_a_warehouse_that_never_pruned(pruned, whole):
    """Given deliveries late by less and by more than the retention period; then only closed history is missing."""
    cutoffs = pruned.cutoffs()
    assert cutoffs.keys() == {"production", "staging"}
    for name in (*ENDS, *WHOLE):
        kept, expected = compared(pruned, name, cutoffs), compared(whole, name, cutoffs)
        differing = sorted(set(kept) ^ set(expected))
        assert kept == expected, "\n".join([name, *differing[:6]])
        if name in ENDS:
            assert len(kept) == len(pruned.mart(name, schema_of(name))), f"{name} holds what should be pruned"
            assert len(kept) < len(whole.mart(name, schema_of(name))), f"{name} was not pruned"
    pruned.build("--select", "assert_every_delivery_is_accounted_for", command="test")


def test_prune__afterwards__nothing_refers_to_what_is_gone(pruned):
    oldest = pruned.query("select environment, min(received_at) as at from landing.webhooks group by all")
    assert all(row["at"] >= pruned.cutoffs()[row["environment"]] for row in oldest)
    bodies = "select count(*) as count from staging.stg_flagsmith__payloads where _delivery_id {} in "
    assert pruned.query(bodies.format("not") + "(select delivery_id from landing.webhooks)") == [{"count": 0}]
    unused = (
        "select count(*) as count from intermediate.int_trait_set_elements where traits_hash not in (select "
        "traits_hash from staging.stg_flagsmith__payloads where traits_hash is not null union all select "
        "traits_hash from intermediate.int_state_spells where traits_hash is not null)"
    )
    assert pruned.query(unused) == [{"count": 0}]


def test_prune__again_with_the_same_cutoffs__changes_nothing_more(mine):
    """Given a delivery that lies before the cutoff. Where each table has its own commit, a run that goes on after a kill runs all again."""
    tables = mine.query(
        "select schema_name || '.' || table_name as name from duckdb_tables() where schema_name in ('staging', 'intermediate', 'marts')"
        " and table_name <> 'build_progress' order by all"
    )

    def rows() -> dict[str, list[dict]]:
        return {each["name"]: mine.query(f"from {each['name']} order by all") for each in tables}

    before, cutoffs = rows(), mine.cutoffs()
    there = mine.landed()
    mine.land([landed(NOTHING_SAID, cutoffs["staging"] - timedelta(days=1), "late", "staging")])
    mine.build("--select", *DECLARATIONS, retention_days=DAYS)
    assert mine.said() and "deleted 1 delivery of staging" in mine.said()[0]
    assert (mine.landed(), mine.cutoffs()) == (there, cutoffs)
    assert [name for name, found in rows().items() if found != before[name]] == []


def test_cutoff__an_experiment_is_declared__its_environment_is_kept_from_its_start(mine):
    """Given a run that does not read the declarations; then nothing is deleted. Given one that does; then all before the start is."""
    before = mine.cutoffs()
    started_at = before["staging"] + timedelta(days=2, hours=5)
    with duckdb.connect(mine.path) as connection:
        connection.execute(
            "insert into seeds.experiments (experiment_key, environment, feature_name, control_variation, assignment_reason, "
            "started_at) values ('e', 'staging', 'checkout', 'control', 'environment_default', ?)",
            [started_at],
        )
    mine.build("--select", "stg_flagsmith__deliveries", retention_days=3)
    assert mine.cutoffs() == before
    assert mine.said() == ["Retention deleted nothing: only a part of the project was built."]
    there = mine.landed()
    mine.build("--select", *DECLARATIONS, retention_days=3, retention_dry_run=True)
    assert (mine.cutoffs(), mine.landed()) == (before, there)
    would = mine.said()
    mine.build("--select", *DECLARATIONS, retention_days=3)
    after = mine.cutoffs()
    gone = {environment: count - mine.landed()[environment] for environment, count in there.items()}
    said = mine.said()
    assert min(gone.values()) > 0
    assert would == [line.replace("deleted", "would delete") for line in said]
    assert [line for line in said if "deleted" in line] == [
        f"Retention deleted {gone[environment]:,} deliveries of {environment} from before {after[environment]:%Y-%m-%d}."
        for environment in sorted(gone)
    ]
    (kept,) = [line for line in said if "keeps" in line]
    assert "of staging from before" in kept and f"experiment e began on {after['staging']:%Y-%m-%d}" in kept
    mine.build("--select", *DECLARATIONS, retention_days=4000)
    assert mine.said() == ["Retention deleted nothing: no delivery is older than 4000 days."]
    size = mine.path.stat().st_size
    assert compact(read(environ_of(mine.directory))) == (size, mine.path.stat().st_size)
    assert (mine.path.stat().st_size < size, mine.cutoffs()) == (True, after)
    assert after["staging"] == before["staging"] + timedelta(days=2)
    assert after["production"] == before["production"] + timedelta(days=DAYS - 3)


def test_in_words__an_experiment_began_earlier_and_no_delivery_is_kept_for_it__is_not_said():
    row = {
        "retention_days": 30,
        "environment": "staging",
        "why": None,
        "deliveries": 0,
        "kept": 0,
        "held_by": "e",
    }
    assert in_words([row]) == ["Retention deleted nothing: no delivery is older than 30 days."]


def test_prune__a_model_is_behind__waits_until_it_has_caught_up(mine):
    before = mine.cutoffs()
    mine.land([landed(NOTHING_SAID, max(before.values()) + timedelta(days=DAYS + 1), "new")])
    mine.build("--select", "stg_flagsmith__deliveries", *DECLARATIONS, retention_days=1)
    assert mine.cutoffs() == before


def test_prune__a_delivery_from_the_future__deletes_no_more_than_the_clock_says(mine):
    before = mine.cutoffs()
    mine.land([landed(NOTHING_SAID, datetime.now() + timedelta(days=4000), "future")])
    mine.build(retention_days=4000)
    assert mine.cutoffs() == before


def test_prune__traffic_of_another_environment__deletes_nothing_of_this_one(mine):
    """Given an environment that goes on for a month after the others fell silent; then only its own rows are deleted."""
    before = mine.cutoffs()
    later = max(before.values()) + timedelta(days=DAYS + 30)
    times = [later - timedelta(days=DAYS + 5), later]
    mine.land([landed(NOTHING_SAID, at, f"busy {at}", "busy") for at in times])
    mine.build(retention_days=DAYS)
    midnight = datetime.combine(later, datetime.min.time())
    assert mine.cutoffs() == before | {"busy": midnight - timedelta(days=DAYS)}


@pytest.mark.parametrize(
    ("arguments", "variables", "why"),
    [
        (["--full-refresh"], {}, "a full refresh was asked for"),
        ([], {"transient_traits_in_dim_identities": True, "pruned_history": "refuse"}, "has changed"),
        (["drop"], {}, "its table is gone"),
    ],
)
def test_rebuild__of_a_model_with_pruned_history__is_refused_and_says_what_to_do(
    mine, arguments, variables, why
):
    if arguments == ["drop"]:
        with duckdb.connect(mine.path) as connection:
            connection.execute("drop table marts.dim_identities")
        arguments = []
    with pytest.raises(AssertionError) as refused:
        mine.build("--select", "dim_identities", *arguments, **variables)
    said = " ".join(str(refused.value).split())
    assert why in said and "pruned_history" in said and "docs/privacy.md" in said


def test_rebuild__what_it_depends_on_changed__goes_on_and_says_so_or_begins_with_what_is_left(mine):
    before = mine.mart("dim_identities")
    changed = {"transient_traits_in_dim_identities": True}
    for _ in range(2):  # the second time, nothing has changed since
        mine.build("--select", "dim_identities", **changed)
        assert mine.mart("dim_identities") == before
        kept = mine.query(
            "select model, kept_before from intermediate.build_progress where kept_before is not null"
        )
        assert {(row["model"], row["kept_before"]) for row in kept} == {
            ("dim_identities", max(mine.cutoffs().values()))
        }
    mine.build("--select", "dim_identities", pruned_history="forget")
    first = min(row["first_seen_at"] for row in mine.mart("dim_identities"))
    assert first >= min(mine.cutoffs().values()) > min(row["first_seen_at"] for row in before)


def test_rebuild__progress_is_gone__is_refused_and_says_what_to_do(mine):
    with duckdb.connect(mine.path) as connection:
        connection.execute("drop table intermediate.build_progress")
    with pytest.raises(AssertionError, match="which deliveries it has taken in is not known any more"):
        mine.build("--select", "stg_flagsmith__deliveries", "dim_identities")


def test_upgrade__logic_changed__no_flag_seems_to_change(mine):
    """Given sets and flags as an earlier logic hashed them; when those identities are evaluated again; then no spell begins."""
    before = mine.query("select * from marts.fct_flag_assignments order by all")
    with duckdb.connect(mine.path) as connection:
        connection.execute("update intermediate.int_flag_set_elements set state_hash = 1, exposure_hash = 1")
        connection.execute("update intermediate.build_progress set fingerprint = 'of an earlier release'")
    mine.build("--select", "int_flag_set_elements", "fct_flag_assignments")
    described = mine.query(
        "select count(*) as n from intermediate.int_flag_set_elements where state_hash = 1"
    )
    assert described == [{"n": 0}]
    assert mine.query("select * from marts.fct_flag_assignments order by all") == before


def test_erase__after_pruning__states_whose_bodies_are_gone_keep_their_sets(mine):
    def sets_of_others(warehouse):
        return warehouse.query(
            "select flags_hash, count(*) as flags from intermediate.int_flag_set_elements where flags_hash in "
            "(select flags_hash from intermediate.int_state_spells where identity <> 'ann') group by all order by all"
        )

    before = sets_of_others(mine)
    bodies = mine.query("select distinct flags_hash from staging.stg_flagsmith__payloads")
    assert {row["flags_hash"] for row in before} - {row["flags_hash"] for row in bodies}
    erase(read(environ_of(mine.directory)), "ann")
    assert sets_of_others(mine) == before
    assert not mine.query("from marts.fct_flag_assignments where identity = 'ann'")


def test_prune__days_are_no_number__is_refused(mine):
    with pytest.raises(
        AssertionError,
        match="retention_days is none of your business",
    ):
        mine.build("--select", "stg_flagsmith__deliveries", retention_days="none of your business")
