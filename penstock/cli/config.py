"""``penstock config``."""

from __future__ import annotations

import click

from penstock.cli.options import config_option, config_paths, debug_option, load_config

ZFS_DRIVER = "penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver"


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@config_option
@debug_option
@click.pass_context
def check(ctx: click.Context) -> None:
    """Name everything that is wrong with the configuration; exit code 1 when the daemon could not start with it.

    \b
    Example:
      penstock config check --config penstock.conf
    """
    from penstock.config.checking import check as problems_of
    from penstock.share.loading import options_of
    from penstock.volume.loading import options_of as volume_options_of

    conf = load_config(ctx)
    paths = config_paths(ctx)
    problems = problems_of(conf, paths, options_of, volume_options_of)
    for problem in problems:
        click.echo(f"{'problem' if problem.is_fatal else 'notice '}  {problem}")
    if any(problem.is_fatal for problem in problems):
        ctx.exit(1)
    click.echo(f"{', '.join(map(str, paths))}: the daemon can start with it.")


@config.command()
@click.option("--driver", default=ZFS_DRIVER, show_default=True, help="Driver whose options the sample has.")
@debug_option
def sample(driver: str) -> None:
    """Print a configuration file with every option, explained, at its default.

    \b
    Example:
      penstock config sample > /etc/penstock/penstock.conf
    """
    from penstock.config.reference import sample as text_of
    from penstock.share.loading import options_of

    click.echo(text_of({"zfs": options_of(driver) or ()}), nl=False)
