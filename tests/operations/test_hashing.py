"""`flagsmith-warehouse hash`: outcomes get the names that identities have in the warehouse."""

import json

import duckdb
import pytest

from flagsmith_warehouse.loader import settings as settings_module

from .conftest import bodies, invoke, receive

# HMAC-SHA256 of "identity", NUL and the name under this key, the first 32 hex digits; by `openssl dgst -sha256 -hmac`.
KEY = "0123456789abcdef0123456789abcdef"
ADA, ZOE = "c285f67ba390ac1f861458d9093e94cc", "c2127de518f20ab56026ed2192a0903a"


@pytest.fixture
def hashing(environ, tmp_path):
    """Settings under which identities are hashed."""
    rules = tmp_path / "privacy.toml"
    rules.write_text('identity = "hash"\n')
    return environ | {"FLAGSMITH_PRIVACY_FILE": str(rules), "FLAGSMITH_PRIVACY_KEY": KEY}


def test_hash__names_by_line__each_as_openssl_hashes_it(hashing):
    """Given an empty line and one that ends as on Windows; then the lines still match."""
    ran = invoke(hashing, "hash", input="ada@example.com\n\nZoë\r\n")
    assert (ran.exit_code, ran.stdout) == (0, f"{ADA}\n\n{ZOE}\n")


def test_hash__a_column_of_csv__the_rest_stays(hashing, tmp_path):
    file = tmp_path / "outcomes.csv"
    file.write_text(
        '\ufeffevent_name,identity,note\nbuy,ada@example.com,"a, ""b"""\n\nbuy,,x\nview,Zoë,"two\nlines"\n',
        "utf-8",
    )
    ran = invoke(hashing, "hash", "--column", "identity", str(file))
    assert ran.exit_code == 0, ran.output
    assert ran.stdout == (
        f'event_name,identity,note\nbuy,{ADA},"a, ""b"""\nbuy,,x\nview,{ZOE},"two\nlines"\n'
    )


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (
            ("--column", "identity"),
            b"user,event\n1,buy\n",
            "header must have identity once. It has: user, event",
        ),
        (("--column", "identity"), b"", "It has: nothing"),
        (("--column", "b"), b"a,b\n1,2\n3\n", "Line 3 has 1 cells"),
        (("--column", "a"), b'a,b\n"1"2,3\n', "Line 2 cannot be read as CSV"),
        ((), "Zoë\n".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_hash__input_that_cannot_be_read__says_where_and_what_to_do(hashing, arguments, given, words):
    ran = invoke(hashing, "hash", *arguments, input=given)
    assert ran.exit_code == 1 and words in ran.stderr


def test_hash__identities_are_not_hashed__refused(environ, hashing, tmp_path):
    ran = invoke(environ, "hash", input="ada\n")
    assert ran.exit_code == 1 and "FLAGSMITH_PRIVACY_FILE is not set" in ran.stderr and not ran.stdout
    (tmp_path / "privacy.toml").write_text('transient_traits = "drop"\n')
    ran = invoke(hashing, "hash", input="ada\n")
    assert ran.exit_code == 1 and "Leave the names as they are" in ran.stderr and not ran.stdout


def test_hash__a_landed_identity__has_the_same_name(hashing):
    """Given an evaluation that `land` hashes; then the command gives its identity the same name."""
    body = json.loads(bodies()[0])
    receive(settings_module.read(hashing), json.dumps(body | {"identity": "ada@example.com"}).encode())
    assert invoke(hashing, "land").exit_code == 0
    with duckdb.connect(settings_module.read(hashing).warehouse_file, read_only=True) as warehouse:
        landed = warehouse.execute("select body ->> 'identity' from landing.webhooks").fetchall()
    assert landed == [(ADA,)]
