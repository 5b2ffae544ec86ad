"""``penstock user``."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli.accounts import new_password, open_identity, password_from, project_called, role_called, user_called
from penstock.cli.options import config_option, debug_option, json_option
from penstock.cli.output import print_json, print_table

PASSWORD = click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File with the password, - for stdin. Without it one is made and printed.",
)


@click.group()
def user() -> None:
    """Users of the built-in identity, in the database of this machine's configuration."""


@user.command("list")
@config_option
@debug_option
@json_option
@click.pass_context
def list_users(ctx: click.Context, *, as_json: bool) -> None:
    """List the users.

    \b
    Example:
      penstock user list
    """
    from penstock.identity import accounts

    found = accounts.list_users(open_identity(ctx))
    if as_json:
        print_json(found)
        return
    rows = [(item.id, item.name, item.email, item.enabled) for item in found]
    print_table(("id", "name", "email", "enabled"), rows, empty="There are no users.")


@user.command()
@click.argument("name")
@click.option("--project", required=True, help="Project to work in (name or id).")
@click.option("--role", default="member", show_default=True, help="What the user is there: reader, member or admin.")
@PASSWORD
@config_option
@debug_option
@click.pass_context
def create(ctx: click.Context, *, name: str, project: str, role: str, password_file: Path | None) -> None:
    """Make the user NAME with a role in a project.

    \b
    Example:
      penstock user create ann --project research
    """
    from penstock.domain.identity import Grant
    from penstock.identity import accounts

    plane = open_identity(ctx)
    where, what = project_called(plane, project), role_called(plane, role)
    given = password_from(password_file)
    password = given or new_password()
    made = accounts.create_user(plane, accounts.Change(name=name, password=password, default_project_id=where.id))
    accounts.grant(plane, Grant(made.id, where.id, what.id))
    click.echo(f"user {made.name} ({made.id}) is {what.name} of {where.name}")
    if given is None:
        click.echo(f"password: {password}")


@user.command("grant")
@click.argument("name")
@click.argument("project")
@click.option("--role", default="member", show_default=True, help="reader, member or admin.")
@config_option
@debug_option
@click.pass_context
def grant_role(ctx: click.Context, *, name: str, project: str, role: str) -> None:
    """Give the user NAME a role in PROJECT (names or ids). Safe to repeat.

    \b
    Example:
      penstock user grant ann archive --role reader
    """
    from penstock.domain.identity import Grant
    from penstock.identity import accounts

    plane = open_identity(ctx)
    who, where, what = user_called(plane, name), project_called(plane, project), role_called(plane, role)
    accounts.grant(plane, Grant(who.id, where.id, what.id))


@user.command("set")
@click.argument("name")
@click.option("--name", "new_name", help="Another name.")
@click.option("--enable/--disable", "enabled", default=None)
@click.option("--password", "is_password_new", is_flag=True, help="Give a new password; ends all the user's tokens.")
@PASSWORD
@config_option
@debug_option
@click.pass_context
def change(
    ctx: click.Context,
    *,
    name: str,
    new_name: str | None,
    enabled: bool | None,
    is_password_new: bool,
    password_file: Path | None,
) -> None:
    """Change the user NAME (name or id).

    \b
    Examples:
      penstock user set ann --password
      penstock user set ann --disable
    """
    from penstock.identity import accounts

    plane = open_identity(ctx)
    password = password_from(password_file)
    made = new_password() if is_password_new and password is None else None
    wanted = accounts.Change(name=new_name, enabled=enabled, password=password or made)
    accounts.update_user(plane, user_called(plane, name).id, wanted)
    if made is not None:
        click.echo(f"password: {made}")
