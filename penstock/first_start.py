"""What a new installation needs before its first request: an administrator, a share type and a volume type."""

from __future__ import annotations

import secrets
from pathlib import Path

import structlog

from penstock.domain.types import ShareType
from penstock.domain.volume_types import VolumeType
from penstock.identity import accounts_file
from penstock.identity.bootstrap import bootstrap
from penstock.ids import ShareTypeId, VolumeTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.store import identity as accounts
from penstock.store import types, volume_types

log = structlog.get_logger(__name__)

PASSWORD_FILE = "admin-password"  # noqa: S105 - a file name
DEFAULT_TYPE = "default"
DEFAULT_EXTRA_SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
}


def first_start(plane: ControlPlane) -> None:
    """Make what is missing. Safe to repeat: what an administrator changed stays.

    Raises Invalid for an accounts file that cannot be read or names an unknown role.
    """
    if plane.conf.auth_strategy == "builtin":
        identity = plane.conf.identity
        bootstrap(
            plane.database,
            plane.clock,
            admin_password=_admin_password(plane),
            admin_username=identity.admin_username,
            admin_project_name=identity.admin_project_name,
            accounts=accounts_file.read(Path(identity.accounts_file)) if identity.accounts_file else (),
        )
    with plane.database.begin() as tx:
        if not types.list_types(tx):
            name = plane.conf.default_share_type or DEFAULT_TYPE
            share_type = ShareType(
                ShareTypeId(new_id()), name, None, True, plane.clock.utc(), None, DEFAULT_EXTRA_SPECS
            )
            types.insert_type(tx, share_type)
            log.info("first_start.share_type", name=name)
        name = plane.conf.default_volume_type
        if name and not volume_types.list_types(tx):
            now = plane.clock.utc()
            made = VolumeType(VolumeTypeId(new_id()), name, "Default Volume Type", True, None, now, None)
            volume_types.insert_type(tx, made)
            log.info("first_start.volume_type", name=name)


def _admin_password(plane: ControlPlane) -> str | None:
    """The configured password; else for a new administrator one made now and kept where only this user can read it.

    None when the administrator is there: a password changed since stays.
    """
    identity = plane.conf.identity
    if identity.admin_password:
        return str(identity.admin_password)
    with plane.database.read() as tx:
        if accounts.list_users(tx, name=identity.admin_username):
            return None
    path = Path(plane.conf.state_path) / PASSWORD_FILE
    path.touch(mode=0o600)
    if not path.read_text().strip():  # also when a crash came before it was written
        path.write_text(secrets.token_urlsafe(24) + "\n")
        log.info("first_start.admin_password", path=str(path))
    return path.read_text().strip()
