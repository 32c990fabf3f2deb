"""`flagsmith-warehouse hash`: names of identities as the warehouse has them, for outcomes and declarations."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, TextIO

import click

from flagsmith_warehouse.loader import LoaderError
from flagsmith_warehouse.loader import settings as settings_module
from flagsmith_warehouse.loader.operations.declarations import csv_line
from flagsmith_warehouse.loader.settings import PRIVACY_FILE, Settings


class HashError(LoaderError):
    """Names cannot be hashed. The message says why, and what to do."""


@click.command("hash")
@click.option(
    "--column",
    metavar="NAME",
    help="Read CSV with a header, and hash this column.  [default: one name per line]",
)
@click.argument("file", type=click.File("rb"), default="-")
def hash_names(column: str | None, file: BinaryIO) -> None:
    """Hash the names of identities as `land` does under the privacy rule `identity = "hash"`, so that outcomes meet identities.

    Reads FILE, or stdin, and writes to stdout.
    """
    pseudonym = pseudonym_of(settings_module.read())
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    lines = hashed_lines(text, pseudonym) if column is None else hashed_column(text, column, pseudonym)
    try:
        for line in lines:
            click.echo(line.encode(), nl=False)
    except UnicodeDecodeError as error:
        raise HashError(f"The input is not UTF-8 ({error}). Save it as UTF-8.") from error
    finally:
        text.detach()


def pseudonym_of(settings: Settings) -> Callable[[str], str]:
    """The function that hashes a name. Raises HashError if identities are not hashed, and SettingsError without a key."""
    from flagsmith_warehouse.loader.landing import privacy

    rules = privacy.read(settings.privacy_file, settings.privacy_key)
    if rules is None or rules.identity != "hash":
        rule = 'does not say identity = "hash"' if rules else "is not set"
        raise HashError(
            f"{PRIVACY_FILE.name} {rule}, so the warehouse has the identities as Flagsmith sends them. Leave the names as they are."
        )
    return rules.pseudonym


def hashed_lines(text: TextIO, pseudonym: Callable[[str], str]) -> Iterator[str]:
    """Each line hashed. An empty line stays empty, so that the lines match."""
    for line in text:
        name = line.rstrip("\r\n")
        yield (pseudonym(name) if name else "") + "\n"


def hashed_column(text: TextIO, column: str, pseudonym: Callable[[str], str]) -> Iterator[str]:
    """The lines of a CSV file with one column hashed; the rest keeps its text. An empty cell stays empty. Raises HashError."""
    rows = csv.reader(text, strict=True)
    try:
        header = next(rows, [])
        if header.count(column) != 1:
            known = ", ".join(header) or "nothing"
            raise HashError(f"The header must have {column} once. It has: {known}.")
        place = header.index(column)
        yield csv_line(header)
        for row in filter(None, rows):
            if len(row) <= place:
                raise HashError(
                    f"Line {rows.line_num} has {len(row)} cells, so none in the column {column}. What was written before it is complete."
                )
            row[place] = pseudonym(row[place]) if row[place] else ""
            yield csv_line(row)
    except csv.Error as error:
        raise HashError(
            f"Line {rows.line_num} cannot be read as CSV ({error}). Save it with a comma between cells."
        ) from error
