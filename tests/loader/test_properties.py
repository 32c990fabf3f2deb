"""Whatever is sent: never a 500, and never in without a valid signature."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader import inbox
from loader.receive import create_app
from loader.settings import read
from tests.loader.server import sign

header_text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    settings = read(
        {
            "FLAGSMITH_WEBHOOK_SECRETS": '{"production": ["new secret"]}',
            "FLAGSMITH_WAREHOUSE_DIR": str(tmp_path_factory.mktemp("data")),
        }
    )
    return settings, create_app(settings).wsgi_app


def call(application, path: bytes, body: bytes, signature: str | None, length: str | None) -> int:
    """A request as a server gives it to the application, unchecked; the status."""
    import io

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
    before = inbox.backlog(settings.inbox_dir)
    assert 400 <= call(application, path, body, signature, length) < 500
    assert inbox.backlog(settings.inbox_dir) == before


@given(body=st.binary())
@hypothesis_settings(deadline=None)
def test_webhook__anything_signed__204(parts, body):
    _, application = parts
    signature = sign(body)["X-Flagsmith-Signature"]
    assert call(application, b"/webhooks/production", body, signature, str(len(body))) == 204
