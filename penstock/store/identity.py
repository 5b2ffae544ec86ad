"""Rows of the built-in identity: projects, users, roles and grants. Tokens and credentials are in `store.tokens`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, insert, select, update

from penstock.domain.identity import Grant, Project, Role, User
from penstock.ids import ProjectId, UserId
from penstock.store.database import Transaction
from penstock.store.schema import identity_grants as grants
from penstock.store.schema import identity_projects as projects
from penstock.store.schema import identity_roles as roles
from penstock.store.schema import identity_users as users
from penstock.store.statements import row_of

# Who asks is looked up every few seconds: see `store.statements`.
_ROLES = select(roles).order_by(roles.c.name)
_ROLES_IN = _ROLES.join(grants, grants.c.role_id == roles.c.id).where(
    grants.c.user_id == bindparam("user_id"), grants.c.project_id == bindparam("project_id")
)


def insert_project(tx: Transaction, project: Project, *, now: datetime) -> None:
    """Store a new project. Raises Conflict (by the transaction) when the name is taken."""
    tx.execute(
        insert(projects).values(
            id=project.id,
            name=project.name,
            description=project.description,
            enabled=project.enabled,
            created_at=now,
        )
    )


def get_project(tx: Transaction, project_id: str) -> Project | None:
    """The project by id, or None."""
    row = tx.execute(row_of(projects), {"of_id": project_id}).first()
    return None if row is None else _project(row)


def list_projects(tx: Transaction, *, name: str | None = None, of_user: str | None = None) -> list[Project]:
    """Projects by name; with `of_user` those in which the user has a role."""
    query = select(projects).order_by(projects.c.name)
    if name is not None:
        query = query.where(projects.c.name == name)
    if of_user is not None:
        query = query.where(exists().where(grants.c.project_id == projects.c.id, grants.c.user_id == of_user))
    return [_project(row) for row in tx.execute(query)]


def update_project(tx: Transaction, project_id: str, *, now: datetime, **values: Any) -> None:
    """Change ``name``, ``description`` or ``enabled``."""
    tx.execute(update(projects).where(projects.c.id == project_id).values(updated_at=now, **values))


def delete_project(tx: Transaction, project_id: str) -> None:
    """Forget the project with its grants and credentials."""
    tx.execute(delete(projects).where(projects.c.id == project_id))


def insert_user(tx: Transaction, user: User, password_hash: str | None, *, now: datetime) -> None:
    """Store a new user."""
    tx.execute(
        insert(users).values(
            id=user.id,
            name=user.name,
            password_hash=password_hash,
            default_project_id=user.default_project_id,
            email=user.email,
            enabled=user.enabled,
            created_at=now,
        )
    )


def get_user(tx: Transaction, user_id: str) -> User | None:
    """The user by id, or None."""
    row = tx.execute(row_of(users), {"of_id": user_id}).first()
    return None if row is None else _user(row)


def list_users(tx: Transaction, *, name: str | None = None) -> list[User]:
    """Users by name."""
    query = select(users).order_by(users.c.name)
    if name is not None:
        query = query.where(users.c.name == name)
    return [_user(row) for row in tx.execute(query)]


def password_hash_of(tx: Transaction, user_id: str) -> str | None:
    """The hash of the user's password; None when the user has none."""
    return tx.execute(select(users.c.password_hash).where(users.c.id == user_id)).scalar()


def update_user(tx: Transaction, user_id: str, *, now: datetime, **values: Any) -> None:
    """Change ``name``, ``email``, ``enabled``, ``default_project_id`` or ``password_hash``."""
    tx.execute(update(users).where(users.c.id == user_id).values(updated_at=now, **values))


def delete_user(tx: Transaction, user_id: str) -> None:
    """Forget the user with tokens, grants and credentials."""
    tx.execute(delete(users).where(users.c.id == user_id))


def insert_role(tx: Transaction, role: Role, *, now: datetime) -> None:
    """Store a new role."""
    tx.execute(insert(roles).values(id=role.id, name=role.name, created_at=now))


def list_roles(tx: Transaction, *, name: str | None = None, role_id: str | None = None) -> list[Role]:
    """Roles by name."""
    query = _ROLES
    if name is not None:
        query = query.where(roles.c.name == name)
    if role_id is not None:
        query = query.where(roles.c.id == role_id)
    return [Role(row.name, row.id) for row in tx.execute(query)]


def delete_role(tx: Transaction, role_id: str) -> None:
    """Forget the role and all its grants."""
    tx.execute(delete(roles).where(roles.c.id == role_id))


def roles_of(tx: Transaction, user_id: str, project_id: str) -> list[Role]:
    """The roles granted to the user in the project."""
    found = tx.execute(_ROLES_IN, {"user_id": user_id, "project_id": project_id})
    return [Role(row.name, row.id) for row in found]


def list_grants(
    tx: Transaction, *, user_id: str | None = None, project_id: str | None = None, role_id: str | None = None
) -> list[Grant]:
    """Grants, narrowed."""
    query = select(grants).order_by(grants.c.user_id, grants.c.project_id, grants.c.role_id)
    if user_id is not None:
        query = query.where(grants.c.user_id == user_id)
    if project_id is not None:
        query = query.where(grants.c.project_id == project_id)
    if role_id is not None:
        query = query.where(grants.c.role_id == role_id)
    return [Grant(UserId(row.user_id), ProjectId(row.project_id), row.role_id) for row in tx.execute(query)]


def grant(tx: Transaction, wanted: Grant) -> None:
    """Give the role; nothing happens when it was given."""
    if not list_grants(tx, user_id=wanted.user_id, project_id=wanted.project_id, role_id=wanted.role_id):
        tx.execute(insert(grants).values(user_id=wanted.user_id, project_id=wanted.project_id, role_id=wanted.role_id))


def revoke(tx: Transaction, given: Grant) -> bool:
    """Take the role away; False when it was not given."""
    mine = (
        (grants.c.user_id == given.user_id)
        & (grants.c.project_id == given.project_id)
        & (grants.c.role_id == given.role_id)
    )
    return tx.execute(delete(grants).where(mine)).rowcount > 0


def _project(row: Row[Any]) -> Project:
    return Project(ProjectId(row.id), row.name, row.description, row.enabled)


def _user(row: Row[Any]) -> User:
    default = None if row.default_project_id is None else ProjectId(row.default_project_id)
    return User(UserId(row.id), row.name, default, row.email, row.enabled)
