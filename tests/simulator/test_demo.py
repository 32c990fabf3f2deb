"""The demo shows what happened, and stops where something is wrong."""

import io
import re
from collections import Counter
from pathlib import Path, PurePath

import duckdb
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.simulator import demo, report
from flagsmith_warehouse.simulator.demo import Demo, DemoError, Sent
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.sender import Fate, Outcome
from flagsmith_warehouse.simulator.world import World

from .test_truth import MARTS, comparable, expected

DELIVERY = next(World(Parameters(deliveries=20, identities=2)).deliveries())


def outcome(fate: Fate, *statuses: int | None) -> Outcome:
    return Outcome(DELIVERY, fate, len(statuses), statuses)


def demo_that_sent(*outcomes: Outcome) -> Demo:
    one = Demo(demo.PROJECT / "data" / "never-made")
    for each in outcomes:
        one.sent.note(each)
    return one


def test_account__acknowledged_but_not_landed__stops_the_demo():
    with pytest.raises(DemoError, match="all acknowledged webhooks"):
        demo_that_sent(outcome(Fate.DELIVERED, 204)).account(Counter())


def test_account__landed_twice_though_sent_once__stops_the_demo():
    one = demo_that_sent(outcome(Fate.DELIVERED, 204))
    with pytest.raises(DemoError, match="at most 0 more"):
        one.account(Counter({key: 2 for key in one.sent.acknowledged}))


def test_account__stored_but_the_answer_was_cut_off__is_no_fault():
    one = demo_that_sent(outcome(Fate.DELIVERED, None, 204))
    one.account(Counter({key: 2 for key in one.sent.acknowledged}))


def test_sent__lost_and_refused__are_not_taken_for_acknowledged():
    sent = Sent()
    sent.note(outcome(Fate.LOST, None, None, None))
    sent.note(outcome(Fate.REFUSED, 401, 401, 401))
    assert (sent.acknowledged.total(), sent.unanswered_attempts) == (0, 3)


def shown(warehouse) -> str:
    text = io.StringIO()
    report.show(Console(file=text, width=100), warehouse)
    return text.getvalue()


def test_report__only_some_marts_exist__answers_what_they_can(tmp_path):
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute(
            "create table marts.quarantined_deliveries as select 'production' as environment, "
            "'not_json' as reason, '[bold]no[/] markup' as body_excerpt"
        )
    text = shown(tmp_path / "warehouse.duckdb")
    assert "[bold]no[/] markup" in text
    assert [question.text in text for question in report.QUESTIONS].count(True) == 1


def test_report__experiment__shows_the_interval_beside_the_truth(tmp_path):
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute(
            "create table marts.fct_experiment_results as select variation, population, 'example_purchased' as metric_key, "
            "'example_checkout' as experiment_key, "
            "100 as identities, 0.3 as mean, lift as relative_lift, lift - 0.5 as relative_low, lift + 0.5 as relative_high, "
            "'losing' as verdict from (values ('control', null), ('variant_c', -0.2::double)) as arms (variation, lift), "
            "(values ('assigned'), ('activated')) as populations (population)"
        )
    rows = [line for line in shown(tmp_path / "warehouse.duckdb").splitlines() if "variant_c" in line]
    assert len(rows) == 1 and all(cell in rows[0] for cell in ("-0.1 ", "-0.2 ", "-0.70 to 0.30"))


@pytest.mark.parametrize("bin_folder", [".venv/bin", PurePath("/somewhere/bin")])
def test_where_next__its_variables__are_those_of_the_demo_from_anywhere(bin_folder, monkeypatch):
    """Given a demo in the clone, or elsewhere; then its variables lead there, and the first words to the notebooks."""
    said = demo.where_next(demo.PROJECT / "data" / "demo", "{}", bin_folder)
    (variables,) = re.findall(r"export (FLAGSMITH_PROJECT_DIR=.*)", said)
    for name, value in (pair.split("=") for pair in variables.split()):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("flagsmith_warehouse.loader.settings._project_dir", lambda named: Path(named))
    assert settings_module.read().warehouse_dir == demo.PROJECT / "data" / "demo"
    assert "notebook" in said.splitlines()[2]
    Text.from_markup(said)


@pytest.mark.parametrize(("setting", "is_told"), [(None, False), ("mine", True), ("demo", False)])
def test_demo__its_folder__is_named_and_a_setting_that_leads_elsewhere_too(
    setting, is_told, tmp_path, monkeypatch
):
    monkeypatch.delenv("FLAGSMITH_WAREHOUSE_DIR", raising=False)
    if setting:
        monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", str(tmp_path / setting))
    monkeypatch.setattr(Demo, "run", lambda self: None)
    monkeypatch.setattr(demo, "console", Console(file=(text := io.StringIO()), highlight=False))
    done = CliRunner().invoke(demo.demo, ["--to", str(tmp_path / "demo")])
    assert done.exit_code == 0, done.output
    assert f"The demo writes to {tmp_path / 'demo'}, which it empties first." in text.getvalue()
    assert ("FLAGSMITH_WAREHOUSE_DIR (" in text.getvalue()) == is_told
    told = " ".join(CliRunner().invoke(demo.demo, ["--help"]).output.split())
    assert "FLAGSMITH_WAREHOUSE_DIR is not read" in told


def test_demo__the_whole__loses_nothing_and_its_marts_are_what_was_intended(tmp_path, monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(demo, "console", Console(file=text, width=120, highlight=False))
    month = Parameters(deliveries=2_000, identities=200, environments=("example",), transient=0.1)
    monkeypatch.setattr(demo, "MONTH", month)
    one = Demo(tmp_path / "demo")
    one.run()
    said = text.getvalue()
    assert "refused with 401" in said and "accepted with 204" in said and "0 of them are missing" in said
    assert one.sent.unanswered_attempts > 0, "the kill came when nothing was under way"
    answered = {question.mart for question in report.QUESTIONS if question.text in said}
    assert answered >= {question.mart for question in report.QUESTIONS} - {"fct_experiment_results"}
    evaluations = list(World(month).evaluations())
    for mart, intended, columns in MARTS:
        rows = rows_of(one.warehouse, f"select * from marts.{mart} where environment = 'example'")
        assert comparable(rows, columns) == expected(intended(evaluations), columns), mart


def rows_of(warehouse, query: str) -> list[dict]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        relation = connection.sql(query)
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
