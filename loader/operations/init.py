"""`flagsmith-warehouse init` makes a dbt project that belongs to its user. No upgrade ever changes it."""

import getpass
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.filesystem import SECRET_MODE, make_folder
from flagsmith_warehouse.loader.settings import PROJECT_DIR, PROJECT_FOLDER

STARTER = PROJECT_FOLDER / "starter"
DEPLOY = PROJECT_FOLDER / "deploy"
LOCAL = re.compile(r'^( *- local: ).*flagsmith_warehouse"?$', re.MULTILINE)


class InitError(LoaderError):
    """No project was made. The message says why, and what to do."""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.pass_context
def init(context: click.Context, folder: Path | None) -> None:
    """Make a project in FOLDER: settings, experiments, cohorts, outcomes, your own models, and files for cron and systemd.

    In an existing project, this adds missing files, and points dbt at this release. Without FOLDER, it is the project of
    --project-dir or FLAGSMITH_PROJECT_DIR.
    """
    named = context.meta.get(PROJECT_DIR.name)
    if folder is not None and named is not None and folder.absolute() != Path(named).absolute():
        raise click.UsageError(f"FOLDER is {folder} and --project-dir is {named}. Name one folder.")
    if folder is None:
        if not os.environ.get(PROJECT_DIR.name):
            raise click.UsageError("Name the folder to make the project in: flagsmith-warehouse init FOLDER")
        folder = Path(os.environ[PROJECT_DIR.name])
    written = write_project(folder)
    project = folder.absolute()
    if not written:
        click.echo(f"{project} has everything already; no file was changed.")
        return
    click.echo(f"Wrote {len(written)} files into {project}.")
    click.echo(f"Next: cd {folder}, and read README.md. The first step is `flagsmith-warehouse serve`.")


def write_project(folder: Path) -> list[Path]:
    """Write the missing files of a project. Returns the files that were written. Raises InitError."""
    from flagsmith_warehouse.loader.operations.dbt import link_package

    project = folder.expanduser().absolute()
    _refuse_another_project(project)
    existed = (project / "dbt_project.yml").exists()
    name = _name_of(project)
    for each in (
        project,
        project / "data",
        project / "models",
        project / "experiments",
        project / "outcomes",
    ):
        make_folder(each)
    (project / "secrets").mkdir(mode=0o700, exist_ok=True)
    written = []
    for path, content in _files(project, name):
        # Examples may have been deleted on purpose.
        if path.exists() or (existed and path.parent.name == "models"):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        if path.name == "environment":
            path.chmod(SECRET_MODE)
        if path.suffix == ".sh":
            path.chmod(0o750)
        written.append(path)
    link_package(project)
    _correct_packages(project / "packages.yml")
    return written


def _refuse_another_project(project: Path) -> None:
    if project == PROJECT_FOLDER or ((project / "pyproject.toml").exists() and (project / "loader").exists()):
        raise InitError(f"{project} is the clone of flagsmith-warehouse itself. Name a folder of your own.")
    file = project / "dbt_project.yml"
    if file.exists() and b"flagsmith_warehouse" not in file.read_bytes():
        raise InitError(
            f"{project} is a dbt project of another purpose, and nothing in it was changed. Name a new folder, or install us "
            f"as a package there: in packages.yml, `- local: {PROJECT_FOLDER}`."
        )


def _name_of(project: Path) -> str:
    """The name of the dbt project: its folder's name, in the letters that dbt allows."""
    name = re.sub(r"[^a-z0-9_]+", "_", project.name.lower()).strip("_")
    if not name or name[0].isdigit():
        name = f"warehouse_{name}".rstrip("_")
    return f"my_{name}" if name in ("flagsmith_warehouse", "dbt", "dbt_duckdb") else name


def _files(project: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Every file of a project, with its content."""
    words = {"@NAME@": name, "@PACKAGE@": str(PROJECT_FOLDER), "@PROJECT@": str(project)}
    for path in sorted(STARTER.rglob("*")):
        if path.is_file() and path.name[0] != ".":
            place = path.relative_to(STARTER)
            target = project / (".gitignore" if place.name == "gitignore" else place)
            yield target, _replaced(path.read_text(encoding="utf-8"), words)
    for path in sorted((PROJECT_FOLDER / "seeds").glob("*.csv")):
        header, *_ = path.read_text(encoding="utf-8").splitlines()
        yield project / "experiments" / path.name, header + "\n"
    for path in (
        *sorted(DEPLOY.glob("systemd/*")),
        DEPLOY / "crontab",
        DEPLOY / "canary.sh",
        DEPLOY / "nginx.conf",
    ):
        yield project / "deploy" / path.name, _replaced(path.read_text(encoding="utf-8"), _places(project))
    settings = _replaced((DEPLOY / "environment.example").read_text(encoding="utf-8"), _places(project))
    yield project / "deploy" / "environment", f"FLAGSMITH_PROJECT_DIR={project}\n{settings}"


def _places(project: Path) -> dict[str, str]:
    """The paths in the files of deploy/, and the paths that replace them here."""
    user = getpass.getuser()
    command = Path(sys.argv[0] if Path(sys.argv[0]).name == "flagsmith-warehouse" else sys.executable)
    command = command.absolute().parent / "flagsmith-warehouse"
    is_at_home = any(path.is_relative_to(home) for home in ("/home", "/root") for path in (project, command))
    return {
        "/opt/flagsmith-warehouse/.venv/bin/flagsmith-warehouse": str(command),
        "/opt/flagsmith-warehouse": str(project),
        "/etc/flagsmith-warehouse/environment": str(project / "deploy" / "environment"),
        "/etc/flagsmith-warehouse/secrets": str(project / "secrets"),
        "/var/lib/flagsmith-warehouse": str(project / "data"),
        "crontab -u flagsmith-warehouse deploy/crontab": f"crontab {project / 'deploy' / 'crontab'}",
        "User=flagsmith-warehouse": f"User={user}",
        "Group=flagsmith-warehouse\n": "",
        "MAILTO=root": f"MAILTO={user}",
        **({"ProtectHome=true": "ProtectHome=read-only"} if is_at_home else {}),
    }


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


def _correct_packages(file: Path) -> None:
    """Point our line in packages.yml at this release, which another Python or machine has in another place."""
    text = file.read_text("utf-8", "surrogateescape") if file.exists() else ""
    corrected = LOCAL.sub(lambda found: f'{found[1]}"{PROJECT_FOLDER}"', text)
    if corrected != text:
        file.write_text(corrected, "utf-8", "surrogateescape")
