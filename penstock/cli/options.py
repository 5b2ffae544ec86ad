"""Options that every command takes, before or after its name, and the configuration they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from penstock.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from oslo_config import cfg

    from penstock.store.database import Database

CONFIG = "penstock.config"
DEBUG = "penstock.debug"
CONFIG_VARIABLE = "PENSTOCK_CONFIG"
DEFAULT_PATH = Path("/etc/penstock/penstock.conf")

F = TypeVar("F", bound="Callable[..., Any]")


def _remember_config(ctx: click.Context, _param: click.Parameter, value: tuple[Path, ...]) -> None:
    """Files named after the command's name stand for those named before it, and both for those in the environment."""
    is_from_environment = ctx.get_parameter_source("config") is click.core.ParameterSource.ENVIRONMENT
    if value and not (is_from_environment and ctx.meta.get(CONFIG)):
        ctx.meta[CONFIG] = list(value)


def _remember_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


def config_option(command: F) -> F:
    """``--config FILE``, which may be repeated: later files over earlier ones."""
    return click.option(
        "--config",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=CONFIG_VARIABLE,
        expose_value=False,
        callback=_remember_config,
        help=f"Configuration file; may be repeated. [default: {DEFAULT_PATH}; env: {CONFIG_VARIABLE}]",
    )(command)


def debug_option(command: F) -> F:
    """``--debug``."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show where a failure comes from."
    )(command)


def json_option(command: F) -> F:
    """``--json``: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def config_paths(ctx: click.Context) -> list[Path]:
    """The files to read: those named, else the default one if it is there."""
    named: list[Path] = ctx.meta.get(CONFIG) or []
    return named or [path for path in (DEFAULT_PATH,) if path.exists()]


def load_config(ctx: click.Context, *, is_needed: bool = True) -> cfg.ConfigOpts:
    """The configuration. Raises Invalid for files that cannot be read, and for none at all when it is needed."""
    from oslo_config import cfg

    from penstock.config.loading import load

    paths = config_paths(ctx)
    if not paths and is_needed:
        raise Invalid(
            f"There is no configuration file {DEFAULT_PATH}: name one with --config, "
            "or begin with the one that 'penstock config sample' prints."
        )
    try:
        return load(paths)
    except cfg.ConfigFilesPermissionDeniedError as err:
        raise Invalid(f"The configuration may not be read by this user: {', '.join(err.config_files)}.") from err


def open_database(conf: cfg.ConfigOpts, *, at_present_schema: bool = True) -> Database:
    """The configured database; it need not exist yet unless it is to have the present schema.

    Raises Conflict (another schema), Unavailable.
    """
    from penstock.secret_box import SecretBox
    from penstock.store import upgrade
    from penstock.store.database import Database

    if not at_present_schema:
        Path(conf.state_path).mkdir(parents=True, exist_ok=True, mode=0o750)
    database = Database(conf.database.connection, SecretBox(Path(conf.database.secret_key_file)))
    if at_present_schema:
        upgrade.check(database)
    return database


def quiet_logs(ctx: click.Context) -> None:
    """Commands for people show results, not logs, which are there with ``--debug``."""
    from penstock import log

    debug = bool(ctx.meta.get(DEBUG))
    log.set_up(debug=debug, style="console", quiet=not debug)
