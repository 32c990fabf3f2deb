"""The commands about experiments: `experiment new`, `aa`. loader/operations/cli.py lists them. Each imports what it needs when called."""

import math
import sys
from typing import TYPE_CHECKING

import click

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.lock import StillHeld
from flagsmith_warehouse.loader.text import printable

if TYPE_CHECKING:
    from flagsmith_warehouse.loader.operations.aa import Answer
    from flagsmith_warehouse.loader.operations.experiment import Split
    from flagsmith_warehouse.loader.settings import Settings

REASONS = ("environment_default", "segment_override", "identity_override")
AGGREGATIONS = ("occurrence", "count", "sum", "mean", "ratio", "days", "hours_to_first", "quantile")
ADDED_UP = ("count", "sum")
# What a new metric of an aggregation needs beside its event: the column, the question, what we propose, and the choices.
NEEDS = {
    "ratio": (
        ("numerator_aggregation", "What is added up of its event", "count", ADDED_UP),
        ("denominator_event_name", "The event to divide by", None, ()),
        ("denominator_aggregation", "What is added up of that event", "count", ADDED_UP),
    ),
    "hours_to_first": (("conversion_window_hours", "Within how many hours a first event counts", "168", ()),),
    "quantile": (("quantile", "Which quantile", "0.5", ()),),
}
DIRECTIONS = ("higher_is_better", "lower_is_better")
METHODS = ("flagsmith", "bayesian", "frequentist", "sequential")


class Answers:
    """What was given as an option, else what somebody answers at the terminal, else what we propose."""

    def __init__(self, given: dict, is_asking: bool):
        self.given = given
        self.is_asking = is_asking

    def get(self, name: str, question: str, proposed: str | None = None, choices: tuple = ()) -> str:
        if self.given.get(name) is not None:
            return self.given[name]
        if self.is_asking:
            return click.prompt(question, default=proposed, type=click.Choice(choices) if choices else str)
        if proposed is None:
            raise click.UsageError(f"Give {flag_of(name)}: {question}.")
        return proposed


def flag_of(name: str) -> str:
    """The option that gives this column."""
    return next(each.opts[0] for each in click.get_current_context().command.params if each.name == name)


def _lift(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse a target lift that is 0, infinite or not a number."""
    if not value or not math.isfinite(value):
        raise click.BadParameter(
            f"{value:g} is not a lift that an experiment can find. Write it like 0.05, which is 5 %."
        )
    return value


@click.group()
def experiment() -> None:
    """Declare experiments."""


@experiment.command()
@click.argument("experiment_key", required=False)
@click.option("--environment", help="Name of the environment, as in the webhook's URL.")
@click.option("--feature", "feature_name", help="Name of the feature in Flagsmith.")
@click.option("--reason", "assignment_reason", type=click.Choice(REASONS), help="Where the split was set up.")
@click.option("--control", "control_variation", help="The variation to compare with.")
@click.option("--weights", "expected_weights", help="`auto`, or like `control=50;blue=50`.")
@click.option("--started-at", help="UTC; now, if nothing is said.")
@click.option("--ended-at", help="UTC; empty while it runs.")
@click.option("--metric", "metric_key", help="The primary metric: one that is declared, or a new one.")
@click.option("--event", "event_name", help="Of a new metric: its event in the outcomes.")
@click.option("--aggregation", type=click.Choice(AGGREGATIONS), help="Of a new metric.")
@click.option("--numerator", "numerator_aggregation", type=click.Choice(ADDED_UP), help="Of a new ratio.")
@click.option("--denominator-event", "denominator_event_name", help="Of a new ratio: the event to divide by.")
@click.option("--denominator", "denominator_aggregation", type=click.Choice(ADDED_UP), help="Of a new ratio.")
@click.option(
    "--window-hours",
    "conversion_window_hours",
    type=click.FloatRange(0, min_open=True),
    help="Of a new metric: for how long after the first evaluation its events count.",
)
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of a new metric of the aggregation quantile, like 0.9.",
)
@click.option("--direction", type=click.Choice(DIRECTIONS), help="Of a new metric.")
@click.option(
    "--method",
    "decision_method",
    type=click.Choice(METHODS),
    help="The method that decides; default: sequential.",
)
@click.option("--breakdowns", help="Like `trait:plan;segment:vip`.")
@click.option(
    "--target-lift",
    type=float,
    callback=_lift,
    default=0.05,
    show_default=True,
    help="The relative lift to be found.",
)
@click.option(
    "--baseline",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of control that converts, for the power.",
)
@click.option(
    "--ask/--no-ask", "is_asking", default=None, help="Ask for what no option says.  [default: at a terminal]"
)
def new(is_asking: bool | None, target_lift: float, baseline: float | None, **given: str | None) -> None:
    """Add the rows of a new experiment, with what the warehouse has seen as proposals. Nothing is ever overwritten."""
    from flagsmith_warehouse.loader.operations import experiment as declared

    settings = settings_module.read()
    found = declared.sheets(settings)
    answers = Answers(given, sys.stdin.isatty() if is_asking is None else is_asking)
    split = _split(answers, declared.splits(settings))
    row = {
        "experiment_key": answers.get("experiment_key", "Key of the experiment", split.feature_name),
        "environment": split.environment,
        "feature_name": split.feature_name,
        "control_variation": answers.get(
            "control_variation", "Control", split.control if split.variations else "control"
        ),
        "started_at": answers.get("started_at", "Beginning, UTC", declared.now()),
        "ended_at": given["ended_at"],
        "assignment_reason": split.assignment_reason,
        "expected_weights": answers.get("expected_weights", "Weights", "auto"),
        "decision_method": given["decision_method"],
        "breakdowns": given["breakdowns"],
    }
    metric = _metric(answers, declared.keys_of(found["metrics"][1], "metric_key"))
    if baseline and metric.get("aggregation", AGGREGATIONS[0]) != AGGREGATIONS[0]:
        raise click.UsageError(
            "--baseline is the share that converts, so it is for a metric of the aggregation occurrence. Nothing was written."
        )
    link = {
        "experiment_key": row["experiment_key"],
        "metric_key": metric["metric_key"],
        "role": "primary",
        "target_lift": target_lift,
    }
    for file in declared.declare(settings, row, metric, link):
        click.echo(f"Added a row to {file}.")
    click.echo(_power(settings, split, row["control_variation"], metric, target_lift, baseline))
    click.echo("Next: `flagsmith-warehouse check`, then `flagsmith-warehouse refresh`.")


def _split(answers: Answers, seen: list["Split"]) -> "Split":
    """The split that the answers name: the one seen in webhooks, if there is one, otherwise a split without variations."""
    from flagsmith_warehouse.loader.operations.experiment import Split, describe

    for each in seen[:20] if answers.is_asking else []:
        click.echo(printable(describe(each)))
    first = seen[0] if seen else None
    environment = answers.get("environment", "Environment", first and first.environment)
    inside = [each for each in seen if each.environment == environment]
    feature = answers.get("feature_name", "Feature", inside[0].feature_name if inside else None)
    of_feature = [each for each in inside if each.feature_name == feature]
    proposed = of_feature[0].assignment_reason if of_feature else REASONS[0]
    reason = answers.get("assignment_reason", "Where the split was set up", proposed, REASONS)
    return next(
        (each for each in of_feature if each.assignment_reason == reason),
        Split(environment, feature, reason, ()),
    )


def _metric(answers: Answers, declared: set[tuple[str, ...]]) -> dict:
    known = sorted(key for (key,) in declared if key)
    key = answers.get(
        "metric_key", "Primary metric" + (f" ({', '.join(known)}, or a new one)" if known else "")
    )
    if (key,) in declared:
        return {"metric_key": key}
    event = answers.get("event_name", "Its event in the outcomes", key)
    aggregation = answers.get("aggregation", "Aggregation", AGGREGATIONS[0], AGGREGATIONS)
    needed = NEEDS.get(aggregation, ())
    for other, columns in NEEDS.items():
        for column, *_ in columns if other != aggregation else ():
            if column != "conversion_window_hours" and answers.given[column] is not None:
                raise click.UsageError(
                    f"{flag_of(column)} is for the aggregation {other}, and the metric's is {aggregation}."
                )
    return {
        "metric_key": key,
        "event_name": event,
        "aggregation": aggregation,
        "conversion_window_hours": answers.given["conversion_window_hours"],
        **{column: answers.get(column, *question) for column, *question in needed},
        "direction": answers.get("direction", "Direction", DIRECTIONS[0], DIRECTIONS),
    }


def _power(
    settings: "Settings", split: "Split", control: str, metric: dict, lift: float, baseline: float | None
) -> str:
    """How long it will take, in words."""
    from flagsmith_warehouse.loader.operations import experiment

    moments = (
        (baseline, baseline * (1 - baseline))
        if baseline
        else experiment.baseline_of(settings, metric["metric_key"])
    )
    if not split.variations:
        return "The webhooks have not shown this split yet, so we cannot say how long it takes."
    if not moments:
        return (
            "How long it takes depends on how many convert. Give --baseline, or declare an experiment that has the metric "
            "(no ratio, hours_to_first or quantile)."
        )
    needed = experiment.identities_needed(*moments, lift, split, control, 0.05, 0.8)
    days = experiment.days_needed(settings, split, needed) if math.isfinite(needed) else math.inf
    if not math.isfinite(days):
        return "A variation has no weight, or control's mean is 0: no number of days is enough."
    return (
        f"To find a lift of {100 * lift:g} % (power 80 %, alpha 0.05) takes {math.ceil(needed):,} identities: about {days:,} days, "
        "if they arrive at the same rate as before."
    )


@click.command()
@click.option("--metric", required=True, help="A metric that is declared.")
@click.option(
    "--experiments",
    default=1000,
    show_default=True,
    type=click.IntRange(20, 100_000),
    help="How many splits.",
)
@click.option(
    "--days",
    default=28,
    show_default=True,
    type=click.IntRange(1),
    help="Identities evaluated in the last days.",
)
@click.option("--environment", help="By default the one with most webhooks.")
@click.option("--seed", default=0, show_default=True, help="Another seed splits otherwise.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def aa(metric: str, experiments: int, days: int, environment: str | None, seed: int, as_json: bool) -> None:
    """Split past identities at random, where nothing can differ, and count how often a difference is found."""
    from flagsmith_warehouse.loader.operations import aa as splits

    def say(text: str) -> None:
        click.echo(printable(text), err=True)

    settings = settings_module.read()
    answer = splits.judge_splits(settings, metric, experiments, days, environment, seed, say)
    if as_json:
        click.echo(splits.as_json(answer))
    else:
        _show(answer)
    try:
        splits.keep(settings, answer, say)
    except (OSError, StillHeld) as error:
        say(
            f"The page about A/A tests cannot show this answer: {settings.aa_record} could not be written ({error})."
        )


def _show(answer: "Answer") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    metric, environment = (escape(printable(text)) for text in (answer.metric, answer.environment))
    adjusted = ", adjusted by earlier outcomes (before_days)" if answer.is_adjusted else ""
    console.print(
        f"{answer.experiments:,} splits of the {answer.identities:,} identities that {environment} evaluated in {answer.days} days: "
        f"{metric}{adjusted}. Nothing differs, so every difference found is a false alarm."
    )
    table = Table("method", "false alarms", "share", "95 % interval", "expected")
    for rate in answer.rates:
        method = f"{rate.method} (declared)" if rate.is_declared else rate.method
        limit = "at most " if rate.method == "sequential" else ""
        table.add_row(
            method,
            f"{rate.false_alarms:,}",
            f"{rate.rate:.1%}",
            f"{rate.low:.1%} to {rate.high:.1%}",
            f"{limit}{rate.expected:.1%}",
        )
    console.print(table)
    most = max(answer.p_values_by_tenth)
    for tenth, count in enumerate(answer.p_values_by_tenth):
        console.print(f"p from {tenth / 10:.1f}  {'█' * round(40 * count / most)} {count:,}", highlight=False)
    console.print(
        f"Test whether the p-values are uniform, as they should be: p = {answer.uniformity_p_value:.3f} (below 0.01, they hardly are)."
    )
    if answer.variance_saved is not None:
        removed = answer.variance_saved
        saves = (
            f"removes {removed:.0%} of the variance" if removed >= 0.005 else "saves nothing on this metric"
        )
        console.print(f"The adjustment by outcomes before the first evaluation (CUPED) {saves}.")
