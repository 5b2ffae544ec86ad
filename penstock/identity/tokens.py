"""Tokens: 256 random bits for the client, a SHA-256 digest for the database."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.domain.identity import Project, Role, Token, User, with_implied
from penstock.errors import Unauthorized
from penstock.identity.callers import Caller
from penstock.identity.plane import IdentityPlane
from penstock.store import identity as accounts
from penstock.store import tokens as rows
from penstock.store.database import Transaction

PRUNE_ONE_IN = 50  # so often issuing a token also sweeps expired ones, so that they never pile up


@dataclass(frozen=True, slots=True)
class Session:
    """A valid token with everything an answer says about it."""

    token: Token
    user: User
    project: Project | None
    roles: tuple[Role, ...]


def issue(
    plane: IdentityPlane, user: User, project: Project | None, methods: tuple[str, ...], *, until: datetime | None
) -> tuple[str, Session]:
    """A new token for `user`, scoped to `project` or to nothing, valid at most until `until`.

    Returns the secret, which exists nowhere else, and the session. Raises Unauthorized when the user has no role in
    the project or either is disabled.
    """
    secret = secrets.token_urlsafe(32)
    now = plane.clock.utc()
    expires_at = now + timedelta(seconds=plane.token_lifetime_s)
    token = Token(
        user_id=user.id,
        project_id=None if project is None else project.id,
        methods=methods,
        audit_id=secrets.token_urlsafe(16),
        issued_at=now,
        expires_at=expires_at if until is None else min(until, expires_at),
    )
    with plane.database.begin() as tx:
        session = _session(tx, token)
        rows.insert_token(tx, _digest(secret), token)
        if secrets.randbelow(PRUNE_ONE_IN) == 0:
            rows.prune_tokens(tx, expired_before=now)
    return secret, session


def look_up(plane: IdentityPlane, secret: str) -> Session:
    """The session of a token, with the user's roles of this moment. Raises Unauthorized."""
    with plane.database.read() as tx:
        token = rows.get_token(tx, _digest(secret))
        if token is None or token.expires_at <= plane.clock.utc():
            raise Unauthorized("The token is not valid, or it has expired: get a new one.")
        return _session(tx, token)


def revoke(plane: IdentityPlane, secret: str) -> bool:
    """End a token before its time; False when there is no such token. Safe to repeat."""
    with plane.database.begin() as tx:
        return rows.delete_token(tx, _digest(secret))


def prune(plane: IdentityPlane) -> int:
    """Forget expired tokens; returns how many. For the daemon's periodic work."""
    with plane.database.begin() as tx:
        return rows.prune_tokens(tx, expired_before=plane.clock.utc())


class BuiltinTokens:
    """Checks tokens against our own database."""

    def __init__(self, plane: IdentityPlane) -> None:
        self._plane = plane

    def check(self, token: str) -> Caller:
        """Who holds the token. Raises Unauthorized."""
        session = look_up(self._plane, token)
        return Caller(
            user_id=session.user.id,
            user_name=session.user.name,
            project_id=session.project.id if session.project else None,
            project_name=session.project.name if session.project else None,
            roles=tuple(role.name for role in session.roles),
            expires_at=session.token.expires_at,
        )


def _session(tx: Transaction, token: Token) -> Session:
    user = accounts.get_user(tx, token.user_id)
    if user is None or not user.enabled:
        raise Unauthorized("The user of this token is disabled or gone.")
    if token.project_id is None:
        return Session(token, user, None, ())
    project = accounts.get_project(tx, token.project_id)
    if project is None or not project.enabled:
        raise Unauthorized("The project of this token is disabled or gone.")
    roles = with_implied(accounts.roles_of(tx, user.id, project.id), accounts.list_roles(tx))
    if not roles:
        raise Unauthorized(f"User {user.id} has no access to project {project.id}.")
    return Session(token, user, project, roles)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
