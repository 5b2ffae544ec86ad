"""From options, OS_* variables or this machine's own daemon to a session with the API."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import config_option, debug_option, load_config
from penstock.errors import Invalid

if TYPE_CHECKING:
    from oslo_config import cfg

    from penstock.client.session import Session

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a daemon listens on, not what we do
PASSWORD_FILE = "admin-password"  # noqa: S105 - a file name


@dataclass(frozen=True, slots=True)
class Named:
    """What the options say, None where they do not."""

    url: str | None
    user: str | None
    project: str | None
    password_file: Path | None


def with_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command a `Session` as its first argument, and the options that lead to it."""

    @config_option
    @debug_option
    @click.option("--url", help="Identity's address, such as http://127.0.0.1:8786. [env: OS_AUTH_URL]")
    @click.option("--user", help="Who asks. [env: OS_USERNAME]")
    @click.option("--project", help="For which project. [env: OS_PROJECT_NAME]")
    @click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with the password. [env: OS_PASSWORD is the password itself]",
    )
    @functools.wraps(command)
    def connected(*args: Any, **values: Any) -> None:
        named = Named(*(values.pop(name) for name in ("url", "user", "project", "password_file")))
        command(_session(click.get_current_context(), named), *args, **values)

    return connected


def _session(ctx: click.Context, named: Named) -> Session:
    """Options before the environment, that before what this machine's daemon is configured to be.

    The administrator's password of this machine is only ever sent to this machine's daemon.
    """
    from penstock.client.session import Credentials, Session

    address = named.url or os.environ.get("OS_AUTH_URL")
    conf = None if address else load_config(ctx, is_needed=False)
    name = named.user or os.environ.get("OS_USERNAME") or (conf.identity.admin_username if conf else None)
    scope = named.project or os.environ.get("OS_PROJECT_NAME") or (conf.identity.admin_project_name if conf else None)
    password = _read(named.password_file) if named.password_file else os.environ.get("OS_PASSWORD")
    if password is None and conf is not None and name == conf.identity.admin_username:
        password = _own_password(conf)
    missing = [
        what
        for what, value in (
            ("a user (--user or OS_USERNAME)", name),
            ("a project (--project or OS_PROJECT_NAME)", scope),
            ("a password (--password-file or OS_PASSWORD)", password),
        )
        if not value
    ]
    if missing:
        own = f" {Path(conf.state_path) / PASSWORD_FILE} may not be read or is not there yet." if conf else ""
        raise Invalid(f"To log in, name {', '.join(missing)}.{own}")
    return Session(
        Credentials(
            auth_url=address or _own_url(conf),
            user=str(name),
            password=str(password),
            project=str(scope),
            user_domain=os.environ.get("OS_USER_DOMAIN_NAME", "Default"),
            project_domain=os.environ.get("OS_PROJECT_DOMAIN_NAME", "Default"),
        )
    )


def _own_url(conf: cfg.ConfigOpts | None) -> str:
    if conf is None:
        raise Invalid("Name the server: --url or OS_AUTH_URL.")
    host = str(conf.osapi_share_listen)
    host = ANYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{conf.osapi_share_listen_port}"


def _own_password(conf: cfg.ConfigOpts) -> str | None:
    if conf.identity.admin_password:
        return str(conf.identity.admin_password)
    path = Path(conf.state_path) / PASSWORD_FILE
    return _read(path) if os.access(path, os.R_OK) else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not text"
        raise Invalid(f"The password file {path} cannot be read: {reason}.") from err
