"""A refresh builds only what new deliveries change if nothing else is new, and everything else is seen to be new."""

import json
import shutil
from types import SimpleNamespace

import duckdb
import pytest

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations import additions, init, refresh, unchanged
from tests.marts.warehouse import parsed_project
from tests.operations.conftest import as_left, bodies, environ_of, invoke, receive

QUERY = "select schema_name, table_name from duckdb_tables() where schema_name in ('staging', 'intermediate', 'marts') order by all"
# They say when something was recorded, not what is known.
BOOKKEEPING = {"build_progress"}


def everything(file) -> dict[str, list]:
    with duckdb.connect(file, read_only=True) as warehouse:
        return {
            table: sorted(map(repr, warehouse.execute(f"from {schema}.{table}").fetchall()))
            for schema, table in warehouse.execute(QUERY).fetchall()
            if table not in BOOKKEEPING
        }


@pytest.fixture(scope="module")
def added(refreshed, tmp_path_factory):
    """(environ, the second refresh): a warehouse that got more deliveries, some of identities that it knew."""
    folder = tmp_path_factory.mktemp("added") / "data"
    shutil.copytree(refreshed, folder)
    environ = environ_of(folder)
    as_left(environ)
    receive(
        settings_module.read(environ), *bodies()[::2], b"still no JSON", b'{"identity": "new", "flags": []}'
    )
    return environ, invoke(environ, "refresh")


@pytest.fixture
def mine(added, tmp_path):
    """The settings of a test's own copy, and what is left to be built and tested there."""
    shutil.copytree(added[0]["FLAGSMITH_WAREHOUSE_DIR"], tmp_path / "data")
    environ = environ_of(tmp_path / "data")
    as_left(environ)
    settings = settings_module.read(environ)
    return environ, settings, json.loads(settings.refresh_record.read_text())["additions"]


def test_refresh__only_deliveries_are_new__builds_less_and_the_answers_are_those_of_a_full_build(added):
    environ, ran = added
    settings = settings_module.read(environ)
    assert ran.exit_code == 0, ran.output
    record = json.loads(settings.refresh_record.read_text())
    models = int(record["built"].split()[0])
    assert 20 < models < 40 and "int_declared_experiments" not in str(record["additions"]["tests"])
    assert record["built_at"] < settings.refresh_record.stat().st_mtime - 1  # that of the complete build
    found = everything(settings.warehouse_file)
    assert invoke(environ, "refresh", "--full-refresh").exit_code == 0
    assert everything(settings.warehouse_file) == found


@pytest.mark.parametrize(
    ("statement", "test"),
    [
        (
            "insert into marts.fct_flag_exposures from marts.fct_flag_exposures where identity = 'user_4'",
            "unique_combination_fct_flag_exposures",
        ),
        (
            "update marts.dim_identities set identity = null where identity = 'user_4'",
            "unique_combination_dim_identities",
        ),
        (
            "delete from intermediate.int_deliveries where delivery_id = (select max(delivery_id) from intermediate.int_deliveries)",
            "assert_every_delivery_is_accounted_for",
        ),
        (
            "insert into landing.webhooks select 'f' || delivery_id, environment, received_at, landed_at + interval 1 day,"
            " payload_hash, is_verified, body_encoding, body, null from landing.webhooks limit 1",
            "assert_every_delivery_is_accounted_for",
        ),
    ],
)
def test_tests__a_new_row_is_wrong__find_it(mine, statement, test):
    _, settings, planned = mine
    assert additions.run_tests(settings.warehouse_file, planned) == []
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute(statement)
    found = additions.run_tests(settings.warehouse_file, planned)
    assert found and all(each.severity == "error" for each in found)
    assert any(each.test.startswith(test) for each in found), found


def test_tests__a_view_of_the_host_cannot_be_read__they_run_all_the_same(mine):
    _, settings, planned = mine
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute(
            "create schema mine; create table mine.gone as select 1 as a; create view mine.left as from mine.gone"
        )
        warehouse.execute("drop table mine.gone")
    assert additions.run_tests(settings.warehouse_file, planned) == []


def test_refresh__a_test_of_new_rows_fails__publishes_nothing_and_builds_everything(mine, monkeypatch):
    environ, settings, _ = mine
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute(
            "insert into marts.dim_identities from marts.dim_identities where identity = 'user_4'"
        )
    as_left(environ)
    published = settings.published_file.read_bytes()
    receive(settings, bodies()[0])
    nothing = SimpleNamespace(success=True, result=None)
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.run", lambda *_, **__: nothing)
    with duckdb.connect(settings.warehouse_file) as warehouse:  # `user_4` counts as having spoken
        warehouse.execute("update staging.stg_flagsmith__deliveries set _build_number = 2")
    as_left(environ)
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.parse", started)
    ran = invoke(environ, "refresh")
    assert ran.exit_code == 1 and "unique_combination_dim_identities" in ran.output, ran.output
    assert "everything is built" in ran.output
    assert settings.published_file.read_bytes() == published


def started(*_, **__):
    raise LoaderError("everything is built")


@pytest.mark.parametrize(
    "what",
    ["nothing", "a failure", "a kill", "--full-refresh", "--select x", "--vars {}", "a day", "an edit"],
)
def test_refresh__more_than_deliveries_is_new__everything_is_built(mine, monkeypatch, what):
    environ, settings, _ = mine
    record = json.loads(settings.refresh_record.read_text())
    arguments = what.split() if what.startswith("--") else []
    if what in ("a failure", "a kill"):
        record["result"] = {"a failure": "failure", "a kill": "running"}[what]
    elif what == "a day":
        record["built_at"] -= unchanged.FULL_EVERY_SECONDS
    elif what == "an edit":
        record["built_from"]["read"] = "other files"
    settings.refresh_record.write_text(json.dumps(record))
    receive(settings, bodies()[0])
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.parse", started)
    nothing = SimpleNamespace(success=True, result=None)
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.run", lambda *_, **__: nothing)
    ran = invoke(environ, "refresh", *arguments)
    assert "everything is built" in ran.output, ran.output
    # dbt, which does nothing here, has left the new delivery out. So only a test of new deliveries could fail, and did first.
    assert ("assert_every_delivery_is_accounted_for: 1 rows" in ran.output) == (what == "nothing"), ran.output


def test_refresh__a_file_is_edited_while_dbt_runs__the_next_one_builds_again(mine, tmp_path, monkeypatch):
    environ, *_ = mine
    edited = tmp_path / "cohorts.yml"
    edited.write_text("[]")
    monkeypatch.setattr(unchanged, "READ", (*unchanged.READ, str(edited)))

    def build(*_):
        edited.write_text("[{key: added}]")
        return refresh.Built()

    monkeypatch.setattr(refresh, "build", build)
    assert invoke(environ, "refresh").exit_code == 0
    monkeypatch.setattr("flagsmith_warehouse.loader.operations.dbt.parse", started)
    assert "everything is built" in invoke(environ, "refresh").output


def test_plan__experiments_retention_and_models_that_declare__what_is_built(mine):
    _, settings, planned = mine
    assert "flagsmith_warehouse.marts.experiment_results" in planned["leave_out"]
    assert "flagsmith_warehouse.intermediate.declarations" in planned["leave_out"]
    with duckdb.connect(settings.warehouse_file) as warehouse:
        warehouse.execute("insert into intermediate.int_declared_experiments (experiment_key) values ('e')")
    manifest = parsed_project()
    test = next(
        node
        for node in manifest.nodes.values()
        if node.name == "assert_spells_of_an_assignment_do_not_overlap"
    )
    compiled = SimpleNamespace(**{**vars(test), "compiled_code": "select 1"})
    built = SimpleNamespace(results=lambda: [SimpleNamespace(node=compiled)])

    def plan(**known):
        return additions.plan(
            manifest, built, settings.warehouse_file, {"conversion_events": "mine.events"} | known
        )

    left_out = plan()["leave_out"]
    assert "flagsmith_warehouse.marts.experiment_results" not in left_out
    assert not any(name.endswith((".dim_experiments", ".fct_experiment_results")) for name in left_out)
    # It would delete before our tests have run.
    assert plan(retention_days=30) is None
    # Deliveries may change what people declare there.
    assert plan(test_identities="warehouse.Marts.dim_identities") is None
    compiled.config = test.config.replace(error_if="> 10")
    assert plan() is None


EDITS = {
    "cohorts elsewhere": "../cohorts.yml",
    "a cohort": "cohorts.yml",
    "a var": "dbt_project.yml",
    "a cell of a seed": "experiments/experiments.csv",
    "an outcome file": "outcomes/more.csv",
    "a model": "models/identities_by_plan.sql",
    "a model in a folder called data": "models/data/mine.sql",
    "a seed in a folder called data": "data/plans.csv",
    "a macro": "macros/mine.sql",
    "a package": "dbt_packages/theirs/models/theirs.sql",
    "its profile": "profiles.yml",
}


def test_look__any_file_of_the_users_project_changes_or_goes__is_seen(tmp_path):
    project = tmp_path / "mine"
    init.write_project(project)
    settings = settings_module.read(
        {**environ_of(project / "data" / "warehouse"), "FLAGSMITH_PROJECT_DIR": str(project)}
    )
    declared = project / "dbt_project.yml"
    declared.write_text(declared.read_text().replace("cohorts: cohorts.yml", "cohorts: ../cohorts.yml"))
    for what, name in EDITS.items():
        file = project / name
        before = unchanged.look(settings)
        assert before == unchanged.look(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as text:
            text.write("\n")
        edited = unchanged.look(settings)
        assert edited.read != before.read and edited.built == before.built, what
        file.unlink()
        assert unchanged.look(settings).read != edited.read, f"{what} is gone"
    for name in ("target/manifest.json", "logs/dbt.log", "data/warehouse/inbox/x.sqlite"):
        before = unchanged.look(settings)
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
        assert unchanged.look(settings) == before, name


def test_unchanged__another_release_of_a_package_or_a_variable_that_the_project_reads__is_seen(
    mine, monkeypatch
):
    _, settings, _ = mine
    monkeypatch.setenv("REGION", "north")
    seen = unchanged.look(settings)
    record = {
        "result": "success",
        "built_at": 10**10,
        "built_from": unchanged.record_of(seen, settings, ["REGION"]),
    }
    monkeypatch.setattr("time.time", lambda: 10**10 + 1)
    assert unchanged.is_unchanged(seen, record)
    with monkeypatch.context() as patched:
        patched.setenv("REGION", "south")
        assert not unchanged.is_unchanged(seen, record)
    with monkeypatch.context() as patched:
        patched.setattr("importlib.metadata.version", lambda name: "99")
        assert not unchanged.is_unchanged(seen, record)
    assert {"FLAGSMITH_WAREHOUSE_DIR", "FLAGSMITH_LOCK_TIMEOUT_SECONDS"} <= unchanged.variables_of(
        settings.project_dir
    )
    assert not unchanged.is_unchanged(
        seen, record | {"built_from": "a text, as an earlier release has recorded"}
    )
