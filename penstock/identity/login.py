"""Logging in: by password, by a token one has, or as an application credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from penstock.domain.identity import DOMAIN_ID, DOMAIN_NAME, Project, User
from penstock.errors import Unauthorized
from penstock.identity import tokens
from penstock.identity.plane import IdentityPlane
from penstock.identity.tokens import Session
from penstock.store import identity as accounts
from penstock.store import tokens as rows
from penstock.store.database import Transaction

REFUSED = "The request you have made requires authentication: the name, password or scope is wrong."


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain as clients name it: there is one, by id ``default`` or name ``Default``."""

    id: str | None = None
    name: str | None = None

    def is_ours(self) -> bool:
        """Is it the one domain there is? Nothing given counts as that."""
        by_name = self.name is None or self.name.lower() == DOMAIN_NAME.lower()
        return by_name and self.id in (None, DOMAIN_ID)


@dataclass(frozen=True, slots=True)
class Ref:
    """A user, project or credential as clients name it: by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef = DomainRef()


@dataclass(frozen=True, slots=True)
class PasswordProof:
    """The user and the password."""

    user: Ref
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenProof:
    """A token that is still good."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialProof:
    """An application credential by id, or by name and user."""

    credential: Ref
    user: Ref | None
    secret: str = field(repr=False)


Proof = PasswordProof | TokenProof | CredentialProof


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Who somebody claims to be, and for which project: None means the user's default one, if any, unless
    `is_unscoped`. `client` is the address the request came from."""

    proof: Proof
    project: Ref | None
    is_unscoped: bool
    client: str


@dataclass(frozen=True, slots=True)
class _Proven:
    user: User
    methods: tuple[str, ...]
    until: datetime | None = None
    project_id: str | None = None  # the only project the proof is good for


def log_in(plane: IdentityPlane, request: LoginRequest) -> tuple[str, Session]:
    """A new token and its session.

    Raises Unauthorized (the same sentence whatever was wrong), TooManyFailedLogins. Not safe to repeat: each call
    makes a token.
    """
    proven = _prove(plane, request)
    with plane.database.read() as tx:
        project = _scope(tx, request, proven)
    return tokens.issue(plane, proven.user, project, proven.methods, until=proven.until)


def _prove(plane: IdentityPlane, request: LoginRequest) -> _Proven:
    match request.proof:
        case PasswordProof() as proof:
            return _by_password(plane, proof, request.client)
        case TokenProof() as proof:
            session = tokens.look_up(plane, proof.token)
            methods = tuple(dict.fromkeys(("token", *session.token.methods)))
            limited = session.token.project_id if "application_credential" in methods else None
            return _Proven(session.user, methods, session.token.expires_at, limited)
        case CredentialProof() as proof:
            return _by_credential(plane, proof, request.client)


def _by_password(plane: IdentityPlane, proof: PasswordProof, client: str) -> _Proven:
    with plane.database.read() as tx:
        user = _user(tx, proof.user)
        stored = accounts.password_hash_of(tx, user.id) if user else None
    who = f"{client} {user.id if user else proof.user.id or proof.user.name}"
    _compare(plane, who, stored, proof.password)
    if user is None or not user.enabled:
        raise Unauthorized(REFUSED)
    return _Proven(user, ("password",))


def _by_credential(plane: IdentityPlane, proof: CredentialProof, client: str) -> _Proven:
    with plane.database.read() as tx:
        credential_id = proof.credential.id or _credential_id(tx, proof)
        found = rows.get_credential(tx, credential_id) if credential_id else None
        user = accounts.get_user(tx, found[0].user_id) if found else None
    _compare(plane, f"{client} {credential_id}", found[1] if found else None, proof.secret)
    if found is None or user is None or not user.enabled:
        raise Unauthorized(REFUSED)
    credential = found[0]
    if credential.expires_at is not None and credential.expires_at <= plane.clock.utc():
        raise Unauthorized("The application credential has expired.")
    return _Proven(user, ("application_credential",), credential.expires_at, credential.project_id)


def _compare(plane: IdentityPlane, who: str, stored: str | None, secret: str) -> None:
    plane.lockout.check(who)
    if not plane.passwords.matches(stored, secret):
        plane.lockout.failed(who)
        raise Unauthorized(REFUSED)
    plane.lockout.succeeded(who)


def _credential_id(tx: Transaction, proof: CredentialProof) -> str | None:
    user = _user(tx, proof.user) if proof.user else None
    if user is None or proof.credential.name is None:
        return None
    found = rows.list_credentials(tx, user.id, name=proof.credential.name)
    return found[0].id if found else None


def _user(tx: Transaction, ref: Ref) -> User | None:
    if ref.id is not None:
        return accounts.get_user(tx, ref.id)
    if ref.name is None or not ref.domain.is_ours():
        return None
    return next(iter(accounts.list_users(tx, name=ref.name)), None)


def _scope(tx: Transaction, request: LoginRequest, proven: _Proven) -> Project | None:
    if request.is_unscoped and proven.project_id is None:
        return None
    if request.project is not None:
        project = _project(tx, request.project)
        if project is None or proven.project_id not in (None, project.id):
            raise Unauthorized(REFUSED)
        return project
    wanted = proven.project_id or proven.user.default_project_id
    project = accounts.get_project(tx, wanted) if wanted else None
    if project is None or not accounts.roles_of(tx, proven.user.id, project.id):
        return None
    return project


def _project(tx: Transaction, ref: Ref) -> Project | None:
    if ref.id is not None:
        return accounts.get_project(tx, ref.id)
    if ref.name is None or not ref.domain.is_ours():
        return None
    return next(iter(accounts.list_projects(tx, name=ref.name)), None)
