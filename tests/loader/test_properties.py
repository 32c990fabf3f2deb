"""Whatever is sent, no answer is 500, and nothing unsigned is kept. Both doors answer as documented."""

import asyncio
import io
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.receive.app import create_app
from flagsmith_warehouse.loader.receive.front import create_front
from flagsmith_warehouse.loader.settings import read
from tests.loader.server import sign

header_text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    settings = read(
        {
            "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["new secret"], "ümwelt": ["new secret"]}',
            "FLAGSMITH_UNSIGNED_ENVIRONMENTS": '["development"]',
            "FLAGSMITH_MAX_BODY_BYTES": "1000",
            "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path_factory.mktemp("data")),
        }
    )
    return settings, create_app(settings).wsgi_app


@pytest.fixture(scope="module")
def doors(parts):
    """Both doors to one folder."""
    settings, flask = parts
    return settings, flask, create_front(settings)


def over_wsgi(application, request: dict) -> tuple[int, dict, bytes]:
    """Status, headers and body that a WSGI server gets for a request that it passes on unchecked."""
    length, signature = request["length"], request["signature"]
    environ = {
        "REQUEST_METHOD": request["method"],
        "PATH_INFO": request["path"].decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request["body"]),
        "wsgi.input_terminated": True,
    }
    environ |= {"HTTP_X_FLAGSMITH_SIGNATURE": signature} if signature is not None else {}
    environ |= {"CONTENT_LENGTH": length} if length is not None else {}
    started = []
    content = application(
        environ, lambda status, headers, *_: started.extend((int(status.split()[0]), headers))
    )
    return started[0], {name.lower(): value for name, value in started[1]}, b"".join(content)


def over_rsgi(front, request: dict) -> tuple[int, dict, bytes]:
    """The same for an RSGI server, which ends a body at its announced length and sends no body after HEAD."""
    headers = {"content-length": request["length"], "x-flagsmith-signature": request["signature"]}
    headers = {name: value for name, value in headers.items() if value is not None}
    scope = SimpleNamespace(
        method=request["method"], path=request["path"].decode(), query_string="", headers=headers
    )
    end = int(request["length"]) if (request["length"] or "").isdigit() else None
    protocol = Protocol(request["body"][:end])
    asyncio.run(front.__rsgi__(scope, protocol))
    status, answered, content = protocol.answer
    content = b"" if request["method"] == "HEAD" else content
    return status, {name.lower(): value for name, value in answered}, content


@given(
    path=st.binary().map(lambda rest: b"/webhooks/" + rest) | st.just(b"/webhooks/production") | st.binary(),
    body=st.binary(),
    signature=st.none() | header_text,
    length=st.none() | st.integers().map(str) | st.text(),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_webhook__anything_unsigned__refused_without_an_error_of_ours(parts, path, body, signature, length):
    settings, application = parts
    before = reader.backlog(settings.inbox_dir)
    request = {"method": "POST", "path": path, "body": body, "signature": signature, "length": length}
    assert 400 <= over_wsgi(application, request)[0] < 500
    assert reader.backlog(settings.inbox_dir) == before


@given(body=st.binary())
@hypothesis_settings(deadline=None)
def test_webhook__anything_signed__204(parts, body):
    _, application = parts
    signature = sign(body)["X-Flagsmith-Signature"]
    request = {"method": "POST", "path": b"/webhooks/production", "body": body, "signature": signature}
    assert over_wsgi(application, request | {"length": str(len(body))})[0] == 204


class Protocol:
    """The protocol object that Granian gives with a request: its body, whole or in pieces, and a place for the answer."""

    def __init__(self, body: bytes):
        self.body = body

    async def __call__(self) -> bytes:
        return self.body

    async def __aiter__(self):
        for start in range(0, len(self.body), 100):
            yield self.body[start : start + 100]

    def response_bytes(self, *answer) -> None:
        self.answer = answer


# The environment of a webhook to that path, or the name of a probe.
WEBHOOKS = {
    "/webhooks/production": "production",
    "/webhooks/production/": "production",
    "//webhooks/production": "production",
    "/webhooks/ümwelt": "ümwelt",
    "/webhooks/development": "development",
    "/webhooks/unknown": "unknown",
    "/webhooks/Production": "Production",
}
PROBES = ["/healthz", "/healthz/", "/readyz", "/metrics"]
NOTHING = [
    "/webhooks",
    "/webhooks//",
    "/webhooks//production",
    "/webhooks/production//",
    "/",
    "",
    "/webhooks/a/b",
]


def documented_status(method: str, path: str, body: bytes, is_signed: bool, length: str | None) -> int:
    """The status that docs and DECISIONS.md promise, computed in another way than in the loader."""
    if path in PROBES:
        return 200 if method in ("GET", "HEAD", "OPTIONS") else 405
    if path in NOTHING:
        return 404
    if method.upper() != "POST":
        return 405
    environment = WEBHOOKS[path]
    whole = length is not None and length.isdigit() and int(length) == len(body)
    checks = [
        (404, environment not in ("production", "ümwelt", "development")),
        (411, length is None and environment == "development"),
        (400, length is not None and not length.isdigit()),
        (413, len(body) > 1000 if length is None else length.isdigit() and int(length) > 1000),
        (400, length is not None and length.isdigit() and int(length) > len(body)),
        (204, environment == "development"),
        (401, not (is_signed and (whole or length is None))),
    ]
    return next((status for status, applies in checks if applies), 204)


@given(
    method=st.sampled_from(["POST"] * 6 + ["post", "GET", "HEAD", "OPTIONS", "PUT"]),
    path=st.sampled_from(["/webhooks/production"] * 9 + ["/webhooks/development"] * 5)
    | st.sampled_from([*WEBHOOKS, *PROBES, *NOTHING]),
    body=st.binary(max_size=120) | st.sampled_from([b"x" * 1000, b"x" * 1001]),
    signature=st.sampled_from(["valid"] * 2) | st.none() | header_text,
    length=st.sampled_from(["whole", "whole", None, "-1", "x", "1001", "9" * 30])
    | st.integers(0, 1200).map(str),
)
@hypothesis_settings(deadline=None, max_examples=300)
def test_webhook__any_request__both_doors_answer_and_keep_what_is_documented(
    doors, method, path, body, signature, length
):
    settings, flask, front = doors
    length = str(len(body)) if length == "whole" else length
    is_signed = signature == "valid"
    request = {"method": method, "path": path.encode(), "body": body, "length": length}
    request["signature"] = sign(body)["X-Flagsmith-Signature"] if is_signed else signature
    before, _ = reader.backlog(settings.inbox_dir)
    status, headers, content = over_rsgi(front, request)
    between, _ = reader.backlog(settings.inbox_dir)
    expected_status, expected_headers, expected_content = over_wsgi(flask, request)
    after, _ = reader.backlog(settings.inbox_dir)
    expected = documented_status(method, path, body, is_signed, length)
    assert (status, expected_status) == (expected, expected)
    assert between - before == after - between == (expected == 204)
    assert path == "/metrics" or content == expected_content
    for name in ("content-type", "allow") if content else ("allow",):
        assert headers.get(name) == expected_headers.get(name)


@given(path=st.text(st.sampled_from("/%a ")).map(lambda rest: f"/webhooks{rest}".encode()))
@hypothesis_settings(deadline=None)
def test_webhook__any_address__the_doors_agree(doors, path):
    _, flask, front = doors
    request = {"method": "POST", "path": path, "body": b"", "length": "0", "signature": None}
    (status, _, content), expected = over_rsgi(front, request), over_wsgi(flask, request)
    assert (status, content) == (expected[0], expected[2]) and status == 404
