"""The packages that `pip install` of the project brings are enough: the tests' own packages are hidden."""

import importlib.metadata
import os
import re
import subprocess
import sys

from flagsmith_warehouse.loader.settings import PROJECT_FOLDER

# Importing a package of the tests fails as if it were not installed, also from C.
REFRESH = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Hidden())
from flagsmith_warehouse.loader.operations.cli import main
main(["refresh"])
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_refresh__with_the_locked_packages_alone__builds(environ):
    lock = (PROJECT_FOLDER / "requirements.lock").read_text()
    ours = {normal(name) for name in re.findall(r"^([\w.-]+)(?:\[\w+\])?==", lock, re.MULTILINE)}
    ours.add("flagsmith-warehouse")
    hidden = {
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        # dbt imports every installed package with such a name.
        if not ({normal(package) for package in packages} & ours or module.startswith("dbt_"))
    }
    assert {"pytest", "scipy"} <= hidden and not {"duckdb", "dbt", "granian"} & hidden
    ran = subprocess.run(
        [sys.executable, "-c", REFRESH, ",".join(sorted(hidden))],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
