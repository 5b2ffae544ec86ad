"""``penstock appliance``."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli.accounts import password_from
from penstock.cli.options import DEBUG, config_option, debug_option, load_config


@click.group()
def appliance() -> None:
    """A ZFS box that speaks the REST protocol of the ZFS Storage Appliance, for its iSCSI volume driver."""


@appliance.command()
@config_option
@debug_option
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve section [appliance] of the configuration in the foreground, until a signal ends it.

    Projects and LUNs are datasets below the configured pools; what the appliance knows of them is in their properties,
    so that nothing else has to be kept or backed up but state_path/appliance (certificate, key of CHAP secrets).

    \b
    Example:
      penstock appliance serve --config /etc/penstock/appliance.conf
    """
    from penstock import log
    from penstock.appliance.serving import ApplianceServer

    conf = load_config(ctx)
    log.set_up(debug=bool(conf.debug or ctx.meta.get(DEBUG)), style=conf.log_format)
    ApplianceServer(conf).run()


@appliance.command()
@click.argument("user")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    show_default="stdin",
    help="File with the password, - for stdin.",
)
@config_option
@debug_option
def password(user: str, password_file: Path) -> None:
    """Print the line for users_file that lets USER log in.

    \b
    Example:
      penstock appliance password cinder >> /etc/penstock/appliance.users
    """
    from penstock.errors import Invalid
    from penstock.identity.passwords import Passwords

    if ":" in user or not user.strip() or user.startswith("#"):
        raise Invalid("A user's name has no colon in it, and does not begin with #.")
    secret = password_from(password_file) or ""
    click.echo(f"{user}:{Passwords().hash(secret)}")
