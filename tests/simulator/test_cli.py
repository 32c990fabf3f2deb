"""The command writes files, counts, and says what is wrong."""

import io
import json
import socket

import duckdb
import pytest
from click.testing import CliRunner

from flagsmith_warehouse.simulator.cli import simulate
from flagsmith_warehouse.simulator.conversions import conversions, write
from flagsmith_warehouse.simulator.example import MONTH
from flagsmith_warehouse.simulator.wire import sign
from flagsmith_warehouse.simulator.world import World

from .captured import REQUESTS
from .test_sender import receiver_that

SMALL = ("--deliveries", "60", "--identities", "6")
SECRETS = {"FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["new", "old"]}', "FLAGSMITH_WEBHOOK_SECRETS_DIR": ""}


def run(*arguments: str):
    return CliRunner().invoke(simulate, [*SMALL, *arguments], env=SECRETS)


def test_simulate__to_a_file__writes_lines_in_the_captured_shape(tmp_path):
    assert run("--to", str(tmp_path / "requests.ndjson")).exit_code == 0
    written = (tmp_path / "requests.ndjson").read_text(encoding="ascii")
    lines = [json.loads(line) for line in written.splitlines()]
    assert len(lines) > 60
    assert {tuple(line) for line in lines} == {tuple(request) for request in REQUESTS}
    for line in lines:
        assert line["secret"] == "new"  # made up above
        assert line["headers"]["X-Flagsmith-Signature"] == sign(line["body"].encode(), "new")
        assert line["path"] == "/webhooks/production"


def test_simulate__to_a_duckdb_file__appends_to_the_landing(tmp_path):
    answer = run("--to", str(tmp_path / "warehouse.duckdb"))
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        [(count,)] = warehouse.sql("select count(*) from landing.webhooks").fetchall()
    assert f"Appended {count} deliveries" in answer.output


def test_simulate__conversions__writes_the_outcomes_and_sends_nothing(tmp_path):
    assert run("--conversions", str(tmp_path / "events.csv")).exit_code == 0
    header = (tmp_path / "events.csv").read_text(encoding="utf-8").split("\n")[0]
    assert header == "identity,event_name,occurred_at,value,environment"


def test_simulate__conversions_of_a_sale__also_says_the_true_lifts(tmp_path):
    answer = run("--sale", "--steady", "--conversions", str(tmp_path / "events.csv"))
    assert answer.exit_code == 0
    assert answer.output.splitlines() == [
        "variant_a: the true lift of revenue is +5.0% for assigned, +5.0% for until_change",
        "variant_b: the true lift of revenue is +40.0% for assigned, +40.0% for until_change",
        "variant_c: the true lift of revenue is -10.0% for assigned, -10.0% for until_change",
    ]
    events = (tmp_path / "events.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",page_view," in event for event in events) == 60


def test_simulate__everything_taken__says_so():
    with receiver_that(lambda _: 204) as (url, requests):
        answer = run("--url", url, "--steady")
    assert (answer.exit_code, answer.output) == (0, "60 delivered, 0 lost, 0 refused.\n")
    assert len(requests) == 60


def test_simulate__nobody_listens__ends_with_an_error(monkeypatch):
    monkeypatch.setattr("flagsmith_warehouse.simulator.sender.LONGEST_WAITS", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = run("--url", f"http://127.0.0.1:{port}", "--steady")
    assert answer.exit_code == 1
    assert "0 delivered, 60 lost, 0 refused." in answer.output


def test_simulate__redirected__is_not_passed_off_as_delivered():
    with receiver_that(lambda _: 308) as (url, _):
        answer = run("--url", url, "--steady")
    assert answer.exit_code == 1
    assert "60 redirected" in answer.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--identities", "1000"), "ask for fewer identities or more deliveries"),
        (("--days", "0"), "must all be positive"),
    ],
)
def test_simulate__impossible_world__says_what_to_change(arguments, message):
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert message in " ".join(answer.output.split())


def test_simulate__as_documented_for_the_seed__writes_the_example_month(tmp_path):
    arguments = ["--environment", "example", "--deliveries", "20000", "--identities", "2000", "--conversions"]
    assert run(*arguments, str(tmp_path / "events.csv")).exit_code == 0
    expected = io.StringIO()
    write(conversions(World(MONTH)), expected)
    assert (tmp_path / "events.csv").read_text(encoding="utf-8") == expected.getvalue()
