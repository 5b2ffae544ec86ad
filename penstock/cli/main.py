"""The root command: options for all commands, and what happens when one fails."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import click

from penstock.cli.lazy import Later, LazyGroup
from penstock.cli.options import CONFIG, DEBUG, config_option, debug_option
from penstock.errors import Fault

FAULT = 1

COMMANDS = {
    "serve": Later("penstock.cli.serve:serve", "Run the API and every enabled backend."),
    "share": Later("penstock.cli.share:share", "Make, list, change and delete shares over the API."),
    "volume": Later("penstock.cli.volume:volume", "Make, list, change, attach and delete volumes over the API."),
    "replica": Later("penstock.cli.replica:replica", "Copies of shares on other backends: lag, promotion, rehearsal."),
    "backend": Later("penstock.cli.backend:backend", "List backends, check what one of them lacks."),
    "config": Later("penstock.cli.config:config", "Check the configuration, print a sample."),
    "db": Later("penstock.cli.db:db", "Upgrade or check the database's schema."),
    "operation": Later("penstock.cli.operation:operation", "Show what is being done, waits, or failed."),
    "doctor": Later("penstock.cli.doctor:doctor", "Find and repair drift between database, pools and exports."),
    "recover": Later("penstock.cli.recover:recover", "Rebuild the database from the pools."),
    "appliance": Later("penstock.cli.appliance:appliance", "Be a ZFS appliance: its REST protocol from a ZFS host."),
    "project": Later("penstock.cli.project:project", "Projects of the built-in identity."),
    "user": Later("penstock.cli.user:user", "Users of the built-in identity."),
}


class Root(LazyGroup):
    """Ends every failure in one sentence on stderr and exit code 1; wrong usage is click's exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise click.Abort from None
        except Fault as fault:
            _fail(ctx, fault.message or type(fault).__name__)
        except Exception as error:
            # The outermost frame: a fault of ours, of which the user sees one line.
            _fail(
                ctx, f"This should not happen: {type(error).__name__}: {error}. Run it again with --debug for details."
            )


def _fail(ctx: click.Context, sentence: str) -> None:
    if ctx.meta.get(DEBUG):
        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(f"penstock: {' '.join(sentence.split())}", err=True)
    ctx.exit(FAULT)


@click.group(cls=Root, later=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@debug_option
@click.version_option(package_name="penstock", message="penstock %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Self-service shares from ZFS, through the OpenStack storage APIs.

    \b
    Examples:
      penstock serve                         the API and the backends, in the foreground
      penstock share create 10 --name docs   a share of 10 GiB
      penstock backend check                 what is missing, and how to install it
    """
    ctx.meta.setdefault(CONFIG, list[Path]())
