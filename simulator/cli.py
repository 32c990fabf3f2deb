"""The command `flagsmith-warehouse simulate`."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from flagsmith_warehouse.simulator import capture, conversions, landing, truth
from flagsmith_warehouse.simulator.parameters import Parameters
from flagsmith_warehouse.simulator.sender import Fate, Outcome, Receiver, send
from flagsmith_warehouse.simulator.world import World

DEFAULTS = Parameters()
COUNT = click.IntRange(min=1)
SHARE = click.FloatRange(0, 1)


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The loader to send to.")
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead: a DuckDB landing if it ends in .duckdb, otherwise one line of JSON per request.",
)
@click.option(
    "--conversions",
    "conversions_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the outcomes of this world (CSV, true lifts in simulator/conversions.py) and send nothing.",
)
@click.option(
    "--deliveries", type=COUNT, default=DEFAULTS.deliveries, show_default=True, help="How many calls."
)
@click.option(
    "--identities",
    type=COUNT,
    default=DEFAULTS.identities,
    show_default=True,
    help="Number of identities per environment.",
)
@click.option(
    "--features", type=COUNT, default=DEFAULTS.features, show_default=True, help="Number of flags in a body."
)
@click.option(
    "--calls-per-state",
    type=COUNT,
    default=DEFAULTS.calls_per_state,
    show_default=True,
    help="Number of consecutive calls of an identity with the same body.",
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    default=DEFAULTS.environments,
    show_default=True,
    help="Repeat for several; their integer ids overlap, like those of two servers.",
)
@click.option(
    "--volatile",
    type=SHARE,
    default=DEFAULTS.volatile,
    show_default=True,
    help="Share of identities with a trait that changes at every call.",
)
@click.option(
    "--transient",
    type=SHARE,
    default=DEFAULTS.transient,
    show_default=True,
    help="Share of calls with a transient trait, which is not stored.",
)
@click.option("--steady", is_flag=True, help="Change no weight, value or override during the traffic.")
@click.option(
    "--sale",
    "has_sale",
    is_flag=True,
    help="Let identities differ in activity, stay away for weeks or leave for good; begin a sale as the weights of checkout_button change, "
    "and switch that flag off at the end. --conversions then writes what they buy at each visit, and says the true lifts.",
)
@click.option(
    "--days",
    default=DEFAULTS.days,
    show_default=True,
    help="Length of the simulated period, if times are written.",
)
@click.option("--seed", default=DEFAULTS.seed, show_default=True, help="The same seed gives the same bytes.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="The most deliveries per second.")
@click.option(
    "--concurrency",
    type=COUNT,
    default=16,
    show_default=True,
    help="Number of deliveries under way at the same time.",
)
def simulate(
    url: str,
    file: Path | None,
    conversions_file: Path | None,
    rate: float | None,
    concurrency: int,
    steady: bool,
    **parameters: object,
) -> None:
    """Send signed webhooks of a made-up project, as Flagsmith would. The same seed gives the same webhooks.

    Each is signed with the newest secret of its environment, from the settings of `serve`; an environment
    without a secret sends unsigned. Exits with an error if a webhook could not be delivered.
    """
    world = _world(is_changing=not steady, **parameters)
    if conversions_file is not None:
        with conversions_file.open("w", encoding="utf-8", newline="") as stream:
            conversions.write(conversions.conversions(world), stream)
        if world.parameters.has_sale:
            for row in truth.lifts(world.evaluations(), conversions.Effect(), world.parameters):
                click.echo(_true_lifts(**row))
    elif file is None:
        _send(world, Receiver(url, _secrets(world)), rate, concurrency)
    elif file.suffix == ".duckdb":
        click.echo(
            f"Appended {landing.append(file, world.deliveries()):,} deliveries to landing.webhooks in {file}."
        )
    else:
        with file.open("w", encoding="ascii") as stream:
            stream.writelines(capture.lines(world.deliveries(), _secrets(world)))


def _true_lifts(variation: str, assigned: float, until_change: float) -> str:
    return f"{variation}: the true lift of revenue is {assigned:+.1%} for assigned, {until_change:+.1%} for until_change"


def _world(**parameters: object) -> World:
    try:
        return World(Parameters(**parameters))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _secrets(world: World) -> dict[str, str]:
    from flagsmith_warehouse.loader import settings

    known = settings.read().secrets
    names = world.parameters.environments
    unsigned = [name for name in names if name not in known]
    if unsigned:
        click.echo(
            f"No secret for {', '.join(unsigned)} in {settings.SECRETS.name}: sent unsigned.", err=True
        )
    return {name: known[name][0].decode() for name in names if name in known}


def _send(world: World, receiver: Receiver, rate: float | None, concurrency: int) -> None:
    fates: Counter[Fate] = Counter()
    with progress("Sending", world.count) as advance:

        def count(outcome: Outcome) -> None:
            fates[outcome.fate] += 1
            advance()

        send(world.deliveries(), receiver, count, rate, concurrency)
    click.echo(summary(fates))
    if fates.total() > fates[Fate.DELIVERED]:
        raise click.ClickException(f"{receiver.url} did not take everything: see its log, and `/readyz`.")


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal. Yields a function that advances it by one."""
    if not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def summary(fates: Counter[Fate]) -> str:
    """Return the last line. It ends with the webhooks that Flagsmith treats as delivered but that are lost."""
    line = f"{fates[Fate.DELIVERED]:,} delivered, {fates[Fate.LOST]:,} lost, {fates[Fate.REFUSED]:,} refused"
    if fates[Fate.REDIRECTED]:
        line += (
            f", {fates[Fate.REDIRECTED]:,} redirected (Flagsmith follows no redirect: these are lost as well)"
        )
    return line + "."
