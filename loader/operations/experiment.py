"""`flagsmith-warehouse experiment new`: the rows that declare an experiment, proposed from what the warehouse has seen.

Rows are only added, at the ends of the files. Everything is checked before anything is written. The experiment's own row is
written last: if the command is killed before that, only rows are left that no experiment uses.
"""

import math
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

import duckdb

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader.operations import dbt, declarations, relations
from flagsmith_warehouse.loader.settings import PROJECT_FOLDER, Settings

FILES = ("metrics", "experiment_metrics", "experiments")
SPLITS = """
select
    environment,
    feature_name,
    assignment_reason,
    list(variation order by identities desc, variation) as variations,
    map(list(variation), list(percentage_allocation::double)) as weights
from (
    select
        environment, feature_name, assignment_reason, variation,
        count(distinct identity) as identities,
        arg_max(percentage_allocation, last_exposed_at) as percentage_allocation
    from marts.fct_flag_exposures
    where enabled
    group by all
)
group by all
having count(*) > 1
order by sum(identities) desc, environment, feature_name, assignment_reason
"""
# How many identities were evaluated on the last day, the last two days, … before the environment's last webhook.
LAST_DAYS = """
with identities as (
    select identity, max(last_exposed_at) as last_exposed_at
    from marts.fct_flag_exposures
    where environment = $environment and feature_name = $feature_name and assignment_reason = $assignment_reason
    group by identity
)
select days, sum(count(*)) over (order by days)
from (
    select floor(epoch((select max(last_exposed_at) from identities) - last_exposed_at) / 86400)::integer + 1 as days
    from identities
)
group by days order by days
"""
# The newest experiment that has the metric: its control tells how much identities differ. Of ratios, times and quantiles
# the sums do not tell it.
BASELINE = """
select mean, (outcome_sum_squares - outcome_sum * outcome_sum / identities_matured) / (identities_matured - 1) as variance
from marts.fct_experiment_results inner join marts.dim_metrics using (metric_key)
where metric_key = ? and status = 'control' and population = 'assigned' and identities_matured > 1
    and aggregation in ('occurrence', 'count', 'sum', 'mean', 'days')
order by last_day desc, experiment_key limit 1
"""


class ExperimentError(LoaderError):
    """The experiment was not declared. Nothing was written."""


@dataclass(frozen=True)
class Split:
    """A feature that identities were given several variations of, for one reason, and the weights in the webhooks."""

    environment: str
    feature_name: str
    assignment_reason: str
    variations: tuple[str, ...]
    weights: dict[str, float | None] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """What the others are most likely compared with."""
        return next((name for name in ("control", "off") if name in self.variations), self.variations[0])

    def shares(self) -> dict[str, float]:
        """The weights as shares. Control carries none and has what the others leave; without any, all are alike."""
        named = {name: weight for name, weight in self.weights.items() if weight is not None}
        if not named:
            return dict.fromkeys(self.variations, 1 / len(self.variations))
        return {name: named.get(name, max(100 - sum(named.values()), 0)) / 100 for name in self.variations}


def splits(settings: Settings) -> list[Split]:
    """Every split that the published copy knows, the largest first."""
    try:
        with closing(relations.open_copy(settings.published_file)) as copy:
            return [Split(*row[:3], tuple(row[3]), row[4]) for row in copy.execute(SPLITS).fetchall()]
    except duckdb.Error:
        return []  # nothing is published yet


def baseline_of(settings: Settings, metric_key: str) -> tuple[float, float] | None:
    """Mean and variance of a metric in the control of an earlier experiment."""
    try:
        with closing(relations.open_copy(settings.published_file)) as copy:
            return copy.execute(BASELINE, [metric_key]).fetchone()
    except duckdb.Error:
        return None


def identities_needed(
    mean: float, variance: float, lift: float, split: Split, control: str, alpha: float, power: float
) -> float:
    """How many identities a two-sided test needs in all to find that relative lift of the rarest variation."""
    shares = split.shares()
    arms = [shares.get(control, 0), min(share for name, share in shares.items() if name != control)]
    if not mean or not all(arms):
        return math.inf
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return z**2 * variance * sum(1 / share for share in arms) / (mean * lift) ** 2


def days_needed(settings: Settings, split: Split, identities: float) -> float:
    """After how many days so many identities were evaluated, if they come as they did; beyond what was seen, at the same rate."""
    place = {name: getattr(split, name) for name in ("environment", "feature_name", "assignment_reason")}
    with closing(relations.open_copy(settings.published_file)) as copy:
        seen = copy.execute(LAST_DAYS, place).fetchall()
    enough = [days for days, total in seen if total >= identities]
    return (
        enough[0]
        if enough
        else math.ceil(identities / seen[-1][1] * seen[-1][0])
        if identities < 1e15
        else math.inf
    )


def sheets(settings: Settings) -> dict[str, tuple[Path, declarations.Sheet]]:
    """The files that rows are added to, as they are. Raises ExperimentError where one cannot be added to."""
    project = dbt.project_of(settings)
    document, known = dbt.document_of(project), dbt.our_vars(project)
    is_own = known.get("declared_by", dbt.PACKAGE) == document.get("name")
    folders = [project / place for place in document.get("seed-paths") or ["seeds"]]
    if project == PROJECT_FOLDER:
        folders = [declarations.SEEDS_FOLDER]
    found = {}
    for name in FILES:
        if known.get(name):
            raise ExperimentError(
                f"vars: {name} names {known[name]}, and this command writes only to CSV files. "
                "Add the rows to that relation yourself. Nothing was written."
            )
        file = next((file for folder in folders for file in sorted(folder.rglob(f"{name}.csv"))), None)
        if not is_own or file is None:
            raise ExperimentError(
                f"There is no {name}.csv in {project}. Write one with its header (docs/declarations.md)."
            )
        sheet = declarations.read(file)
        if sheet.problems:
            raise ExperimentError(
                f"{file} cannot be added to: {sheet.problems[0][5]}. Run `flagsmith-warehouse check`."
            )
        found[name] = (file, sheet)
    return found


def keys_of(sheet: declarations.Sheet, *columns: str) -> set[tuple[str, ...]]:
    """What the rows have in these columns."""
    places = [sheet.columns.index(column) for column in columns if column in sheet.columns]
    return {tuple((row[place] or "").strip() for place in places) for row in sheet.rows if row}


def declare(settings: Settings, experiment: dict, metric: dict, link: dict) -> list[Path]:
    """Add the rows to their files. Returns these files. A metric that is already declared stays as it is. Raises ExperimentError."""
    found = sheets(settings)
    rows = {"metrics": metric, "experiment_metrics": link, "experiments": experiment}
    key = (experiment["experiment_key"],)
    if key in keys_of(found["experiments"][1], "experiment_key") | keys_of(
        found["experiment_metrics"][1], "experiment_key"
    ):
        raise ExperimentError(
            f"An experiment {key[0]} is declared already, and nothing is ever overwritten. Choose another key, or edit "
            f"{found['experiments'][0]}."
        )
    if (metric["metric_key"],) in keys_of(found["metrics"][1], "metric_key"):
        del rows["metrics"]
    lines = {name: _line(found[name][0], found[name][1], row) for name, row in rows.items()}
    for name, line in lines.items():
        with found[name][0].open("ab") as file:
            file.write(line)
    return [found[name][0] for name in lines]


def _line(path: Path, sheet: declarations.Sheet, row: dict) -> bytes:
    """The row as a CSV line: in the order of the file's columns, and with the file's kind of line break."""
    filled = {name: str(value) for name, value in row.items() if value not in (None, "")}
    if missing := filled.keys() - set(sheet.columns):
        raise ExperimentError(
            f"{path} has no column {', '.join(sorted(missing))}. Add it to the header first."
        )
    content = path.read_bytes()
    line_break = "\r\n" if b"\r\n" in content else "\n"
    line = declarations.csv_line([filled.get(column, "") for column in sheet.columns], line_break)
    return (b"" if content.endswith(b"\n") else line_break.encode()) + line.encode()


def now() -> str:
    """The time as a declaration has it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def describe(split: Split) -> str:
    """What was seen of a split, in words."""
    shares = ", ".join(f"{name} {100 * share:g} %" for name, share in split.shares().items())
    known = any(weight is not None for weight in split.weights.values())
    return f"{split.feature_name} in {split.environment}, by {split.assignment_reason}: {shares if known else ', '.join(split.variations)}"
