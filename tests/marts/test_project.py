"""The dbt project as a whole: on a fresh clone, as a package, its declarations and its documentation."""

import ast
import csv
import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from dbt.cli.main import dbtRunner

from .compare import assert_marts_equal
from .conftest import landed
from .reference import Warehouse as Reference
from .warehouse import PROJECT, Warehouse, parsed_project, paths, quiet_dbt

NOON = datetime(2026, 5, 1, 12)


def body(identity: str, plan: str = "free", member: bool = True, value: str = "a") -> str:
    feature = {
        "id": 1,
        "name": "button",
        "type": "MULTIVARIATE",
        "initial_value": "c",
        "default_enabled": True,
    }
    flag = {"enabled": True, "feature": feature, "feature_state_value": value, "percentage_allocation": 50.0}
    return json.dumps(
        {
            "flags": [{**flag, "feature_segment": None, "identity": None}],
            "identity": identity,
            "segments": [{"id": 1, "name": "paying", "member": member}],
            "traits": [{"id": 1, "trait_key": "plan", "trait_value": plan, "transient": False}],
        },
        sort_keys=True,
    )


def hourly(*bodies: str) -> list:
    return [landed(text, NOON + timedelta(hours=n), f"{n:04d}") for n, text in enumerate(bodies)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A fresh clone on which only `dbt run` ran."""
    warehouse = Warehouse(tmp_path_factory.mktemp("fresh"))
    warehouse.dbt("run")
    return warehouse


def test_run__without_seed_or_landing__makes_empty_marts(fresh):
    """Given a fresh clone; when only `dbt run`; then there is an empty landing and empty marts, and no main schema's table."""
    assert fresh.query("select count(*) as n from landing.webhooks") == [{"n": 0}]
    assert fresh.mart("fct_flag_exposures") == []
    schemas = {row["schema_name"] for row in fresh.query("select distinct schema_name from duckdb_tables()")}
    assert schemas == {"landing", "seeds", "staging", "intermediate", "marts"}
    fresh.dbt("build")


def test_run__a_mart_that_breaks_its_contract__is_refused_by_column_and_stays(warehouse, monkeypatch):
    """Given a mart of another type, one column less and one more than its YAML says; then it is left as it was."""
    mart = "quarantined_deliveries"
    warehouse.land(hourly("no JSON"))
    warehouse.dbt("run", "--select", f"+{mart}")
    before = warehouse.mart(mart)
    columns = parsed_project().nodes[f"model.flagsmith_warehouse.{mart}"].columns
    monkeypatch.setattr(columns["received_at"], "data_type", "date")
    monkeypatch.setitem(columns, "why", columns["reason"])
    monkeypatch.delitem(columns, "body_excerpt")
    with pytest.raises(AssertionError) as refused:
        warehouse.dbt("run", "--full-refresh", "--select", mart)
    for problem in (
        "received_at is TIMESTAMP, and not DATE",
        "why is missing",
        "body_excerpt is VARCHAR, and not in",
    ):
        assert problem in str(refused.value)
    assert warehouse.mart(mart) == before != []


def test_models__that_other_projects_may_refer_to__are_the_marts_and_what_the_starter_reads():
    """Given the parsed project; then marts are public, the models before them are not, and the starter's model can be built."""
    models = [node for node in parsed_project().nodes.values() if node.resource_type == "model"]
    public = {node.name for node in models if node.access == "public"}
    assert public == {node.name for node in models if "marts" in node.fqn} | {"int_outcomes"}
    starter = "".join(path.read_text() for path in (PROJECT / "starter" / "models").glob("*.sql"))
    assert set(re.findall(r"ref\('flagsmith_warehouse', '(\w+)'\)", starter)) <= public


def test_run__warehouse_of_a_later_release__is_refused_by_name(warehouse):
    warehouse.dbt("run", "--select", "stg_flagsmith__deliveries")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("update intermediate.build_progress set logic_version = 99")
    with pytest.raises(AssertionError, match="built by a later release of flagsmith_warehouse"):
        warehouse.dbt("run", "--select", "stg_flagsmith__deliveries")


@pytest.mark.parametrize("command", [["compile"], ["list"], ["docs", "generate"], ["run", "--empty"]])
def test_command__without_a_warehouse__works(warehouse, command):
    """Given a fresh clone; when models are only looked at, or run on no rows; then that works, and leaves nothing behind."""
    warehouse.dbt(*command)
    if command == ["run", "--empty"]:
        rows = hourly(body("ann"))
        warehouse.land(rows)
        warehouse.run()
        assert_marts_equal(warehouse, Reference(rows))
        warehouse.land(more := [landed(body("bob"), NOON, "more")])
        warehouse.dbt(*command)
        warehouse.run()
        assert_marts_equal(warehouse, Reference(rows + more))


def test_columns__every_one__is_described_in_the_database(fresh):
    """Given a build; then every mart and each of its columns carries its description for any client to show."""
    silent = fresh.query(
        "select table_name, column_name from duckdb_columns() where schema_name = 'marts' and comment is null"
        " union all select table_name, null from duckdb_tables() where schema_name = 'marts' and comment is null"
    )
    assert silent == []


def test_docs__generate__knows_every_column(fresh):
    """Given a build; when the documentation is generated; then no column is missing or undescribed."""
    fresh.dbt("docs", "generate")
    catalog = json.loads((fresh.directory / "target" / "catalog.json").read_text())
    manifest = json.loads((fresh.directory / "target" / "manifest.json").read_text())
    for identifier, table in catalog["nodes"].items():
        described = {
            name for name, column in manifest["nodes"][identifier]["columns"].items() if column["description"]
        }
        assert set(table["columns"]) == described, identifier
    undescribed = [
        macro["name"]
        for macro in manifest["macros"].values()
        if macro["package_name"] == "flagsmith_warehouse"
        and not (PROJECT / macro["original_file_path"]).read_text().lstrip().startswith("{#-")
    ]
    assert undescribed == []


def test_test_identities__listed_later__leave_the_marts_and_come_back(warehouse):
    """Given built marts; when an identity is listed, and later unlisted; then it leaves every mart and returns, without full refresh."""
    rows = hourly(body("ann"), body("robot"), body("robot", "pro"))
    warehouse.land(rows)
    warehouse.run()
    assert_marts_equal(warehouse, Reference(rows))

    def declare(*identities: tuple) -> None:
        with duckdb.connect(warehouse.path) as connection:
            connection.execute("delete from seeds.test_identities")
            for row in identities:
                connection.execute("insert into seeds.test_identities values (?, ?)", row)

    declare(("production", "robot"), (None, "robot"), ("staging", "ann"))
    warehouse.run()
    assert_marts_equal(warehouse, Reference(rows, frozenset({("production", "robot"), ("staging", "ann")})))
    counted = warehouse.query(
        "select sum(deliveries) as all, sum(test_deliveries) as tests from marts.fct_deliveries_hourly"
    )
    assert counted == [{"all": 3, "tests": 2}]

    declare()
    warehouse.run()
    assert_marts_equal(warehouse, Reference(rows))


def test_identity_map__names_the_user_in_the_connectors(warehouse):
    warehouse.land(hourly(body("ann"), body("bob", value="b"), body("bob")))
    warehouse.run()
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("insert into seeds.identity_map values ('ann', 'user-1')")
    assignments = warehouse.query(
        "select user_id, experiment_id, variation_id from marts.growthbook_assignments order by timestamp"
    )
    assert [tuple(row.values()) for row in assignments] == [
        ("user-1", "button", "a"),
        ("bob", "button", "b"),
        ("bob", "button", "a"),
    ]
    events = warehouse.query("select * from marts.flagsmith_events order by timestamp")
    assert list(events[0]) == [
        "environment_key", "event", "feature_name", "timestamp", "collected_at", "identifier", "value", "traits",
        "metadata", "sdk_language", "sdk_version",
    ]  # fmt: skip
    assert next((row["identifier"], json.loads(row["traits"])) for row in events) == (
        "user-1",
        {"plan": "free"},
    )


def test_as_of__gives_what_held_at_that_moment(warehouse):
    """Given a plan that changes at 13:00; then 12:59 has the old one, 13:00 the new one, 11:59 none."""
    warehouse.land(hourly(body("ann"), body("ann", "pro", member=False)))
    warehouse.run()

    def plan(time: str) -> list:
        return [
            row["value_text"]
            for row in warehouse.query(f"from marts.traits_as_of(timestamp '2026-05-01 {time}')")
        ]

    assert [plan(time) for time in ("11:59", "12:00", "12:59:59", "13:00")] == [
        [],
        ["free"],
        ["free"],
        ["pro"],
    ]
    segments = "select count(*) as n from marts.segments_as_of(timestamp '2026-05-01 {}')"
    assert [warehouse.query(segments.format(time))[0]["n"] for time in ("12:30", "13:00")] == [1, 0]
    rows = warehouse.query("from marts.timeline_of('production', 'ann') where kind <> 'flag'")
    assert [(row["at"].hour, *list(row.values())[1:6]) for row in rows] == [
        (12, "segment", "paying", None, "member", None),
        (12, "trait", "plan", None, "free", None),
        (13, "segment", "paying", "member", None, "stated"),
        (13, "trait", "plan", "free", "pro", None),
    ]
    assert warehouse.query("from marts.timeline_of('production', 'nobody')") == []


def test_announced_change__stands_beside_the_assignment_it_explains(warehouse):
    """Given a FLAG_UPDATED between two evaluations; then the new assignment names who made it, and the first names nobody."""
    data = {
        "changed_by": "eve@example.com",
        "new_state": {"enabled": True, "feature": {"id": 1, "name": "button"}, "feature_state_value": "b"},
        "timestamp": "2026-05-01T12:40:00.000000Z",
    }
    change = json.dumps({"data": data, "event_type": "FLAG_UPDATED"})
    warehouse.land(hourly(body("ann"), change, body("ann", value="b")))
    warehouse.run()
    rows = warehouse.mart("fct_explained_assignments")
    assert [(row["variation"], row["changed_by"], row["changed_at"]) for row in rows] == [
        ("b", "eve@example.com", datetime(2026, 5, 1, 12, 40))
    ]
    flags = warehouse.query(
        "from marts.timeline_of(of_environment := 'production', of_identity := 'ann') where kind = 'flag'"
    )
    assert [(row["before"], row["after"], row["why"], row["delivery_id"]) for row in flags] == [
        (None, "a", "first_seen", None),
        ("a", "b", "value_changed", "0001"),
    ]


def test_relative_directory__called_from_elsewhere__is_meant_from_the_project(monkeypatch, tmp_path):
    """Given cron's working directory; when dbt runs; then a relative directory lies beside dbt_project.yml, not there."""
    monkeypatch.chdir(tmp_path)
    relative = f"target/{tmp_path.name}/no/such/folder"
    monkeypatch.setenv("FLAGSMITH_WAREHOUSE_DIR", relative)
    try:
        quiet_dbt(dbtRunner(), ["run", "--select", "stg_flagsmith__deliveries", *paths(tmp_path / "target")])
        assert (PROJECT / relative / "warehouse.duckdb").exists() and not (tmp_path / relative).exists()
    finally:
        shutil.rmtree(PROJECT / "target" / tmp_path.name, ignore_errors=True)


@pytest.fixture
def host(tmp_path) -> Path:
    """Another dbt project that installs this one as a package. Its landing has another name."""
    project = tmp_path / "host"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "host_project", project)
    (project / "packages.yml").write_text(f"packages:\n  - local: {PROJECT}\n")
    return project


def test_package__in_a_host_project__reads_its_landing_and_follows_its_schemas(host, monkeypatch):
    """Given a host with its own landing, vars and declarations; when it builds; then the marts are in its schemas."""
    monkeypatch.chdir(host)
    folders = ["--project-dir", str(host), "--profiles-dir", str(host)]
    quiet_dbt(dbtRunner(), ["deps", *folders, "--log-level-file", "none", "--quiet"])
    for command in (["list"], ["compile"], ["docs", "generate"]):  # nothing exists yet
        quiet_dbt(dbtRunner(), [*command, *paths(host / "target", project=host)])
    with duckdb.connect("host.duckdb") as connection:
        connection.execute("create schema raw")
        connection.execute(
            "create table raw.flagsmith (delivery_id varchar, environment varchar, received_at timestamp,"
            " landed_at timestamp, payload_hash varchar, is_verified boolean, body_encoding varchar, body varchar)"
        )
        rows = [row[:8] for row in hourly(body("ann"), body("robot"))]
        connection.executemany("insert into raw.flagsmith values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for command in (["seed"], ["run", "--empty"], ["run"]):
        quiet_dbt(dbtRunner(), [*command, *paths(host / "target", project=host)])
    with duckdb.connect(host / "host.duckdb") as connection:
        exposures = connection.execute(
            "select identity, variation from analytics_marts.fct_flag_exposures"
        ).fetchall()
        own = connection.execute("select * from analytics.exposed_people").fetchall()
    assert exposures == [("ann", "a")]
    assert own == [("ann",)]


def test_seeds__shipped__are_declarations_that_say_nothing_yet():
    for name in ("test_identities", "identity_map", "variants"):
        with (PROJECT / "seeds" / f"{name}.csv").open() as file:
            assert len(list(csv.reader(file))) == 1


def test_package__host_has_models_of_our_names__nobody_reads_the_others(host, monkeypatch):
    """Given a host with models named like ours; when parsed; then none of ours depends on theirs, and none of theirs on ours."""
    monkeypatch.chdir(host)
    names = ("metrics", "dim_identities", "identity_map", "int_deliveries")
    for name in names:
        (host / "models" / f"{name}.sql").write_text("select 1 as theirs")
    (host / "models" / "reader.sql").write_text("select * from {{ ref('dim_identities') }}")
    folders = ["--project-dir", str(host), "--profiles-dir", str(host)]
    quiet_dbt(dbtRunner(), ["deps", *folders, "--log-level-file", "none", "--quiet"])
    theirs = {f"model.host.{name}" for name in names}

    def parse():
        return quiet_dbt(dbtRunner(), ["parse", *paths(host / "target", project=host)]).result

    def readers(parsed) -> set[str]:
        everything = [*parsed.nodes.values(), *parsed.exposures.values(), *parsed.unit_tests.values()]
        return {
            node.unique_id
            for node in everything
            if node.package_name == "flagsmith_warehouse"
            and theirs & {*getattr(node.depends_on, "nodes", ())}
        }

    parsed = parse()
    assert {reader for reader in readers(parsed) if not reader.startswith("test.")} == set()
    assert parsed.nodes["model.host.reader"].depends_on.nodes == ["model.host.dim_identities"]
    # dbt resolves the model of a test in YAML itself; a flag that `init` sets makes it look in our package first.
    settings = (host / "dbt_project.yml").read_text()
    flag = "flags:\n  require_ref_searches_node_package_before_root: true"
    (host / "dbt_project.yml").write_text(settings.replace("flags:", flag))
    assert readers(parse()) == set()


def test_functions__length__at_most_sixty_lines():
    folders = ("loader", "simulator", "notebooks", "benchmarks", "tests")
    longer = {
        f"{path}: {node.name}": lines
        for folder in folders
        for path in (PROJECT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := node.end_lineno - node.lineno + 1) > 60
    }
    assert longer == {}


def test_models__length__fits_a_readers_patience():
    """A model answers one question: 200 lines at most, a mart 120, and a mart of experiments, which only shows, 70."""
    limits = {"marts/experiment_results": 70, "marts": 120, "": 200}
    longer = {}
    for path in (PROJECT / "models").rglob("*.sql"):
        folder = path.relative_to(PROJECT / "models").as_posix()
        limit = next(lines for start, lines in limits.items() if folder.startswith(start))
        if (lines := len(path.read_text().splitlines())) > limit:
            longer[path.stem] = lines
    assert longer == {}
