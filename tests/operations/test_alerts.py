"""Alerts are raised when they should be, and only then. The canary measures loss and delay."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from flagsmith_warehouse.loader.settings import PROJECT_FOLDER
from tests.marts.reference import Landed
from tests.marts.warehouse import Warehouse

NOW = datetime.now(UTC).replace(tzinfo=None)
EVALUATION = '{"flags": [], "identity": "a", "segments": [], "traits": []}'
ALERTS = (
    "assert_no_environment_is_unusually_silent",
    "assert_few_deliveries_are_quarantined",
    "assert_deliveries_are_landed_soon",
)


def delivered(at, environment="production", body=EVALUATION, landed_after=1.0):
    key = f"{environment}{at}{body}".encode()
    return Landed(
        hashlib.sha256(key).hexdigest()[:32], environment, at, at + timedelta(seconds=landed_after),
        hashlib.sha256(body.encode()).hexdigest(), True, "utf-8", body,
    )  # fmt: skip


def hourly(environment, last_hours_ago, days=4, per_hour=3):
    """Deliveries in every hour, the last one the given number of hours ago."""
    last = NOW - timedelta(hours=last_hours_ago)
    return [
        delivered(last - timedelta(hours=hour, seconds=second), environment)
        for hour in range(24 * days)
        for second in range(per_hour)
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Environments of every kind, built once."""
    warehouse = Warehouse(tmp_path_factory.mktemp("alerts"))
    rows = [
        *hourly("lively", 0.1),
        *hourly("silent", 12),
        *hourly("retired", 24 * 8),
        *hourly("slow to speak", 12, per_hour=1),
        *[delivered(NOW - timedelta(minutes=n), "broken", "{") for n in range(21)],
        *[delivered(NOW - timedelta(minutes=n), "a little broken", "{") for n in range(20)],
        *[delivered(NOW - timedelta(minutes=n), "late", landed_after=4000) for n in range(1)],
        *canaries(),
    ]
    warehouse.land(rows)
    warehouse.dbt("run")
    return warehouse


def canaries():
    """Ten canary calls, one per minute: the 4th and 5th are lost, the 7th is delivered twice, and each takes a second."""
    start = NOW.replace(microsecond=0) - timedelta(minutes=30)
    for number in range(10):
        sent_at = start + timedelta(minutes=number)
        body = json.dumps({"flags": [], "identity": "warehouse-canary", "segments": [], "traits": [
            {"trait_key": "canary_sent_at", "trait_value": int(sent_at.replace(tzinfo=UTC).timestamp())}]})  # fmt: skip
        if number not in (3, 4):
            yield delivered(sent_at + timedelta(microseconds=1_253_472), "canary", body)
        if number == 6:
            yield delivered(sent_at + timedelta(seconds=12), "canary", body)


def failing(world, name):
    """The environments for which the alert is raised, read from the rows that dbt stores for a failing test."""
    results = world.dbt("test", "--select", name, "--store-failures")
    (result,) = [result for result in results if result.node.resource_type == "test"]
    if result.status == "pass":
        return set()
    assert result.status == "warn"
    return {row["environment"] for row in world.query(f"select * from {result.node.relation_name}")}


def test_silence__against_the_environments_own_rate__rings_for_that_one_alone(world):
    assert failing(world, ALERTS[0]) == {"silent"}


def test_quarantine__more_than_a_few__rings(world):
    assert failing(world, ALERTS[1]) == {"broken"}


def test_landing__more_than_an_hour_late__rings(world):
    assert failing(world, ALERTS[2]) == {"late"}


def test_canary__two_lost_and_one_sent_again__is_measured(world):
    calls = sorted(world.mart("fct_canary_calls"), key=lambda call: call["sent_at"])
    assert [call["lost_before"] for call in calls] == [0, 0, 0, 2, 0, 0, 0, 0]
    assert [call["deliveries"] for call in calls] == [1, 1, 1, 1, 2, 1, 1, 1]
    assert {call["delivery_seconds"] for call in calls} == {1.253472}
    assert {call["landing_seconds"] for call in calls} == {1.0}


def test_canary_script__calls_flagsmith_as_its_api_wants_it():
    received = []

    class Flagsmith(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            received.append(
                (self.path, self.headers["X-Environment-Key"], json.loads(self.rfile.read(length)))
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Flagsmith) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/api/v1"
        environ = {"PATH": "/usr/bin:/bin", "FLAGSMITH_ENVIRONMENT_KEY": "key", "FLAGSMITH_API": address}
        subprocess.run([str(PROJECT_FOLDER / "deploy" / "canary.sh")], env=environ, check=True, timeout=20)
        thread.join()
    ((path, key, sent),) = received
    assert (path, key, sent["identifier"]) == ("/api/v1/identities/", "key", "warehouse-canary")
    (trait,) = sent["traits"]
    assert trait["trait_key"] == "canary_sent_at" and trait["transient"] is True
    assert abs(trait["trait_value"] - datetime.now(UTC).timestamp()) < 30


def test_canary_script__without_a_key__says_what_is_missing():
    ran = subprocess.run(
        [str(PROJECT_FOLDER / "deploy" / "canary.sh")], env={"PATH": "/bin"}, capture_output=True
    )
    assert ran.returncode != 0 and b"FLAGSMITH_ENVIRONMENT_KEY" in ran.stderr
