"""Reads the files (seeds) in which people declare things, as spreadsheets write them, and finds mistakes in them.

This module finds only mistakes that no model can see: an encoding, a delimiter, a row with too many cells. The models in
models/intermediate/declarations check the cells, so that `dbt build` alone finds the same mistakes.
"""

import contextlib
import csv
import hashlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import yaml

from flagsmith_warehouse.loader import LoaderError, lock
from flagsmith_warehouse.loader.operations import checks, dbt, publish, relations
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, Settings
from flagsmith_warehouse.loader.text import one_line, shortened

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

SEEDS_FOLDER = PROJECT_FOLDER / "seeds"
NAMES = ("experiments", "metrics", "experiment_metrics", "variants", "identity_map", "test_identities")
SAVE_AS = "save it as `CSV UTF-8`, with a comma between cells"
BLANKS = " \t\r\n\f\v\u00a0\u200b\ufeff"
SHOWN_LETTERS = 200  # the most letters of a cell in a message
COLUMNS = ("severity", "declaration", "row_number", "column_name", "cell", "problem", "remedy", "fingerprint")
FILE_PROBLEMS = """
create or replace table intermediate.file_problems (
    severity varchar, declaration varchar, row_number bigint, column_name varchar, cell varchar, problem varchar,
    remedy varchar, fingerprint varchar
)
"""
MARTS = ("experiment_declaration_problems", "cohort_declaration_problems")
QUERY = "select severity, declared_in, row_number, column_name, cell, problem, remedy from {}"


class CheckError(LoaderError):
    """The declarations could not be checked. Nothing was changed."""


@dataclass(frozen=True)
class Problem:
    """A problem or warning (`severity`): what is wrong, where, and what to write instead."""

    severity: str
    declared_in: str
    row_number: int | None
    column_name: str | None
    cell: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        row = f"row {self.row_number}" if self.row_number else None
        place = ", ".join(filter(None, (self.declared_in, row, self.column_name)))
        cell = f" (`{self._shown_cell()}`)" if self.cell else ""
        return one_line(f"{self.severity}: {place}: {self.problem}{cell}. Remedy: {self.remedy}.")

    def _shown_cell(self) -> str:
        """The cell; only its two ends if it is very long."""
        return self.cell if len(self.cell) <= SHOWN_LETTERS else shortened(self.cell, SHOWN_LETTERS)


@dataclass
class Sheet:
    """A seed's file: its columns, its rows (null for unreadable cells), and the problems of the file.

    If it has no columns, the file could not be read at all.
    """

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    problems: list[tuple] = field(default_factory=list)

    def complain(self, row: int, problem: str, remedy: str, cell: str | None = None) -> None:
        self.problems.append(("problem", self.name, row, None, cell, problem, remedy, None))


def read(path: Path) -> Sheet:
    """The readable part of the file. Rows keep their numbers, so that people can find them in a spreadsheet."""
    sheet = Sheet(path.stem)
    try:
        content = path.read_bytes()
    except OSError as error:
        sheet.complain(
            1, f"the file cannot be read ({error.strerror})", "put it back; the header alone is enough"
        )
        return sheet
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        sheet.complain(1, "the file is UTF-16, or not text at all", SAVE_AS)
        return sheet
    text = content.decode("utf-8-sig", "surrogateescape")
    if not text.strip(BLANKS):
        sheet.complain(
            1, "the file is empty", "write at least the header; docs/declarations.md lists the columns"
        )
        return sheet
    _read_rows(sheet, text)
    return sheet


def _read_rows(sheet: Sheet, text: str) -> None:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        for number, cells in enumerate(lines, start=1):
            if number == 1 and cells and cells[0].lower().startswith("sep="):
                if len(cells) == 1:
                    sheet.complain(1, "cells are not separated by a comma", SAVE_AS, cells[0])
                    return
                sheet.rows.append([])  # `sep=,`, which Excel writes and reads
            elif not sheet.columns:
                if not any(cell.strip(BLANKS) for cell in cells):
                    sheet.rows.append([])
                elif not _read_header(sheet, number, cells):
                    return
            else:
                sheet.rows.append(_row(sheet, number, cells))
    except csv.Error as error:
        sheet.complain(
            number + 1,
            f"from here on the file cannot be read ({error})",
            'close the quotation mark; inside one, write it twice: ""',
        )
    width = len(sheet.columns)
    sheet.rows = [row + [None] * (width - len(row)) for row in sheet.rows]
    while sheet.rows and not any(sheet.rows[-1]):
        sheet.rows.pop()


def _read_header(sheet: Sheet, number: int, cells: list[str]) -> bool:
    """Check that cells are separated by commas and that no column occurs twice."""
    columns = [cell.strip(BLANKS).lower() for cell in cells]
    for delimiter, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(columns) == 1 and delimiter in cells[0]:
            sheet.complain(number, f"cells are separated by {called}", SAVE_AS, _legible(cells[0]))
            return False
    doubled = [name for name, times in Counter(columns).items() if name and times > 1]
    for name in doubled:
        sheet.complain(
            number, f"the column {name} occurs twice in the header", "keep one of them, with its cells", name
        )
    if doubled:
        return False
    while not columns[-1]:
        columns.pop()  # empty columns that a spreadsheet added at the right
    sheet.columns = [name or f"column {place}" for place, name in enumerate(columns, start=1)]
    return True


def _row(sheet: Sheet, number: int, cells: list[str]) -> list[str | None]:
    """The cells of a row; empty if the row cannot be understood."""
    width = len(sheet.columns)
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        bad = next(cell for cell in cells if not cell.isprintable() and _legible(cell) != cell)
        sheet.complain(number, "a character is not UTF-8", SAVE_AS, _legible(bad))
        return []
    if any(cell.strip(BLANKS) for cell in cells[width:]):
        sheet.complain(
            number,
            f"the row has more cells than the header, which has {width}",
            "put a cell that holds a comma in quotation marks, and write 1000.5 rather than 1,000.5",
            ",".join(cells),
        )
        return []
    return [cell if cell.strip(BLANKS) else None for cell in cells[:width]]


def _legible(cell: str) -> str:
    """The cell. Bytes that are not UTF-8 are read as Latin-1, which they usually are."""
    return "".join(
        chr(ord(character) - 0xDC00) if "\udc80" <= character <= "\udcff" else character for character in cell
    )


@dataclass(frozen=True)
class Seed:
    """A declaration seed of the project: its file, and its table unless the file is missing."""

    name: str
    file: Path
    table: str | None


def seeds(settings: Settings, manifest: "Manifest") -> list[Seed]:
    """The declaration seeds: those of the project, or our own in a clone."""
    missing = missing_files(settings)
    found = {name: Seed(name, settings.project_dir / file, None) for name, file in missing.items()}
    for node in manifest.nodes.values():
        if node.resource_type == "seed" and node.name in NAMES and node.package_name == declaring(manifest):
            is_ours = node.package_name == dbt.PACKAGE
            file = (
                SEEDS_FOLDER / f"{node.name}.csv"
                if is_ours
                else settings.project_dir / node.original_file_path
            )
            found[node.name] = Seed(node.name, file, publish.name(node.schema, node.alias))
    return [found[name] for name in NAMES if name in found]


def declaring(manifest: "Manifest") -> str:
    """The package with the declaration seeds that our models read; our own if vars name relations instead."""
    reader = manifest.nodes[f"model.{dbt.PACKAGE}.int_declaration_cells"]
    packages = [key.split(".")[1] for key in reader.depends_on.nodes if key.startswith("seed.")]
    return packages[0] if packages else dbt.PACKAGE


def load(
    settings: Settings,
    manifest: "Manifest",
    on_wait: Callable[[str], None] = lambda text: None,
    given: dict | None = None,
) -> list[Seed]:
    """Replace the seeds' tables by the contents of the files, in one transaction.

    The caller holds the lock of the warehouse. Returns the seeds, which dbt then need not load. `given`: vars of this run.
    """
    file, found = settings.warehouse_file, seeds(settings, manifest)
    schema = relations.schema_of(manifest, "int_deliveries")
    problems = publish.name(schema, "file_problems")
    with contextlib.closing(
        lock.when_free(lambda: duckdb.connect(file), file, settings.lock_timeout_seconds, on_wait)
    ) as warehouse:
        warehouse.execute("begin")
        for each in {publish.name(schema), *(seed.table.rpartition(".")[0] for seed in found if seed.table)}:
            warehouse.execute(f"create schema if not exists {each}")
        warehouse.execute(FILE_PROBLEMS.replace("intermediate.file_problems", problems))
        for seed in found:
            sheet = read(seed.file)
            if seed.table:
                _load_sheet(warehouse, seed.table, sheet)
            _insert_problems(warehouse, problems, sheet.problems)
        _insert_problems(warehouse, problems, _problems_of_project(settings, given))
        warehouse.execute("commit")
    return found


def _load_sheet(warehouse: duckdb.DuckDBPyConnection, table: str, sheet: Sheet) -> None:
    columns = [f"{publish.name(column)} varchar" for column in sheet.columns]
    warehouse.execute(
        f"create or replace table {table} ({', '.join(columns or ['unreadable_file varchar'])})"
    )
    if sheet.rows:
        parts = ", ".join("unnest(?::varchar[])" for _ in columns)
        values = [list(column) for column in zip(*sheet.rows, strict=True)]
        warehouse.execute(f"insert into {table} select {parts}", values)


def _insert_problems(warehouse: duckdb.DuckDBPyConnection, table: str, problems: list[tuple]) -> None:
    if problems:
        warehouse.executemany(f"insert into {table} values (?, ?, ?, ?, ?, ?, ?, ?)", problems)  # noqa: S608


def cohort_problems(text: str, is_list: bool = False) -> list[tuple]:
    """Numbers under `cohorts:` whose value in YAML differs from what is written: 12:30 is 750, 0123 is 83, 1.10 is 1.1.

    Each comes with its cohort's place in the list, and with a fingerprint of the cohort as dbt reads it. The models leave
    the cohort out while the fingerprint stays the same. `is_list`: the text is a file that contains only the list.
    """
    try:
        document = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return []  # dbt itself reports this
    return [
        (
            *("problem", "cohorts", number, f"line {node.start_mark.line + 1}", node.value),
            f"YAML reads {node.value} as the number {yaml.safe_load(node.value)}",
            f'write "{node.value}", in quotation marks',
            hashlib.md5(str(_value(cohort)).encode(), usedforsecurity=False).hexdigest(),
        )
        for cohorts in ([document] if is_list else _values_of("cohorts", document, set()))
        if isinstance(cohorts, yaml.SequenceNode)
        for number, cohort in enumerate(cohorts.value, start=1)
        for node in _scalars(cohort, set())
        if node.tag.endswith((":int", ":float"))
        and str(yaml.safe_load(node.value)) != node.value.removeprefix("+")
    ]


def _values_of(name: str, node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.Node]:
    """The values under that key, at any depth. `seen`: nodes already visited, because an anchor may contain itself."""
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return
    seen.add(id(node))
    for key, value in node.value:
        if key.value == name:
            yield value
        else:
            yield from _values_of(name, value, seen)


def _value(node: yaml.Node) -> object:
    return yaml.SafeLoader("").construct_document(node)


def _scalars(node: yaml.Node, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node
        return
    for child in node.value:
        for each in child if isinstance(child, tuple) else (child,):
            yield from _scalars(each, seen)


def _problems_of_project(settings: Settings, given: dict | None = None) -> list[tuple]:
    """The problems of the file with the project's cohorts: the one that `vars: cohorts:` names, or dbt_project.yml."""
    project = dbt.project_of(settings)
    named = (dbt.our_vars(project) | (given or {})).get("cohorts")
    is_list = isinstance(named, str)
    try:
        text = (project / (named if is_list else "dbt_project.yml")).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []  # dbt itself reports this
    return cohort_problems(text, is_list)


def variables(settings: Settings, given: dict | None = None) -> list[str]:
    """Arguments for dbt with these vars and the missing files. (dbt cannot parse models that refer to missing files.)"""
    known = dict(given or {})
    if missing := missing_files(settings, known):
        known["missing_files"] = missing
    return ["--vars", json.dumps(known, default=str)] if known else []


def missing_files(settings: Settings, given: dict | None = None) -> dict[str, str]:
    """The declarations whose file was removed, each with that file. If a var names a relation, no file is needed."""
    project = dbt.project_of(settings)
    document = dbt.document_of(project)
    known = dbt.our_vars(project) | (given or {})
    if known.get("declared_by", dbt.PACKAGE) != document.get("name"):
        return {}  # the files are in a package, where nobody removes them
    places = document.get("seed-paths") or ["seeds"]
    folders = [SEEDS_FOLDER] if project == PROJECT_FOLDER else [project / place for place in places]
    there = {file.stem for folder in folders for file in folder.rglob("*.csv")}
    return {name: f"{places[0]}/{name}.csv" for name in NAMES if name not in there and not known.get(name)}


def problems_in(file: Path) -> list[Problem]:
    """The problems and warnings in the marts of a warehouse or its published copy, problems first."""
    with relations.open_copy(file) as copy:
        return problems_of(copy)


def problems_of(copy: duckdb.DuckDBPyConnection) -> list[Problem]:
    """The same for an open copy."""
    there = {name for (name,) in copy.execute("select table_name from information_schema.tables").fetchall()}
    queries = [QUERY.format(f"marts.{mart}") for mart in MARTS if mart in there]
    return _sorted(Problem(*row) for query in queries for row in copy.execute(query).fetchall())


def check(settings: Settings, on_wait: Callable[[str], None] = lambda text: None) -> list[Problem]:
    """The problems and warnings of the declarations as they are now. Changes nothing. Raises CheckError.

    Some warnings depend on received deliveries; for these, the state of the last refresh counts.
    """
    with tempfile.TemporaryDirectory() as folder, _hold(settings, on_wait):
        manifest = dbt.parse(settings, *variables(settings))
        checks.refuse_unusable_vars(settings, manifest)
        _write_clean(settings, seeds(settings, manifest), Path(folder))
        is_built = _is_built(settings)
        models = MARTS if is_built else ("int_declaration_problems", "int_cohort_problems")
        where = settings if is_built else replace(settings, warehouse_dir=Path(folder))
        return _sorted(_show(models, Path(folder), where))


@contextlib.contextmanager
def _hold(settings: Settings, on_wait: Callable[[str], None]) -> Iterator[None]:
    if not settings.warehouse_file.exists():
        yield
        return
    with lock.hold(settings.warehouse_lock, settings.lock_timeout_seconds, on_wait):
        yield


def _is_built(settings: Settings) -> bool:
    if not settings.warehouse_file.exists():
        return False
    with duckdb.connect(settings.warehouse_file, read_only=True) as warehouse:
        built = {name for (name,) in warehouse.execute("select table_name from duckdb_tables()").fetchall()}
    return {"fct_flag_exposures", "fct_experiment_assignments", "fct_identity_traits"} <= built


def _write_clean(settings: Settings, found: list[Seed], folder: Path) -> None:
    """Write copies of the files that models can read, and beside them the problems of the files."""
    problems = _problems_of_project(settings)
    for seed in found:
        sheet = read(seed.file)
        _write(folder / f"{seed.name}.csv", sheet.columns or ["unreadable_file"], sheet.rows)
        problems += sheet.problems
    _write(folder / "file_problems.csv", COLUMNS, problems)


def csv_line(cells: list[str], line_break: str = "\n") -> str:
    """The cells as one line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator=line_break).writerow(cells)
    return text.getvalue()


def _write(path: Path, columns, rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([columns, *rows])


def _show(models: tuple[str, ...], folder: Path, settings: Settings) -> Iterator[Problem]:
    """The rows that these models of problems would have if built from the clean files in the folder."""
    target = ["--target-path", str(folder / "target"), "--log-path", str(folder)]
    chosen = ["--select", *models, "--exclude", "test_type:data", "--limit", "-1"]
    known = variables(settings, {"declarations_folder": str(folder)})
    with contextlib.redirect_stdout(io.StringIO()):
        outcome = dbt.run(settings, "--quiet", "show", *chosen, *known, *target)
    if not outcome.success or not outcome.result or not outcome.result.results:
        raise CheckError(f"The declarations could not be checked: {dbt.reason(outcome)}")
    for shown in outcome.result.results:
        for row in shown.agate_table.rows:
            problem = {name: row[name] for name in Problem.__dataclass_fields__}
            number = problem["row_number"]
            yield Problem(**problem | {"row_number": None if number is None else int(number)})


def _sorted(problems: Iterator[Problem]) -> list[Problem]:
    return sorted(
        problems, key=lambda p: (p.severity, p.declared_in, p.row_number or 0, p.column_name or "", p.problem)
    )
