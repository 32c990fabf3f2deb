"""A body of any form is landed, and afterwards no file contains a person who was erased."""

import base64
import hmac
import json
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.inbox import reader
from flagsmith_warehouse.loader.landing import batch as landing_batch
from flagsmith_warehouse.loader.landing import land as landing
from flagsmith_warehouse.loader.landing import persons, privacy
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.landing.tombstones import Tombstones
from flagsmith_warehouse.loader.operations import erase
from tests.operations.conftest import environ_of, everything, receive

KEY = "0123456789abcdef"
ANY = st.characters(exclude_categories=["Cs"])
PERSON = "erase-me-Zoë 100%/☃@example.com"


def sentence(name: str) -> str:
    return f"Flag state / Remote Config value updated for feature 'x' and identity '{name}'"


def audit(name: str) -> dict:
    return {
        "event_type": "AUDIT_LOG_CREATED",
        "data": {"log": sentence(name), "author": {"email": "lab@example.com"}},
    }


def evaluation(name: str) -> dict:
    return {"flags": [], "identity": name, "segments": [], "traits": []}


# Ways in which a body may be about somebody.
ABOUT = {
    "an evaluation": evaluation,
    "only the identity": lambda name: {"identity": name},
    "a sentence of the audit log": audit,
    "an override": lambda name: {"event_type": "FLAG_UPDATED", "data": {"new_state": {"identity_identifier": name}}},
    "an array": lambda name: [evaluation(name)],
    "an object": lambda name: {"payload": evaluation(name)},
    "a change": lambda name: {"event_type": "FLAG_UPDATED", "data": evaluation(name)},
    "a text in a text": lambda name: {"body": json.dumps(json.dumps(evaluation(name)))},
    "a list of identities": lambda name: {"identity": [name], "traits": {}},
    "a key": lambda name: {"identity": {name: 1}},
    "another key": lambda name: {"Identity": name, "flags": []},
    "beside somebody else": lambda name: {**evaluation("somebody else"), "user": name},
    "an address": lambda name: {"url": f"https://example.com/?user={quote(name, safe='')}"},
    "base64": lambda name: {"jwt": "xx." + base64.b64encode(b'{"user": "' + name.encode() + b'"}').decode()},
    "base64 of UTF-16": lambda name: {"jwt": base64.urlsafe_b64encode(name.encode("utf-16")).decode()},
    "base64 of base64": lambda name: {"jwt": base64.b64encode(base64.b64encode(name.encode())).decode()},
}  # fmt: skip
# Ways in which a body may be written.
WRITTEN = {
    "JSON": lambda value: json.dumps(value).encode(),
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "every letter escaped": lambda value: escaped(json.dumps(value, ensure_ascii=False)),
    "slashes escaped": lambda value: json.dumps(value).replace("/", "\\/").encode(),
    "UTF-8 with a mark": lambda value: b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode(),
    "UTF-16": lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16"),
    "UTF-16 BE": lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16-be"),
    "UTF-16 behind a byte": lambda value: b"." + json.dumps(value, ensure_ascii=False).encode("utf-16-le"),
    "percent-encoded": lambda value: quote(json.dumps(value)).encode(),
    "base64": lambda value: base64.b64encode(json.dumps(value, ensure_ascii=False).encode()),
    "cut off": lambda value: json.dumps(value).encode()[:-1],
    "not quite UTF-8": lambda value: json.dumps(value, ensure_ascii=False).encode() + b"\xff",
    "with NaN": lambda value: b'{"n": NaN, "body": ' + json.dumps(value).encode() + b"}",
    "with a key twice": lambda value: b'{"identity": "x", "identity": "y", "body": ' + json.dumps(value).encode() + b"}",
    "with a huge integer": lambda value: b'{"n": ' + b"9" * 5_000 + b', "body": ' + json.dumps(value).encode() + b"}",
    "nested deep": lambda value: b"[" * 20_000 + json.dumps(value).encode() + b"]" * 20_000,
}  # fmt: skip


def escaped(text: str) -> bytes:
    """JSON in which the letters of texts are written as \\u0041."""
    value = json.loads(text)
    units = lambda part: part.encode("utf-16-be").hex()  # noqa: E731

    def write(part):
        if isinstance(part, dict):
            return "{" + ", ".join(f"{write(key)}: {write(each)}" for key, each in part.items()) + "}"
        if isinstance(part, list):
            return "[" + ", ".join(map(write, part)) + "]"
        if not isinstance(part, str):
            return json.dumps(part)
        return '"' + "".join(f"\\u{units(part)[at : at + 4]}" for at in range(0, len(units(part)), 4)) + '"'

    return write(value).encode()


def forms(name: str) -> set[bytes]:
    """The bytes in which a file may contain a name, computed here in another way than in the loader."""
    plain = [name.encode(), name.encode("utf-16-le"), name.encode("utf-16-be")]
    texts = {*plain, json.dumps(name)[1:-1].encode(), quote(name, safe="").encode(), quote(name).encode()}
    for text in plain:
        for before in (0, 1, 2):
            whole = base64.b64encode(b"\0" * before + text + b"\0" * ((3 - before - len(text)) % 3))
            texts.add(whole[4 if before else 0 : len(whole) - 4])
    return texts


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("about", ABOUT)
def test_is_about__any_form__finds_the_name_and_no_other(about, written):
    body = WRITTEN[written](ABOUT[about](PERSON))
    assert persons.is_about(body, erase.Names(frozenset({PERSON})))
    assert not persons.is_about(body, erase.Names(frozenset({"keep-me@example.com"})))


@pytest.mark.parametrize(
    "about", ["an evaluation", "a sentence of the audit log", "an override", "an array", "a change"]
)
def test_is_about__a_short_name__is_found_where_the_body_says_whom_it_is_about(about):
    for written in ("JSON", "every letter escaped", "UTF-16", "percent-encoded", "base64"):
        body = WRITTEN[written](ABOUT[about]("7"))
        assert persons.is_about(body, erase.Names(frozenset({"7"}))), written
    stands_elsewhere = {
        "data": {"id": 7, "new_state": {"feature_state_value": "7"}},
        "event_type": "FLAG_UPDATED",
    }
    assert not persons.is_about(json.dumps(stands_elsewhere).encode(), erase.Names(frozenset({"7"})))


OF_OTHERS = [
    (audit("bada@example.com"), "a longer name"),
    (audit("x.ada@example.com"), "a longer name"),
    (audit("ada@example.com.au"), "a longer name"),
    ({**evaluation("bob"), "traits": [{"trait_key": "friend", "trait_value": "ada@example.com"}]}, "a trait"),
]


@pytest.mark.parametrize(("body", "why"), OF_OTHERS)
def test_is_about__others_in_whose_bodies_the_name_stands__are_kept(body, why):
    assert not persons.is_about(json.dumps(body).encode(), erase.Names(frozenset({"ada@example.com"})))


class Warehouse:
    """A landing in memory, for tests that only need tombstones."""

    def __init__(self):
        self.connection = duckdb.connect()
        self.connection.execute("create schema landing")
        self.tombstones = Tombstones(self.connection)


NOW = datetime(2026, 5, 3, 12)


@pytest.fixture(scope="module")
def tombstones():
    warehouse = Warehouse()
    for name in (PERSON, "7", "somebody@example.com"):
        warehouse.tombstones.add(name, None, NOW)
    yield Tombstones(warehouse.connection)  # as a later run reads them
    warehouse.connection.close()


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("about", ABOUT)
def test_tombstones__any_form__what_came_before_is_not_landed_and_what_comes_after_is(
    tombstones, about, written
):
    body = WRITTEN[written](ABOUT[about](PERSON))
    assert tombstones.erased("production", NOW, body)
    assert not tombstones.erased("production", NOW + timedelta(microseconds=1), body)
    assert not tombstones.erased("production", NOW, WRITTEN[written](ABOUT[about]("keep-me@example.com")))


@pytest.mark.parametrize(("body", "why"), OF_OTHERS)
def test_tombstones__others_in_whose_bodies_the_name_stands__are_landed(body, why):
    warehouse = Warehouse()
    warehouse.tombstones.add("ada@example.com", None, NOW)
    assert not warehouse.tombstones.erased("production", NOW, json.dumps(body).encode())
    warehouse.connection.close()


@pytest.mark.parametrize("is_read_again", [False, True])
def test_tombstones__two_for_one_person__the_later_one_counts_in_whatever_order(is_read_again):
    """Given a person who was erased twice, the later time added first; then what came between is erased."""
    warehouse, body = Warehouse(), json.dumps(evaluation("ada@example.com")).encode()
    for at in (NOW + timedelta(days=2), NOW):
        warehouse.tombstones.add("ada@example.com", None, at)
    known = Tombstones(warehouse.connection) if is_read_again else warehouse.tombstones
    assert known.erased("production", NOW + timedelta(days=1), body)
    warehouse.connection.close()


def test_tombstones__somebody_else_is_erased_later__what_a_person_did_in_between_is_landed():
    warehouse, body = Warehouse(), json.dumps(evaluation("ada@example.com")).encode()
    warehouse.tombstones.add("ada@example.com", None, NOW)
    warehouse.tombstones.add("bob@example.com", None, NOW + timedelta(days=2))
    assert not warehouse.tombstones.erased("production", NOW + timedelta(days=1), body)
    warehouse.connection.close()


def test_tombstones__of_a_release_before__still_find_the_identity_of_an_evaluation():
    connection = duckdb.connect()
    connection.execute("create schema landing")
    connection.execute(
        "create table landing.tombstones (environment varchar, identity_hash varchar not null, "
        "hash_key varchar not null, erased_at timestamp not null)"
    )
    hashed = hmac.digest(b"key", b"ada@example.com", "sha256").hex()
    connection.execute("insert into landing.tombstones values (null, ?, 'key', ?)", [hashed, NOW])
    of_old = Tombstones(connection)
    assert of_old.erased("production", NOW, json.dumps(evaluation("ada@example.com")).encode())
    assert of_old.erased("production", NOW, json.dumps(audit("ada@example.com")).encode())
    assert not of_old.erased("production", NOW, json.dumps(evaluation("bob@example.com")).encode())
    connection.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["identity", "identity_identifier", "flags", "segments", "traits", "data", "event_type",
                         "new_state", "previous_state", "trait_key", "trait_value", "transient", "log"])
        | st.text(max_size=3), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
HOSTILE = [
    b'{"identity": {}}', b'{"identity": []}', b'{"data": {"new_state": {"identity_identifier": {}}}, "event_type": "x"}',
    b"[" * 200_000, b'{"identity": ' * 5_000, b'{"identity": ' + b"1" * 5_000 + b"}", b'{"identity": "\\ud800"}',
    b'{"identity": NaN}', b'{"identity": "a", "identity": {}}', b"", b"\xff\xfe", b"\0", b"1e999", b"null", b'"text"',
    b'{"identity": "\\u0000"}', b'{"identity": "a", "traits": [{"trait_key": [], "trait_value": 1}]}',
    b'{"identity": "a", "traits": [{"trait_key": {}, "trait_value": 1}]}', b'{"data": {"new_state": [[]]}, "event_type": ""}',
]  # fmt: skip
BODIES = (
    st.binary(max_size=60)
    | st.sampled_from(HOSTILE)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(JSON, st.sampled_from([*WRITTEN])).map(lambda pair: written_or_not(*pair))
)
RULES = {
    "none": None,
    "of nobody": {},
    "drop": {"traits": {"email": "drop"}},
    "hash": {"identity": "hash", "other_traits": "hash", "transient_traits": "drop"},
}


def written_or_not(value, how: str) -> bytes:
    try:
        return WRITTEN[how](value)
    except UnicodeEncodeError:  # half a character, which only an escape can write
        return json.dumps(value).encode()


def land_rows(tombstones, rules, bodies):
    apply = privacy.Privacy(KEY.encode(), **rules).apply if rules is not None else privacy.unaltered
    rows = ((number, f"id-{number}", "production", 1, 1, body) for number, body in enumerate(bodies))
    batch = landing_batch.Batch(rows, NOW, tombstones.erased, apply)
    found = []
    while not batch.is_over:
        found += batch.piece()
    return found


@given(bodies=st.lists(BODIES, max_size=5), rules=st.sampled_from([*RULES]))
@hypothesis_settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_land__any_bodies_under_tombstones_and_rules__each_has_a_row_or_is_of_somebody_erased(
    tombstones, bodies, rules
):
    rows = land_rows(tombstones, RULES[rules], bodies)
    kept = [body for body in bodies if not tombstones.erased("production", landing_batch.EPOCH, body)]
    assert len(rows) == len(kept)
    if rules == "none":
        assert [landing_batch.as_bytes(row[6], row[7]) for row in rows] == kept


@pytest.mark.parametrize("rules", RULES)
def test_land__bodies_that_once_stopped_it__are_landed(environ, tmp_path, rules):
    """Given somebody who was erased after these bodies were received."""
    texts = {
        "none": "",
        "of nobody": "",
        "drop": '[traits]\nemail = "drop"',
        "hash": 'identity = "hash"\nother_traits = "hash"\ntransient_traits = "drop"',
    }
    (tmp_path / "privacy.toml").write_text(texts[rules])
    file = "" if rules == "none" else str(tmp_path / "privacy.toml")
    settings = settings_module.read(environ | {"FLAGSMITH_PRIVACY_FILE": file, "FLAGSMITH_PRIVACY_KEY": KEY})
    receive(settings, *HOSTILE)
    erase.erase(settings, "somebody@example.com")
    assert reader.backlog(settings.inbox_dir) == (0, None)
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        assert warehouse.execute("select count(*) from landing.webhooks").fetchone() == (len(HOSTILE),)


@given(
    name=st.text(ANY, min_size=16, max_size=40).filter(lambda name: len(set(name)) > 8),
    sent=st.lists(
        st.tuples(st.sampled_from([*ABOUT]), st.sampled_from([*WRITTEN]), st.sampled_from(["production", "staging"])),
        min_size=1, max_size=6,
    ),
    before=st.booleans(),
)  # fmt: skip
@hypothesis_settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_erase__any_name_in_any_bodies__is_in_no_file_in_any_form(
    uncompressed,
    tmp_path_factory,
    name,
    sent,
    before,
):
    """Given bodies that were landed before, bodies that wait, and bodies that come back later from captures."""
    folder = tmp_path_factory.mktemp("erased") / "data"
    settings = settings_module.read(environ_of(folder))
    bodies = [(WRITTEN[written](ABOUT[about](name)), environment) for about, written, environment in sent]
    for body, environment in bodies:
        receive(settings, body, environment=environment)
        if before:
            landing.land(settings)
    receive(settings, b'{"identity": "keep-me@example.com", "flags": []}')
    receipt = erase.erase(settings, name)
    assert sum(receipt["rows_deleted"].values()) == len(bodies)
    with landing_schema.open_warehouse(settings, print) as warehouse:
        run = landing.Run(settings, warehouse, lambda _: None)
        late = [(n, f"late-{n}", where, 1, 1, body) for n, (body, where) in enumerate(bodies)]
        run.append(run.batch(late), "landing.webhooks")
    content = everything(folder)
    assert b"keep-me@example.com" in content
    for form in forms(name):
        assert form not in content


def test_erase__half_a_character_from_the_command_line__is_erased(environ):
    settings = settings_module.read(environ)
    receive(settings, b'{"identity": "\\ud800"}', b'{"identity": "x"}')
    landing.land(settings)
    as_argument = "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    assert erase.erase(settings, as_argument)["rows_deleted"] == {"landing.webhooks": 1}


def files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_erase__what_killed_processes_left__is_gone_too(environ):
    settings = settings_module.read(environ)
    receive(settings, json.dumps(evaluation(PERSON)).encode())
    landing.land(settings)
    left = [
        *(settings.warehouse_dir / folder / "duckdb_temp_storage-0.tmp"
          for folder in ("warehouse.duckdb.tmp", "published.duckdb.tmp", "warehouse.spill", "published.spill")),
        settings.warehouse_dir / "warehouse.unfinished",
        settings.warehouse_dir / "published.unfinished",
        settings.warehouse_dir / "logs" / "dbt.log",
    ]  # fmt: skip
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a line of nobody\n" + PERSON.encode() + b"\n")
    settings.refresh_record.write_text(json.dumps({"result": "failure", "error": f"cannot cast {PERSON}"}))
    erase.erase(settings, PERSON)
    for form in (PERSON.encode(), json.dumps(PERSON)[1:-1].encode()):
        assert files_with(settings.warehouse_dir, form) == []
    assert left[-1].read_bytes() == b"a line of nobody\n"
    assert json.loads(settings.refresh_record.read_text())["result"] == "failure"


def test_erase__warehouse_and_published_copy_behind_links__the_old_files_are_replaced(
    environ, uncompressed, tmp_path
):
    settings = settings_module.read(environ)
    settings.warehouse_dir.mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    for file in (settings.warehouse_file, settings.published_file):
        file.symlink_to(tmp_path / "disk" / file.name)
    receive(settings, json.dumps(evaluation("erase-me-by-name")).encode())
    landing.land(settings)
    with landing_schema.open_warehouse(settings, print) as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute(
            "create table marts.fct as select 'erase-me-by-name' as identity, 'production' as environment"
        )
    from flagsmith_warehouse.loader.operations.publish import publish

    publish(settings)
    assert len(files_with(tmp_path / "disk", b"erase-me-by-name")) == 2
    erase.erase(settings, "erase-me-by-name")
    assert files_with(tmp_path, b"erase-me-by-name") == []
    assert settings.warehouse_file.is_symlink() and settings.published_file.is_symlink()
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"warehouse.duckdb", "published.duckdb"}


def test_readings__more_characters_than_we_take_apart__nothing_further_is_decoded(monkeypatch):
    """Given a text encoded three times; when the first reading has all the characters that we allow; then it is the only depth."""
    body = b"%252541da"
    assert "Ada" in {text for text, _ in persons.readings(body)}
    monkeypatch.setattr(persons, "MOST_CHARACTERS", len(body))
    assert {text for text, _ in persons.readings(body)} == {body.decode()}
