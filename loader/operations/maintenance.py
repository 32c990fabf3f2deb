"""The commands for operators; loader/operations/cli.py lists them. Each imports the modules it needs when it runs."""

import json
import sys
from collections.abc import Callable
from typing import BinaryIO

import click

from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.text import printable


def target(help: str) -> Callable:
    """`--target`: the engine that a command is for."""
    return click.option(
        "--target", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True, help=help
    )


@click.command()
@click.option(
    "--to",
    "place",
    metavar="FOLDER",
    help="Publish Parquet files into this folder too, one for each table, or with ducklake:FILE into a DuckLake.",
)
def publish(place: str | None) -> None:
    """Copy the marts to published.duckdb, which notebooks read. `refresh` does so by itself."""
    from flagsmith_warehouse.loader.operations import places
    from flagsmith_warehouse.loader.operations.publish import PublishError, locked
    from flagsmith_warehouse.loader.operations.publish import publish as publish_here
    from flagsmith_warehouse.loader.operations.status import is_of_spark, last_refresh

    settings = settings_module.read()
    with locked(settings, _say):
        if not is_of_spark(last_refresh(settings)):
            published = publish_here(settings, _say)
            click.echo(f"Published {settings.published_file}: {published}.")
        elif place is None:
            raise PublishError(
                "The marts are built on Spark, so `flagsmith-warehouse refresh --target spark` publishes them. Nothing was done."
            )
        if place is None:
            return
        put = places.put(settings, place)
    click.echo(f"Published {place}: {put}.")
    for table in put.left_out:
        _say(f"{table} Parquet cannot hold it, so it is left out there.")


@click.command()
def compact() -> None:
    """Make warehouse.duckdb smaller after large deletions. It needs room for a second copy, and no refresh can run meanwhile."""
    from flagsmith_warehouse.loader.operations.publish import compact

    settings = settings_module.read()
    before, after = compact(settings, _say)
    click.echo(f"{settings.warehouse_file} had {before / 1e6:,.1f} MB and has {after / 1e6:,.1f} MB.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, for machines.")
def status(as_json: bool) -> None:
    """Show what is waiting, what was landed and built, and how the last refresh went."""
    from flagsmith_warehouse.loader.operations import verdicts
    from flagsmith_warehouse.loader.operations.show import show_status
    from flagsmith_warehouse.loader.operations.status import gather

    settings = settings_module.read()
    found = gather(settings)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show_status(found)
        if found["verdicts"] is not None:
            verdicts.is_said(settings)


@click.group(invoke_without_command=True)
@click.option("--url", help="Also send a request to the public address of a webhook, as Flagsmith would.")
@click.pass_context
def doctor(context: click.Context, url: str | None) -> None:
    """Check configuration, permissions, clock, disk, versions; exits with 1 if anything fails."""
    if context.invoked_subcommand:
        return
    from flagsmith_warehouse.loader.operations.doctor import examine
    from flagsmith_warehouse.loader.operations.show import show_findings

    findings = list(examine(settings_module.read(), url))
    show_findings(findings)
    if failures := sum(finding.verdict == "fail" for finding in findings):
        raise click.ClickException(
            f"{failures} of {len(findings)} checks failed; their lines say what to do."
        )


@doctor.command()
@click.option("--environment", required=True, help="The environment the webhook was sent to.")
@click.option("--signature", required=True, help="The value of the header X-Flagsmith-Signature.")
@click.argument("body", type=click.File("rb"), default="-")
def verify(environment: str, signature: str, body: BinaryIO) -> None:
    """Say why a signature does not match BODY (a file; standard input without one).

    Exits with 0 if it matches and with 1 if not.
    """
    from flagsmith_warehouse.loader.operations.explain import explain

    explanation = explain(body.read(), signature, environment, settings_module.read().secrets)
    for sentence in explanation.sentences:
        click.echo(printable(sentence))
    if not explanation.matches:
        raise click.exceptions.Exit(1)


@click.command()
@click.option(
    "--identity", required=True, help="The identifier of the person in Flagsmith: exact, case-sensitive."
)
@click.option("--environment", help="Erase only in this environment; default: in all.")
@click.option(
    "--dry-run", is_flag=True, help="Change nothing; print how many rows of each table would be deleted."
)
@click.option(
    "--yes", is_flag=True, help="Do not ask for confirmation. (Without a terminal, there is no question.)"
)
@target("spark: from the Iceberg tables, after `erase` on a machine that lands (docs/scale.md).")
def erase(identity: str, environment: str | None, dry_run: bool, yes: bool, target: str) -> None:
    """Remove a person from all files, for good. Deliveries received before never come back.

    Prints a receipt and adds it to erasures.ndjson. Delete the identity in Flagsmith first, because deliveries received
    from now on are landed again. This does not change your backups (docs/privacy.md).
    """
    from flagsmith_warehouse.loader.operations.erase import erase, preview

    where = "all environments" if environment is None else f"the environment {environment!r}"
    if not (dry_run or yes) and _is_terminal():
        click.confirm(
            f"Erase this identity from {where}, for good? (--dry-run shows what would be deleted)", abort=True
        )
    if target == "spark":
        from flagsmith_warehouse.loader.operations.erase_spark import erase_on_spark

        if dry_run:
            raise click.UsageError("--dry-run is for DuckDB.")
        run = erase_on_spark
    else:
        run = preview if dry_run else erase
    receipt = run(settings_module.read(), identity, environment, _say)
    click.echo(json.dumps(receipt, indent=2))
    for relation in receipt["still_in"]:
        _say(
            f"{relation} still names the identity. The relation is yours, so remove the identity there. "
            "If it is a seed, edit the seed's file and refresh."
        )


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()
