"""Rows of tokens (by digest: the token itself is nowhere) and of application credentials."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from penstock.domain.identity import ApplicationCredential, Token
from penstock.ids import ProjectId, UserId
from penstock.store.database import Transaction
from penstock.store.schema import identity_application_credentials as credentials
from penstock.store.schema import identity_tokens as tokens

_BY_DIGEST = select(tokens).where(tokens.c.digest == bindparam("digest"))


def insert_token(tx: Transaction, digest: str, token: Token) -> None:
    """Store a token under its digest."""
    tx.execute(
        insert(tokens).values(
            digest=digest,
            user_id=token.user_id,
            project_id=token.project_id,
            methods=list(token.methods),
            audit_id=token.audit_id,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
        )
    )


def get_token(tx: Transaction, digest: str) -> Token | None:
    """The token with that digest, expired or not, or None."""
    row = tx.execute(_BY_DIGEST, {"digest": digest}).first()
    if row is None:
        return None
    project_id = None if row.project_id is None else ProjectId(row.project_id)
    return Token(UserId(row.user_id), project_id, tuple(row.methods), row.audit_id, row.issued_at, row.expires_at)


def delete_token(tx: Transaction, digest: str) -> bool:
    """Forget the token; False when there was none."""
    return tx.execute(delete(tokens).where(tokens.c.digest == digest)).rowcount > 0


def delete_tokens_of(tx: Transaction, user_id: str, *, project_id: str | None = None) -> None:
    """Forget every token of the user (in the project)."""
    query = delete(tokens).where(tokens.c.user_id == user_id)
    if project_id is not None:
        query = query.where(tokens.c.project_id == project_id)
    tx.execute(query)


def prune_tokens(tx: Transaction, *, expired_before: datetime) -> int:
    """Forget tokens whose time is over; returns how many."""
    return tx.execute(delete(tokens).where(tokens.c.expires_at < expired_before)).rowcount


def insert_credential(tx: Transaction, credential: ApplicationCredential, secret_hash: str, *, now: datetime) -> None:
    """Store an application credential."""
    tx.execute(
        insert(credentials).values(
            id=credential.id,
            name=credential.name,
            user_id=credential.user_id,
            project_id=credential.project_id,
            secret_hash=secret_hash,
            expires_at=credential.expires_at,
            created_at=now,
        )
    )


def get_credential(tx: Transaction, credential_id: str) -> tuple[ApplicationCredential, str] | None:
    """The credential and the hash of its secret, or None."""
    row = tx.execute(select(credentials).where(credentials.c.id == credential_id)).first()
    return None if row is None else (_credential(row), row.secret_hash)


def list_credentials(tx: Transaction, user_id: str, *, name: str | None = None) -> list[ApplicationCredential]:
    """The user's credentials by name."""
    query = select(credentials).where(credentials.c.user_id == user_id).order_by(credentials.c.name)
    if name is not None:
        query = query.where(credentials.c.name == name)
    return [_credential(row) for row in tx.execute(query)]


def delete_credential(tx: Transaction, credential_id: str) -> None:
    """Forget the credential."""
    tx.execute(delete(credentials).where(credentials.c.id == credential_id))


def _credential(row: Row[Any]) -> ApplicationCredential:
    return ApplicationCredential(row.id, row.name, UserId(row.user_id), ProjectId(row.project_id), row.expires_at)
