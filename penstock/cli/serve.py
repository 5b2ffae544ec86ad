"""``penstock serve``."""

from __future__ import annotations

import gc

import click

from penstock.cli.options import DEBUG, config_option, debug_option, load_config


@click.command()
@config_option
@debug_option
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Run the API and every enabled backend in the foreground, until a signal ends it.

    On SQLite the database is made and upgraded as needed. Logs go to stderr.

    \b
    Example:
      penstock serve --config /etc/penstock/penstock.conf
    """
    gc.disable()  # until the daemon serves: hardly anything that is made while it starts goes again
    from penstock import log
    from penstock.daemon import Daemon

    conf = load_config(ctx)
    log.set_up(debug=bool(conf.debug or ctx.meta.get(DEBUG)), style=conf.log_format)
    Daemon(conf).run()
