"""All settings: name, default and one sentence each. Their values come from environment variables."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.log import LOG

# Our own dbt project: the clone, or the package in site-packages. Only a clone may also hold people's data.
PROJECT_FOLDER = Path(__file__).resolve().parent.parent
IS_CLONE = (PROJECT_FOLDER / "pyproject.toml").exists()


@dataclass(frozen=True)
class Setting:
    """One environment variable: its `name`, its `default` as text ('' = none) and its purpose."""

    name: str
    default: str
    sentence: str


SECRETS = Setting(
    "FLAGSMITH_WEBHOOK_SECRETS",
    "",
    'The secrets of each environment as JSON, `{"production": ["new", "old"]}`; any of them is accepted.',
)
SECRETS_DIR = Setting(
    "FLAGSMITH_WEBHOOK_SECRETS_DIR",
    "",
    "A directory with one file per environment, named after it, with one secret per line; these are used as well.",
)
UNSIGNED_ENVIRONMENTS = Setting(
    "FLAGSMITH_UNSIGNED_ENVIRONMENTS",
    "[]",
    'The environments that may send webhooks without a signature, as JSON, `["development"]`.',
)
PROJECT_DIR = Setting(
    "FLAGSMITH_PROJECT_DIR",
    "",
    "The folder of your project, made by `init`; default: the project around the current folder, else the clone.",
)
WAREHOUSE_DIR = Setting(
    "FLAGSMITH_WAREHOUSE_DIR",
    "data",
    "Where the inbox and the DuckDB files live; a relative path starts at the folder of dbt_project.yml.",
)
MAX_BODY_BYTES = Setting(
    "FLAGSMITH_MAX_BODY_BYTES",
    "10485760",
    "The largest body that is accepted; a larger one is answered with 413.",
)
LOCK_TIMEOUT_SECONDS = Setting(
    "FLAGSMITH_LOCK_TIMEOUT_SECONDS",
    "300",
    "How long a command waits for a warehouse that another process is using.",
)
PRIVACY_FILE = Setting(
    "FLAGSMITH_PRIVACY_FILE",
    "",
    "A file with rules that limit what is landed about a person (docs/privacy.md); without one, everything is landed as sent.",
)
PRIVACY_KEY = Setting(
    "FLAGSMITH_PRIVACY_KEY",
    "",
    "The key for the hashes in these rules: at least 16 characters; never change it.",
)
ALERT_COMMAND = Setting(
    "FLAGSMITH_ALERT_COMMAND",
    "",
    "A command that `refresh` runs for each alert, with one JSON line on standard input (docs/operations.md).",
)
SETTINGS = (
    SECRETS,
    SECRETS_DIR,
    UNSIGNED_ENVIRONMENTS,
    PROJECT_DIR,
    WAREHOUSE_DIR,
    MAX_BODY_BYTES,
    LOCK_TIMEOUT_SECONDS,
    PRIVACY_FILE,
    PRIVACY_KEY,
    ALERT_COMMAND,
)


class SettingsError(LoaderError):
    """A setting that cannot be used. The message says which, why, and what to write instead."""


@dataclass(frozen=True)
class Settings:
    """The settings, read and checked. `secrets` maps an environment to its secrets, the newest first."""

    secrets: Mapping[str, tuple[bytes, ...]]
    unsigned_environments: frozenset[str]
    warehouse_dir: Path
    max_body_bytes: int
    lock_timeout_seconds: float
    privacy_file: Path | None = None
    privacy_key: str = field(default="", repr=False)
    project_dir: Path | None = None

    @property
    def inbox_dir(self) -> Path:
        return self.warehouse_dir / "inbox"

    @property
    def warehouse_lock(self) -> Path:
        return self.warehouse_dir / "warehouse.lock"

    @property
    def refresh_lock(self) -> Path:
        return self.warehouse_dir / "refresh.lock"

    @property
    def object_storage_lock(self) -> Path:
        """Of `land --to`."""
        return self.warehouse_dir / "object-storage.lock"

    @property
    def warehouse_file(self) -> Path:
        return self.warehouse_dir / "warehouse.duckdb"

    @property
    def published_file(self) -> Path:
        return self.warehouse_dir / "published.duckdb"

    @property
    def spark_dir(self) -> Path:
        """The tables and the catalogue of the target `spark` on one machine."""
        return self.warehouse_dir / "spark"

    @property
    def published_places(self) -> Path:
        """Where else the published copy was published to."""
        return self.warehouse_dir / "published.places.json"

    @property
    def privacy_key_file(self) -> Path:
        """The key of rules that only drop, where none is set."""
        return self.warehouse_dir / "privacy.key"

    @property
    def receipts_file(self) -> Path:
        return self.warehouse_dir / "erasures.ndjson"

    @property
    def refresh_record(self) -> Path:
        return self.warehouse_dir / "refresh.json"

    @property
    def aa_record(self) -> Path:
        """What `aa` has found, for the page about A/A tests."""
        return self.warehouse_dir / "aa.json"

    @property
    def verdicts_record(self) -> Path:
        """The verdicts before an upgrade, until `status` has said which are others now."""
        return self.warehouse_dir / "verdicts.json"

    @property
    def environments(self) -> frozenset[str]:
        """The environments that may send: those with a secret and those that need none."""
        return self.unsigned_environments | set(self.secrets)


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`. Raises SettingsError for the first setting that cannot be used."""

    def text(setting: Setting) -> str:
        return environ.get(setting.name) or setting.default

    project_dir = _project_dir(text(PROJECT_DIR))

    def path(setting: Setting) -> Path | None:
        return _in_project(project_dir, setting, text(setting)) if text(setting) else None

    return Settings(
        secrets=_secrets(text(SECRETS), path(SECRETS_DIR)),
        unsigned_environments=_unsigned_environments(text(UNSIGNED_ENVIRONMENTS)),
        project_dir=project_dir,
        warehouse_dir=path(WAREHOUSE_DIR),
        max_body_bytes=int(_positive(MAX_BODY_BYTES, text(MAX_BODY_BYTES))),
        lock_timeout_seconds=_positive(LOCK_TIMEOUT_SECONDS, text(LOCK_TIMEOUT_SECONDS)),
        privacy_file=path(PRIVACY_FILE),
        privacy_key=text(PRIVACY_KEY),
    )


def require_environments(settings: Settings) -> None:
    """Raise SettingsError if no environment is configured; warn about those that anybody can write to."""
    if not settings.environments:
        raise SettingsError(
            f"No secret is set: forged webhooks could not be detected. Set {SECRETS.name}: "
            f'{SECRETS.name}=\'{{"production": ["the secret of the webhook in Flagsmith"]}}\''
        )
    for environment in sorted(settings.unsigned_environments):
        LOG.warning(
            "Anybody who knows the address can write to this environment: unsigned webhooks are accepted",
            extra={"fields": {"environment": environment}},
        )


def table() -> str:
    """The settings as the Markdown table of the README, with one line per setting."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    lines += [f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.sentence} |" for s in SETTINGS]
    return "\n".join(lines) + "\n"


def _project_dir(named: str) -> Path | None:
    """The folder of the project: the one that was given, else the one around the current folder, else the clone."""
    if named:
        folder = Path(named).expanduser().absolute()
        if not (folder / "dbt_project.yml").is_file():
            raise SettingsError(
                f"There is no project in {folder}: it has no dbt_project.yml. Name its folder in {PROJECT_DIR.name} or "
                f"--project-dir, or make one: flagsmith-warehouse init {named}"
            )
        return folder
    here = Path.cwd()
    return next(filter(_is_a_project_of_ours, (here, *here.parents)), PROJECT_FOLDER if IS_CLONE else None)


def _is_a_project_of_ours(folder: Path) -> bool:
    """True if the folder's dbt project uses us. Other dbt projects do not count."""
    try:
        return b"flagsmith_warehouse" in (folder / "dbt_project.yml").read_bytes()
    except OSError:
        return False


def _secrets(text: str, folder: Path | None) -> dict[str, tuple[bytes, ...]]:
    secrets: dict[str, list[str]] = {}
    for source in (_secrets_in_json(text), _secrets_in_files(folder)):
        for environment, found in source.items():
            _require_an_address(environment, f"{SECRETS.name} or {SECRETS_DIR.name}")
            secrets.setdefault(environment, []).extend(found)
    return {environment: tuple(s.encode() for s in found) for environment, found in secrets.items()}


def _secrets_in_json(text: str) -> dict[str, list[str]]:
    try:
        pairs = json.loads(text or "{}", object_pairs_hook=tuple)
        json.dumps(pairs, ensure_ascii=False).encode()  # half a character cannot sign
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, tuple) or not all(_is_list_of_texts(found) for _, found in pairs):
        raise SettingsError(
            f'{SECRETS.name} is not of the form {{"production": ["secret"]}}: '
            "JSON, with a list of secrets for each environment, none of them empty."
        )
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"{SECRETS.name} has the environment {name!r} twice. Write all its secrets in one list, or only the last "
                "list would count."
            )
    return dict(pairs)


def _secrets_in_files(folder: Path | None) -> dict[str, list[str]]:
    """The secrets of each file in the folder, by file name. Hidden files and editors' copies (`production~`) are left out."""
    if folder is None:
        return {}
    try:
        files = [file for file in folder.iterdir() if file.name[0] != "." and file.name[-1] != "~"]
    except OSError as error:
        raise SettingsError(f"{SECRETS_DIR.name}: {folder} cannot be read ({error.strerror}).") from None
    return {file.name: _secrets_in_file(file) for file in sorted(files)}


def _secrets_in_file(file: Path) -> list[str]:
    """The secrets of one file, one per line. Any kind of line end and a leading byte order mark are accepted."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("it is not a file")
        text = file.read_text("utf-8-sig")  # text mode converts every line end to a line feed
        if "\0" in text:
            raise ValueError("it holds NUL bytes: save it as UTF-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{SECRETS_DIR.name}: {_shown(file)} is not UTF-8. Save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"{SECRETS_DIR.name}: {_shown(file)} cannot be read ({why}).") from None
    found = text.rstrip("\n").split("\n")
    if not all(found):
        raise SettingsError(
            f"{SECRETS_DIR.name}: {_shown(file)} must hold one secret per line and no empty lines."
        )
    return found


def _shown(file: Path) -> str:
    """The path as text that can be printed, whatever bytes it has."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) and text for text in value)


def can_name_environment(name: str) -> bool:
    """Whether the name can be one part of a webhook's address: not empty, no slash, only printable characters."""
    return name.isprintable() and name.strip(" /") == name and name not in ("", ".", "..") and "/" not in name


def _require_an_address(name: str, setting: str) -> None:
    """Raise SettingsError if an environment cannot have that name."""
    if not can_name_environment(name):
        raise SettingsError(
            f"{setting}: {name!r} cannot be an environment, as no address /webhooks/NAME leads there. "
            "Name it with letters and digits."
        )


def _unsigned_environments(text: str) -> frozenset[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if names != [] and not _is_list_of_texts(names):
        raise SettingsError(
            f'{UNSIGNED_ENVIRONMENTS.name}={text} is not a JSON list of environments like ["development"].'
        )
    for name in names:
        _require_an_address(name, UNSIGNED_ENVIRONMENTS.name)
    return frozenset(names)


def _in_project(project_dir: Path | None, setting: Setting, path: str) -> Path:
    """The path. A relative path starts at the project."""
    expanded = Path(path).expanduser()
    if project_dir is None and not expanded.is_absolute():
        raise SettingsError(
            f"There is no project here, so we cannot tell which folder the relative path in {setting.name} ({path}) "
            "starts at. Make a project with `flagsmith-warehouse init my-warehouse`, and work in it, or name it "
            f"in {PROJECT_DIR.name} or --project-dir."
        )
    return (project_dir or Path()) / expanded


def _positive(setting: Setting, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise SettingsError(
            f"{setting.name}={text} is not a number above 0; the default is {setting.default}."
        )
    return number
