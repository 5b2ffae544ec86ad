"""``penstock project``."""

from __future__ import annotations

import click

from penstock.cli.accounts import open_identity, project_called
from penstock.cli.options import config_option, debug_option, json_option
from penstock.cli.output import print_json, print_table


@click.group()
def project() -> None:
    """Projects of the built-in identity, in the database of this machine's configuration."""


@project.command("list")
@config_option
@debug_option
@json_option
@click.pass_context
def list_projects(ctx: click.Context, *, as_json: bool) -> None:
    """List the projects.

    \b
    Example:
      penstock project list
    """
    from penstock.identity import accounts

    found = accounts.list_projects(open_identity(ctx))
    if as_json:
        print_json(found)
        return
    rows = [(item.id, item.name, item.description, item.enabled) for item in found]
    print_table(("id", "name", "description", "enabled"), rows, empty="There are no projects.")


@project.command()
@click.argument("name")
@click.option("--description", default="")
@config_option
@debug_option
@click.pass_context
def create(ctx: click.Context, *, name: str, description: str) -> None:
    """Make the project NAME and print its id.

    \b
    Example:
      penstock project create research
    """
    from penstock.identity import accounts

    click.echo(accounts.create_project(open_identity(ctx), name, description=description).id)


@project.command("set")
@click.argument("name")
@click.option("--name", "new_name", help="Another name.")
@click.option("--description")
@click.option("--enable/--disable", "enabled", default=None)
@config_option
@debug_option
@click.pass_context
def change(
    ctx: click.Context, *, name: str, new_name: str | None, description: str | None, enabled: bool | None
) -> None:
    """Change the project NAME (name or id).

    \b
    Example:
      penstock project set recovered-5f0c9a4e6d0d4a0eb1b70b2f3c1d9a55 --name research
    """
    from penstock.identity import accounts

    plane = open_identity(ctx)
    wanted = accounts.Change(name=new_name, description=description, enabled=enabled)
    accounts.update_project(plane, project_called(plane, name).id, wanted)
