"""The wheel in an empty folder: `init`, then every command from the project that it made."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from flagsmith_warehouse.loader.settings import PROJECT_FOLDER

CAPTURED = Path(__file__).parents[1] / "fixtures" / "captured" / "flagsmith_2_265_0.ndjson"
BUILD = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"
LEFT_OUT = shutil.ignore_patterns(
    ".*", "data", "target", "logs", "build", "*.egg-info", "__pycache__", "fixtures"
)


class Machine:
    """A machine with nothing but the wheel and what it needs, which is borrowed from the environment of the tests."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.project = folder / "work" / "my-warehouse"
        self.project.parent.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        # A .pth in here is not read there, so the editable installation stays outside.
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        self.packages = packages

    def install(self, change: Callable[[Path], None] = lambda copy: None) -> Path:
        """Build the wheel from a copy of the tree, after `change`, and install it without a download."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(PROJECT_FOLDER, copy, ignore=LEFT_OUT)
        change(copy)
        built = subprocess.check_output([sys.executable, "-c", BUILD, self.folder], cwd=copy, text=True)
        wheel = self.folder / built.splitlines()[-1]
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel], check=True)
        return wheel

    def run(self, *arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess:
        secrets = json.dumps({"production": ["new secret"]})
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [self.bin / "flagsmith-warehouse", *arguments],
            cwd=cwd or self.project,
            env={**kept, "FLAGSMITH_WEBHOOK_SECRETS": secrets, **environ},
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine on which the wheel was installed, `init` run, and one refresh of a few webhooks."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.wheel = machine.install()
    machine.made = machine.run("init", "my-warehouse", cwd=machine.project.parent)
    assert machine.made.returncode == 0, machine.made.stderr
    (machine.project / "outcomes" / "october.csv").write_text(
        "identity,event_name,occurred_at\nann,bought,2026-01-02 10:00:00\n"
    )
    landed = machine.run("land", "--from", str(CAPTURED), "--environment", "production")
    assert "Landed 0 captures" not in landed.stdout, landed.stderr
    machine.refreshed = machine.run("refresh")
    return machine


def published(machine, query: str) -> list[tuple]:
    with duckdb.connect(machine.project / "data" / "published.duckdb", read_only=True) as copy:
        return copy.execute(query).fetchall()


def test_wheel__one_import_name(machine):
    """Given the installed wheel; then site-packages gains one package, and our dbt project is in it."""
    gained = {path.name for path in machine.packages.iterdir() if path.suffix not in (".pth", ".dist-info")}
    assert gained == {"flagsmith_warehouse"}
    ours = machine.packages / "flagsmith_warehouse"
    assert {"dbt_project.yml", "models", "macros", "seeds", "starter", "loader"} <= {
        p.name for p in ours.iterdir()
    }
    in_tree = {
        p.relative_to(PROJECT_FOLDER)
        for f in ("models", "macros", "starter")
        for p in (PROJECT_FOLDER / f).rglob("*.*")
    }
    assert {path for path in in_tree if not (ours / path).exists()} == set()


def test_refresh__from_the_project__publishes_marts_and_own_models(machine):
    """Given a project as `init` makes it; when refreshed; then its marts and its own model are published, and no demo data."""
    assert machine.refreshed.returncode == 0, machine.refreshed.stdout + machine.refreshed.stderr
    assert published(machine, "select count(*) > 0 from marts.fct_flag_exposures") == [(True,)]
    assert published(machine, "select count(*) from analytics.identities_by_plan")
    assert published(machine, "select count(*) from marts.dim_experiments") == [(0,)]
    assert published(machine, "select count(*) from seeds.experiments") == [(0,)]
    tables = published(machine, "select distinct schema_name from duckdb_tables()")
    assert {name for (name,) in tables} == {"marts", "seeds", "analytics"}


def test_refresh__output__is_a_few_plain_lines(machine):
    lines = machine.refreshed.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["Landed", "Built", "Tested", "Published", "Refreshed"]
    assert "\x1b" not in machine.refreshed.stdout + machine.refreshed.stderr


def test_commands__from_the_project_or_with_its_name__work(machine):
    """Given the refreshed project; then check, status, publish and erase find its tables from anywhere."""
    elsewhere = machine.folder
    named = ["--project-dir", str(machine.project)]
    checked = machine.run("check", *named, cwd=elsewhere)
    assert (checked.returncode, checked.stdout) == (0, "All declarations are correct.\n"), checked.stderr
    status = machine.run(*named, "status", "--json", cwd=elsewhere)
    assert json.loads(status.stdout)["marts"]["fct_flag_exposures"] > 0
    variable = {"FLAGSMITH_PROJECT_DIR": str(machine.project)}
    assert machine.run("publish", cwd=elsewhere, **variable).returncode == 0
    (identity,) = published(machine, "select any_value(identity) from marts.dim_identities")[0]
    erased = machine.run("erase", "--dry-run", "--identity", identity, cwd=elsewhere, **variable)
    assert json.loads(erased.stdout)["rows_to_delete"]["marts.dim_identities"] == 1
    assert machine.run("doctor").returncode == 0


def test_check__of_the_project__holds_declarations_against_what_was_received(machine):
    """Given an event that no outcome has, a metric that no experiment has, and dates without a webhook; then check warns."""
    folder = machine.project / "experiments"
    seen = "select feature_name, variation from marts.fct_flag_exposures where enabled order by all limit 1"
    ((feature, variation),) = published(machine, seen)
    rows = {
        "experiments": f"early,production,{feature},{variation},2020-01-01,2020-02-01,environment_default",
        "metrics": "purchases,Bought,count,higher_is_better\nlonely,bought,count,higher_is_better",
        "experiment_metrics": "early,purchases,primary",
    }
    headers = {
        "experiments": "experiment_key,environment,feature_name,control_variation,started_at,ended_at,assignment_reason",
        "metrics": "metric_key,event_name,aggregation,direction",
        "experiment_metrics": "experiment_key,metric_key,role",
    }
    before = {name: (folder / f"{name}.csv").read_bytes() for name in rows}
    for name, text in rows.items():
        (folder / f"{name}.csv").write_text(f"{headers[name]}\n{text}\n")
    checked = machine.run("check", "--project-dir", str(machine.project), cwd=machine.folder)
    for name, content in before.items():
        (folder / f"{name}.csv").write_bytes(content)
    warnings = sorted(line for line in checked.stderr.splitlines() if line.startswith("warning"))
    assert checked.returncode == 0 and len(warnings) == 3, warnings
    dates, unknown, unlinked = warnings
    assert dates.startswith(
        "warning: experiments/experiments.csv, row 2, ended_at: no delivery from production"
    )
    assert f"carried {feature} in these dates, only from " in dates
    assert (
        "row 2, event_name: no outcome has this event (`Bought`)" in unknown and "write `bought`" in unknown
    )
    assert "row 3, metric_key: no experiment has this metric" in unlinked


def test_commands__where_no_project_is__say_so(machine):
    ran = machine.run("status", cwd=machine.folder)
    assert ran.returncode == 1 and "init my-warehouse" in ran.stderr


def test_init__again__changes_no_file_and_writes_what_is_missing(machine):
    """Given edits, a deleted file and a package line of another machine; then only the last two are put right."""
    project = machine.project
    (project / "dbt_project.yml").write_text((project / "dbt_project.yml").read_text() + "# mine\n")
    (project / "cohorts.yml").unlink()
    (project / "models" / "identities_by_plan.sql").rename(project / "kept.sql")
    packages = (project / "packages.yml").read_text()
    (project / "packages.yml").write_text(packages.replace(str(machine.packages), "/another/machine"))
    ran = machine.run("init", ".")
    assert "Wrote 1 files" in ran.stdout, ran.stderr
    assert (project / "dbt_project.yml").read_text().endswith("# mine\n")
    assert (project / "packages.yml").read_text() == packages
    assert not (project / "models" / "identities_by_plan.sql").exists()
    (project / "kept.sql").rename(project / "models" / "identities_by_plan.sql")


def test_init__files__have_the_right_paths(machine):
    deploy = machine.project / "deploy"
    texts = {path.name: path.read_text() for path in deploy.iterdir()}
    assert not [
        name for name, text in texts.items() if "/opt/flagsmith" in text or "/var/lib/flagsmith" in text
    ]
    assert f"{machine.bin}/flagsmith-warehouse refresh" in texts["crontab"]
    assert f"FLAGSMITH_PROJECT_DIR={machine.project}\n" in texts["environment"]
    unresolved = [
        p
        for p in machine.project.rglob("*")
        if p.is_file() and p.suffix in (".yml", ".md", ".sql") and "@NAME@" in p.read_text()
    ]
    assert unresolved == []


EDITS = {
    "cohorts.yml": """- key: everybody
  rules: [{type: ALL, conditions: [{property: plan, operator: IS_SET}]}]
""",
    "experiments/experiments.csv": """experiment_key,environment,feature_name,control_variation,started_at,assignment_reason
mine,production,checkout_button,control,2026-01-01,environment_default
""",
    "models/mine.sql": "select identity from {{ ref('flagsmith_warehouse', 'dim_identities') }}\n",
    "privacy.toml": "# nothing is hidden yet, says our own note\n",
}
NEW_MODEL = "models/marts/deliveries/of_the_newer_release.sql"
RENAMED = "One row per flag exposure, as the newer release says."


def newer(copy: Path) -> None:
    """Make the copy a later release: one more model, and other words for a mart that is built in increments."""
    project = copy / "pyproject.toml"
    text, edits = re.subn(r'(?m)^version = ".*"$', 'version = "99.0.0"', project.read_text())
    assert edits == 1
    project.write_text(text)
    (copy / NEW_MODEL).write_text("{{ config(materialized='table_in_place') }}\nselect 1 as one\n")
    described = copy / "models/marts/flag_exposure/_flag_exposure__models.yml"
    text = described.read_text()
    before, found, after = text.partition("  - name: fct_flag_exposures\n    description: ")
    assert found
    _, _, rest = after.partition("\n    ")
    while rest.startswith("  "):  # the other lines of the description
        _, _, rest = rest.partition("\n    ")
    described.write_text(f"{before}{found}{RENAMED}\n    {rest}")


def test_upgrade__of_a_project_in_use__loses_no_edit_and_builds_anew_only_what_must_be(machine):
    """Given cohorts, an experiment, retention, a model and a table that was filled by increments; when the wheel is upgraded;
    then every file is as it was, the new release's model and words are there, and the increments were not built anew."""
    project, data = machine.project, machine.project / "data"
    for name, text in EDITS.items():
        (project / name).write_text(text)
    settings = project / "dbt_project.yml"
    text, edits = re.subn("retention_days: null", "retention_days: 4000", settings.read_text())
    assert edits == 1
    settings.write_text(text)
    ran = machine.run("refresh")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with duckdb.connect(data / "warehouse.duckdb") as warehouse:  # only a full build would lose this row
        warehouse.execute(
            "insert into marts.fct_flag_exposures select * replace ('kept' as identity) from marts.fct_flag_exposures limit 1"
        )
        landed = warehouse.execute("from landing.webhooks order by all").fetchall()
    own = [
        path
        for path in project.rglob("*")
        if path.is_file() and not {"data", "target", "logs"} & set(path.parts)
    ]
    files = {path: path.read_bytes() for path in own}

    machine.install(newer)
    ran = machine.run("refresh")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {path: path.read_bytes() for path in own} == files
    assert published(machine, "from marts.of_the_newer_release") == [(1,)]
    comment = "select comment from duckdb_tables() where table_name = 'fct_flag_exposures'"
    assert published(machine, comment) == [(RENAMED,)]
    assert published(machine, "select count(*) from marts.fct_flag_exposures where identity = 'kept'") == [
        (1,)
    ]
    assert published(machine, "select experiment_key, problem from marts.dim_experiments") == [("mine", None)]
    assert published(machine, "select cohort_key from marts.dim_cohorts") == [("everybody",)]
    assert published(machine, "select count(*) > 0 from analytics.mine") == [(True,)]
    with duckdb.connect(data / "warehouse.duckdb", read_only=True) as warehouse:
        assert warehouse.execute("from landing.webhooks order by all").fetchall() == landed
