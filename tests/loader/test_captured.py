"""Requests captured from Flagsmith 2.265.0, sent again over HTTP with their own headers."""

import json
from pathlib import Path

import pytest

from tests.loader.server import Server, command, landed

CAPTURED = Path(__file__).parent.parent / "fixtures/captured/flagsmith_2_265_0.ndjson"
REQUESTS = [json.loads(line) for line in CAPTURED.read_text("utf-8").splitlines()]
SIGNED = [request for request in REQUESTS if "X-Flagsmith-Signature" in request["headers"]]
UNSIGNED = [request for request in REQUESTS if "X-Flagsmith-Signature" not in request["headers"]]


@pytest.fixture
def environ(environ):
    secrets = sorted({request["secret"] for request in SIGNED})
    return {**environ, "FLAGSMITH_WEBHOOK_SECRETS": json.dumps({"production": secrets})}


@pytest.fixture
def server(environ):
    with Server(environ) as running:
        yield running


def replay(server: Server, request: dict, environment: str = "production", body: bytes | None = None) -> int:
    """Send the captured request to our address. Returns the status of the answer."""
    sent = request["body"].encode() if body is None else body
    return server.request("POST", f"/webhooks/{environment}", sent, request["headers"]).status


def test_captured__signed__204_and_landed_byte_for_byte(server, environ):
    assert len(SIGNED) > 50
    assert {replay(server, request) for request in SIGNED} == {204}
    assert command(environ, "land").returncode == 0
    assert sorted(landed(environ, "body, is_verified, body_encoding")) == sorted(
        (request["body"], True, "utf-8") for request in SIGNED
    )


def test_captured__one_byte_changed__401_and_nothing_lands(server, environ):
    for number, request in enumerate(SIGNED):
        body = bytearray(request["body"].encode())
        body[number * 37 % len(body)] ^= 1
        assert replay(server, request, body=bytes(body)) == 401
    command(environ, "land")
    assert landed(environ) == []


def test_captured__unsigned__401_unless_the_environment_allows_it(server, environ):
    assert len(UNSIGNED) > 5
    assert {replay(server, request) for request in UNSIGNED} == {401}
    assert {replay(server, request, "development") for request in UNSIGNED} == {204}
    command(environ, "land")
    assert sorted(landed(environ, "body, is_verified")) == sorted((r["body"], False) for r in UNSIGNED)
