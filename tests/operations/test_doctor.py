"""`doctor` finds each thing that can be wrong, and `verify` says why a signature does not match."""

import base64
import contextlib
import dataclasses
import gzip
import hmac
import json
import os
import sqlite3
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagsmith_warehouse.loader.operations import doctor
from flagsmith_warehouse.loader.operations.explain import explain
from tests.loader.server import COMMAND, Server
from tests.operations.conftest import bodies, invoke, receive

SECRETS = {"production": (b"s3cret\n", "old-Sëcret".encode()), "staging": (b"stage",)}
BODY = bodies()[0]
SPELLED = json.dumps({"identity": "Zoë", "flags": []}, ensure_ascii=False).encode()


def sign(body, secret=b"s3cret\n"):
    return hmac.new(secret, body, "sha256").hexdigest()


def findings(settings, subject, url=None):
    return [(f.verdict, f.text) for f in doctor.examine(settings, url) if f.subject == subject]


def verdicts(settings, subject, url=None):
    return [verdict for verdict, _ in findings(settings, subject, url)]


def test_doctor__all_is_well__exits_with_0(warehouse, environ):
    ran = invoke(environ, "doctor")
    assert ran.exit_code == 0, ran.output
    assert {f.verdict for f in doctor.examine(warehouse)} == {"ok"}


def test_doctor__something_fails__exits_with_1_and_says_what_to_do(environ):
    ran = invoke({**environ, "FLAGSMITH_WEBHOOK_SECRETS": "{}"}, "doctor")
    assert (
        ran.exit_code == 1 and "Set FLAGSMITH_WEBHOOK_SECRETS" in ran.output and "checks failed" in ran.output
    )


def test_doctor__settings_that_cannot_be_read__are_said_in_a_line(environ):
    ran = invoke({**environ, "FLAGSMITH_WEBHOOK_SECRETS": "hunter2"}, "doctor")
    assert ran.exit_code == 1 and "not of the form" in ran.output and "hunter2" not in ran.output


def test_privacy__a_key_of_its_own__says_to_back_it_up(settings):
    assert findings(settings, "privacy") == []
    settings.warehouse_dir.mkdir()
    settings.privacy_key_file.write_text("0" * 64)
    ((verdict, text),) = findings(settings, "privacy")
    assert verdict == "ok" and "Back it up" in text and str(settings.privacy_key_file) in text


def test_permissions__folder_cannot_be_written__fails(warehouse, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refused)
    assert verdicts(warehouse, "permissions") == ["fail", "fail"]


def test_permissions__everybody_can_read_a_secret__warns(warehouse, tmp_path, monkeypatch):
    secret = tmp_path / "production"
    secret.write_text("s")
    monkeypatch.setenv("FLAGSMITH_WEBHOOK_SECRETS_DIR", str(tmp_path))
    secret.chmod(0o644)
    assert "warn" in verdicts(warehouse, "permissions")
    secret.chmod(0o640)
    assert "warn" not in verdicts(warehouse, "permissions")


@pytest.mark.parametrize(("free", "verdict"), [(10**7, "fail"), (10**9, "warn"), (10**12, "ok")])
def test_disk__little_room__is_said(warehouse, monkeypatch, free, verdict):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert verdicts(warehouse, "disk") == [verdict]


@pytest.mark.parametrize("waiting", [True, False], ids=["in the inbox", "landed"])
def test_clock__set_back__deliveries_from_the_future_fail(warehouse, monkeypatch, waiting):
    if waiting:
        receive(warehouse, b"{}")
    real = doctor.time.time
    monkeypatch.setattr(doctor.time, "time", lambda: real() - 7200)
    assert verdicts(warehouse, "clock") == ["fail"]


def test_versions__one_that_was_not_asked_for__fails(settings, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "1.4.0" if name == "duckdb" else "99")
    ((verdict, text),) = findings(settings, "versions")
    assert verdict == "fail" and "duckdb 1.4.0 instead of" in text


def test_inbox__damaged_file__is_named(settings):
    receive(settings, *[b"{}" * 20_000] * 20)
    (path,) = settings.inbox_dir.glob("*.sqlite")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40_000] = b"\xaa" * 40_000
    path.write_bytes(content)
    ((verdict, text),) = findings(settings, "inbox")
    assert verdict == "fail" and path.name in text


def test_inbox__bodies_that_their_checksum_is_not_of__are_named(settings):
    receive(settings, b"{}")
    (path,) = settings.inbox_dir.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("update deliveries set pack = zeroblob(20)")
    ((verdict, text),) = findings(settings, "inbox")
    assert verdict == "fail" and path.name in text and "bodies" in text


def test_warehouse__truncated__fails_and_points_to_the_recovery(warehouse):
    content = warehouse.warehouse_file.read_bytes()
    warehouse.warehouse_file.write_bytes(content[:5000])
    ((verdict, text),) = findings(warehouse, "warehouse")
    assert verdict == "fail" and "docs/reliability.md" in text


@contextlib.contextmanager
def answering(status, headers=()):
    """A server that always gives the same answer. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/webhooks/production"
        server.shutdown()
        thread.join()


def test_reach__our_own_loader__is_well_and_keeps_nothing(settings, environ):
    settings.warehouse_dir.mkdir(parents=True)
    with Server(environ, workers=1) as server:
        (found,) = doctor.reach(f"http://127.0.0.1:{server.port}/webhooks/production/")
        (unknown,) = doctor.reach(f"http://127.0.0.1:{server.port}/webhooks/unknown")
    assert (found.verdict, unknown.verdict) == ("ok", "fail")
    from flagsmith_warehouse.loader.inbox.reader import backlog

    assert backlog(settings.inbox_dir)[0] == 0


@pytest.mark.parametrize("status", [204, 302, 308, 404, 502])
def test_reach__any_other_answer__fails(status):
    with answering(status, [("Location", "https://elsewhere.example/")]) as url:
        found = next(iter(doctor.reach(url)))
    assert found.verdict == "fail" and str(status) in found.text
    assert ("Flagsmith treats that as delivered" in found.text) == (300 <= status < 400)


def test_reach__nobody_there_or_no_address__is_said(environ):
    (found,) = doctor.reach("http://127.0.0.1:9/webhooks/production")
    assert found.verdict == "fail" and "lose every webhook" in found.text
    ran = invoke(environ, "doctor", "--url", "warehouse.example.com")
    assert ran.exit_code == 1 and "https://your.name/webhooks/ENVIRONMENT" in ran.output


@pytest.mark.parametrize(
    ("body", "signature", "expected"),
    [
        (b"\xef\xbb\xbf" + BODY, sign(BODY), "byte order mark"),
        (BODY + b"\n", sign(BODY), "ends with a line end"),
        (BODY, sign(BODY + b"\n"), "lost a line end"),
        (b"{\r\n}", sign(b"{\n}"), "CRLF"),
        (b"  " + BODY, sign(BODY), "blanks around it"),
        (json.dumps(json.loads(BODY), separators=(",", ":")).encode(), sign(BODY), "parsed and written again"),
        (json.dumps(json.loads(BODY), indent=2).encode(), sign(BODY), "parsed and written again"),
        (json.dumps(dict(reversed(json.loads(BODY).items()))).encode(), sign(BODY), "parsed and written again"),
        (json.dumps(BODY.decode()).encode(), sign(BODY), "JSON inside a JSON text"),
        (gzip.compress(BODY), sign(BODY), "compressed"),
        (SPELLED.decode().encode("utf-16"), sign(SPELLED), "utf-16"),
        (SPELLED.decode().encode("latin-1"), sign(SPELLED), "latin-1"),
        (SPELLED, sign(SPELLED.decode().encode("latin-1")), "Latin-1"),
        (BODY, sign(BODY).upper(), "capitals"),
        (BODY, f"sha256={sign(BODY)}", "around it"),
        (BODY, f"X-Flagsmith-Signature: {sign(BODY)}", "around it"),
        (BODY, base64.b64encode(bytes.fromhex(sign(BODY))).decode(), "base64"),
        (BODY, sign(BODY, b"stage"), "secret of the environment staging"),
        (BODY, sign(BODY, b"s3cret"), "without the blanks or line end"),
        (BODY, sign(BODY, "old-Sëcret".encode("latin-1")), "Latin-1"),
        (BODY, sign(BODY, b"another"), "most likely another one"),
        (BODY[:100], sign(BODY), "cut off"),
        (b"", sign(BODY), "The body is empty"),
        (BODY, "abc", "3 characters"),
    ],
)  # fmt: skip
def test_explain__an_accident__is_named(body, signature, expected):
    explanation = explain(body, signature, "production", SECRETS)
    assert not explanation.matches
    assert expected in " ".join(explanation.sentences)


def test_explain__two_accidents_at_once__both_are_named():
    said = explain(BODY + b"\n", sign(BODY, b"stage").upper(), "production", SECRETS).sentences
    assert len(said) == 3


@pytest.mark.parametrize("secret", SECRETS["production"])
def test_explain__the_right_signature__matches(secret):
    assert explain(BODY, sign(BODY, secret), "production", SECRETS).matches


def test_explain__environment_without_a_secret__says_which_have_one():
    (said,) = explain(BODY, sign(BODY, b"?"), "prodution", SECRETS).sentences
    assert "production, staging" in said


@given(st.binary(max_size=50), st.text(max_size=80))
def test_explain__whatever_the_bytes__answers_and_tells_no_secret(body, signature):
    said = explain(body, signature, "production", SECRETS)
    assert not said.matches and "s3cret" not in " ".join(said.sentences)


def test_verify__as_a_command__exits_with_0_only_for_a_match(environ):
    arguments = ("doctor", "verify", "--environment", "staging", "--signature", sign(BODY, b"s"))
    right, wrong = invoke(environ, *arguments, input=BODY), invoke(environ, *arguments, input=BODY + b"\n")
    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert "line end" in wrong.output and "would accept" in right.output


def test_doctor__help__needs_no_settings(environ):
    ran = invoke({**environ, "FLAGSMITH_WEBHOOK_SECRETS": "{"}, "doctor", "verify", "--help")
    assert ran.exit_code == 0 and "X-Flagsmith-Signature" in ran.output


def test_configuration__secrets_only_in_the_environment__warns_that_no_reload_changes_them(
    settings, monkeypatch, tmp_path
):
    monkeypatch.setenv("FLAGSMITH_WEBHOOK_SECRETS", '{"production": ["s"]}')
    monkeypatch.delenv("FLAGSMITH_WEBHOOK_SECRETS_DIR", raising=False)
    assert any("SIGHUP" in text for _, text in findings(settings, "configuration"))
    monkeypatch.setenv("FLAGSMITH_WEBHOOK_SECRETS_DIR", str(tmp_path))
    assert not any("SIGHUP" in text for _, text in findings(settings, "configuration"))


@pytest.mark.parametrize("content", [None, "identity = ", 'identity = "burn"', 'identity = "hash"'])
def test_privacy__rules_that_land_would_refuse__fail(settings, tmp_path, content):
    """Given a file that is missing, is not TOML, has no valid rule, or asks for hashes without a key, in that order."""
    file = tmp_path / "privacy.toml"
    if content is not None:
        file.write_text(content)
    settings = dataclasses.replace(settings, privacy_file=file)
    ((verdict, text),) = findings(settings, "privacy")
    assert verdict == "fail" and str(file) in text


def test_privacy__rules_that_can_be_used__are_well(settings, tmp_path):
    file = tmp_path / "privacy.toml"
    file.write_text('identity = "hash"')
    key = "0123456789abcdef"
    assert verdicts(dataclasses.replace(settings, privacy_file=file, privacy_key=key), "privacy") == ["ok"]


def test_permissions__others_can_read_what_we_made__warns(settings):
    receive(settings, b"{}")
    assert "warn" not in verdicts(settings, "permissions")
    (path,) = settings.inbox_dir.glob("*.sqlite")
    path.chmod(0o644)
    assert any(v == "warn" and str(path) in text for v, text in findings(settings, "permissions"))
    path.chmod(0o640)
    (settings.warehouse_dir / "theirs").touch()
    settings.warehouse_dir.chmod(0o755)
    assert any(v == "warn" and "not ours" in text for v, text in findings(settings, "permissions"))


def test_inbox__file_of_a_later_release__is_not_called_whole(settings):
    receive(settings, b"{}")
    (path,) = settings.inbox_dir.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma user_version = 3")
    ((verdict, text),) = findings(settings, "inbox")
    assert verdict == "fail" and "was not read" in text and "undamaged" not in text


def test_inbox__file_in_use__is_neither_whole_nor_damaged(settings, monkeypatch):
    receive(settings, b"{}")
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    monkeypatch.setattr(doctor.reader, "damage", lambda connection: busy)
    ((verdict, text),) = findings(settings, "inbox")
    assert verdict == "warn" and "could not be read now" in text


ODD_COPIES = {
    "no database": lambda path: path.write_bytes(b"no database " * 5_000),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "overwritten": lambda path: path.write_bytes(
        path.read_bytes()[: path.stat().st_size // 4] + b"\xaa" * (path.stat().st_size // 2)
    ),
    "a folder": lambda path: path.unlink() or path.mkdir(),
}


def test_published__damaged__a_finding_and_status_answers_all_the_same(warehouse, environ):
    whole = warehouse.published_file.read_bytes()
    for name, make in ODD_COPIES.items():
        make(warehouse.published_file)
        found = findings(warehouse, "published")
        shown, machine = invoke(environ, "status"), invoke(environ, "status", "--json")
        if name != "empty":  # DuckDB reads an empty file as a database without tables
            assert [verdict for verdict, _ in found] == ["fail"], name
            assert "flagsmith-warehouse publish" in found[0][1], name
        assert (shown.exit_code, machine.exit_code) == (0, 0), (name, shown.output)
        assert json.loads(machine.stdout)["environments"]["production"]["landed"] > 0, name
        assert isinstance(invoke(environ, "doctor").exception, SystemExit | None), name
        if warehouse.published_file.is_dir():
            warehouse.published_file.rmdir()
        warehouse.published_file.write_bytes(whole)
    assert verdicts(warehouse, "published") == ["ok"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"null", b"5", b'{"result": "running"}', b'{"result": {}}', b"\xff", b'{"result": "suc',
        b'{"result": "success", "started_at": 5}', b'{"result": "success", "started_at": "yesterday"}',
        b'{"result": "success", "started_at": "2026-11-01T00:00:00"}', b"[" * 100_000,
        *(
            b'{"result": "failure", "started_at": "2026-11-01T00:00:00Z", %s}' % odd
            for odd in (b'"error": 5', b'"kept_history": [1]', b'"kept_history": {"a": 1}', b'"seconds": "[/]"')
        ),
    ],
)  # fmt: skip
def test_refresh__odd_record__a_finding_and_status_answers_all_the_same(settings, environ, content):
    settings.warehouse_dir.mkdir(parents=True)
    settings.refresh_record.write_bytes(content)
    ((verdict, text),) = findings(settings, "refresh")
    assert verdict == "warn" and "refresh.json" in text
    for arguments in (["status"], ["status", "--json"]):
        ran = invoke(environ, *arguments)
        assert ran.exit_code == 0 and "refresh.json" in ran.output.replace("\n", "")


def test_explain__secret_with_a_byte_order_mark__says_so():
    for here, there in ((b"\xef\xbb\xbfs3cret", b"s3cret"), (b"s3cret", b"\xef\xbb\xbfs3cret")):
        (said,) = explain(BODY, sign(BODY, there), "production", {"production": (here,)}).sentences
        assert "byte order mark" in said


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "--json"], ["doctor"], ["--help"], ["doctor", "verify", "--environment", "☃", "--signature", "x"]]
)  # fmt: skip
def test_commands__output_that_is_not_utf_8__no_traceback(environ, encoding, arguments):
    secrets = '{"☃ environment": ["s"], "ümwelt": ["s"]}'
    environ = {**environ, "FLAGSMITH_WEBHOOK_SECRETS": secrets, "PYTHONIOENCODING": encoding}
    ran = subprocess.run(
        [*COMMAND, *arguments], env={**os.environ, **environ}, input=b"{}", capture_output=True
    )
    said = (ran.stdout + ran.stderr).decode(encoding, "replace")
    assert "Traceback" not in said and "UnicodeEncodeError" not in said, said
