"""A person is removed from every table and from the bytes of every file, and does not come back."""

import contextlib
import json
import shutil

import duckdb
import pytest

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.inbox import file as inbox_file
from flagsmith_warehouse.loader.inbox import reader, writer
from flagsmith_warehouse.loader.landing import schema as landing_schema
from flagsmith_warehouse.loader.landing.persons import names_in, readings
from flagsmith_warehouse.loader.operations import erase as erase_module
from flagsmith_warehouse.loader.operations import places, publish
from flagsmith_warehouse.loader.operations.status import recorded_refresh
from tests.operations.conftest import bodies, environ_of, everything, invoke, receive

PERSON, OTHER = "erase-me-Zoë@example.com", "keep-me@example.com"
LONELY_TRAIT = "a trait that only one person has"
SEGMENT = 4711
# Counts that name nobody and stay as they were.
STAYS = ("marts.fct_flag_exposures_daily", "marts.fct_deliveries_hourly")


def body(identity, trait="plain", flags=None):
    flags = json.loads(bodies()[0])["flags"] if flags is None else flags
    traits = [{"id": 1, "trait_key": "note", "trait_value": trait, "transient": False}]
    segments = [{"id": SEGMENT, "name": "both of them", "member": True}]
    value = {"flags": flags, "identity": identity, "segments": segments, "traits": traits}
    return json.dumps(value, sort_keys=True).encode()


CHANGE = json.dumps(
    {"data": {"new_state": {"identity_identifier": PERSON, "enabled": True}}, "event_type": "FLAG_UPDATED"}
).encode()
SENTENCE = f"Flag state / Remote Config value updated for feature 'x' and identity '{PERSON}'"
# Of the person: evaluations, an override, a sentence, an array, UTF-16; no JSON in UTF-8 and in Latin-1, JSON with a
# lone surrogate.
ABOUT_THE_PERSON = [
    body(PERSON, LONELY_TRAIT),
    body(PERSON, LONELY_TRAIT, []),
    CHANGE,
    json.dumps({"data": {"log": SENTENCE}, "event_type": "AUDIT_LOG_CREATED"}).encode(),
    json.dumps([{"identity": PERSON}], ensure_ascii=False).encode(),
    json.dumps({"identity": PERSON}, ensure_ascii=False).encode("utf-16"),
    f'{{"identity": "{PERSON}", cut off'.encode(),
    f'{{"identity": "{PERSON}", cut off'.encode("latin-1"),
    json.dumps({"identity": PERSON, "traits": [{"trait_key": "\ud800"}]}).encode(),
]
# Bodies about others that contain the person's name.
ABOUT_OTHERS = [body(OTHER, "keep-this-trait"), body(OTHER, f"was invited by {PERSON.upper()}"), b"not JSON"]


def rows(path, table):
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(f"from {table} order by all").fetchall()


@pytest.fixture(scope="session")
def refreshed_with_person(refreshed, tmp_path_factory):
    """The folder of a warehouse with the person and another one, in two environments."""
    folder = tmp_path_factory.mktemp("with_person") / "data"
    shutil.copytree(refreshed, folder)
    environ = environ_of(folder)
    receive(settings_module.read(environ), *ABOUT_THE_PERSON, *ABOUT_OTHERS)
    receive(settings_module.read(environ), body(PERSON, LONELY_TRAIT), environment="staging")
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 0, ran.output
    return folder


@pytest.fixture
def with_person(refreshed_with_person, settings):
    """A copy of it that a test may change."""
    shutil.copytree(refreshed_with_person, settings.warehouse_dir)
    return settings


def tables(path):
    with duckdb.connect(path, read_only=True) as connection:
        names = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        return {f"{s}.{t}": str(connection.execute(f"from {s}.{t}").fetchall()) for s, t in names}


def test_erase__a_person__is_in_no_table_and_everybody_else_is(with_person, environ):
    before = {name: text for name, text in tables(with_person.warehouse_file).items() if PERSON in text}
    assert {"landing.webhooks", "marts.fct_flag_assignments", "marts.fct_identity_traits"} <= set(before)
    assert {"marts.fct_flag_changes", "marts.quarantined_deliveries"} <= set(before)
    daily = rows(with_person.warehouse_file, "marts.fct_flag_exposures_daily")
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 0, ran.output
    after = tables(with_person.warehouse_file)
    for text in (*after.values(), *tables(with_person.published_file).values()):
        assert PERSON not in text and LONELY_TRAIT not in text
        assert json.dumps(PERSON)[1:-1] not in text
    assert OTHER in after["marts.fct_flag_assignments"] and "keep-this-trait" in after["landing.webhooks"]
    assert len(rows(with_person.warehouse_file, "landing.webhooks")) == len(bodies()) + 1 + len(ABOUT_OTHERS)
    assert rows(with_person.warehouse_file, "marts.fct_flag_exposures_daily") == daily
    receipt = json.loads(with_person.receipts_file.read_text())
    assert receipt == json.loads(ran.output)
    assert receipt["rows_deleted"]["landing.webhooks"] == len(ABOUT_THE_PERSON) + 1
    assert PERSON not in ran.output


def members(settings):
    return {
        row[:1] + row[4:5]
        for row in rows(settings.warehouse_file, "marts.fct_segment_sizes_daily")
        if row[1] == SEGMENT
    }


def test_erase__then_refresh__equals_a_warehouse_that_never_knew_the_person(with_person, environ):
    """Given a segment's size and daily counts that include the person; then the size falls, and the daily counts stay."""
    counted = {name: rows(with_person.warehouse_file, name) for name in STAYS}
    assert members(with_person) == {("production", 2), ("staging", 1)}
    invoke(environ, "erase", "--identity", PERSON)
    assert {name: rows(with_person.warehouse_file, name) for name in STAYS} == counted
    receive(with_person, body(OTHER, "something new"))
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 0, ran.output
    assert members(with_person) == {("production", 1)}
    names = [n for n in tables(with_person.warehouse_file) if n.startswith("marts.") and n not in STAYS]
    assert "marts.fct_segment_sizes_daily" in names
    built = {name: rows(with_person.warehouse_file, name) for name in names}
    with duckdb.connect(with_person.warehouse_file) as connection:
        for schema in ("staging", "intermediate", "marts"):
            connection.execute(f"drop schema {schema} cascade")
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 0, ran.output
    for name in names:
        assert rows(with_person.warehouse_file, name) == built[name], name
    for name in STAYS:
        assert rows(with_person.warehouse_file, name) != counted[name]


def test_erase__in_one_environment__the_other_keeps_the_person(with_person, environ):
    ran = invoke(environ, "erase", "--identity", PERSON, "--environment", "production")
    assert ran.exit_code == 0, ran.output
    with duckdb.connect(with_person.warehouse_file, read_only=True) as connection:
        where = connection.execute(
            "select distinct environment from marts.fct_flag_assignments where identity = ?", [PERSON]
        ).fetchall()
        body_left = connection.execute(
            "select count(*) from landing.webhooks as l inner join staging.stg_flagsmith__payloads as p "
            "on l.delivery_id = p._delivery_id and l.payload_hash = p.payload_hash where p.identity = ?",
            [PERSON],
        ).fetchone()
    assert where == [("staging",)] and body_left == (1,)


def test_erase__in_one_environment__leaves_its_experiments_and_no_others(with_person, environ):
    """Given tables in which only the experiment shows a person's environment."""
    tables = ("marts.fct_experiment_assignments", "intermediate.int_experiment_assignments")
    with duckdb.connect(with_person.warehouse_file) as connection:
        for key, environment in (("here", "production"), ("there", "staging")):
            connection.execute(
                "insert into marts.dim_experiments (experiment_key, environment) values (?, ?)",
                [key, environment],
            )
            for table in tables:
                connection.execute(
                    f"insert into {table} (experiment_key, identity) values (?, ?)", [key, PERSON]
                )
    ran = invoke(environ, "erase", "--identity", PERSON, "--environment", "production")
    assert ran.exit_code == 0, ran.output
    with duckdb.connect(with_person.warehouse_file, read_only=True) as connection:
        for table in tables:
            left = f"select experiment_key from {table} where identity = ?"
            assert connection.execute(left, [PERSON]).fetchall() == [("there",)], table


def test_erase__replayed_or_landed_late__does_not_come_back_and_what_is_new_does(
    with_person, environ, tmp_path
):
    captures = [
        {
            "received_at": "2026-01-01T00:00:00Z",
            "path": "/webhooks/production",
            "headers": {},
            "body": each.decode(),
        }
        for each in (body(PERSON), body(OTHER, "replayed"))
    ]
    late = writer.Inbox(with_person.inbox_dir)
    late.put("production", True, body(PERSON, "late"))
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 0, ran.output
    late.close()
    (tmp_path / "captures").write_text("\n".join(map(json.dumps, captures)))
    ran = invoke(environ, "land", "--from", str(tmp_path / "captures"))
    assert ran.exit_code == 0 and "Landed 1 captures" in ran.output
    landed = str(rows(with_person.warehouse_file, "landing.webhooks"))
    assert json.dumps(PERSON)[1:-1] not in landed and "replayed" in landed
    receive(with_person, body(PERSON, "came back"))
    invoke(environ, "land")
    assert "came back" in str(rows(with_person.warehouse_file, "landing.webhooks"))


def compressed_bodies(settings) -> list[bytes]:
    """Given bodies as in the inbox, each put in a separate commit."""
    [path] = inbox_file.files(settings.inbox_dir)
    with reader.connect(path) as connection:
        return [packed for (packed,) in connection.execute("select pack from deliveries").fetchall()]


def test_erase__bytes_on_uncompressed_storage__are_in_no_file_and_those_of_another_are(
    uncompressed, settings, environ
):
    """Uses tables shaped like models instead of dbt, so that every file can be written uncompressed."""
    texts = (PERSON.encode(), json.dumps(PERSON)[1:-1].encode(), LONELY_TRAIT.encode())
    controls = (OTHER.encode(), b"keep-this-trait")
    receive(settings, *ABOUT_THE_PERSON, *ABOUT_OTHERS)
    assert invoke(environ, "land").exit_code == 0
    with landing_schema.open_warehouse(settings, print) as warehouse:
        warehouse.execute("create schema marts")
        warehouse.execute("create table marts.fct (environment varchar, identity varchar, trait varchar)")
        warehouse.execute("insert into marts.fct values (?, ?, ?)", ["production", PERSON, LONELY_TRAIT])
        warehouse.execute("insert into marts.fct values (?, ?, ?)", ["production", OTHER, "keep-this-trait"])
    assert invoke(environ, "publish").exit_code == 0
    living = writer.Inbox(settings.inbox_dir)
    for each in (*ABOUT_THE_PERSON, *ABOUT_OTHERS):
        living.put("production", True, each)
    for path in (settings.warehouse_file, settings.published_file):
        content = path.read_bytes()
        assert all(text in content for text in (texts[0], texts[2], *controls)), path
    packs = compressed_bodies(settings)
    in_inbox = everything(settings.inbox_dir)
    assert len(packs) == len((*ABOUT_THE_PERSON, *ABOUT_OTHERS)) and all(pack in in_inbox for pack in packs)
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 0, ran.output
    left = everything(settings.warehouse_dir)
    for text in (*texts, *packs):
        assert text not in left, [
            p for p in settings.warehouse_dir.rglob("*") if p.is_file() and text in p.read_bytes()
        ]
    for path in (settings.warehouse_file, settings.published_file):
        assert all(control in path.read_bytes() for control in controls)
    living.put("production", True, b"{}")
    living.close()
    assert invoke(environ, "land").exit_code == 0


def test_erase__killed_before_the_rows_are_deleted__the_tombstone_is_there_and_the_next_one_finishes(
    warehouse, environ, monkeypatch
):
    receive(warehouse, body(PERSON))
    with monkeypatch.context() as patch:
        patch.setattr("flagsmith_warehouse.loader.operations.erase._delete", _killed)
        assert isinstance(
            invoke(environ, "erase", "--identity", PERSON).exception, KeyboardInterrupt | SystemExit
        )
    assert invoke(environ, "erase", "--identity", PERSON).exit_code == 0
    assert json.dumps(PERSON)[1:-1] not in str(rows(warehouse.warehouse_file, "landing.webhooks"))


def _killed(*_):
    raise KeyboardInterrupt


def test_erase__marts_are_built_on_spark__removes_their_copy_and_says_what_must_follow(warehouse, environ):
    """Given a machine on which a refresh on Spark was killed; then the old warehouse is not published over what Spark has built."""
    with contextlib.suppress(KeyboardInterrupt), recorded_refresh(warehouse, published_from="spark"):
        begun = warehouse.refresh_record.read_text()
        raise KeyboardInterrupt
    warehouse.refresh_record.write_text(begun)
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 0, ran.output
    assert "erase --target spark" in ran.stderr
    assert not warehouse.published_file.exists()
    assert invoke(environ, "publish").exit_code == 1
    assert not warehouse.published_file.exists()


def test_erase__what_is_left_cannot_be_published__the_copy_is_gone_from_the_other_disk_too(
    warehouse, environ, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "another disk.duckdb"
    warehouse.published_file.rename(elsewhere)
    warehouse.published_file.symlink_to(elsewhere)

    def fail(*_):
        raise publish.PublishError("the disk is full.")

    monkeypatch.setattr(publish, "publish", fail)
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 1 and "the disk is full" in ran.stderr
    assert not warehouse.published_file.is_symlink() and not elsewhere.exists()


def test_erase__somebody_nobody_knows__is_no_error_and_leaves_a_receipt(warehouse, environ):
    ran = invoke(environ, "erase", "--identity", "nobody")
    assert ran.exit_code == 0 and json.loads(ran.output)["rows_deleted"] == {}


def test_erase__an_environment_nobody_sends_to__says_which_there_are_and_leaves_a_tombstone(
    settings, environ
):
    receive(settings, body("somebody"))
    ran = invoke(environ, "erase", "--identity", "somebody", "--environment", "nosuch")
    receipt = json.loads(ran.stdout)
    assert ran.exit_code == 0 and receipt["rows_deleted"] == {}
    assert "no environment 'nosuch', there are production, staging" in receipt["note"]
    assert "The tombstone stays" in receipt["note"]
    assert len(rows(settings.warehouse_file, "landing.webhooks")) == 1
    assert [row[0] for row in rows(settings.warehouse_file, "landing.tombstones")] == ["nosuch"]


def test_erase__nobody_of_that_name__says_so(settings, environ):
    receive(settings, body("somebody"))
    ran = invoke(environ, "erase", "--identity", "someone else")
    assert ran.exit_code == 0 and json.loads(ran.stdout)["note"].startswith("Nobody was found")
    ran = invoke(environ, "erase", "--identity", "somebody")
    assert "note" not in json.loads(ran.stdout)


def marts_of(settings, *persons, schema="marts"):
    """A table shaped like a mart, made without dbt."""
    with landing_schema.open_warehouse(settings, print) as warehouse:
        warehouse.execute(f"create schema if not exists {schema}")
        warehouse.execute(f"create table {schema}.fct (environment varchar, identity varchar)")
        for person in persons:
            warehouse.execute(f"insert into {schema}.fct values ('production', ?)", [person])


def test_erase__dry_run__counts_what_would_go_and_changes_nothing(settings, environ):
    receive(settings, body(PERSON), body(OTHER))
    invoke(environ, "land")
    marts_of(settings, PERSON, PERSON, OTHER)
    marts_of(settings, PERSON, schema="analytics")
    receive(settings, body(PERSON), body(PERSON, "again"), body(OTHER))
    receive(settings, body(PERSON), environment="staging")
    path, _ = inbox_file.files(settings.inbox_dir)
    with landing_schema.open_warehouse(
        settings, print
    ) as warehouse:  # of a run that was killed before it deleted the first row
        warehouse.execute("insert into landing.inbox_progress values (?, 1)", [path.name])
    before = tables(settings.warehouse_file), reader.backlog(settings.inbox_dir)
    ran = invoke(environ, "erase", "--identity", PERSON, "--environment", "production", "--dry-run")
    assert ran.exit_code == 0, ran.output
    preview = json.loads(ran.stdout)
    assert preview["rows_to_delete"] == {"inbox": 1, "landing.webhooks": 1, "marts.fct": 2}
    assert preview["still_in"] == ['analytics."fct"'] and "analytics" in ran.stderr
    assert (tables(settings.warehouse_file), reader.backlog(settings.inbox_dir)) == before
    assert not settings.receipts_file.exists()
    ran = invoke(environ, "erase", "--identity", PERSON, "--environment", "production")
    assert json.loads(ran.stdout)["rows_deleted"] == preview["rows_to_delete"]


def test_erase__dry_run_before_anything_was_landed__counts_the_inbox_and_makes_no_warehouse(
    settings, environ
):
    receive(settings, body(PERSON))
    ran = invoke(environ, "erase", "--identity", PERSON, "--dry-run")
    assert json.loads(ran.stdout)["rows_to_delete"] == {"inbox": 1}
    assert not settings.warehouse_file.exists()


@pytest.mark.parametrize(
    ("answer", "arguments", "is_erased"), [("n", (), False), ("y", (), True), ("", ("--yes",), True)]
)
def test_erase__on_a_terminal__asks(settings, environ, monkeypatch, answer, arguments, is_erased):
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.maintenance._is_terminal", lambda: True)
    receive(settings, body(PERSON))
    ran = invoke(environ, "erase", "--identity", PERSON, *arguments, input=f"{answer}\n")
    assert (ran.exit_code == 0) == is_erased == settings.receipts_file.exists()
    assert ("for good?" in ran.output) == (not arguments)


def test_erase__the_copy_cannot_be_published__fails_and_leaves_no_copy_with_the_person(
    settings, environ, monkeypatch
):
    receive(settings, body(PERSON))
    invoke(environ, "land")
    marts_of(settings, PERSON, OTHER)
    assert invoke(environ, "publish").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr("flagsmith_warehouse.loader.operations.publish._copy_relation", _disk_full)
        ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 1 and "Everything is erased" in ran.output and "No space" in ran.output
    assert not settings.published_file.exists() and settings.receipts_file.exists()
    assert invoke(environ, "publish").exit_code == 0
    assert rows(settings.published_file, "marts.fct") == [("production", OTHER)]


def _disk_full(*_):
    raise OSError("No space left on device")


def test_erase__relations_of_the_users_own__are_named_and_not_touched(settings, environ):
    """Given outcomes, a map of identities, a view named like a mart, a broken view, and a relation without the person."""
    receive(settings, body(PERSON))
    invoke(environ, "land")
    with landing_schema.open_warehouse(settings, print) as warehouse:
        for statement in (
            "create schema seeds", "create schema analytics", "create schema marts",
            f"create table seeds.identity_map as select 'u' as user_id, '{PERSON}' as anonymous",
            f"create table analytics.orders as select '{PERSON}' as identity, 'production' as environment",
            "create table analytics.others as select 'other' as identity",
            "create view marts.our_report as select identity as who from analytics.orders",
            "create view analytics.broken as select cast(identity as integer) as n, identity from analytics.orders",
            "create view marts.flagsmith_events as select identity from analytics.orders",
        ):  # fmt: skip
            warehouse.execute(statement)
        warehouse.execute("create table analytics.gone as select 1 as n")
        warehouse.execute("create view analytics.of_gone as select *, '' as text from analytics.gone")
        warehouse.execute("drop table analytics.gone")
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["still_in"] == [
        'analytics."broken"', 'analytics."of_gone" (could not be read)', 'analytics."orders"',
        'marts."our_report"', 'seeds."identity_map"',
    ]  # fmt: skip
    assert "seeds" in ran.stderr and PERSON not in ran.output
    assert rows(settings.warehouse_file, "analytics.orders") == [(PERSON, "production")]


def test_erase__a_sentence_whose_body_was_pruned__leaves_the_marts(settings, environ):
    """Given a mart that keeps a sentence of a delivery that retention has deleted from the landing."""
    marts_of(settings)
    with landing_schema.open_warehouse(settings, print) as warehouse:
        warehouse.execute(
            "create table marts.fct_flag_changes (delivery_id varchar, environment varchar, description varchar)"
        )
        for number, name in enumerate((PERSON, f"x.{PERSON}", "7", PERSON)):
            environment = "staging" if number == 3 else "production"
            sentence = f"Flag state updated for feature 'a' and identity '{name}'"
            warehouse.execute(
                "insert into marts.fct_flag_changes values (?, ?, ?)", [str(number), environment, sentence]
            )
    here = ("--environment", "production")
    assert invoke(environ, "erase", "--identity", PERSON, *here).exit_code == 0
    assert invoke(environ, "erase", "--identity", "7").exit_code == 0
    assert [row[0] for row in rows(settings.warehouse_file, "marts.fct_flag_changes")] == ["1", "3"]


@pytest.mark.parametrize(
    "line",
    [
        b'of team/"ada"',
        b'{"identity": "team/\\"ada\\""}',
        b"GET /api/v1/identities/?identifier=team%2F%22ada%22",
    ],
    ids=["as it is", "JSON", "in an address"],
)
def test_names_person__however_a_log_spells_it__is_found(line):
    names = erase_module.Names(frozenset({'team/"ada"'}))
    assert erase_module._names_person(line, names)
    assert not erase_module._names_person(line.replace(b"ada", b"bob"), names)


def test_erase__a_seed_names_the_person__says_so(warehouse, environ):
    with duckdb.connect(warehouse.warehouse_file) as connection:
        connection.execute("insert into seeds.test_identities (identity) values (?)", [PERSON])
    ran = invoke(environ, "erase", "--identity", PERSON)
    assert "test_identities" in ran.output and "remove the identity there" in ran.output


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (b'{"identity": "a"}', {"a"}),
        (b'{"identity": "\\u00e9"}', {"é"}),
        (CHANGE, {PERSON}),
        (b'{"data": {"previous_state": {"identity_identifier": "b"}}}', {"b"}),
        (b'{"identity": 1}', set()),
        (b'{"data": []}', set()),
        (b"[1]", set()),
        (b"\xff", set()),
        (b'"identity": "c\\u00e9" and more', {"cé"}),
        # A body may be inside a text of another body; its quotes are then escaped.
        (b'"identity_identifier":"d\\"', {"d"}),
        (b'[{"identity": "e", "identity": "f"}]', {"e", "f"}),
        (b"updated for feature 'x' and identity 'g'", {"g"}),
        ('{"identity": "h"}'.encode("utf-16-be"), {"h"}),
        (b"{%22identity%22%3A%20%22i%22}", {"i"}),
        (b"eyJpZGVudGl0eSI6ICJqIn0=", {"j"}),
        (b"[" * 100_000, set()),
    ],
)
def test_names_in__whatever_the_body__are_found(given, found):
    assert {name for text, _ in readings(given) for name in names_in(text)} - {""} == found


@pytest.mark.parametrize(
    "record", ['{{"result": "failure", "error": "{}', "[{}]", '["{}"]', '"{}"', "\x00{}\x00"]
)
def test_erase__the_record_of_a_refresh_is_damaged_and_names_the_person__is_emptied(settings, record):
    """Given an invalid record; then erasing does not stop, and the name is gone."""
    settings.warehouse_dir.mkdir(parents=True)
    settings.refresh_record.write_text(record.format(PERSON))
    erase_module.clean_records(settings, erase_module.Names(frozenset({PERSON})))
    assert settings.refresh_record.read_bytes() == b""


def test_erase__where_we_have_published_to__the_person_is_in_no_file(with_person, environ, tmp_path):
    """Given three folders; then one is published anew, one that is gone is named, and one that cannot be written is an error."""
    there, gone, closed = folders = [tmp_path / name for name in ("there", "gone", "closed")]
    for folder in folders:
        assert invoke(environ, "publish", "--to", str(folder)).exit_code == 0
    identities = there / "marts" / "dim_identities.parquet"
    assert {PERSON, OTHER} <= {row[1] for row in rows(with_person.published_file, f"'{identities}'")}
    gone.rename(tmp_path / "moved")
    (closed / "published.json").write_text("no longer JSON")
    ran = invoke(environ, "erase", "--yes", "--identity", PERSON)
    assert f"{gone} is not there any more" in ran.stderr, ran.output
    assert ran.exit_code == 1 and f"{closed} still has the person in it" in ran.stderr
    for file in there.rglob("*.parquet"):
        assert PERSON not in str(rows(with_person.published_file, f"'{file}'")), file
    assert OTHER in {row[1] for row in rows(with_person.published_file, f"'{identities}'")}
    assert places.known(with_person) == [str(there), str(closed)]
