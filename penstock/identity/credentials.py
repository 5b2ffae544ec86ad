"""Application credentials: a program's own secret, good for one project of its user."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from penstock.domain.identity import ApplicationCredential, Role, with_implied
from penstock.errors import Conflict, Forbidden, NotFound
from penstock.identity.plane import IdentityPlane
from penstock.ids import ProjectId, UserId
from penstock.store import identity as accounts
from penstock.store import tokens as rows


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What is asked for; without a `secret` one is made."""

    name: str
    user_id: UserId
    project_id: ProjectId
    secret: str | None = None
    expires_at: datetime | None = None


def create(plane: IdentityPlane, wanted: NewCredential) -> tuple[ApplicationCredential, str, tuple[Role, ...]]:
    """The credential, its secret, which is shown this once, and the roles it gives.

    Raises Conflict when the user has one of that name, Forbidden without a role in the project.
    """
    secret = wanted.secret or secrets.token_urlsafe(48)
    secret_hash = plane.passwords.hash(secret)
    credential = ApplicationCredential(
        secrets.token_hex(16), wanted.name, wanted.user_id, wanted.project_id, wanted.expires_at
    )
    with plane.database.begin() as tx:
        roles = with_implied(accounts.roles_of(tx, wanted.user_id, wanted.project_id), accounts.list_roles(tx))
        if not roles:
            raise Forbidden("The user has no role in the project.")
        if rows.list_credentials(tx, wanted.user_id, name=wanted.name):
            raise Conflict(f"There is an application credential named '{wanted.name}' already.")
        rows.insert_credential(tx, credential, secret_hash, now=plane.clock.utc())
    return credential, secret, roles


def roles_of(plane: IdentityPlane, credential: ApplicationCredential) -> tuple[Role, ...]:
    """The roles it gives now."""
    with plane.database.read() as tx:
        granted = accounts.roles_of(tx, credential.user_id, credential.project_id)
        return with_implied(granted, accounts.list_roles(tx))


def list_of(plane: IdentityPlane, user_id: str, *, name: str | None = None) -> list[ApplicationCredential]:
    """The user's credentials by name."""
    with plane.database.read() as tx:
        return rows.list_credentials(tx, user_id, name=name)


def get(plane: IdentityPlane, user_id: str, credential_id: str) -> ApplicationCredential:
    """One credential of the user. Raises NotFound."""
    with plane.database.read() as tx:
        found = rows.get_credential(tx, credential_id)
    if found is None or found[0].user_id != user_id:
        raise NotFound(f"Could not find application credential: {credential_id[:64]}.")
    return found[0]


def delete(plane: IdentityPlane, user_id: str, credential_id: str) -> None:
    """Forget the credential and end the user's tokens of that project. Raises NotFound."""
    credential = get(plane, user_id, credential_id)
    with plane.database.begin() as tx:
        rows.delete_credential(tx, credential.id)
        rows.delete_tokens_of(tx, user_id, project_id=credential.project_id)
