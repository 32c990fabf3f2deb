"""The parsed project: whoever imports this has waited for it."""

from dbt.cli.main import dbtRunner

from ..marts.warehouse import parsed_project

MANIFEST = parsed_project()
__all__ = ["MANIFEST", "dbtRunner"]
