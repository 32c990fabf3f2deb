"""Privacy rules: `land` applies them before it writes anything to the warehouse."""

import hashlib
import hmac
import json

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagsmith_warehouse.loader.landing import privacy
from flagsmith_warehouse.loader.settings import SettingsError
from tests.operations.conftest import bodies, invoke, receive

KEY = "0123456789abcdef"
RULES = """
identity = "hash"
transient_traits = "drop"
[traits]
email = "drop"
plan = "hash"
"""


def trait(key, value, transient=False):
    return {"id": None, "trait_key": key, "trait_value": value, "transient": transient}


TRAITS = [
    trait("email", "ada@example.com"),
    trait("plan", "gold"),
    trait("age", 37),
    trait("plan_before", None),
    trait("age_now", 38, transient=True),
]
BODY = json.dumps(
    {"flags": [], "identity": "ada", "segments": [{"id": 1, "name": "s", "member": True}], "traits": TRAITS}
).encode()


@pytest.fixture
def rules(tmp_path):
    """Write rules, and read them as the loader does."""

    def write(text, key=KEY):
        (tmp_path / "privacy.toml").write_text(text)
        return privacy.read(tmp_path / "privacy.toml", key)

    return write


@pytest.fixture
def land(environ, settings, rules, tmp_path):
    """Land bodies under rules. Returns the rows."""

    def under(text, *given):
        rules(text)
        receive(settings, *given)
        files = {"FLAGSMITH_PRIVACY_FILE": str(tmp_path / "privacy.toml"), "FLAGSMITH_PRIVACY_KEY": KEY}
        ran = invoke({**environ, **files}, "land")
        assert ran.exit_code == 0, ran.output
        with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
            query = (
                "select body, payload_hash, original_payload_hash from landing.webhooks order by delivery_id"
            )
            return warehouse.execute(query).fetchall()

    return under


def test_land__without_rules__bodies_are_landed_as_they_were_sent(environ, settings):
    receive(settings, *bodies())
    invoke(environ, "land")
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        rows = warehouse.execute("select body, original_payload_hash from landing.webhooks").fetchall()
    assert sorted(body for body, _ in rows) == sorted(body.decode() for body in bodies())
    assert {original for _, original in rows} == {None}


def test_land__under_rules__the_altered_body_is_landed_and_marked(land, rules):
    ((body, payload_hash, original),) = land(RULES, BODY)
    under = rules(RULES)
    value = json.loads(body)
    assert value["identity"] == under.pseudonym("ada") != "ada"
    kept = {each["trait_key"]: each["trait_value"] for each in value["traits"]}
    assert kept == {
        "plan": under.hashed("trait plan", b'"gold"'), "age": 37, "plan_before": None,
    }  # fmt: skip
    assert value["segments"] == [{"id": 1, "name": "s", "member": True}]
    assert payload_hash == hashlib.sha256(body.encode()).hexdigest()
    assert original == under.hashed("body", BODY)
    assert b"ada" not in body.encode() and "gold" not in body


def test_land__under_rules__nothing_of_what_is_dropped_is_in_the_files_and_what_is_kept_is(
    land, settings, monkeypatch
):
    """Positive control: the same bytes are in the inbox before, and a kept trait is in the warehouse after."""
    from flagsmith_warehouse.loader.landing import schema as landing_schema

    monkeypatch.setattr(
        landing_schema, "DUCKDB", {**landing_schema.DUCKDB, "force_compression": "uncompressed"}
    )
    monkeypatch.setattr(
        landing_schema, "TABLES", landing_schema.TABLES.replace(" using compression zstd", "")
    )
    land('[traits]\nemail = "drop"', BODY)
    content = settings.warehouse_file.read_bytes()
    assert b"ada@example.com" not in content and b"gold" in content


def test_land__a_body_the_rules_do_not_touch__stays_byte_for_byte(land):
    for (body, _, original), sent in zip(land('[traits]\nunknown = "drop"', BODY), [BODY], strict=True):
        assert body.encode() == sent and original is None


TRAIT = '{"trait_key": "email", "trait_value": "ada@example.com"}'
WITHHELD = [
    b'[{"identity": "ada@example.com", "flags": []}]',
    b'{"payload": {"identity": "ada@example.com", "flags": []}}',
    f'{{"event_type": "FLAG_UPDATED", "data": {{"new_state": {{"feature": {{"traits": [{TRAIT}]}}}}}}}}'.encode(),
    b'{"event_type": "FLAG_UPDATED", "data": {"new_state": {"identity": "ada@example.com"}}}',
    b'{"event_type": "FLAG_UPDATED", "data": {"new_state": {"identity_identifier": ["ada@example.com"]}}}',
    b'{"event_type": "FLAG_UPDATED", "data": {"new_state": ["ada@example.com"]}}',
    BODY.decode().encode("utf-16"),
    b"\xef\xbb\xbf" + BODY,
    b'{"identity": "ada@example.com", "identity": "x", "flags": []}',
    f'{{"identity": "x", "traits": [{TRAIT}], "traits": []}}'.encode(),
    b'{"identity": "x", "traits": [{"trait_key": "email", "trait_key": "age", "trait_value": "ada"}]}',
    b'{"identity": "x", "flags": "ada@example.com"}',
    b'{"identity": "x", "segments": ["ada@example.com"]}',
    b'{"identity": "x", "flags": NaN}',
    b'{"identity": "x", "flags": [{"feature_state_value": ' + b"1" * 5_000 + b"}]}",
    b'{"identity": "x", "flags": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"Identity": "ada@example.com", "flags": []}',
]


@pytest.mark.parametrize("rules_text", [RULES, '[traits]\nemail = "drop"'])
def test_land__under_rules__what_is_not_understood_is_landed_emptied(land, rules_text):
    assert {row[0] for row in land(rules_text, *WITHHELD)} == {""}


def test_land__a_sentence_of_the_audit_log__has_the_pseudonym_or_is_withheld(land, rules):
    logs = {
        "Flag state / Remote Config value updated for feature 'x' and identity 'ada'": "Flag state / Remote Config "
        f"value updated for feature 'x' and identity '{rules(RULES).pseudonym('ada')}'",
        "for feature 'x' and identity 'o'brien'": f"for feature 'x' and identity '{rules(RULES).pseudonym(chr(111) + chr(39) + 'brien')}'",
        "Identity ada was looked at": None,
        "identity 'ada' was looked at by Bob": None,
        "Flag state updated for feature: identity_check": "Flag state updated for feature: identity_check",
    }
    sent = [
        json.dumps({"event_type": "AUDIT_LOG_CREATED", "data": {"log": log, "person": "ada"}}).encode()
        for log in logs
    ]
    assert [json.loads(body)["data"] for body, *_ in land(RULES, *sent)] == [
        {"log": log} for log in logs.values()
    ]


def test_land__changes_that_were_captured__lose_nothing_but_the_identity(land, rules):
    changes = [body for body in bodies() if b'"event_type"' in body]
    pseudonym = rules(RULES).pseudonym
    names = {"user_30", "test_identity"}
    expected = []
    for change in changes:
        text = change.decode()
        for name in names:
            text = text.replace(f'"{name}"', f'"{pseudonym(name)}"')
        expected.append(json.loads(text))
    assert len(changes) > 5
    assert [json.loads(body) for body, *_ in land(RULES, *changes)] == expected


def test_land__a_hashed_trait__keeps_no_key_beside_its_value(land):
    body = {"identity": "x", "traits": [{**trait("plan", "gold"), "was": "silver"}]}
    ((landed, *_),) = land(RULES, json.dumps(body).encode())
    assert "silver" not in landed


def test_rules__that_only_drop__make_a_key_of_their_own_and_keep_it(environ, settings, tmp_path):
    """Given rows of an earlier release, which used a key that everybody knows; then bodies cannot be guessed from them."""
    (tmp_path / "privacy.toml").write_text('[traits]\nemail = "drop"')
    under = {**environ, "FLAGSMITH_PRIVACY_FILE": str(tmp_path / "privacy.toml")}
    known = privacy.Privacy(b"no key").hashed("body", BODY)
    receive(settings, b"{}")
    invoke(environ, "land")
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute("update landing.webhooks set original_payload_hash = ?", [known])
    originals = []
    for _ in range(2):
        receive(settings, BODY)
        ran = invoke(under, "land")
        assert ran.exit_code == 0, ran.output
        originals.append(settings.privacy_key_file.read_text())
        assert settings.privacy_key_file.stat().st_mode & 0o777 == 0o600
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        query = "select original_payload_hash from landing.webhooks order by delivery_id"
        (of_old,), (first,), (second,) = warehouse.execute(query).fetchall()
    assert originals[0] == originals[1] and len(originals[0].strip()) == 64
    key = originals[0].strip().encode()
    assert first == second == privacy.Privacy(key).hashed("body", BODY) != known
    assert of_old not in (known, None) and len(of_old) == 32


@pytest.mark.parametrize(
    ("content", "why"), [("short", "needs at least 16 characters"), (b"\xff" * 20, "cannot be read")]
)
def test_rules__whose_own_key_is_no_good__land_nothing(tmp_path, content, why):
    (tmp_path / "privacy.toml").write_text("")
    (tmp_path / "privacy.key").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=why):
        privacy.read(tmp_path / "privacy.toml", "", tmp_path / "privacy.key")


@pytest.mark.parametrize("sent", [b"{", b"[]", b"1", b'{"identity": 1}', b'{"identity": "a", "traits": [1]}', b"\xff", b"{}",
    b'{"identity": "a", "traits": [{"trait_value": "no key"}]}', b'{"identity": "a", "traits": "text"}'])  # fmt: skip
def test_land__under_rules__what_cannot_be_read_is_withheld_and_still_counted(land, sent):
    ((body, _, original),) = land(RULES, sent)
    assert body == "" and original is not None


def test_land__an_override_of_an_identity__is_pseudonymised_too(land, rules):
    change = {
        "data": {"new_state": {"identity_identifier": "ada"}, "previous_state": None},
        "event_type": "FLAG_UPDATED",
    }
    ((body, _, _),) = land(RULES, json.dumps(change).encode())
    assert json.loads(body)["data"]["new_state"]["identity_identifier"] == rules(RULES).pseudonym("ada")


def test_erase__a_pseudonymised_person__is_found_by_the_real_name(land, environ, settings, tmp_path):
    land(RULES, BODY)
    files = {"FLAGSMITH_PRIVACY_FILE": str(tmp_path / "privacy.toml"), "FLAGSMITH_PRIVACY_KEY": KEY}
    ran = invoke({**environ, **files}, "erase", "--identity", "ada")
    assert ran.exit_code == 0 and json.loads(ran.output)["rows_deleted"] == {"landing.webhooks": 1}


@pytest.mark.parametrize(
    ("own", "transient", "result"),
    [("keep", "keep", "keep"), ("keep", "hash", "hash"), ("hash", "keep", "hash"), ("drop", "hash", "drop"), ("hash", "drop", "drop")],
)  # fmt: skip
def test_rules__a_transient_trait__is_kept_to_the_stricter_rule(rules, own, transient, result):
    under = rules(f'transient_traits = "{transient}"\n[traits]\nx = "{own}"')
    body = json.dumps({"identity": "a", "traits": [trait("x", 1, True), trait("y", 2)]}).encode()
    traits = {each["trait_key"]: each["trait_value"] for each in json.loads(under.apply(body)[0])["traits"]}
    expected = {"keep": 1, "hash": under.hashed("trait x", b"1")}
    assert traits == ({"x": expected[result]} if result != "drop" else {}) | {"y": 2}


def test_rules__other_traits__is_the_rule_of_those_not_named(rules):
    under = rules('other_traits = "drop"\n[traits]\nage = "keep"')
    assert [each["trait_key"] for each in json.loads(under.apply(BODY)[0])["traits"]] == ["age"]


def test_rules__identities_are_kept__a_sentence_about_identities_of_any_form_stays():
    """Given the rule that only drops a trait; then nothing in the audit log is withheld, because nobody has a pseudonym."""
    told = {"log": "3 identities were imported", "id": 7}
    body = json.dumps({"event_type": "AUDIT_LOG_CREATED", "data": told}).encode()
    assert privacy.Privacy(KEY.encode(), traits={"email": "drop"}).apply(body) == (body, None)
    altered, _ = privacy.Privacy(KEY.encode(), identity="hash").apply(body)
    assert json.loads(altered)["data"] == {"log": None, "id": 7}


def test_rules__a_hashed_trait_that_is_an_object__has_one_hash_in_whatever_order_of_its_keys():
    hashes = set()
    for value in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        body = json.dumps({"identity": "x", "traits": [{"trait_key": "place", "trait_value": value}]})
        altered, _ = privacy.Privacy(KEY.encode(), traits={"place": "hash"}).apply(body.encode())
        hashes.add(json.loads(altered)["traits"][0]["trait_value"])
    assert len(hashes) == 1


def test_rules__another_key__gives_other_hashes(rules):
    assert rules(RULES).pseudonym("ada") != rules(RULES, KEY[::-1]).pseudonym("ada")


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("identity = 'hash'", "", "FLAGSMITH_PRIVACY_KEY"),
        ("[traits]\nx = 'drop'", "too short", "FLAGSMITH_PRIVACY_KEY"),
        ("[traits]\nx = 'hash'", "too short", "FLAGSMITH_PRIVACY_KEY"),
        ("identity = 'drop'", KEY, "must be keep or hash, not 'drop'"),
        ("[traits]\nx = 'erase'", KEY, "must be keep, hash or drop, not 'erase'"),
        ("[traits]\nx = 1", KEY, "must be keep, hash or drop, not 1"),
        ("identities = 'hash'", KEY, "identities is not known"),
        ("traits = 'drop'", KEY, "must be a table"),
        ("identity = ", KEY, "cannot be read"),
    ],
)
def test_rules__that_make_no_sense__are_refused_and_nothing_is_landed(rules, text, key, why):
    with pytest.raises(SettingsError, match=why):
        rules(text, key)


def test_land__the_file_is_gone__lands_nothing(environ, settings):
    receive(settings, BODY)
    ran = invoke({**environ, "FLAGSMITH_PRIVACY_FILE": "/nowhere/privacy.toml"}, "land")
    assert ran.exit_code == 1 and "/nowhere/privacy.toml" in ran.output and "Traceback" not in ran.output
    from flagsmith_warehouse.loader.inbox.reader import backlog

    assert backlog(settings.inbox_dir)[0] == 1


NAME = "ada-lovelace"
KEYS = st.sampled_from(["identity", "flags", "segments", "traits", "data", "event_type", "trait_key", "x"])
VALUES = st.recursive(
    st.sampled_from([NAME, f"{NAME} and others", "FLAG_UPDATED", "", 1, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
EVALUATIONS = st.fixed_dictionaries(
    {
        "identity": st.just(NAME),
        "flags": st.just([{"feature_state_value": "on"}]),
        "traits": st.lists(st.fixed_dictionaries({"trait_key": st.just("email"), "trait_value": VALUES})),
    },
    optional={"x": VALUES, "data": VALUES},
)


def hashed(what: str, value: bytes) -> str:
    """The keyed hash as docs/privacy.md describes it."""
    return hmac.new(KEY.encode(), what.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:32]


@given(EVALUATIONS)
def test_rules__hashed_identities_and_dropped_traits__leave_flags_and_a_pseudonym(evaluation):
    body = json.dumps(evaluation).encode()
    altered, original = privacy.Privacy(KEY.encode(), identity="hash", other_traits="drop").apply(body)
    flags = evaluation["flags"]
    assert json.loads(altered) == {
        "identity": hashed("identity", NAME.encode()),
        "flags": flags,
        "traits": [],
    }
    assert original == hashed("body", body)


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_rules__any_body__is_emptied_unless_it_has_a_known_form(body):
    altered, original = privacy.Privacy(KEY.encode(), identity="hash", other_traits="drop").apply(body)
    assert original == (None if altered == body else hashed("body", body))
    if altered:
        sent, kept = json.loads(body), json.loads(altered)
        if "event_type" in kept:
            assert kept.keys() == {"data", "event_type"}
        else:
            assert kept["identity"] == hashed("identity", sent["identity"].encode())
            assert kept.keys() <= {"identity", "flags", "segments", "traits"} and not kept.get("traits")
