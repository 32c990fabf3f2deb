"""The modules of the simulator import each other in one direction."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from flagsmith_warehouse import simulator

PREFIX = "flagsmith_warehouse.simulator"


def imported_modules(source: Path) -> set[str]:
    """Return the simulator's modules that this file imports, those for type checkers included."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == PREFIX:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PREFIX}."):
            names.add(node.module.removeprefix(f"{PREFIX}."))
    return names


def test_simulator__imports_between_its_modules__form_no_circle() -> None:
    """`prepare` raises CycleError, with the modules of the circle."""
    files = Path(simulator.__path__[0]).glob("*.py")
    imports = {file.stem: imported_modules(file) for file in files}
    assert "parameters" in imports["population"]
    TopologicalSorter(imports).prepare()
