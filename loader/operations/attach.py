"""A plugin of dbt-duckdb, named in profiles.yml. It makes dbt wait while another process has the warehouse open.

It also gives models the function `fault_of(query)`: the reason why a query fails, null if it succeeds.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.flags import get_flags
from duckdb import DuckDBPyConnection

from flagsmith_warehouse.loader import lock
from flagsmith_warehouse.loader.filesystem import (
    close_to_others,
    keep_private,
    make_folder,
    restrict_permissions,
)


class Plugin(BasePlugin):
    """Attaches the databases under `attach` in the profile, before dbt would do it."""

    def initialize(self, plugin_config: dict) -> None:
        keep_private()
        for folder in _folders_of_dbt():
            close_to_others(folder)
        self.timeout_seconds = float(plugin_config["timeout_seconds"])

    def update_connection_config(self, creds: DuckDBCredentials, config: dict) -> None:
        """Put DuckDB's temporary files beside the warehouse, not into the folder from which dbt was run."""
        config.setdefault("temp_directory", f"{creds.attach[0].path}.tmp")

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Attach the file; create its folder if needed. Raises lock.StillHeld."""
        for attachment in self.creds.attach:
            file = Path(attachment.path)
            make_folder(file.parent)
            lock.when_free(
                lambda attachment=attachment: conn.execute(attachment.to_sql()),
                file,
                self.timeout_seconds,
                _say,
            )
            restrict_permissions(file.parent)
        # A weak reference, because otherwise the connection would keep itself and the warehouse open.
        ask = FaultOf(weakref.ref(conn), self.creds.database)
        conn.create_function(
            "fault_of", ask, ["VARCHAR"], "VARCHAR", side_effects=True, null_handling="special"
        )

    def configure_cursor(self, cursor: DuckDBPyConnection) -> None:
        """Names without a database (`conversion_events: analytics.events`) mean relations of the warehouse."""
        cursor.execute(f'use "{self.creds.database}"')


class FaultOf:
    """Runs a separate query. SQL itself cannot do this, because an error ends the query in which it happens."""

    def __init__(self, connection: Callable[[], DuckDBPyConnection], database: str):
        self._connection = connection
        self._database = database

    def __call__(self, query: str) -> str | None:
        """The first line of the error, or None."""
        with contextlib.closing(self._connection().cursor()) as cursor:
            try:
                cursor.execute(f'use "{self._database}"').execute(query).fetchall()
            except duckdb.Error as error:
                return str(error).split("\n")[0]
        return None


def _folders_of_dbt() -> Iterator[Path]:
    """The folders of dbt's log and compiled SQL. They must be private, because an error in them may quote a row."""
    flags = get_flags()
    for folder in (flags.LOG_PATH, flags.TARGET_PATH or "target"):
        yield Path(flags.PROJECT_DIR or ".", folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
