"""A separate warehouse for a test: land rows, run dbt in this process, read marts."""

import atexit
import contextlib
import functools
import gc
import io
import os
import tempfile
import threading
from pathlib import Path

import duckdb
import parsedatetime
from dbt.adapters.base.impl import BaseAdapter
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.clients.jinja import MacroGenerator, MacroStack
from dbt.context.configured import ConfiguredContext
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.context.manifest import ManifestContext
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import Macro
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.tests import enable_test_caching
from jinja2 import Environment

from flagsmith_warehouse.loader.landing.schema import TABLES

from .reference import Landed

PROJECT = Path(__file__).parents[2]


def _without_debug_messages() -> None:
    """Let dbt make no debug messages: no test reads them, and they take a good part of each build's processor time."""
    fire_event = EventManager.fire_event

    def fire_told_event(self, event: BaseEvent, level: EventLevel | None = None, **options) -> None:
        if (level or event.level_tag()) != EventLevel.DEBUG:
            fire_event(self, event, level, **options)

    EventManager.fire_event = fire_told_event


def _with_late_messages() -> None:
    """Let dbt fill in a message only when somebody reads it."""
    fill, get = BaseEvent.__init__, BaseEvent.__getattr__

    def keep(self, *values, **named) -> None:
        self.__dict__["given"] = values, named

    def get_filled(self, key: str):
        if key == "pb_msg" and "given" in self.__dict__:
            values, named = self.__dict__.pop("given")
            fill(self, *values, **named)
            return self.__dict__["pb_msg"]
        return getattr(self.pb_msg, key) if key != "pb_msg" else get(self, key)

    BaseEvent.__init__, BaseEvent.__getattr__ = keep, get_filled


def _compiling_templates_once() -> None:
    """Let Jinja keep the code of a template, which is the same in every build."""
    compile_template, known = Environment.compile, {}

    def compile_once(self, source, *further, **named):
        if not isinstance(source, str) or further or named:
            return compile_template(self, source, *further, **named)
        key = type(self).__qualname__, tuple(self.extensions), source
        if key not in known:
            known[key] = compile_template(self, source)
        return known[key]

    Environment.compile = compile_once


class SharedMacro(MacroGenerator):
    """A macro of all models. It reads the context that its thread has made last: that of the model it works on."""

    is_shared = True
    now = threading.local()

    def __init__(self, macro: Macro):
        self.macro, self.node = macro, None

    @property
    def context(self) -> dict:
        return self.now.context

    @property
    def stack(self) -> MacroStack:
        return self.now.stack

    def get_macro(self):
        if self.macro.unique_id not in self.now.evaluated:
            self.now.evaluated[self.macro.unique_id] = super().get_macro()
        return self.now.evaluated[self.macro.unique_id]


class SharedNamespace(MacroNamespace):
    """Which macro a name means, found once."""

    def __init__(self, placed: MacroNamespace):
        shared = {}

        def of(macros: dict[str, MacroGenerator]) -> dict[str, SharedMacro]:
            return {
                name: shared.setdefault(each.macro.unique_id, SharedMacro(each.macro))
                for name, each in macros.items()
            }

        super().__init__(
            of(placed.global_namespace),
            of(placed.local_namespace),
            of(placed.global_project_namespace),
            {package: of(macros) for package, macros in placed.packages.items()},
        )
        self.found = {}
        for names in reversed([*self._search_order()]):
            self.found.update(names)

    def __iter__(self):
        return iter(self.found)

    def __getitem__(self, name):
        return self.found[name]


@contextlib.contextmanager
def own_macros():
    """Let a context that is made meanwhile have macros of its own, so that it can be used beside others."""
    SharedMacro.is_shared = False
    try:
        yield
    finally:
        SharedMacro.is_shared = True


def _sharing_macros() -> None:
    """Let all models share dbt's thousand macros, which it otherwise makes twice for each model.

    A macro of the adapter has a context of its own, inside that of the model.
    """
    place, execute = MacroNamespaceBuilder.build_namespace, BaseAdapter.execute_macro
    fill, now, known = ManifestContext.to_dict, SharedMacro.now, {}

    def build_namespace(self, macros: dict, context: dict) -> MacroNamespace:
        if not SharedMacro.is_shared:
            return place(self, macros, context)
        key = id(macros), self.root_package, self.search_package, *self.internal_package_names_order
        if key not in known:
            known[key] = macros, SharedNamespace(place(self, macros, context))
        now.context, now.stack, now.evaluated = context, self.thread_ctx, {}
        return known[key][1]

    def to_dict(self) -> dict:
        if not isinstance(self.namespace, SharedNamespace):
            return fill(self)
        context = ConfiguredContext.to_dict(self)
        context.update(self.namespace.found)
        return context

    def execute_macro(self, *arguments, **named):
        of_model = dict(vars(now))
        try:
            return execute(self, *arguments, **named)
        finally:
            vars(now).update(of_model)

    MacroNamespaceBuilder.build_namespace, BaseAdapter.execute_macro = build_namespace, execute_macro
    ManifestContext.to_dict = to_dict


_without_debug_messages()
_with_late_messages()
_compiling_templates_once()
_sharing_macros()
parsedatetime.Constants = functools.cache(parsedatetime.Constants)  # the locale of each column of each answer
enable_test_caching()  # of what dbt parses, for the tests that parse the project again


def paths(target: Path, project: Path = PROJECT) -> list[str]:
    """Arguments that make dbt write only to `target`."""
    return [
        *("--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target)),
        *("--no-use-colors", "--log-level-file", "none", "--quiet"),
    ]


def quiet_dbt(runner: dbtRunner, arguments: list[str]) -> dbtRunnerResult:
    """Run a dbt command in this process, then close the warehouse. Raises AssertionError with its log if it fails."""
    printed = io.StringIO()
    # Tests run in as many processes as there are cores, so a second thread would only compete with the first.
    threads = ["--threads", "1"] if arguments[0] in ("run", "build") else []
    with contextlib.redirect_stdout(printed):
        result = runner.invoke([*arguments, *threads])
    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager.close_all_connections()
    assert result.success, printed.getvalue() + str(result.exception or "")
    return result


# Vars that the project's YAML reads, or its configurations: they count when the project is parsed.
READ_IN_PARSING = ("landing_", "declarations_folder", "declared_by")


@functools.lru_cache(maxsize=8)
def parsed_project(*variables: str) -> Manifest:
    """The parsed project: parsing takes longer than building most models.

    Whatever the other vars, it is the same: they are read when a model is compiled.
    """
    with tempfile.TemporaryDirectory() as target:
        manifest = quiet_dbt(
            dbtRunner(), ["parse", "--no-write-json", *variables, *paths(Path(target))]
        ).result
    # The manifest lives as long as the tests. To look for garbage in it again and again took 8 % of each build's processor time,
    # and to look for it often in the rest as much.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.unfreeze)  # or DuckDB reports at exit what was not collected
    return manifest


# Cohorts and experiments have tests of their own.
OTHERS = (
    "marts.experiment_results",
    "intermediate.experiments",
    "dim_cohorts",
    "fct_cohort_*",
    "fct_segment_rule_drift",
)


class Warehouse:
    """A DuckDB file in `directory` and the dbt project on it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.path = directory / "warehouse.duckdb"

    def land(self, rows: list[Landed]) -> None:
        with duckdb.connect(self.path) as connection:
            connection.execute(TABLES)
            if rows:
                connection.executemany(
                    f"insert into landing.webhooks ({', '.join(Landed._fields)}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )

    def dbt(self, *arguments: str):
        """Run a dbt command and return its results. Raises AssertionError with its log if it fails.

        The project is parsed once for all warehouses.
        """
        os.environ["FLAGSMITH_WAREHOUSE_DIR"] = str(self.directory)
        start = arguments.index("--vars") if "--vars" in arguments else len(arguments)
        variables = arguments[start : start + 2]
        is_parsed_anew = any(name in text for name in READ_IN_PARSING for text in variables)
        runner = dbtRunner(parsed_project(*(variables if is_parsed_anew else ())))
        unread = ["--no-write-json"] if arguments[0] == "run" else []  # writing artifacts takes half a second
        return quiet_dbt(runner, [*arguments, *unread, *paths(self.directory / "target")]).result

    def run(self, *arguments: str) -> None:
        """Build the models of flags, segments, traits and deliveries."""
        exclude = arguments.index("--exclude") + 1 if "--exclude" in arguments else None
        if exclude:
            self.dbt("run", *arguments[:exclude], *OTHERS, *arguments[exclude:])
        else:
            self.dbt("run", *arguments, "--exclude", *OTHERS)

    def query(self, sql: str, *parameters) -> list[dict]:
        with duckdb.connect(self.path, read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            cursor = connection.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def mart(self, name: str, schema: str = "marts") -> list[dict]:
        return self.query(f"select * from {schema}.{name}")  # a name from this file
