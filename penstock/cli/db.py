"""``penstock db``."""

from __future__ import annotations

import click

from penstock.cli.options import config_option, debug_option, load_config, open_database, quiet_logs


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@config_option
@debug_option
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Bring the database to the schema of this version; it is made if need be. Safe to repeat.

    \b
    Example:
      penstock db upgrade
    """
    from penstock.store import upgrade as schema

    quiet_logs(ctx)
    database = open_database(load_config(ctx), at_present_schema=False)
    before, after = schema.upgrade(database)
    database.close()
    click.echo(f"The database is at schema {after}." if before == after else f"Upgraded from {before} to {after}.")


@db.command()
@config_option
@debug_option
@click.pass_context
def check(ctx: click.Context) -> None:
    """Say whether the database answers and has the schema of this version.

    \b
    Example:
      penstock db check || penstock db upgrade
    """
    quiet_logs(ctx)
    open_database(load_config(ctx)).close()
    click.echo("The database is at the schema of this version.")
