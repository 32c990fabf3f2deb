"""Refuses vars that no model knows, before anything is built. (Macros check the values of vars.)"""

import difflib
from typing import TYPE_CHECKING

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.operations import dbt
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, Settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# The commands pass these to the models; nobody else sets them.
INTERNAL = {"declarations_folder"}


class VarsError(LoaderError):
    """A var was set that no model reads; most likely its name is wrong. Nothing was built."""


def refuse_unusable_vars(settings: Settings, manifest: "Manifest", variables: dict | None = None) -> None:
    """Raise VarsError for a var of dbt_project.yml, or of `--vars`, that no model knows."""
    known = set(dbt.vars_of(PROJECT_FOLDER)[dbt.PACKAGE]) | INTERNAL
    given = dbt.vars_of(dbt.project_of(settings))
    for name in given.pop(dbt.PACKAGE, None) or {}:
        if name not in known:
            raise VarsError(_unknown(name, known))
    packages = {node.package_name for node in manifest.nodes.values()} | {manifest.metadata.project_name}
    for name in {key for key in given if key not in packages} | set(variables or {}):
        if name not in known and not _is_read(name, manifest):
            raise VarsError(_unknown(name, known))


def _is_read(name: str, manifest: "Manifest") -> bool:
    """True if a model or macro of any package mentions the var."""
    texts = [node.raw_code for node in manifest.nodes.values() if getattr(node, "raw_code", None)]
    texts += [macro.macro_sql for macro in manifest.macros.values() if macro.package_name != "dbt"]
    return any(f"'{name}'" in text or f'"{name}"' in text for text in texts)


def _unknown(name: str, known: set[str]) -> str:
    alike = difflib.get_close_matches(name, sorted(known - INTERNAL), n=1)
    meant = f" Do you mean {alike[0]}?" if alike else ""
    return (
        f"vars: {name}: no model knows this var.{meant} Nothing was built. The vars are in the dbt_project.yml of "
        f"{PROJECT_FOLDER}; correct the name in your own, or remove it."
    )
