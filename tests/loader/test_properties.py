"""Whatever is sent: never a 500, and never in without a valid signature; the server's front and Flask agree."""

import asyncio
import io
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.receive import front
from flagsmith_warehouse.loader.receive.app import create_app
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


def call(application, path: bytes, body: bytes, signature: str | None, length: str | None) -> int:
    """A request as a server gives it to the application, unchecked; the status."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
    }
    environ |= {"HTTP_X_FLAGSMITH_SIGNATURE": signature} if signature is not None else {}
    environ |= {"CONTENT_LENGTH": length} if length is not None else {}
    statuses = []
    application(environ, lambda status, headers, *_: statuses.append(int(status.split()[0])))
    return statuses[0]


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
    assert 400 <= call(application, path, body, signature, length) < 500
    assert reader.backlog(settings.inbox_dir) == before


@given(body=st.binary())
@hypothesis_settings(deadline=None)
def test_webhook__anything_signed__204(parts, body):
    _, application = parts
    signature = sign(body)["X-Flagsmith-Signature"]
    assert call(application, b"/webhooks/production", body, signature, str(len(body))) == 204


class Protocol:
    """What Granian gives with a request: its body, whole or in pieces, and a place for the answer."""

    def __init__(self, body: bytes):
        self.body = body

    async def __call__(self) -> bytes:
        return self.body

    async def __aiter__(self):
        yield self.body

    def response_bytes(self, *answer) -> None:
        self.answer = answer


@given(
    method=st.sampled_from(["POST", "post"]),
    path=st.sampled_from(
        ["/webhooks/production", "/webhooks/production/", "/webhooks/ümwelt", "/webhooks/development"]
    )
    | st.sampled_from(
        ["/webhooks//", "/webhooks/production//", "//webhooks/production", "/healthz", "/webhooks"]
    )
    | st.text(st.sampled_from("/%a ")).map(lambda rest: f"/webhooks{rest}"),
    body=st.binary(max_size=120) | st.just(b"x" * 1001),
    signature=st.none() | header_text | st.just("valid"),
    length=st.none() | st.just("whole") | st.integers(0, 1200),
)
@hypothesis_settings(deadline=None)
def test_webhook__any_request__the_front_answers_as_the_application_does(
    parts, method, path, body, signature, length
):
    settings, _ = parts
    app = create_app(settings)
    headers = {}
    if length is not None:
        headers["content-length"] = str(len(body) if length == "whole" else length)
    if signature is not None:
        signed = sign(body)["X-Flagsmith-Signature"]
        headers["x-flagsmith-signature"] = signed if signature == "valid" else signature
    scope = SimpleNamespace(method=method, path=path, query_string="", headers=headers)
    protocol = Protocol(body)
    before, _ = reader.backlog(settings.inbox_dir)
    asyncio.run(front.Front(app).__rsgi__(scope, protocol))
    status, _, content = protocol.answer
    between, _ = reader.backlog(settings.inbox_dir)
    expected, _, expected_content = front.call(app, front.environ(scope, body))
    after, _ = reader.backlog(settings.inbox_dir)
    app.extensions["inbox"].close()
    assert (status, content) == (expected, expected_content)
    assert between - before == after - between == (status == 204)
