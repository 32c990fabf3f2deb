"""The loader's folders may only import in the direction that a webhook takes, never back. Read from the code."""

import ast
from pathlib import Path

import pytest

PACKAGE = "flagsmith_warehouse.loader"
FOLDER = Path(__file__).resolve().parents[2] / "loader"
# Modules beside the folders (settings, lock, …) belong to "": everybody may import them, and they import no folder.
ALLOWED = {
    "": {""},
    "inbox": {"", "inbox"},
    "receive": {"", "inbox", "receive"},
    "landing": {"", "inbox", "landing"},
    "operations": {"", "inbox", "receive", "landing", "operations"},
}


def imported(module: Path) -> set[str]:
    """The names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by a relative name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor(name: str) -> str:
    """The loader's folder from which a name comes."""
    first = name.removeprefix(f"{PACKAGE}.").split(".")[0]
    return first if (FOLDER / first).is_dir() else ""


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports__of_a_folder__never_run_back(folder):
    modules = list((FOLDER / folder).glob("*.py"))
    assert modules
    imports = [
        (module.name, name) for module in modules for name in imported(module) if name.startswith(PACKAGE)
    ]
    assert [(module, name) for module, name in imports if floor(name) not in ALLOWED[folder]] == []


def test_imports__of_the_core__no_web_framework():
    names = imported(FOLDER / "receive" / "webhook.py")
    assert not [name for name in names if name.split(".")[0] in ("flask", "werkzeug", "granian", "asyncio")]


def test_folders__all_have_a_rule():
    assert {path.parent.name for path in FOLDER.glob("*/*.py")} == ALLOWED.keys() - {""}
