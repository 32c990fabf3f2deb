"""Captures are landed from files: verified, and exactly once."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.landing import captures as replay
from tests.loader.server import sign
from tests.operations.conftest import CAPTURED, SECRETS, environ_of, invoke, receive


def landed(settings, columns="environment, received_at, body, is_verified"):
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        return warehouse.execute(
            f"select {columns} from landing.webhooks order by delivery_id"
        ).fetchall()  # from this file


def capture(body="{}", path="/webhooks/production", received_at="2026-05-03T12:00:00.000001Z", **more):
    return {"received_at": received_at, "path": path, "headers": sign(body.encode()), "body": body, **more}


@pytest.fixture
def land(tmp_path, environ):
    """Write captures to a file and land it."""

    def write_and_land(*captures, arguments=()):
        lines = [c if isinstance(c, bytes) else json.dumps(c).encode() for c in captures]
        (tmp_path / "captures.ndjson").write_bytes(b"\n".join(lines))
        return invoke(environ, "land", "--from", str(tmp_path / "captures.ndjson"), *arguments)

    return write_and_land


def test_replay__captured_requests_twice__each_is_landed_once_as_it_was_sent(environ, settings):
    arguments = ("land", "--from", str(CAPTURED), "--environment", "production")
    first, second = invoke(environ, *arguments), invoke(environ, *arguments)
    requests = [json.loads(line) for line in CAPTURED.read_text().splitlines()]
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "Landed 126 captures" in first.output and "Landed 0 captures" in second.output
    assert sorted(landed(settings, "body, is_verified")) == sorted(
        (each["body"], "X-Flagsmith-Signature" in each["headers"]) for each in requests
    )
    expected = sorted(each["received_at"].rstrip("Z").replace("T", " ") for each in requests)
    assert [f"{at:%Y-%m-%d %H:%M:%S.%f}" for (at,) in landed(settings, "received_at")] == expected


def test_replay__two_files_and_a_repetition_in_one__the_same_capture_counts_once(environ, settings, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{json.dumps(capture(headers={}))}\n\n{json.dumps(capture())}\n")
    ran = invoke(environ, "land", "--from", str(tmp_path / "a"), str(tmp_path / "b"))
    assert ran.exit_code == 0, ran.output
    assert landed(settings, "is_verified") == [(True,)]


def test_replay__again_under_a_privacy_rule__is_not_landed_again(environ, settings, land, tmp_path):
    """Given a capture whose body is another one under the rule; then it is known by its id."""
    rules = tmp_path / "privacy.toml"
    rules.write_text('[traits]\nplan = "drop"')
    trait = {"trait_key": "plan", "trait_value": "free"}
    body = json.dumps({"flags": [], "identity": "ann", "segments": [], "traits": [trait]})
    for _ in range(2):
        ran = land(capture(body))
        assert ran.exit_code == 0, ran.output
        environ["FLAGSMITH_PRIVACY_FILE"] = str(rules)
    assert landed(settings, "body") == [(body,)]


def test_replay__what_the_loader_has_landed_itself__is_not_landed_again(environ, settings, land):
    receive(settings, b"{}")
    invoke(environ, "land")
    ((environment, at, body, _),) = landed(settings)
    again = capture(body, f"/webhooks/{environment}", at.isoformat())
    ran = land(again, capture(body, "/webhooks/staging", at.isoformat(), headers=sign(b"{}", "s")))
    assert ran.exit_code == 0, ran.output
    assert sorted(row[0] for row in landed(settings)) == [environment, "staging"]


def test_replay__killed_between_batches__the_next_run_lands_the_rest(environ, settings, land, monkeypatch):
    captures = [capture(f'{{"n": {number}}}') for number in range(10)]
    monkeypatch.setattr("flagsmith_warehouse.loader.landing.batch.BATCH_BYTES", 20)
    with monkeypatch.context() as patch:
        patch.setattr(replay, "_land_batch", _killed_after(3))
        assert isinstance(land(*captures).exception, KeyboardInterrupt | SystemExit)
    assert 0 < len(landed(settings)) < 10
    assert land(*captures).exit_code == 0
    assert len(landed(settings)) == 10


def _killed_after(batches):
    left = iter(range(batches))
    land_batch = replay._land_batch

    def until_killed(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return land_batch(*arguments)

    return until_killed


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (
            {**capture(), "body": '{"altered": 1}'},
            "no secret of the environment production made its signature",
        ),
        (capture(headers={"x-flagsmith-signature": 7}), "no secret"),
        (capture(path="/hook"), "--environment NAME"),
        (capture(path="/webhooks/a/b"), "--environment NAME"),
        (capture(received_at="yesterday"), "received_at"),
        (capture(received_at=None), "received_at"),
        (capture(received_at="0001-01-01T00:00:00+14:00"), "received_at"),
        ({**capture(), "body": None}, "body"),
        ({**capture(), "body": "\ud800"}, "surrogate"),
        (capture(path="http://[bad/"), "is not an address"),
        (capture(path="http://\u2100/webhooks/production"), "is not an address"),
        (capture(path="/webhooks/\ud800", headers={}), "half a character"),
        (capture(path="/webhooks/a%2Fb"), "--environment NAME"),
        (capture(path="/webhooks/..", headers={}), "'..' cannot be an environment"),
        (capture(path="/webhooks/%00", headers={}), "cannot be an environment"),
        (capture(path="/webhooks/%20production", headers={}), "' production' cannot be an environment"),
        (capture(path=["/webhooks/production"]), "--environment NAME"),
        (capture(path="/hook/" + "x" * 100_000), "x…x"),
        (capture(received_at="0001-01-01T00:00:00Z"), "before 1970"),
        (capture(received_at="1969-12-31T23:59:59.999999Z"), "before 1970"),
        (capture(received_at="2199-01-01T00:00:00Z"), "in the future"),
        (capture(received_at="9999-12-31T23:59:59Z"), "in the future"),
        (capture(received_at=(datetime.now(UTC) + timedelta(hours=9)).isoformat()), "in the future"),
        (capture(headers=[["x-flagsmith-signature", "0" * 64]]), "no secret"),
        (capture(headers=[{"name": "X-Flagsmith-Signature", "value": "0" * 64}]), "no secret"),
        (capture(headers={"HTTP_X_FLAGSMITH_SIGNATURE": "0" * 64}), "no secret"),
        (capture(headers={"X-Flagsmith-Signature": ["0" * 64]}), "no secret"),
        (capture(headers={"X-Flagsmith-Signature": None}), "no secret"),
        (capture(headers={"X-Flagsmith-Signature": ""}), "no secret"),
        (
            capture(headers=[*sign(b"{}").items(), ("x-flagsmith-signature", "0" * 64)]),
            "two different signatures",
        ),
        (capture(headers={**sign(b"{}"), "x-flagsmith-signature": "0" * 64}), "two different signatures"),
        (
            json.dumps(capture())
            .replace('"headers": {', '"headers": {"X-Flagsmith-Signature": "0", ')
            .encode(),
            "two different signatures",
        ),
        (json.dumps(capture()).replace('"body"', '"headers": {}, "body"').encode(), "`headers` twice"),
        (capture(headers="X-Flagsmith-Signature: 0"), "neither an object nor a list of pairs"),
        (capture(headers=["X-Flagsmith-Signature", "0"]), "neither an object nor a list of pairs"),
        (capture(headers=7), "neither an object nor a list of pairs"),
        (capture(headers={"X-Flagsmith-Signature:": "0"}), "mentions the signature in its headers"),
        (
            capture(headers={"X-Flagsmith-Signature\u200b": "0"}),
            "mentions the signature in its headers",
        ),
        (capture(headers={"headers": sign(b"{}")}), "mentions the signature in its headers"),
        (capture(headers=[["X-Flagsmith-Signature: 0", ""]]), "mentions the signature in its headers"),
        (b'{"received_at": ' + b"1" * 5_000 + b"}", "not a JSON object"),
    ],
)
def test_replay__a_line_that_cannot_be_landed__is_named_and_holds_up_no_other(land, settings, line, why):
    ran = land(line, capture())
    assert ran.exit_code == 1
    assert "captures.ndjson, line 1: " in ran.output and why in ran.output
    assert len(landed(settings)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        lambda name, value: [[name, value]],
        lambda name, value: [["Host", "h"], [name.upper(), value], [name, value]],
        lambda name, value: [{"name": name, "value": value}],
        lambda name, value: {name: [value]},
        lambda name, value: {f" {name.lower()} ": f" {value} "},
        lambda name, value: {"HTTP_X_FLAGSMITH_SIGNATURE": value, "CONTENT_LENGTH": 2},
    ],
)
def test_replay__headers_in_another_form__the_signature_counts(land, settings, headers):
    ((name, value),) = sign(b"{}").items()
    ran = land(capture(headers=headers(name, value)))
    assert ran.exit_code == 0, ran.output
    assert landed(settings, "is_verified") == [(True,)]


def test_replay__a_clock_that_differs_by_less_than_an_hour__is_landed(land, settings):
    soon = datetime.now(UTC) + timedelta(minutes=50)
    assert land(capture(received_at=soon.isoformat())).exit_code == 0
    assert len(landed(settings)) == 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
TIMES = st.datetimes().map(lambda at: at.isoformat() + "Z")
PATHS = st.text(max_size=20).map(lambda rest: f"/webhooks/{rest}") | st.text(max_size=20).map(
    lambda rest: f"http://{rest}"
)
ODD_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "received_at": TIMES | VALUES,
        "path": PATHS | VALUES,
        "headers": VALUES,
        "body": VALUES,
        "secret": VALUES,
    },
)
# Only the path is odd, so that most lines are captures.
ODD_PATHS = PATHS.map(lambda path: capture(path=path, headers={}))


@given(ODD_REQUESTS | ODD_PATHS, st.none() | st.text(min_size=1, max_size=5))
@hypothesis_settings(deadline=None, max_examples=400)
def test_read_capture__whatever_the_line__is_a_capture_or_says_why_not(request, environment):
    settings = settings_module.read(environ_of(CAPTURED.parent))
    try:
        read = replay.read_capture(settings, json.dumps(request).encode(), environment)
    except replay.CaptureError:
        return
    assert read.delivery_id and read.environment.encode() and read.received_at >= 0
    assert settings_module.can_name_environment(read.environment)


def test_replay__many_bad_lines__a_screenful_is_described_and_the_rest_counted(land):
    ran = land(*[b"{"] * 25)
    assert ran.output.count("line ") == replay.DESCRIBED and "and 15 more lines" in ran.output


def test_replay__paths_headers_and_clocks_as_proxies_write_them__are_understood(land, settings):
    ran = land(
        capture(
            path="/flagsmith/webhooks/production/?token=1",
            headers={"X-FLAGSMITH-SIGNATURE": sign(b"{}")["X-Flagsmith-Signature"]},
        ),
        capture(path="/webhooks/%C3%BCmwelt", headers={}, received_at="2026-05-03T14:00:00+02:00"),
        capture(path="/webhooks/gone", **{"secret": "rotated away"}, headers=sign(b"{}", "rotated away")),
        capture(path="/hook", headers={}, received_at="2026-05-03T13:00:00"),
        arguments=["--environment", "other"],
    )
    assert ran.exit_code == 0, ran.output
    rows = {environment: (f"{at:%H:%M}", verified) for environment, at, _, verified in landed(settings)}
    assert rows == {
        "production": ("12:00", True),
        "ümwelt": ("12:00", False),
        "gone": ("12:00", True),
        "other": ("13:00", False),
    }


def test_replay__one_environment_configured__is_that_of_paths_that_name_none(environ, settings, land):
    environ["FLAGSMITH_WEBHOOK_SECRETS"] = json.dumps({"production": SECRETS["production"]})
    ran = land(capture(path="/hook"), capture(path="/webhooks/other", headers={}))
    assert ran.exit_code == 0, ran.output
    assert {environment for environment, *_ in landed(settings)} == {"production", "other"}


def test_land__files_without_from__says_how(environ, tmp_path):
    ran = invoke(environ, "land", "--environment", "production")
    assert ran.exit_code == 2 and "--from FILE..." in ran.output
