"""The notebooks run, whatever the marts hold, and show what the marts hold."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import duckdb
import pandas
import pytest
import yaml
from click.testing import CliRunner

from flagsmith_warehouse.loader.operations import aa, status
from flagsmith_warehouse.notebooks import charts, report, show, warehouse, words
from flagsmith_warehouse.simulator import example
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.features import text_of
from flagsmith_warehouse.simulator.world import World

from .conftest import RECIPES

NAME_OF_200 = ("旗 𝄞é<b>*_`$ " * 20)[:200]
SETS = "update marts.{} set {} = $name where {} = 'checkout_button'"


def run(name: str, **picks: object) -> tuple[list, dict]:
    outputs, found = importlib.import_module(f"flagsmith_warehouse.notebooks.{name}").app.run(defs=picks)
    return [one for one in outputs if one is not None], dict(found)


@pytest.fixture
def here(month, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(month))
    return month


@pytest.fixture(scope="module")
def last_altered(tmp_path_factory) -> dict:
    """The last marts that were changed, and how: a test of each page changes them once."""
    return {"file": tmp_path_factory.mktemp("altered") / "warehouse.duckdb", "how": None}


@pytest.fixture
def altered(month, last_altered, tmp_path, monkeypatch):
    """Give a function that makes a copy of the month's marts, changed by SQL, the one that is read."""

    def alter(*statements: str, **parameters: object) -> None:
        file = last_altered["file"]
        if last_altered["how"] != (statements, parameters):
            last_altered["how"] = None
            shutil.copy(month / "warehouse.duckdb", file)
            with duckdb.connect(str(file)) as connection:
                for statement in statements:
                    connection.execute(statement, parameters if "$" in statement else None)
            last_altered["how"] = statements, parameters
        shutil.copy(file, tmp_path)
        monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))

    return alter


def tables() -> list[str]:
    sql = "select table_name as name from duckdb_tables() where schema_name = 'marts'"
    return list(warehouse.ask(sql).name)


def keys() -> pandas.DataFrame:
    """The columns of the marts that name an environment or an identity."""
    return warehouse.ask("""
        select table_name, column_name
        from duckdb_columns() inner join duckdb_tables() using (schema_name, table_name)
        where schema_name = 'marts' and column_name in ('environment', 'identity')
    """)


def drawn(chart: object) -> pandas.DataFrame:
    """The numbers that a chart draws."""
    return chart.frame


def is_drawn(page: str, name: str) -> bool:
    """Whether a page shows what it draws: cards, spells, or charts with their text for a screen reader."""
    least = {
        "index": ('class="card"', 5),
        "one_identity": ('class="spell', 5),
        "aa_tests": ("aa --metric", 1),
    }
    part, times = least.get(name, ('role="img" aria-label="', 2))
    return page.count(part) >= times


def html(outputs: list) -> str:
    return "\n".join(filter(None, map(report._piece, outputs))).replace("&nbsp;", " ")


# Every figure is the mart's, and the truth's.


@pytest.fixture(scope="module")
def given() -> Counter:
    """How often the world meant to give each variation of the checkout button, by day."""
    count: Counter = Counter()
    for received_at, _, state in World(MONTH).evaluations():
        flag = next(one for one in state.flags if one.feature.name == "checkout_button")
        count[received_at.date().isoformat(), "control" if flag.option is None else text_of(flag.value)] += 1
    return count


def test_flag_exposure__the_example_month__draws_what_the_world_gave(here, given):
    _, found = run("flag_exposure")
    assert found["flag_name"] == "checkout_button"
    chart = drawn(found["evaluations_chart"])
    days = chart.assign(day=chart.day.astype(str).str[:10]).groupby(["day", "variation"]).evaluations.sum()
    assert days.to_dict() == dict(given)
    totals = found["totals"].set_index("variation")
    assert totals.evaluations.to_dict() == {
        variation: sum(n for (_, one), n in given.items() if one == variation) for variation in totals.index
    }
    assert totals.share.sum() == pytest.approx(1)
    assert drawn(found["reasons_chart"]).evaluations.sum() == given.total()


def test_flag_exposure__the_example_month__first_exposures_and_switches_are_the_marts(here):
    _, found = run("flag_exposure")
    marts = warehouse.ask("""
        select variation, count(*) as identities, count(*) filter (change_reason <> 'first_seen') as switches
        from marts.fct_flag_assignments where feature_name = 'checkout_button' group by variation
    """).set_index("variation")
    first = drawn(found["first_chart"]).groupby("variation").new_identities.sum()
    assert first.to_dict() == marts.identities.to_dict()
    assert drawn(found["flows_chart"]).switches.sum() == marts.switches.sum() > 0
    assert set(found["flows"].changed_by) == {"admin@example.com"}


def test_flag_exposure__a_shorter_period__counts_only_its_days(here, given):
    one = date(2026, 9, 10)
    _, found = run("flag_exposure", start=one, end=one)
    expected = sum(count for (day, _), count in given.items() if day == "2026-09-10")
    assert (
        drawn(found["evaluations_chart"]).evaluations.sum() == expected == found["totals"].evaluations.sum()
    )
    assert "10 September 2026 (UTC)" in str(found["scope"])


@pytest.mark.parametrize("name", ["flag_exposure", "index"])
def test_stale_flags__one_that_changed_and_one_that_never_did__say_since_when_all_get_the_same(name, altered):
    altered("update marts.dim_flags set is_stale = name in ('theme', 'page_size')")
    _, found = run(name)
    last_blue = warehouse.ask("""
        select max(last_exposed_at) as at from marts.fct_flag_exposures
        where feature_name = 'theme' and variation <> 'green'
    """)
    stale = found["stale"].set_index("name")
    assert set(stale.index) == {"theme", "page_size"}
    assert (stale.everybody_gets["theme"], stale.since["theme"]) == ("green", last_blue["at"][0])


@pytest.mark.parametrize("name", ["flag_exposure", "index"])
def test_stale_flags__none_because_each_is_new__does_not_say_that_all_vary(name, altered):
    altered(
        "delete from marts.dim_flags where len(variations) > 1",
        "delete from marts.fct_flag_exposures where feature_id not in (select feature_id from marts.dim_flags)",
        "update marts.dim_flags set is_stale = false",
    )
    assert "different people different values, or is new." in report.page(name)


@pytest.mark.parametrize("name", ["flag_exposure", "index"])
def test_stale_flags__a_page__asks_for_them_once(name, here, monkeypatch):
    asked = []
    ask = warehouse.ask
    monkeypatch.setattr(warehouse, "ask", lambda sql, **given: asked.append(sql) or ask(sql, **given))
    run(name)
    assert len([sql for sql in asked if "everybody_gets" in sql]) == 1


def runs_again(name: str, *changed: str) -> str:
    """The source of the cells that a live page runs again when these variables change: what a cell takes and returns says which."""
    source = (report.HERE / f"{name}.py").read_text()
    cells = [one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)]
    known, again = set(changed), []
    while more := [one for one in cells if one not in again and known & {arg.arg for arg in one.args.args}]:
        again += more
        known |= {node.id for one in more for node in ast.walk(one.body[-1]) if isinstance(node, ast.Name)}
    return "\n".join(ast.get_source_segment(source, one) for one in again)


def test_flag_exposure__another_period__asks_neither_for_the_evidence_nor_for_the_people():
    again = runs_again("flag_exposure", "start", "end")
    assert "fct_flag_exposures_daily" in again
    assert "words.evidence" not in again and "is_current" not in again
    assert "is_current" in runs_again("flag_exposure", "feature_id")


def test_index__on_a_live_page__does_not_ask_whom_a_report_has_pages_of(here, monkeypatch):
    asked = []
    monkeypatch.setattr(warehouse, "people_behind", lambda *given: asked.append(given) or pandas.DataFrame())
    run("index")
    assert asked
    asked.clear()
    monkeypatch.setattr("marimo.app_meta", lambda: SimpleNamespace(mode="run"))
    outputs, _ = run("index")
    assert not asked and "?file=experiment_readout.py" in html(outputs)
    assert warehouse.reported_flags().empty and warehouse.reported_people() == []


def test_flag_exposure__changes_in_flagsmith__are_marks_on_the_days(here):
    outputs, found = run("flag_exposure")
    announced = warehouse.ask(
        "select changed_by from marts.fct_flag_changes where feature_name = 'checkout_button'"
    )
    assert len(found["changes"]) == len(announced) > 0
    mark = "13 September 2026, 14:24: admin@example.com changed the weights</title>"
    assert html(outputs).count(mark) == 2, "on the evaluations and on the shares"


def test_flag_exposure__who_has_it_now__are_current_in_the_mart(here):
    _, found = run("flag_exposure")
    now = warehouse.ask(
        "select identity, variation from marts.fct_flag_assignments where is_current and feature_name = 'checkout_button'"
    )
    people = found["people"]
    assert set(zip(people.identity, people.variation, strict=True)) <= set(
        zip(now.identity, now.variation, strict=True)
    )
    assert set(people.variation) == set(now.variation)


CHANGE = dict.fromkeys(
    (
        "changed_by",
        "identity",
        "segment_id",
        "old_enabled",
        "new_enabled",
        "old_value",
        "new_value",
        "old_weights",
        "new_weights",
    )
) | {"event_type": "FLAG_UPDATED", "description": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"old_enabled": True, "new_enabled": False, "changed_by": "a@b.example"},
            "a@b.example switched it off",
        ),
        (
            {"old_enabled": True, "new_enabled": True, "old_value": "a", "new_value": "b"},
            "Somebody changed the value from a to b",
        ),
        ({"new_value": "b", "identity": "ann"}, "Somebody changed the value to b for ann"),
        (
            {"old_weights": "[1]", "new_weights": "[2]", "new_value": "control"},
            "Somebody changed the weights",
        ),
        ({"event_type": "FLAG_DELETED", "segment_id": 7}, "Somebody removed the override for segment 7"),
        ({"event_type": "FLAG_DELETED"}, "Somebody deleted it"),
        ({"description": "Flag state updated"}, "Somebody said: Flag state updated"),
        ({}, "Somebody changed it"),
    ],
)
def test_flag_change__what_somebody_did__is_said_as_people_say_it(change, said):
    assert words.flag_change(next(pandas.DataFrame([CHANGE | change]).itertuples())) == said


def test_segments_and_cohorts__the_example_month__are_the_marts(here):
    _, found = run("segments_and_cohorts")
    members = warehouse.ask(
        "select count(*) as n from marts.fct_cohort_memberships where is_current and cohort_key = 'over_30'"
    ).n[0]
    last = drawn(found["sizes_chart"]).query("segment_or_cohort == 'cohort Over 30'").sort_values("day")
    assert last.members.iloc[-1] == members
    both = warehouse.ask("""
        select count(*) as n from marts.fct_cohort_memberships as one
        inner join marts.fct_cohort_memberships as other using (environment, identity)
        where one.cohort_key = 'over_30' and other.cohort_key = 'paying' and one.is_current and other.is_current
    """).n[0]
    assert found["overlap"].set_index("who").identities["in both"] == both
    flow = drawn(found["flow_chart"]).groupby("movement").identities.sum()
    spells = warehouse.ask("""
        select count(*) as entered, count(left_at) as "left" from marts.fct_cohort_memberships
        where cohort_key = 'over_30'
    """)
    assert flow.to_dict() == spells.iloc[0].to_dict()
    cells = drawn(found["retention_chart"])
    assert (cells.retention * cells.identities).round().tolist() == cells.active_identities.tolist()


WEEK = pandas.Timedelta(days=7)


@pytest.mark.parametrize("chosen", [("cohort", "paying"), ("segment", "7")])
def test_segments_and_cohorts__where_people_came_from_and_went__is_counted_as_one_by_one(chosen, here):
    outputs, found = run("segments_and_cohorts", chosen=[chosen, chosen])
    spells = warehouse.ask("""
        select 'segment' as kind, segment_id::varchar as key, identity, entered_at, left_at from marts.fct_segment_memberships
        union all select 'cohort', cohort_key, identity, entered_at, left_at from marts.fct_cohort_memberships
    """)
    first_seen = warehouse.ask("select identity, first_seen_at from marts.dim_identities").set_index(
        "identity"
    )
    is_own = (spells.kind == chosen[0]) & (spells.key == chosen[1])
    others = {identity: list(rows.itertuples()) for identity, rows in spells[~is_own].groupby("identity")}
    end = pandas.Timestamp.max
    came, went = Counter(), Counter()
    for own in spells[is_own].itertuples():
        before: dict = {}
        after: dict = {}
        for other in others.get(own.identity, []):
            there, left = (other.kind, other.key), end if pandas.isna(other.left_at) else other.left_at
            if other.entered_at < own.entered_at and left > own.entered_at - WEEK:
                before[there] = before.get(there, False) or left > own.entered_at
            if not pandas.isna(own.left_at) and other.entered_at < own.left_at + WEEK and left > own.left_at:
                after[there] = after.get(there, False) or other.entered_at < own.left_at
        is_new = own.entered_at <= first_seen.first_seen_at[own.identity]
        came.update([(*there, "was_in" if now else "had_left") for there, now in before.items()])
        came.update([] if before else [(None, None, "new" if is_new else "none")])
        if not pandas.isna(own.left_at):
            went.update([(*there, "stayed_in" if now else "then_entered") for there, now in after.items()])
            went.update([] if after else [(None, None, "none")])
    for shown, expected in ((found["came"], came), (found["went"], went)):
        shown = shown.astype(object).where(shown.notna(), None)
        counted = {(row.kind, row.key, row.how): row.people for row in shown.itertuples()}
        assert counted == dict(expected) and len(expected) > 2
    new = came.pop((None, None, "new"))
    said = f"{is_own.sum():,} entries. {new:,} of them were the first evaluation ever, and are left out."
    assert said in html(outputs)
    charts_ = (("came_chart", came, "were in it at that moment"), ("went_chart", went, "stayed in it"))
    for name, expected, how in charts_:
        shown = drawn(found[name])
        own = shown[shown.how == how].groupby("place").people.sum()
        counts = [n for key, n in expected.items() if key[2] in ("was_in", "stayed_in")]
        assert sorted(own)[-5:] == sorted(counts)[-5:]


def test_segments_and_cohorts__who_entered_and_left_last__are_the_marts_in_the_period(here):
    outputs, found = run("segments_and_cohorts", chosen=[("cohort", "paying")] * 2)
    spells = warehouse.ask("select * from marts.fct_cohort_memberships where cohort_key = 'paying'")
    moved = found["moved"].groupby("movement")
    for movement, column in (("entered", "entered_at"), ("left", "left_at")):
        latest = spells.dropna(subset=[column]).sort_values([column, "identity"], ascending=[False, True])[:5]
        own = moved.get_group(movement)
        assert own.identity.tolist() == latest.identity.tolist()
        assert own.moved_at.tolist() == latest[column].tolist()
    assert moved.get_group("left").identity.iloc[0] in html(outputs)


def test_segments_and_cohorts__rule_and_flagsmith_disagree__is_explained_by_an_example(altered):
    """Given that Flagsmith calls a free user paying, and does not call a paying one so; then each is told with the trait of that moment."""
    altered(
        "delete from marts.fct_identity_traits where identity = 'user_1' and trait_key = 'plan'",
        "insert into marts.fct_identity_traits by name select 'example' as environment, 'user_1' as identity, 'plan' as trait_key, "
        "'free' as value_text, false as is_transient, timestamp '2026-09-01' as valid_from",
        "update marts.fct_segment_rule_drift set agreement = 0.5, disagreements = 1, stated_only = 1, disagreeing_identities = 1, "
        "example_stated_only = 'user_1', example_stated_only_at = timestamp '2026-09-05 10:00', "
        "example_by_rule_only = 'nobody', example_by_rule_only_at = timestamp '2026-09-06 11:00' where cohort_key = 'paying'",
    )
    outputs, found = run("segments_and_cohorts")
    page = html(outputs)
    assert len(found["examples"]) == 2
    assert (
        "user_1: on 5 September 2026, 10:00 Flagsmith said: a member of paying. Your rule says: no member of Paying customers, "
        "because it asks that plan is one of &quot;pro,enterprise&quot;, and plan was &quot;free&quot;."
    ) in page
    assert "nobody: on 6 September 2026, 11:00 Flagsmith said: no member of paying." in page
    assert "and none of the traits in the rule was set." in page


@pytest.mark.parametrize(
    ("rule_text", "asked_for"),
    [
        ('tier IN "plan,pro"', ["tier"]),
        ('tier EQUAL "plan IN x" and none of (plan IS_SET or age LESS_THAN "1")', ["tier", "plan", "age"]),
        ("plan IS_NOT_SET", ["plan"]),
        ('my-plan EQUAL "age"', ["my-plan"]),
        ("tier IN ['plan', 'age']", ["tier"]),
        ('(a+b CONTAINS "tier")', ["a+b"]),
    ],
)
def test_disagreement__a_trait_that_only_a_value_names__is_not_told(rule_text, asked_for):
    row = {"name": "Paying", "rule_text": rule_text, "segment_name": "paying", "is_stated": True}
    row |= {
        "at": pandas.Timestamp("2026-09-05"),
        "traits": [[key, "v"] for key in ("tier", "plan", "age", "my-plan", "a+b")],
    }
    said = words.disagreement(SimpleNamespace(**row)).rpartition(", and ")[2]
    assert said == ", ".join(f'{key} was "v"' for key in asked_for) + "."


def test_segments_and_cohorts__rule_and_flagsmith_agree__has_no_example(here):
    outputs, found = run("segments_and_cohorts")
    assert found["examples"].empty and "Why they disagree" not in html(outputs)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('age GREATER_THAN "30"', 'age is above "30"'),
        (
            'plan IN "a IN b" and none of (age LESS_THAN "1" or x IS_SET)',
            'plan is one of "a IN b" and none of (age is below "1" or x is set)',
        ),
        ("mail IS_NOT_SET", "mail is not set"),
        ('AGE EQUAL "1"', 'AGE is "1"'),
        ('identity PERCENTAGE_SPLIT "50"', 'identity PERCENTAGE_SPLIT "50"'),
    ],
)
def test_rule__its_operators__are_said_as_people_say_them_and_values_stay(rule, said):
    assert words.rule(rule) == said


def test_segments_and_cohorts__matrix__is_the_overlap_of_each_pair(here):
    _, found = run("segments_and_cohorts")
    pair = found["shares"].set_index(["member_of", "also_in"]).loc["cohort Over 30"]
    both = found["overlap"].set_index("who").identities
    assert pair.loc["cohort Paying customers"].identities == both["in both"]
    assert pair.loc["cohort Over 30"].identities == both["in both"] + both["only cohort Over 30"]
    assert len(found["shares"]) == 64


def test_segments_and_cohorts__who_entered_last_week__is_the_marts(here):
    _, found = run("segments_and_cohorts")
    week = warehouse.ask("""
        select count(*) filter (entered_at >= '2026-09-22') as entered, count(*) filter (left_at >= '2026-09-22') as "left"
        from marts.fct_cohort_memberships where cohort_key = 'paying'
    """).iloc[0]
    paying = found["latest"].set_index("key").loc["paying"]
    assert (paying.entered, paying["left"]) == (week.entered, week["left"]) and week.entered > 0


def test_segments_and_cohorts__two_segments__overlap_in_their_members_of_now(here):
    _, found = run("segments_and_cohorts", chosen=[("segment", "6"), ("segment", "7")])
    members = warehouse.ask("""
        select identity, bool_or(segment_id = 6) as paying, bool_or(segment_id = 7) as beta_tester
        from marts.fct_segment_memberships where is_current group by identity
    """)
    assert found["overlap"].set_index("who").identities.to_dict() == {
        "in both": (members.paying & members.beta_tester).sum(),
        "only segment paying": (members.paying & ~members.beta_tester).sum(),
        "only segment beta testers": (~members.paying & members.beta_tester).sum(),
    }


def test_data_health__the_example_month__counts_what_was_sent(here):
    _, found = run("data_health")
    sent = World(MONTH).count
    assert drawn(found["deliveries_chart"]).deliveries.sum() == sent == found["freshness"].deliveries.sum()
    states = drawn(found["states_chart"]).groupby("what").webhooks.sum()
    assert states["all evaluations"] == MONTH.deliveries > states["different ones within each hour"]


# In the example month every delivery is stored within a second: here later days less late, and later hours of a day later.
DELAYS = (
    "update marts.fct_deliveries_hourly set max_landing_delay_seconds = 100 - day(hour) + hour(hour) / 100"
)


def test_data_health__tables__are_the_marts(altered):
    altered(DELAYS)
    _, found = run("data_health")
    marts = warehouse.ask("""
        select sum(deliveries)::bigint as deliveries, sum(bytes)::bigint as bytes,
            (select count(*) from marts.dim_identities) as identities, (select max(last_seen_at) from marts.dim_identities) as seen,
            max(hour) as last_hour
        from marts.fct_deliveries_hourly
    """).iloc[0]
    own = found["freshness"].iloc[0]
    assert (own.identities, own.last_evaluation_at, own.last_hour) == (
        marts.identities,
        marts.seen,
        marts.last_hour,
    )
    assert own.megabytes == pytest.approx(marts.bytes / 1e6)
    kinds = found["kinds"].set_index("said")
    assert (kinds.deliveries.sum(), kinds.bytes.sum()) == (marts.deliveries, marts.bytes)
    by_kind = warehouse.ask("""
        select kind, sum(deliveries)::bigint as n, max(max_landing_delay_seconds) as delay
        from marts.fct_deliveries_hourly group by kind
    """)
    assert kinds.deliveries.to_dict() == {words.DELIVERIES[row.kind]: row.n for row in by_kind.itertuples()}
    delays = {words.DELIVERIES[row.kind]: row.delay for row in by_kind.itertuples()}
    assert kinds.max_landing_delay_seconds.to_dict() == delays


def test_data_health__test_calls_that_got_lost__are_counted(altered):
    call = (
        "insert into marts.fct_canary_calls by name select 'example' as environment, {} as lost_before, "
        "{} as delivery_seconds, timestamp '{}' as received_at"
    )
    altered(
        "create table marts.kept as from marts.fct_canary_calls",
        "drop view marts.fct_canary_calls",
        "alter table marts.kept rename to fct_canary_calls",
        call.format(2, 1.5, "2026-09-03"),
        call.format(1, 4.5, "2026-09-04 10:00"),
    )
    row = run("data_health")[1]["canaries"].iloc[0]
    assert (row.arrived, row.lost, row.usual_seconds, row.longest_seconds) == (2, 3, 3.0, 4.5)
    assert "Three test calls lost on the way from example" in report.page("index")


@pytest.mark.parametrize(("last", "unit", "times"), [(4, "hour", 72), (5, "day", 4)])
def test_data_health__up_to_three_days__goes_by_the_hour(here, last, unit, times):
    outputs, found = run("data_health", start=date(2026, 9, 2), end=date(2026, 9, last))
    assert found["unit"] == unit and found["traffic"][unit].nunique() == times
    assert f"per {unit}" in html(outputs)


def test_experiment_readout__the_example__is_what_fct_experiment_results_says(here):
    outputs, found = run("experiment_readout")
    rows = warehouse.ask("""
        select
            metric_key, variation,
            case when cuped_status = 'ok' then cuped_relative_lift else relative_lift end as lift,
            case when cuped_status = 'ok' then cuped_relative_low else relative_low end as low,
            case when cuped_status = 'ok' then cuped_relative_high else relative_high end as high
        from marts.fct_experiment_results
        where experiment_key = 'example_checkout' and population = 'assigned' and verdict <> 'control'
    """).set_index(["metric_key", "variation"])
    shown = found["results"].query("verdict != 'control'").set_index(["metric_key", "variation"])
    for column in ("lift", "low", "high"):
        assert shown[column].to_dict() == pytest.approx(rows[column].to_dict())
    page = html(outputs)
    for row in rows.itertuples():
        low, high = show.percent(row.low, signed=True), show.percent(row.high, signed=True)
        assert show.percent(row.lift, signed=True) in page and f"{low} to {high}" in page
    assert found["power"].shape[0] == 12


def deciding(mart: str, keys: str) -> pandas.DataFrame:
    """The estimates of the experiment's primary metric in a mart: none is adjusted, and the Bayesian method decides."""
    return warehouse.ask(f"""
        select {keys}, relative_lift as lift, relative_low as low, relative_high as high from marts.{mart}
        where experiment_key = 'example_checkout' and population = 'assigned' and metric_key = 'example_purchased'
            and status = 'ok'
    """).set_index(keys.split(", "))


@pytest.mark.parametrize(
    ("shown", "mart", "keys"),
    [
        ("curves", "fct_experiment_curves", "days_since_exposure, variation"),
        ("breakdowns", "fct_experiment_results_by", "dimension, dimension_value, variation"),
    ],
)
def test_experiment_readout__since_exposure_and_for_whom__are_the_marts(shown, mart, keys, here):
    outputs, found = run("experiment_readout")
    rows = deciding(mart, keys)
    drawn_ = found[shown].set_index(keys.split(", "))
    for column in ("lift", "low", "high"):
        assert drawn_[column].to_dict() == pytest.approx(rows[column].to_dict())
    page = html(outputs)
    assert "Purchases by plan among everybody assigned" in page
    assert "The effect of variant_a was not shown to differ by plan" in page


def test_experiment_readout__beside_another__says_what_fct_experiment_overlap_says(here):
    outputs, found = run("experiment_readout")
    row = warehouse.ask(
        "select * from marts.fct_experiment_overlap where experiment_key = 'example_checkout'"
    ).iloc[0]
    shown = found["overlap"].iloc[0]
    for column in ("identities", "p_value_independence", "interaction", "p_value_interaction"):
        assert shown[column] == row[column]
    page = html(outputs)
    assert "Onboarding tour" in page and "The two assignments were not shown to depend on each other" in page


def test_experiment_readout__another_metric__is_looked_at_closer(here):
    outputs, found = run("experiment_readout", metric="example_revenue")
    assert "Does the lift of revenue last?" in html(outputs)
    assert found["curves"].lift.iloc[-1] != run("experiment_readout")[1]["curves"].lift.iloc[-1]


def test_experiment_readout__without_a_breakdown_or_another_experiment__says_so(here):
    page = html(run("experiment_readout", experiment="example_tour")[0])
    assert "No breakdown is declared" in page and "Onboarding tour</h2>" in page


@pytest.mark.parametrize(
    ("value", "aggregation", "unit", "said"),
    [
        (0.329, "occurrence", None, "32.9 %"),
        (0.329, "mean", "%", "32.9 %"),
        (13.5, "sum", "€", "€13.50"),
        (-1234.5, "sum", "$", "−$1,234"),
        (1.02, "count", "pages", "1.02 pages"),
        (-1.02, "count", "e-mails", "−1.02 e-mails"),
        (1.02, "count", None, "1.02"),
        (7.25, "hours_to_first", None, "7.25 hours"),
        (1.0001, "days", None, "1 day"),
        (-2.5, "days", "visits", "−2.5 visits"),
        (float("nan"), "sum", "€", "–"),
    ],
)
def test_amount__a_mean__is_written_in_the_unit_of_its_metric(value, aggregation, unit, said):
    assert words.amount(value, aggregation, unit) == said


@pytest.mark.parametrize(
    ("identities", "independence", "interaction", "said"),
    [
        (0, float("nan"), float("nan"), "Nobody is in both."),
        (
            9,
            0.01,
            0.5,
            "so each effect contains a part of the other. The effects were not shown to depend on each other.",
        ),
        (
            9,
            float("nan"),
            0.5,
            "Whether the two assignments depend on each other cannot be said: too few people are in both. The effects were not",
        ),
        (9, 0.5, 0.01, "do not add up"),
        (9, 0.5, float("nan"), "cannot be said: a combination of variations has nobody."),
    ],
)
def test_side_by_side__two_experiments__are_said_to_be_independent_or_not(
    identities, independence, interaction, said
):
    row = {"identities": identities, "p_value_independence": independence, "p_value_interaction": interaction}
    row |= {"status": "arm_missing", "independence_status": "too_few_identities", "alpha": 0.05}
    assert said in words.side_by_side(next(pandas.DataFrame([row]).itertuples()))


def test_experiment_readout__decision__comes_before_health_and_health_before_the_metrics(here):
    page = html(run("experiment_readout")[0])
    places = [
        page.index(text) for text in ("is winning on", "Health: three warnings", "Primary metrics among")
    ]
    assert places == sorted(places)


def test_experiment_readout__how_many_warnings__is_a_line_of_the_card_that_opens_to_show_them(here):
    outputs, found = run("experiment_readout")
    warned = found["health"][found["health"].status == "warn"]
    card = html(outputs).partition("Health: ")[0]
    fold = re.search("<details><summary>Three warnings.</summary>(.*?)</details>", card)[1]
    assert len(warned) == 3 and all(show.escape(message) in fold for message in warned.message)
    assert fold.count('class="badge') == 3, "and nothing else"


def test_experiment_readout__no_warning__says_so_and_opens_nothing(altered):
    altered("update marts.fct_experiment_health set status = 'ok'")
    page = html(run("experiment_readout")[0])
    assert ">No warnings.</p>" in page and "Health: no warnings; " in page


def test_experiment_readout__as_markdown__has_every_comparison_and_warning(here):
    _, found = run("experiment_readout")
    text = words.markdown("x", [found["in_words"]], found["results"], found["health"])
    labels = tuple(found["results"].label.unique())
    assert sum(
        line.startswith(tuple(f"| {label} |" for label in labels)) for line in text.split("\n")
    ) == len(found["results"])
    assert text.count("\n- warn: ") == (found["health"].status == "warn").sum() > 0


def test_experiment_readout__sequential__shows_the_interval_that_decides(altered):
    altered("update marts.fct_experiment_results set decision_method = 'sequential'")
    _, found = run("experiment_readout")
    row = found["results"].query("role == 'primary' and variation == 'variant_b'").iloc[0]
    assert (
        (row.low, row.high)
        == (row.sequential_low, row.sequential_high)
        != (row.relative_low, row.relative_high)
    )


@pytest.mark.parametrize(
    ("decision_method", "said"),
    [
        ("bayesian", "if its chance to win is above 95 %, and loses if it is below 5 %"),
        ("flagsmith", "by a chance to win of its own"),
        ("frequentist", "by the p-value with Holm&#x27;s correction for all comparisons, below 5 %"),
        ("sequential", "by the p-value that stays valid if you look every day, below 5 %"),
    ],
)
def test_experiment_readout__legend__says_what_decides_by_the_method(decision_method, said, altered):
    altered(f"update marts.dim_experiments set decision_method = '{decision_method}'")
    page = html(run("experiment_readout", experiment="example_checkout")[0])
    assert said in page
    assert ("a variation can win although its bar crosses zero" in page) == (
        decision_method in ("bayesian", "flagsmith")
    )


def test_experiment_readout__flagsmiths_method_decides__shows_its_chance_to_win_and_says_what_it_is(altered):
    altered(
        "update marts.dim_experiments set decision_method = 'flagsmith'",
        "update marts.fct_experiment_results set decision_method = 'flagsmith', flagsmith_chance_to_win = 0.9876",
    )
    page = html(run("experiment_readout", experiment="example_checkout")[0])
    assert "Our chance to win" in page and "computed as Flagsmith does" in page
    assert "98.8 % likely to be better, by Flagsmith&#x27;s method" in page
    assert page.count(">98.8 %<") == len(run("experiment_readout")[1]["results"])
    _, found = run("experiment_readout")
    markdown = words.markdown("x", [], found["results"], found["health"])
    assert markdown.count("| 98.8 % |") == len(found["results"])


def test_experiment_readout__another_method_decides__speaks_of_no_chance_of_flagsmiths(here):
    page = html(run("experiment_readout")[0])
    assert "Our chance to win" not in page and "computed as Flagsmith does" not in page


@pytest.mark.parametrize("population", ["assigned", "activated", "undisturbed", "until_change"])
def test_people_behind__each_population__are_in_the_mart_with_what_they_did(population, altered):
    altered(
        "update marts.fct_experiment_assignments set is_quarantined = hash(identity) % 2 = 0",
        "create table marts.kept as select * replace (hash(identity, day) % 2 = 0 as is_until_change) from marts.fct_experiment_outcomes",
        "drop view marts.fct_experiment_outcomes",
        "alter table marts.kept rename to fct_experiment_outcomes",
    )
    people = warehouse.people_behind("example_checkout", population, "example_revenue", 3)
    assigned = warehouse.ask(
        "select * from marts.fct_experiment_assignments where experiment_key = 'example_checkout'"
    ).set_index("identity")
    outcomes = warehouse.ask(
        "select identity, is_until_change, outcome_sum from marts.fct_experiment_outcomes "
        "where experiment_key = 'example_checkout' and metric_key = 'example_revenue'"
    )
    if population == "until_change":
        outcomes = outcomes[outcomes.is_until_change]
    sums = outcomes.groupby("identity").outcome_sum.sum()
    assert people.groupby("variation").size().to_dict() == dict.fromkeys(assigned.variation.unique(), 3)
    assert people.variation.iloc[0] == "control" and people.is_known.all()
    for row in people.itertuples():
        own = assigned.loc[row.identity]
        assert (row.variation, row.first_exposed_at) == (own.variation, own.first_exposed_at)
        assert row.outcome_sum == pytest.approx(sums[row.identity])
        assert population != "activated" or own.activated_at == own.activated_at
        assert population != "undisturbed" or not own.is_quarantined


def test_people_behind__few_have_an_outcome__those_come_first_and_the_latest_next(altered):
    one = "select min(identity) from marts.fct_experiment_outcomes where metric_key = 'example_revenue' and identity in ({})"
    of_b = "select identity from marts.fct_experiment_assignments where experiment_key = 'example_checkout' and variation = 'variant_b'"
    altered(
        "create table marts.kept as select * from marts.fct_experiment_outcomes "
        f"where metric_key <> 'example_revenue' or identity = ({one.format(of_b)})",
        "insert into marts.kept select * replace ('another' as experiment_key) from marts.fct_experiment_outcomes",
        "drop view marts.fct_experiment_outcomes",
        "alter table marts.kept rename to fct_experiment_outcomes",
    )
    people = warehouse.people_behind("example_checkout", "assigned", "example_revenue", 3)
    own = people[people.variation == "variant_b"]
    assert own.outcome_count.gt(0).tolist() == [True, False, False]
    latest = warehouse.ask(
        "select max(first_exposed_at) as latest from marts.fct_experiment_assignments "
        "where experiment_key = 'example_checkout' and variation = 'variant_b'"
    ).latest[0]
    assert own.first_exposed_at.iloc[1] == latest
    page = html(run("experiment_readout", metric="example_revenue")[0])
    assert page.count("nothing yet") == len(people) - 1


def test_experiment_readout__an_identity_that_no_webhook_carried__is_no_link(altered):
    altered("update marts.fct_experiment_assignments set identity = 'person ' || identity")
    outputs, found = run("experiment_readout")
    people = found["people"]
    assert not people.is_known.any() and "one_identity.example." not in html(outputs)
    everybody = zip(people.environment, people.identity, strict=True)
    assert show.identity_links(people, everybody) == people.identity.tolist()
    assert warehouse.reported_people() == []


@pytest.mark.parametrize("name", ["index", "experiment_readout", "data_health", "flag_exposure"])
def test_pages__what_a_product_manager_reads__has_names_and_no_keys(name, here):
    """Given declared names; then no page shows the key of an experiment, a metric or a check, or a column of a mart."""
    keys = warehouse.ask("""
        select metric_key as key from marts.dim_metrics
        union select experiment_key from marts.dim_experiments
        union select check_name from marts.fct_experiment_health where contains(check_name, '_')
        union select column_name from information_schema.columns where table_schema = 'marts' and contains(column_name, '_')
    """).key
    text = re.sub(show.DRAWN, " ", re.sub(r"<pre.*?</pre>", "", html(run(name)[0]), flags=re.S))
    shown = set(re.findall(r"[a-z]+(?:_[a-z]+)+", text))
    assert shown & set(keys) == set()


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_pages__a_number_of_four_digits__has_its_thousands_apart(name, here):
    """Years are not numbers of anything."""
    page = re.sub(r"<style>.*?</style>", "", report.page(name), flags=re.S)
    text = unescape(
        re.sub(r"<[^>]*>", " ", page) + " ".join(re.findall(r"<title>.*?</title>|title=\"[^\"]*", page))
    )
    assert re.findall(r".{0,60}(?<![\w.,#-])(?!20\d\d\b)\d{4,}(?!\w).{0,20}", text) == []


def test_checks__each__has_a_name_for_the_page(here):
    checks = warehouse.ask("select distinct check_name from intermediate.int_experiment_check_texts")
    assert set(words.CHECKS) == set(checks.check_name)


def test_index__the_example_month__is_what_the_marts_say(here):
    outputs, found = run("index")
    page = html(outputs)
    assert found["environments"].deliveries.sum() == World(MONTH).count
    b = warehouse.ask("""
        select relative_lift as lift, relative_low as low, relative_high as high, relative_chance_to_win as chance
        from marts.fct_experiment_results
        where role = 'primary' and population = 'assigned' and variation = 'variant_b'
    """).iloc[0]
    lift, low, high = (show.percent(value, signed=True) for value in (b.lift, b.low, b.high))
    # The interval includes zero, so the sentence says why there is a verdict.
    said = f"{lift}, between {low} and {high}; {show.percent(b.chance)} likely to be better"
    assert f"variant_b is winning on purchases: {said}." in page
    assert (
        len(found["stale"])
        == warehouse.ask("select count(*) as n from marts.dim_flags where is_stale").n[0]
        > 0
    )


def test_pages__an_environment_that_went_silent__is_named_with_its_age(altered):
    altered(
        "insert into marts.fct_deliveries_hourly by name select 'production' as environment, 'evaluation' as kind, "
        "timestamp '2026-11-28 10:00' as hour, 1 as deliveries, timestamp '2026-11-28 10:00' as last_received_at, "
        "timestamp '2026-11-28 10:01' as last_landed_at"
    )
    page = html(run("index")[0])
    assert "The last webhook came on 28 November 2026, 10:00, from production, and" in page
    assert "example has been silent for 60 days, since 28 September 2026." in page
    silent = "example has been silent for 60 days, since 28 September 2026: nothing newer is counted."
    assert page.count(silent) == 2, "on the card of each experiment that runs"
    assert silent in html(run("experiment_readout")[0])


@pytest.mark.parametrize(("days", "said"), [(1.9, ""), (2, "silent for 2 days, since 1 September 2026")])
def test_silence__below_two_days__is_none(days, said):
    last = pandas.Timestamp("2026-09-01 12:00")
    assert words.silence(last, last + pandas.Timedelta(days=days)) == said


def compared(verdicts: dict[str, str], metric: str = "m") -> pandas.DataFrame:
    """The primary comparisons with these verdicts."""
    rows = [
        {"role": "primary", "metric_key": metric, "label": metric, "variation": one, "verdict": verdict}
        for one, verdict in verdicts.items()
    ]
    return pandas.DataFrame(rows)


@pytest.mark.parametrize(
    ("results", "days_left", "said"),
    [
        (
            compared({"a": "inconclusive", "b": "winning", "c": "losing"}),
            180,
            "You can decide now on b and c. To also detect a 10 % lift for a takes until 28 March 2027: 180 more days "
            "at the current rate. That is after the declared end, 29 September 2026. The smallest lift",
        ),
        (
            pandas.concat(
                [compared({"a": "inconclusive", "b": "winning"}), compared({"a": "losing"}, "other")]
            ),
            180,
            "You can decide now on b (m) and a (other). To also detect",
        ),
        (compared({"a": "inconclusive"}), 180, "To detect a 10 % lift for a takes until 28 March 2027"),
        (compared({"a": "inconclusive"}), 40_000, "To detect a 10 % lift for a takes more than a century at"),
        (
            compared({"a": "inconclusive", "b": "winning"}),
            None,
            "You can decide now on b. There is too little",
        ),
        (compared({"a": "winning", "b": "losing"}), 180, "You can stop now: every primary comparison has"),
    ],
)
def test_stop__what_can_be_decided_now__comes_first(results, days_left, said):
    power = pandas.DataFrame(
        {"metric_key": ["m"], "variation": ["a"], "days_left": [days_left], "target_lift": [0.1]}
    ).assign(minimum_detectable_lift=0.3)
    end = pandas.Timestamp("2026-09-29")
    declared = pandas.Series({"last_received_at": end, "ended_at": end})
    assert words.stop(declared, results, power).startswith(said)


def test_index__what_is_wrong__is_listed_with_where_to_look(altered):
    altered(
        "insert into marts.quarantined_deliveries by name select '1' as delivery_id, 'example' as environment, "
        "'not_json' as reason, 'x' as body_excerpt, timestamp '2026-09-03' as received_at",
        "insert into marts.cohort_declaration_problems by name select 'problem' as severity, 'dbt_project.yml' as "
        "declared_in, 3 as row_number, 'rules' as column_name, 'No such operator.' as problem, 'Name one.' as remedy",
    )
    outputs, found = run("index")
    assert len(found["attention"]) == 2
    page = html(outputs)
    assert "No such operator. Remedy: Name one." in page and "data_health.example.html" in page


def test_index__the_last_refresh__its_alerts_and_its_failure_are_listed(altered, tmp_path):
    altered()
    alert = {
        "at": "",
        "environment": "example",
        "check": "assert_no_environment_is_unusually_silent",
        "severity": "warning",
    }
    alert |= {"value": 1, "usual": 9, "message": "<b>silent</b>", "remedy": "look at the webhook"}
    told = [alert, alert | {"check": "declarations"}, alert | {"check": "experiment_sample_ratio"}]
    record = {
        "result": "failure",
        "started_at": "2026-09-29T00:00:00+00:00",
        "error": "No space",
        "alerts": told,
    }
    (tmp_path / "refresh.json").write_text(json.dumps(record))
    outputs, found = run("index")
    page = html(outputs)
    assert page.count("&lt;b&gt;silent&lt;/b&gt;") == 1, (
        "declarations and experiments are read from the marts"
    )
    assert "The last refresh failed: No space" in page and len(found["attention"]) == 2


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"result": "failure", "error": "No space"}, "The last refresh failed: No space"),
        ({"result": "failure"}, "The last refresh failed: its record does not say why"),
        ({"result": "killed"}, "The last refresh was killed before it ended."),
        (
            {"result": "unknown", "error": "refresh.json cannot be read"},
            "is not known: refresh.json cannot be read",
        ),
    ],
)
def test_failed_refresh__of_each_kind__says_what_is_known(record, said):
    assert said in words.failed_refresh(record)


@pytest.mark.parametrize(
    ("landed", "said"),
    [(1234, "1,234 deliveries"), (1, "1 delivery"), (0, "0 deliveries"), (None, "not recorded")],
)
def test_data_health__cost__is_of_the_last_refresh_and_the_files(landed, said, altered, tmp_path):
    altered()
    record = {"result": "success", "started_at": "2026-09-29T00:00:00+00:00", "seconds": 75}
    record |= {} if landed is None else {"landed": landed}
    (tmp_path / "refresh.json").write_text(json.dumps(record))
    outputs, found = run("data_health")
    assert (found["cost"]["It took"], found["cost"]["It stored"]) == ("1 min 15 s", said)
    assert found["cost"]["Warehouse"] == show.megabytes((tmp_path / "warehouse.duckdb").stat().st_size)
    assert "1 min 15 s" in html(outputs)


def test_experiment_readout__another_population_decides__comes_first(altered):
    altered(
        "update marts.dim_experiments set primary_population = 'activated'",
        "update marts.fct_experiment_results set is_primary_population = population = 'activated'",
    )
    outputs, found = run("experiment_readout")
    assert found["population"] == "activated" and "among those activated" in html(outputs)
    b = found["results"].query("role == 'primary' and variation == 'variant_b'").iloc[0]
    assert f"variant_b {words.verdict(b).partition(' ')[2]}" in html(run("index")[0])


def test_one_identity__somebody_who_was_switched__is_explained(here):
    who = warehouse.ask(
        "select environment, identity, changed_by from marts.fct_explained_assignments "
        "where feature_name = 'checkout_button' and variation = 'variant_b' order by identity limit 1"
    ).iloc[0]
    outputs, found = run("one_identity", identity=who.identity)
    flags = warehouse.ask(
        "select count(*) as n from marts.fct_flag_assignments where environment = $e and identity = $i",
        e=who.environment,
        i=who.identity,
    ).n[0]
    assert (found["happened"].kind == "flag").sum() == flags
    page = html(outputs)
    assert "checkout_button went from variant_a to variant_b" in page and who.changed_by in page
    button = found["flags"].set_index("name").loc["checkout_button"]
    assert (button.after, button.why) == (
        "variant_b",
        f"the weights changed, now drawn by the 50 % share of variant_b, by {who.changed_by}",
    )
    now = warehouse.ask(
        "select count(*) as n from marts.fct_flag_assignments where environment = $e and identity = $i and is_current",
        e=who.environment,
        i=who.identity,
    ).n[0]
    assert len(found["flags"]) == now > 20


def test_one_identity__outcomes__are_the_marts_and_stand_beside_the_flags(here):
    who = warehouse.ask(
        "select identity from marts.fct_experiment_outcomes where metric_key = 'example_revenue' order by identity limit 1"
    ).identity[0]
    outputs, found = run("one_identity", identity=who)
    counted = warehouse.ask(
        """
        select distinct metrics.name, outcomes.first_occurred_at, outcomes.outcome_sum
        from marts.fct_experiment_outcomes as outcomes inner join marts.dim_metrics as metrics using (metric_key)
        where identity = $who and outcome_count > 0
        """,
        who=who,
    )
    shown = found["happened"].query("kind == 'outcome'")
    assert len(shown) == len(counted) > 1
    assert set(zip(shown.name, shown.since, shown.outcome_sum, strict=True)) == set(
        counted.itertuples(index=False, name=None)
    )
    spent = counted.query("name == 'revenue'").iloc[0]
    page = html(outputs)
    assert f"€{spent.outcome_sum:.2f}: {show.moment(spent.first_occurred_at)}" in page, (
        "a mark in the picture"
    )
    assert "counts for Checkout button" in page
    days = counted.first_occurred_at.dt.date.nunique()
    assert f"<dt>Days with an outcome</dt><dd>{days}</dd>" in page


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (("occurrence", None, 1, 1), "once"),
        (("occurrence", "%", 2, 2), "twice"),
        (("count", None, 1200, 1200), "1,200 times"),
        (("count", "pages", 3, 3), "3 pages"),
        (("days", None, 1, 1), "once"),
        (("sum", "€", 13.5, 2), "€13.50"),
        (("sum", None, 13.5, 2), "13.5"),
        (("mean", "€", 13, 2), "€6.50 on average"),
        (("quantile", "ms", 250, 1), "250 ms"),
        (("ratio", "€ a page", 13.5, 2), "13.5"),
        (("hours_to_first", None, 7.25, 1), "after 7.25 hours"),
        (("hours_to_first", None, 1, 1), "after 1 hour"),
        (("count", "%", 3, 3), "3 times"),
        (("count", "pages", 1, 1), "once"),
    ],
)
def test_outcome__of_each_kind__is_said_as_people_say_it(counted, said):
    row = pandas.DataFrame([counted], columns=["aggregation", "unit", "outcome_sum", "outcome_count"])
    assert words.outcome(next(row.itertuples())) == said


@pytest.mark.parametrize(
    ("reason", "is_split", "share", "said"),
    [
        ("environment_default", True, 40.0, "drawn by the 40 % share of b"),
        ("environment_default", True, 33.3, "drawn by the 33.3 % share of b"),
        ("environment_default", True, None, "drawn by the percentage split"),
        ("environment_default", False, None, "the environment's default"),
        ("segment_override", True, 50.0, "a segment's override (drawn by the 50 % share of b)"),
        ("segment_override", False, None, "a segment's override"),
        ("identity_override", True, 100.0, "an override for the identity"),
    ],
)
def test_why__where_a_value_came_from__names_the_share_of_a_split(reason, is_split, share, said):
    row = {"kind": "flag", "quarantine_reason": None, "change_reason": "first_seen", "changed_by": None}
    row |= {"assignment_reason": reason, "is_split": is_split, "percentage_allocation": share, "after": "b"}
    assert words.why(next(pandas.DataFrame([row]).itertuples())) == f"{said}, since the first evaluation"


def test_one_identity__seen_in_another_environment__is_found_there(altered):
    altered(
        *(
            f"insert into marts.dim_identities select * replace ('staging' as environment, '{name}' as identity) "
            "from marts.dim_identities where identity = 'user_0'"
            for name in ("user_0", "only_there")
        )
    )
    page = html(run("one_identity", identity="only_there")[0])
    assert "This identity was not seen in example, but in staging." in page and "In staging, seen" in page
    page = html(run("one_identity", identity="user_0")[0])
    assert "In example, seen" in page and "Also seen in staging." in page
    assert "<td" in (near := html(run("one_identity", identity="only_ther")[0])) and "staging" in near


def test_one_identity__picture__has_the_flags_that_hold_and_counts_what_it_leaves_out(here, monkeypatch):
    outputs, found = run("one_identity", identity="user_0")
    named = {f"flag {name}" for name in found["flags"].name}
    assert named <= set(found["drawn_rows"]) and "Left out" not in html(outputs)
    monkeypatch.setattr(charts, "SPELL_ROWS", 10)
    outputs, found = run("one_identity", identity="user_0")
    left_out = len(set(found["happened"].kind + " " + found["happened"].name)) - 10
    assert len(found["drawn_rows"]) == 10 and found["left_out"].sum() == left_out > 0
    said = re.search(r"has room for 10 rows. Left out: (.*?)\. The list below has them", html(outputs))[1]
    assert sum(int(one.split()[0]) for one in said.split(", ")) == left_out and "traits" in said


def test_one_identity__no_choice__says_why_this_one(here):
    assert "this is the identity whose flags changed most often" in html(run("one_identity")[0])
    assert "Nobody was chosen" not in html(run("one_identity", identity="user_0")[0])


def test_one_identity__nobody_of_that_name__lists_who_comes_near(here):
    whole = warehouse.ask("select min(identity) as one from marts.dim_identities").one[0]
    page = html(run("one_identity", identity=whole[:-1])[0])
    assert "No identity is called" in page and show.escape(whole) in page


def splits(
    metric: str,
    low: float = 0.08,
    saved: float | None = 0.4,
    p_value: float = 0.334,
    decides: str | None = "bayesian",
) -> aa.Answer:
    """The answer of an A/A test in which a method may err in 10 %."""
    rates = [
        aa.Rate("sequential", False, 3, 0.003, 0.001, 0.009, 0.05),
        aa.Rate("bayesian", decides == "bayesian", 109, 0.109, low, 0.131, 0.1),
    ]
    tenths = [109, 111, 108, 69, 87, 107, 101, 100, 92, 116]
    return aa.Answer(
        *(metric, "example", "2026-09-28T23:55:00", 1875, 1000, 28, 0.05, decides),
        *(True, rates, tenths, p_value, saved),
    )


def test_aa_tests__no_answer__says_what_to_run(here):
    assert "Run: flagsmith-warehouse aa --metric example_page_views" in report.page("aa_tests")


def test_aa_tests__answers__are_those_that_were_kept(altered, tmp_path):
    altered()
    for one in (
        splits("example_revenue"),
        splits("example_purchased", low=0.105, saved=None, p_value=0.0004),
    ):
        aa.keep(warehouse.settings.read(), one)
    page = report.page("aa_tests").replace("&nbsp;", " ")
    assert page.index("Purchases in example") < page.index("Revenue in example"), "the newest comes first"
    saw = "The Bayesian method, which decides, saw a difference in 10.9 % of the splits (between {} % and 13.1 %). 10 % would be right."
    assert saw.format("8.0") + "</p>" in page
    assert saw.format("10.5") + " So its verdicts on this metric come too easily." in page
    assert "They were not shown to be otherwise (p = 0.334)." in page
    assert "and are not (p &lt; 0.001). Many small ones can come from" in page
    assert "removes 40.0 % of the variance" in page and "Nothing is adjusted" in page
    # Each verdict stands on a badge of the card, which is read out, and in the table.
    assert page.count("too often") == 2 and page.count("as expected") == 6
    assert "Bayesian: too often</span>" in page and "sequential: as expected</span>" in page
    assert (
        page.count('class="number" role="cell">111</td>') == 2 and "each tenth should have about 100" in page
    )
    assert "1,000 splits of 1,875 identities; example · 31 August 2026 – 28 September 2026 (UTC)." in page


@pytest.mark.parametrize(
    ("decides", "said"),
    [
        (None, "No experiment has this metric yet, so no method decides."),
        ("flagsmith", "The Flagsmith method decides, which an A/A test does not try."),
    ],
)
def test_aa_tests__no_method_of_theirs_decides__says_so_and_speaks_of_each(decides, said, altered):
    altered()
    aa.keep(warehouse.settings.read(), splits("example_revenue", decides=decides))
    page = report.page("aa_tests")
    assert said in page and "which decides" not in page
    assert "The Bayesian method saw" in page and "The sequential method saw" in page


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (0.4, "removes 40.0 % of the variance, and so of the identities needed."),
        (0.0001, "saves nothing on this metric: leave before_days empty."),
        (0, "saves nothing on this metric: leave before_days empty."),
        (-0.021, "saves nothing on this metric, and adds 2.1 % to the variance: leave before_days empty."),
    ],
)
def test_variance_saved__little_or_less_than_nothing__is_said_to_be_nothing(saved, said):
    assert words.variance_saved(saved).endswith(said)


def test_aa_tests__a_damaged_file__says_so_and_what_to_run(altered, tmp_path):
    altered()
    (tmp_path / "aa.json").write_text('[{"metric": "spent"}]')
    assert "aa.json cannot be read (it holds something else" in report.page("aa_tests")


def test_data_health__busiest_hour__counts_all_kinds(here):
    _, found = run("data_health")
    most = warehouse.ask("""
        select max(n) / 60 as per_minute
        from (select sum(deliveries)::double as n from marts.fct_deliveries_hourly group by environment, hour)
    """).per_minute[0]
    assert found["traffic"].busiest_per_minute.max() == pytest.approx(most)


def test_data_health__delay__is_the_same_in_the_table_and_the_chart(altered):
    altered(DELAYS)
    _, found = run("data_health")
    days = warehouse.ask("""
        select hour::date as day, max(max_landing_delay_seconds) as delay from marts.fct_deliveries_hourly group by all order by day
    """)
    chart = drawn(found["delay_chart"]).sort_values("day")
    assert chart.max_landing_delay_seconds.tolist() == days.delay.tolist()
    assert found["freshness"].last_delay_seconds.tolist() == [days.delay.iloc[-1]] != [days.delay.max()]


@pytest.mark.parametrize("name", ["flag_exposure", "data_health"])
def test_notebooks__a_reversed_period__is_put_right(name, here):
    _, found = run(name, start=date(2026, 9, 10), end=date(2026, 9, 8))
    assert (found["scope"].start, found["scope"].end) == (date(2026, 9, 8), date(2026, 9, 10))
    assert (found["asked"]["start"], found["asked"]["end"]) == (date(2026, 9, 8), date(2026, 9, 10))


def test_experiment_readout__in_words__names_the_winner_with_its_numbers(here):
    _, found = run("experiment_readout")
    primary = found["results"].query("role == 'primary' and variation == 'variant_b'").iloc[0]
    said = found["in_words"]
    assert {"winning": "is winning", "inconclusive": "has not been shown"}[primary.verdict] in said
    for number in (primary.lift, primary.low, primary.high):
        assert show.percent(number, signed=True) in said


def test_experiment_readout__not_to_be_trusted__shows_no_result(altered):
    altered(
        "update marts.fct_experiment_health set status = 'alarm', message = 'Shares are wrong.' "
        "where check_name = 'sample_ratio' and epoch = 0",
        "update marts.fct_experiment_results set verdict = 'do_not_trust' where verdict <> 'control'",
    )
    outputs, found = run("experiment_readout")
    page = html(outputs)
    assert "Do not trust this experiment" in page and "Shares are wrong." in page
    assert "results" not in found and "in_words" not in found
    assert "Lift" not in page and "Chance to win" not in page
    assert "Other experiments at the same time" not in page and "overlap" not in found


def test_experiment_readout__a_breakdown__what_is_left_over_comes_last(altered):
    altered(
        "update marts.fct_experiment_results_by set dimension_value = '(others)'"
        " where dimension_value = (select min(dimension_value) from marts.fct_experiment_results_by where dimension_value <> '(none)')"
    )
    shown = run("experiment_readout")[1]["breakdowns"]
    by_variation = shown.groupby(["dimension", "variation"]).dimension_value.apply(list)
    assert any(values[-1] == "(others)" for values in by_variation)
    assert not any("(others)" in values[:-1] for values in by_variation)


def test_pages__a_number_that_two_of_them_show__is_the_same(here):
    """Each pair is read from the variables that the pages print."""
    pages = {name: run(name)[1] for name in report.NOTEBOOKS}
    overview = pages["index"]["environments"].set_index("environment").loc["example"]
    health = pages["data_health"]["freshness"].set_index("environment").loc["example"]
    assert (overview.deliveries, overview.quarantined, overview.identities) == (
        *(health.deliveries, health.quarantined, health.identities),
    )
    assert overview["flags"] == len(pages["flag_exposure"]["flags"])
    assert overview.identities == pages["one_identity"]["environments"].identities.sum()
    kinds = pages["segments_and_cohorts"]["latest"].kind
    assert overview.segments == (kinds == "segment").sum()
    stale = pages["index"]["stale"], pages["flag_exposure"]["stale"]
    columns = ["name", "everybody_gets", "since", "identities"]
    assert overview.stale_flags == len(stale[0]) > 0
    assert (
        stale[0][columns].sort_values("name").values.tolist()
        == stale[1][columns].sort_values("name").values.tolist()
    )
    keys = ["experiment_key", "metric_key", "variation"]
    card = pages["index"]["primary"].query("experiment_key == 'example_checkout'").set_index(keys)
    readout = pages["experiment_readout"]["results"].set_index(keys).loc[card.index]
    shown = ["verdict", "lift", "low", "high", "chance_to_win", "label"]
    pandas.testing.assert_frame_equal(card[shown], readout[shown])
    breakdowns = pages["experiment_readout"]["breakdowns"]
    arms = pages["experiment_readout"]["results"].query("role == 'primary'").set_index("variation")
    assert breakdowns.groupby("variation").identities_matured.sum().to_dict() == {
        variation: arms.identities_matured[variation] for variation in breakdowns.variation.unique()
    }
    totals = pages["flag_exposure"]["totals"].set_index("variation").identities_ever
    assert overview.identities == totals.sum() - pages["flag_exposure"]["flows"].identities.sum()


# Whatever the marts hold.


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__no_warehouse__say_how_to_make_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))
    assert "There is no warehouse yet" in report.page(name) and "make demo" in report.page(name)


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__marts_not_built__name_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()
    assert "Not built yet" in report.page(name)


def test_segments_and_cohorts__marts_of_an_earlier_release__say_which_column_is_not_built(altered):
    altered("alter table marts.fct_segment_rule_drift drop column example_stated_only_at")
    page = report.page("segments_and_cohorts")
    assert "Not built yet" in page and "fct_segment_rule_drift.example_stated_only_at" in page


def test_one_identity__marts_of_an_earlier_release__say_what_is_not_built(altered):
    altered("drop macro table marts.outcomes_of")
    page = report.page("one_identity")
    assert "Not built yet" in page and "outcomes_of" in page


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__empty_marts__say_what_is_missing(name, here, altered):
    altered(*(f"delete from marts.{table}" for table in tables()))
    page = report.page(name)
    assert 'class="missing"' in page and 'role="img"' not in page


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__a_flag_name_of_200_letters__is_shown_and_breaks_nothing(name, altered):
    altered(
        SETS.format("dim_flags", "name", "name"),
        SETS.format("dim_experiments", "feature_name", "feature_name"),
        SETS.format("fct_cohort_flag_exposures", "feature_name", "feature_name"),
        name=NAME_OF_200,
    )
    page = report.page(name)
    assert "<b>*" not in page, "a name is text, never markup"
    if name not in ("aa_tests", "data_health", "one_identity"):  # they show no flag of that mart
        assert show.escape(show.shortened(NAME_OF_200, 60))[:20] in page


HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\x00\u202e**b** [a](javascript:b)"
)
OF_THE_BUTTON = "feature_name = 'checkout_button' and variation = 'variant_b'"
TEXTS = {
    ("dim_flags", "true"): ("name", "current_default"),
    ("dim_cohorts", "true"): ("name",),
    ("dim_experiments", "true"): (
        "feature_name",
        "control_variation",
        "experiment_key",
        "name",
        "description",
    ),
    ("fct_flag_exposures_daily", OF_THE_BUTTON): ("variation",),
    ("fct_flag_exposures", OF_THE_BUTTON): ("variation",),
    ("fct_flag_assignments", OF_THE_BUTTON): ("variation",),
    ("fct_flag_changes", "feature_name = 'checkout_button'"): ("changed_by",),
    ("fct_segment_sizes_daily", "true"): ("segment_name",),
    ("fct_segment_memberships", "identity = 'user_0'"): ("segment_name",),
    ("fct_identity_traits", "identity = 'user_0'"): ("trait_key", "value_text"),
    ("fct_segment_rule_drift", "true"): ("segment_name",),
    ("fct_cohort_flag_exposures", "feature_name = 'checkout_button'"): ("feature_name", "variation"),
    ("fct_experiment_results", "true"): ("variation", "metric_key", "experiment_key"),
    ("fct_experiment_results_daily", "true"): ("variation", "metric_key", "experiment_key"),
    ("fct_experiment_results_by", "true"): (
        *("variation", "metric_key", "experiment_key"),
        *("dimension", "dimension_value"),
    ),
    ("fct_experiment_curves", "true"): ("variation", "metric_key", "experiment_key"),
    ("fct_experiment_overlap", "true"): ("experiment_key", "other_experiment_key", "metric_key"),
    ("dim_metrics", "true"): ("metric_key", "name", "unit"),
    ("fct_experiment_power", "true"): ("variation", "metric_key", "experiment_key"),
    ("fct_experiment_health", "true"): ("message", "experiment_key"),
}


def test_experiments__too_little_data__say_nothing_of_control_and_compare_nothing(altered):
    """Given results as after one day, where control has too little data too; then only variations are spoken of."""
    altered(
        "update marts.fct_experiment_results set verdict = 'collecting_data', relative_lift = null, cuped_relative_lift = null",
        "update marts.fct_experiment_results_by set status = 'too_few_identities', relative_lift = null, cuped_relative_lift = null",
        "update marts.fct_experiment_power set minimum_detectable_lift = null, days_left = null",
    )
    for name in ("index", "experiment_readout"):
        page = report.page(name)
        assert "variant_a needs more data on purchases." in page
        assert "control needs more data" not in page and "control collecting data" not in page, name
    assert "There is too little data yet to compare any value." in page
    assert "When you can stop, example · 1–28 September 2026 (UTC).</b> There is too little data yet" in page


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__texts_that_attack_a_page__are_shown_and_do_nothing(name, here, altered):
    """Names and values of 20,000 letters with markup, escapes, NUL and marks of direction, in every mart that is shown.

    Whoever calls Flagsmith chooses identities and traits; the route's name is ours, and is attacked all the same.
    """
    changes = [
        f"update marts.{table} set {column} = {column} || $hostile || repeat('x', 20000) || {column} where {rows}"
        for (table, rows), columns in TEXTS.items()
        for column in columns
    ]
    quarantined = (
        "insert into marts.quarantined_deliveries by name select $hostile as delivery_id, 'example' as environment, "
        "$hostile as reason, $hostile as body_excerpt, timestamp '2026-09-03' as received_at"
    )
    everywhere = [
        f"update marts.{row.table_name} set {row.column_name} = {row.column_name} || $hostile"
        for row in keys().itertuples()
    ]
    altered(*changes, quarantined, *everywhere, hostile=HOSTILE)
    aa.keep(warehouse.settings.read(), splits(HOSTILE))
    page = report.page(name)
    assert "alert(1)" in page, "the text is shown"
    assert not [
        part
        for part in ("<script", "<img", "\x1b", "\x00", "\u202e", "<b>b</b>", 'href="javascript')
        if part in page
    ]
    assert len(page) < 3_000_000


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_report__ten_years__is_drawn(name, altered):
    altered(
        *(
            f"insert into marts.{table} select t.* replace ({column} - n * interval 27 days as {column}) "
            f"from marts.{table} as t, range(1, 136) as past (n)"
            for table, column in (
                ("fct_flag_exposures_daily", "day"),
                ("fct_segment_sizes_daily", "day"),
                ("fct_cohort_sizes_daily", "day"),
                ("fct_experiment_results_daily", "day"),
                ("fct_deliveries_hourly", "hour"),
            )
        ),
        "insert into marts.fct_cohort_retention select t.* replace (start_period - n * interval 28 days as start_period) "
        "from marts.fct_cohort_retention as t, range(1, 136) as past (n)",
    )
    assert is_drawn(report.page(name), name)


ONE_DAY = (
    *(
        f"delete from marts.{table} where {column} >= '2026-09-02'"
        for table, column in (
            *(("fct_flag_exposures_daily", "day"), ("fct_segment_sizes_daily", "day")),
            *(("fct_cohort_sizes_daily", "day"), ("fct_experiment_results_daily", "day")),
            *(("fct_deliveries_hourly", "hour"), ("fct_flag_exposures", "first_exposed_at")),
            *(("fct_flag_assignments", "valid_from"), ("dim_identities", "first_seen_at")),
            *(("fct_segment_memberships", "entered_at"), ("fct_cohort_memberships", "entered_at")),
            *(("fct_flag_changes", "received_at"), ("fct_identity_traits", "valid_from")),
        )
    ),
    "update marts.dim_identities set last_seen_at = timestamp '2026-09-01 23:55'",
    "update marts.dim_experiments set last_received_at = timestamp '2026-09-01 23:55'",
    "delete from marts.fct_experiment_curves where days_since_exposure > 0",
    "delete from marts.fct_cohort_retention where period_number > 0",
)


@pytest.mark.parametrize("name", ["index", "experiment_readout"])
def test_experiments__declared_end_has_passed_without_a_webhook__is_said_by_the_wall_clock(
    altered, monkeypatch, name
):
    altered(
        "update marts.dim_experiments set status = 'running', end_reason = null, ended_at = timestamp '2026-11-01'"
    )
    for day, is_over in ((datetime(2026, 10, 31), False), (datetime(2026, 11, 1), True)):
        monkeypatch.setattr(status, "_now", lambda day=day: day.replace(tzinfo=UTC))
        page = report.page(name)
        assert ("ended, by its declared end" in page) == is_over, day


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__one_day__is_drawn_and_says_what_is_missing(name, altered):
    altered(*ONE_DAY)
    page = report.page(name)
    assert is_drawn(page, name)
    assert not re.search(r"\b(nan|NaT|None|inf)\b", re.sub(r'href="[^"]*"', "", page).replace("None was", ""))


def test_flag_exposure__one_variation_on_one_day__is_drawn(altered):
    altered(
        "delete from marts.fct_flag_exposures_daily where day <> '2026-09-05' or variation <> 'control' "
        "or feature_name <> 'checkout_button'",
        "delete from marts.dim_flags where name <> 'checkout_button'",
        "delete from marts.fct_flag_assignments where variation <> 'control'",
    )
    outputs, found = run("flag_exposure")
    assert drawn(found["evaluations_chart"]).variation.unique().tolist() == ["control"]
    assert "5 September 2026 (UTC)" in html(outputs)
    assert "Nobody was given another variation" in html(outputs)


def test_flag_exposure__200_flags_two_of_one_name__can_all_be_picked(altered):
    altered(
        "insert into marts.dim_flags select environment, feature_id + n * 1000, "
        "case when n < 3 then name else name || n end, dim_flags.* exclude (environment, feature_id, name) "
        "from marts.dim_flags, range(1, 10) as numbers (n)"
    )
    _, found = run("flag_exposure")
    assert len(found["flags"]) == 230
    assert sorted(found["flag_picker"].options.values()) == sorted(found["flags"].feature_id)


def test_flag_exposure__more_variations_than_colours__the_rarest_are_others(altered):
    altered(
        "update marts.fct_flag_exposures_daily set variation = variation || day(day) "
        "where feature_name = 'checkout_button'"
    )
    _, found = run("flag_exposure")
    chart = drawn(found["evaluations_chart"])
    assert chart.variation.nunique() == 8 and "others" in set(chart.variation)
    assert chart.evaluations.sum() == found["daily"].evaluations.sum()


def test_data_health__quarantined__are_listed_with_their_reason(altered):
    altered(
        "insert into marts.quarantined_deliveries by name select '1' as delivery_id, 'example' as environment, "
        "'not_json' as reason, '<script>' as body_excerpt, timestamp '2026-09-03' as received_at"
    )
    page = report.page("data_health")
    assert "not json" in page and "&lt;script&gt;" in page and "<script>" not in page


# The pages.


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_report__a_page__needs_nothing_from_outside(name, here):
    page = report.page(name)
    assert is_drawn(page, name) and page.count("@font-face") == 2
    assert not [
        part for part in ("<script", "<link", "src=", 'href="http', "url(http", "@import") if part in page
    ]


def test_report__command__writes_the_pages_it_names(here, tmp_path):
    arguments = ["--to", str(tmp_path), "--notebook", "flag_exposure", "--pick", "feature_id=2"]
    done = CliRunner().invoke(report.main, arguments)
    assert done.exit_code == 0, done.output
    assert ">dark_mode</h2>" in (tmp_path / "flag_exposure.html").read_text()


WITHOUT_PRIMARY = (
    "update marts.fct_experiment_results set role = 'secondary' where experiment_key = 'example_tour'"
)
# Twelve experiments that began later and have nobody, so that the two of the example are not among the first.
TWELVE_LATER = (
    "insert into marts.dim_experiments by name select experiments.* replace (n::varchar as experiment_key, "
    "experiments.started_at + interval 1 day as started_at) from marts.dim_experiments as experiments, range(1, 13) as later (n) "
    "where experiment_key = 'example_tour'"
)


# All pages take a choice that one of them has.
PICKS = (
    "population=activated",
    "environment=example",
    "from=2026-09-03",
    "metric=example_page_views",
)


@pytest.fixture(scope="module")
def reported(month, tmp_path_factory) -> Path:
    """The folder with a whole report, and a page of the identity user_7."""
    folder = tmp_path_factory.mktemp("reported")
    with mock.patch.dict(os.environ, {"FLAGSMITH_WAREHOUSE_DIR": str(month)}):
        done = CliRunner().invoke(report.main, ["--to", str(folder), "--identity", "user_7"])
    assert done.exit_code == 0, done.output
    written = [line.split(" (")[0].rpartition("/")[2] for line in done.output.splitlines()]
    assert len(written) == len(set(written)), "no page is written twice"
    return folder


def links_of(folder: Path) -> set[str]:
    return {
        link
        for file in folder.glob("*.html")
        for link in re.findall(r'href="(?!data:)([^"]*)"', file.read_text())
    }


def test_reported_people__of_each_variation__is_one_by_the_primary_metric(altered):
    """Given an experiment without a primary metric; then it has nobody."""
    altered(WITHOUT_PRIMARY)
    known_for = [one.known_for for one in warehouse.reported_people()]
    assert known_for == [f"Checkout button: {one}" for one in ("control", *(f"variant_{n}" for n in "abc"))]


def test_report__all_pages__link_only_to_pages_that_are_there(reported):
    links = links_of(reported)
    assert "experiment_readout.example_checkout.html" in links
    assert any(link.startswith("one_identity.example.user_") for link in links)
    assert {link for link in links if not (reported / link).exists()} == set()


@pytest.mark.parametrize(
    ("change", "picks"),
    [
        # The tour has no primary metric; the other experiment is read in another population.
        (WITHOUT_PRIMARY, PICKS),
        (TWELVE_LATER, ["experiment=example_checkout"]),
    ],
    ids=["without a primary metric, or of another population", "beyond the first twelve"],
)
def test_report__with_picks__links_only_to_pages_that_are_there(change, picks, altered, tmp_path):
    altered(change)
    folder = tmp_path / "reports"
    options = [part for pick in picks for part in ("--pick", pick)]
    done = CliRunner().invoke(report.main, ["--to", str(folder), *options])
    assert done.exit_code == 0, done.output
    links = links_of(folder)
    is_first = change == WITHOUT_PRIMARY
    assert ("experiment_readout.example_checkout.html" in links) == is_first
    assert any(link.startswith("one_identity.example.user_") for link in links) == is_first
    assert {link for link in links if not (folder / link).exists()} == set()
    for name in ("data_health", "flag_exposure"):
        assert ("3–28 September 2026" in (folder / f"{name}.html").read_text()) == (
            "from=2026-09-03" in picks
        )


def test_demo__its_cohorts__are_those_of_the_recipes():
    cohorts = yaml.safe_load((example.FOLDER / "cohorts.yml").read_text())
    assert {"cohorts": cohorts} == yaml.safe_load(
        re.search(r"```yaml\n(.*?)```", RECIPES.read_text(), re.S)[1]
    )


def test_report__stale_flags_and_people__have_pages_of_their_own(reported, here):
    stale = warehouse.stale_flags()
    for row in stale.itertuples():
        page = (reported / f"flag_exposure.{row.environment}.{row.feature_id}.html").read_text()
        assert f"can go: recently everybody got {show.escape(show.shortened(row.everybody_gets))}" in page
    of_flag = 'href="flag_exposure.example.1.html">checkout_button</a>'
    for name in ("flag_exposure", "one_identity.user_7", "segments_and_cohorts"):
        assert of_flag in (reported / f"{name}.html").read_text(), "a flag of an experiment has its page"
    listed = (reported / "one_identity.html").read_text()
    assert "user_7</a> (named when this report was made)" in listed
    assert "Checkout button: variant_b" in listed and "report --identity ann" in listed
    assert ">user_7</h2>" in (reported / "one_identity.user_7.html").read_text()


def test_flag_exposure__a_flag_that_can_go__has_its_evidence_first(here):
    stale = warehouse.stale_flags().set_index("name").loc["theme"]
    outputs, _ = run("flag_exposure", environment=stale.environment, feature_id=int(stale.feature_id))
    page = html(outputs)
    assert page.index("theme can go") < page.index("What was given")
    others = warehouse.ask(
        "select variation, count(distinct identity) as n, max(last_exposed_at) as last from marts.fct_flag_exposures "
        "where feature_name = 'theme' and variation <> 'green' group by variation"
    )
    assert len(others) > 0
    for row in others.itertuples():
        given = f"{row.variation} was given to {words.quantity(row.n, 'identity')}, last on {show.moment(row.last)}."
        assert given in page
    assert (
        f"last given another value on {show.moment(stale.since)}. Since then everybody has been given green."
        in page
    )
    assert "can go" not in html(run("flag_exposure")[0]).replace("which flags can go", "")


@pytest.mark.parametrize(
    ("pick", "answer"),
    [
        ("environment", "write it like environment=production"),
        ("environment=nope", "no page has environment=nope. It can be example."),
        ("experiment=nope", "no page has experiment=nope. It can be example_checkout, example_tour."),
        ("feature_id=99999", "no page has feature_id=99999. It can be 1, "),
        ("feature_id=x", "no page has feature_id=x. It can be 1, "),
        ("from=yesterday", "no page has from=yesterday. It can be a day from 2026-09-01 to 2026-09-28."),
        ("until=2026-09-03", "no page lets you choose 'until'. You can choose environment, "),
    ],
)
def test_report__a_pick_that_no_page_has__is_refused_with_those_that_there_are(here, tmp_path, pick, answer):
    done = CliRunner().invoke(report.main, ["--to", str(tmp_path / "reports"), "--pick", pick])
    assert done.exit_code == 2
    assert answer in " ".join(done.output.split())
    assert not list(tmp_path.rglob("*.html"))


# Reading blocks nobody.


def test_page__the_copy_is_replaced_meanwhile__shows_one_state(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))
    for name, day in (("published", 1), ("next", 2)):
        with duckdb.connect(tmp_path / f"{name}.duckdb") as connection:
            connection.execute(f"create table refreshed as select {day} as day")
    asked = "select day from refreshed"
    with warehouse.kept_open():
        (tmp_path / "next.duckdb").replace(tmp_path / "published.duckdb")
        assert warehouse.ask(asked).day.tolist() == [1]
    assert warehouse.ask(asked).day.tolist() == [2]


def test_source__a_published_copy__is_what_is_read(month, tmp_path, monkeypatch):
    shutil.copy(month / "warehouse.duckdb", tmp_path / "published.duckdb")
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))
    assert warehouse.source("dim_flags").path == tmp_path / "published.duckdb"
    assert "published.duckdb" in report.page("data_health")


def test_ask__a_writer_has_the_file__says_so_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path))
    monkeypatch.setattr(warehouse, "WAIT_SECONDS", 0.2)
    file = tmp_path / "warehouse.duckdb"
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        with pytest.raises(warehouse.WarehouseError, match="`flagsmith-warehouse publish`"):
            warehouse.ask("select 1")
        writer.communicate(b"\n")
    assert warehouse.ask("select 1 as one").one[0] == 1


def test_notebooks__read_and_done__leave_the_warehouse_to_a_writer(altered, tmp_path):
    altered()
    run("flag_exposure")
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()


@pytest.mark.parametrize("name", report.NOTEBOOKS)
def test_notebooks__exported__are_jupyter_notebooks_with_their_sql(name, tmp_path):
    file = tmp_path / f"{name}.ipynb"
    source = warehouse.settings.PROJECT_FOLDER / "notebooks" / f"{name}.py"
    command = [sys.executable, "-m", "marimo", "-q", "export", "ipynb", str(source), "-o", str(file)]
    subprocess.run(command, check=True)
    cells = json.loads(file.read_text())["cells"]
    assert any("from marts." in "".join(cell["source"]) for cell in cells)
