"""The built-in identity, for the commands about projects and users."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import load_config, open_database, quiet_logs
from penstock.errors import Invalid, NotFound, Unsupported

if TYPE_CHECKING:
    from penstock.domain.identity import Project, Role, User
    from penstock.identity.plane import IdentityPlane


def open_identity(ctx: click.Context) -> IdentityPlane:
    """The plane over the configured database. Raises Unsupported where a Keystone keeps the accounts."""
    from penstock.clock import SystemClock
    from penstock.identity.plane import identity_plane

    quiet_logs(ctx)
    conf = load_config(ctx)
    if conf.auth_strategy != "builtin":
        raise Unsupported("Projects and users are kept by Keystone here (auth_strategy): ask it.")
    return identity_plane(open_database(conf), SystemClock(), conf)


def project_called(plane: IdentityPlane, name_or_id: str) -> Project:
    """The project by name or id. Raises NotFound."""
    from penstock.identity import accounts

    for project in accounts.list_projects(plane):
        if name_or_id in (project.id, project.name):
            return project
    raise NotFound(f"There is no project '{name_or_id}'.")


def user_called(plane: IdentityPlane, name_or_id: str) -> User:
    """The user by name or id. Raises NotFound."""
    from penstock.identity import accounts

    for user in accounts.list_users(plane):
        if name_or_id in (user.id, user.name):
            return user
    raise NotFound(f"There is no user '{name_or_id}'.")


def role_called(plane: IdentityPlane, name: str) -> Role:
    """The role by name. Raises NotFound."""
    from penstock.identity import accounts

    known = accounts.list_roles(plane)
    for role in known:
        if role.name == name:
            return role
    raise NotFound(f"There is no role '{name}'; there are {', '.join(role.name for role in known)}.")


def password_from(path: Path | None) -> str | None:
    """The first line of the file, of stdin for ``-``; None without a file. Raises Invalid."""
    if path is None:
        return None
    try:
        found = sys.stdin.readline() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise Invalid(f"The password file {path} cannot be read: {err}.") from err
    password = (found.splitlines() or [""])[0]
    if not password:
        raise Invalid(f"The password file {path} is empty.")
    return password


def new_password() -> str:
    """A password nobody guesses."""
    return secrets.token_urlsafe(18)
