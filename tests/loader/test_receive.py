"""How requests are answered, and which of them are kept."""

import base64
import dataclasses
import json

import pytest

from flagsmith_warehouse.loader.inbox import reader, writer
from flagsmith_warehouse.loader.inbox.writer import InboxError
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.receive.app import create_app
from flagsmith_warehouse.loader.receive.webhook import UNREADABLE, announced_length, body_limit
from flagsmith_warehouse.loader.settings import SettingsError, read
from tests.loader.conftest import SECRETS
from tests.loader.server import landed, sign

BODY = b'{"flags": [], "identity": "a", "segments": [], "traits": []}'


def kept(settings) -> int:
    return reader.backlog(settings.inbox_dir)[0]


@pytest.mark.parametrize("path", ["/webhooks/production", "/webhooks/production/"])
def test_webhook__signed__204_without_a_body_and_kept(client, settings, path):
    answer = client.post(path, data=BODY, headers=sign(BODY))
    assert (answer.status_code, answer.data) == (204, b"")
    assert kept(settings) == 1


@pytest.mark.parametrize("secret", SECRETS["production"])
def test_webhook__signed_with_any_secret_of_a_rotation__204(client, secret):
    assert client.post("/webhooks/production", data=BODY, headers=sign(BODY, secret)).status_code == 204


@pytest.mark.parametrize(
    ("method", "announced", "limit"),
    [
        ("POST", None, 101),
        ("POST", 0, 0),
        ("POST", 100, 100),
        ("POST", 101, 0),
        ("POST", UNREADABLE, 0),
        ("GET", 5, 0),
        ("PUT", None, 0),
    ],
)
def test_body_limit__no_byte_is_read_of_a_body_that_will_be_refused(settings, method, announced, limit):
    assert body_limit(method, announced, dataclasses.replace(settings, max_body_bytes=100)) == limit


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, None),
        ({"content-length": "20000000"}, 20_000_000),
        ({"content-length": "0020"}, 20),
        # With both headers, the framing is chunked: the length says nothing.
        ({"content-length": "20", "transfer-encoding": "chunked"}, None),
        ({"content-length": "-1"}, UNREADABLE),
        ({"content-length": "\u0661"}, UNREADABLE),
        ({"content-length": ""}, UNREADABLE),
    ],
)
def test_announced_length__any_header__the_length_or_why_there_is_none(headers, length):
    assert announced_length(headers) == length


def test_announced_length__more_digits_than_any_body_has__larger_than_every_limit():
    assert announced_length({"content-length": "9" * 5_000}) > 10**15


def test_webhook__secret_of_another_environment__401(client):
    assert client.post("/webhooks/production", data=BODY, headers=sign(BODY, "x")).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "//webhooks/production",
        "/webhooks//production",
        "/webhooks/production//",
        "/webhooks/production/more",
        "/webhooks/",
        "/webhooks",
        "/webhooks/Production",
        "/webhooks/unknown",
        "/webhooks/..",
        "/webhooks/any%2fproduction",
        "/webhooks/production%00",
        "/webhooks/%ff%fe",
        "/webhooks/" + "x" * 60_000,
    ],
)
def test_webhook__path_that_is_not_ours__404_and_never_a_redirect(client, settings, path):
    answer = client.open(base_url="http://localhost", path=path, method="POST", data=BODY, headers=sign(BODY))
    assert answer.status_code == 404
    assert answer.is_json
    assert kept(settings) == 0


def test_webhook__environment_with_any_letters__204(client):
    assert client.post("/webhooks/ümwelt/", data=BODY, headers=sign(BODY, "x")).status_code == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_webhook__wrong_method__405(client, method):
    assert client.open("/webhooks/production", method=method).status_code == 405


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({"X-Flagsmith-Signature": ""}, "missing"),
        ({"X-Flagsmith-Signature": "0" * 64}, "wrong"),
        ({"X-Flagsmith-Signature": "é"}, "malformed"),
        ({"X-Flagsmith-Signature": "sha256=" + "0" * 64}, "malformed"),
        (sign(BODY + b" "), "wrong"),
    ],
)
def test_webhook__not_signed_by_us__401_as_json_and_keeps_nothing(client, settings, headers, reason):
    answer = client.post("/webhooks/production", data=BODY, headers=headers)
    assert answer.status_code == 401
    assert answer.json["error"] == f"unauthorized_{reason}"
    assert kept(settings) == 0


def test_webhook__one_byte_altered__401_and_keeps_nothing(client, settings):
    for position in range(len(BODY)):
        altered = BODY[:position] + bytes([BODY[position] ^ 1]) + BODY[position + 1 :]
        assert client.post("/webhooks/production", data=altered, headers=sign(BODY)).status_code == 401
    assert kept(settings) == 0


def test_webhook__body_as_large_as_allowed__204_and_a_byte_more__413(environ):
    client = create_app(read({**environ, "FLAGSMITH_MAX_BODY_BYTES": "100"})).test_client()
    assert client.post("/webhooks/production", data=b"x" * 100, headers=sign(b"x" * 100)).status_code == 204
    assert client.post("/webhooks/production", data=b"x" * 101, headers=sign(b"x" * 101)).status_code == 413


def test_webhook__unknown_environment_and_too_large__404_first(environ):
    client = create_app(read({**environ, "FLAGSMITH_MAX_BODY_BYTES": "100"})).test_client()
    assert client.post("/webhooks/unknown", data=b"x" * 101).status_code == 404


def test_webhook__too_large_and_not_signed__413_first(environ):
    client = create_app(read({**environ, "FLAGSMITH_MAX_BODY_BYTES": "100"})).test_client()
    assert client.post("/webhooks/production", data=b"x" * 101).status_code == 413


def test_webhook__shorter_than_announced__400_and_keeps_nothing(client, settings):
    answer = client.post("/webhooks/development", data=BODY, environ_overrides={"CONTENT_LENGTH": "99"})
    assert answer.status_code == 400
    assert kept(settings) == 0


def test_webhook__unsigned_where_it_is_allowed__204_and_not_verified(client, settings, environ):
    assert client.post("/webhooks/development", data=BODY).status_code == 204
    assert client.post("/webhooks/production", data=BODY, headers=sign(BODY)).status_code == 204
    landing.land(settings)
    assert landed(environ, "environment, is_verified") == [("development", False), ("production", True)]


def test_webhook__unsigned_allowed_beside_a_secret__a_wrong_signature_is_still_refused(environ):
    client = create_app(read({**environ, "FLAGSMITH_UNSIGNED_ENVIRONMENTS": '["production"]'})).test_client()
    assert client.post("/webhooks/production", data=BODY).status_code == 204
    assert client.post("/webhooks/production", data=BODY, headers=sign(BODY, "x")).status_code == 401


def test_webhook__inbox_cannot_be_written__503_as_json(settings):
    class Broken(writer.Inbox):
        def put(self, *_):
            raise InboxError("The inbox is full.")

    answer = (
        create_app(settings, Broken(settings.inbox_dir))
        .test_client()
        .post("/webhooks/production", data=BODY, headers=sign(BODY))
    )
    assert (answer.status_code, answer.json["message"]) == (503, "The inbox is full.")


BODIES = [
    b"",
    b"not JSON",
    b"\x00 in \x00 it",
    b"\xff\xfe not UTF-8",
    b"\xed\xa0\x80 half a character",
    b'"\\ud800 escaped"',
    b"[NaN, 1e999, 123456789012345678901234567890]",
    b"[" * 100_000,
    json.dumps({"data": {}, "event_type": "FLAG_UPDATED"}).encode(),
    "ünïcödé ☃ 𝄞".encode(),
    b"x" * 2**20,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
def test_webhook__any_signed_body__lands_byte_for_byte(client, settings, environ, body):
    assert client.post("/webhooks/production", data=body, headers=sign(body)).status_code == 204
    landing.land(settings)
    [(encoding, text)] = landed(environ, "body_encoding, body")
    assert (base64.b64decode(text) if encoding == "base64" else text.encode()) == body


def test_logs__refused_webhook__one_line_without_body_or_signature(client, caplog):
    client.post("/webhooks/production", data=BODY, headers=sign(BODY, "nobody's"))
    [record] = caplog.records
    assert record.fields == {"reason": "unauthorized_wrong", "environment": "production"}
    assert record.getMessage() == "Webhook refused"


def test_logs__name_of_an_environment_as_long_as_a_path_can_be__is_cut(client, caplog):
    assert client.post(f"/webhooks/{'e' * 5_000}", data=BODY).status_code == 404
    [record] = caplog.records
    assert record.fields["environment"] == "e" * 100


def test_create_app__no_secret__does_not_start(environ):
    with pytest.raises(SettingsError, match="No secret is set"):
        create_app(read({"FLAGSMITH_WAREHOUSE_DIR": environ["FLAGSMITH_WAREHOUSE_DIR"]}))


def test_healthz_and_readyz__all_well__200(client):
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_readyz__inbox_cannot_be_written__503_and_alive_all_the_same(settings, client):
    settings.warehouse_dir.write_text("a file where a folder is needed")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
