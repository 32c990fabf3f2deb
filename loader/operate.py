"""The commands of whoever keeps it running; loader/cli.py lists them. Each imports what it needs when called."""

import click

from loader import settings as settings_module


@click.command()
def publish() -> None:
    """Copy the marts to published.duckdb, which notebooks read. `refresh` does so by itself."""
    from loader.publish import publish_alone

    settings = settings_module.read()
    published = publish_alone(settings, lambda text: click.echo(text, err=True))
    click.echo(f"Published {settings.published_file}: {published}.")
