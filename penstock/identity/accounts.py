"""Projects, users, roles and who has which role where: the administrator's use cases."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from penstock.domain.identity import STANDARD_ROLES, Grant, Project, Role, User
from penstock.errors import Conflict, Forbidden, NotFound
from penstock.identity.plane import IdentityPlane
from penstock.ids import ProjectId, UserId
from penstock.store import identity as rows
from penstock.store import tokens
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Change:
    """What to change of a project or user; None leaves it. The password is hashed before it is stored."""

    name: str | None = None
    description: str | None = None
    enabled: bool | None = None
    email: str | None = None
    default_project_id: str | None = None
    password: str | None = None


def new_account_id() -> str:
    """32 hexadecimal digits, the form of ids in Identity v3."""
    return uuid.uuid4().hex


def create_project(plane: IdentityPlane, name: str, *, description: str = "", enabled: bool = True) -> Project:
    """A new project. Raises Conflict when the name is taken."""
    project = Project(ProjectId(new_account_id()), name, description, enabled)
    with plane.database.begin() as tx:
        _refuse_taken("project", name, bool(rows.list_projects(tx, name=name)))
        rows.insert_project(tx, project, now=plane.clock.utc())
    return project


def get_project(plane: IdentityPlane, project_id: str) -> Project:
    """The project. Raises NotFound."""
    with plane.database.read() as tx:
        return _project(tx, project_id)


def list_projects(plane: IdentityPlane, *, name: str | None = None, of_user: str | None = None) -> list[Project]:
    """Projects by name; with `of_user` those in which that user has a role."""
    with plane.database.read() as tx:
        return rows.list_projects(tx, name=name, of_user=of_user)


def update_project(plane: IdentityPlane, project_id: str, change: Change) -> Project:
    """Rename, describe, enable or disable. Raises NotFound, Conflict."""
    with plane.database.begin() as tx:
        project = _project(tx, project_id)
        if change.name is not None and change.name != project.name:
            _refuse_taken("project", change.name, bool(rows.list_projects(tx, name=change.name)))
        wanted = {"name": change.name, "description": change.description, "enabled": change.enabled}
        values = {name: value for name, value in wanted.items() if value is not None}
        rows.update_project(tx, project_id, now=plane.clock.utc(), **values)
        return _project(tx, project_id)


def delete_project(plane: IdentityPlane, project_id: str) -> None:
    """Forget the project with its grants; what it owns stays for an administrator. Raises NotFound."""
    with plane.database.begin() as tx:
        _project(tx, project_id)
        rows.delete_project(tx, project_id)


def create_user(plane: IdentityPlane, wanted: Change) -> User:
    """A new user. Raises Conflict when the name is taken."""
    password_hash = None if wanted.password is None else plane.passwords.hash(wanted.password)
    default = None if wanted.default_project_id is None else ProjectId(wanted.default_project_id)
    enabled = wanted.enabled is not False
    user = User(UserId(new_account_id()), wanted.name or "", default, wanted.email, enabled)
    with plane.database.begin() as tx:
        _refuse_taken("user", user.name, bool(rows.list_users(tx, name=user.name)))
        rows.insert_user(tx, user, password_hash, now=plane.clock.utc())
    return user


def get_user(plane: IdentityPlane, user_id: str) -> User:
    """The user. Raises NotFound."""
    with plane.database.read() as tx:
        return _user(tx, user_id)


def list_users(plane: IdentityPlane, *, name: str | None = None) -> list[User]:
    """Users by name."""
    with plane.database.read() as tx:
        return rows.list_users(tx, name=name)


def update_user(plane: IdentityPlane, user_id: str, change: Change) -> User:
    """Change a user. A new password or disabling ends all tokens of the user. Raises NotFound, Conflict."""
    wanted = {
        "name": change.name,
        "email": change.email,
        "enabled": change.enabled,
        "default_project_id": change.default_project_id,
        "password_hash": None if change.password is None else plane.passwords.hash(change.password),
    }
    values = {name: value for name, value in wanted.items() if value is not None}
    with plane.database.begin() as tx:
        user = _user(tx, user_id)
        if change.name is not None and change.name != user.name:
            _refuse_taken("user", change.name, bool(rows.list_users(tx, name=change.name)))
        rows.update_user(tx, user_id, now=plane.clock.utc(), **values)
        if change.password is not None or change.enabled is False:
            tokens.delete_tokens_of(tx, user_id)
        return _user(tx, user_id)


def change_own_password(plane: IdentityPlane, user_id: str, *, original: str, password: str) -> None:
    """The user's own change. Raises Forbidden when `original` is wrong, TooManyFailedLogins, NotFound."""
    with plane.database.read() as tx:
        _user(tx, user_id)
        stored = rows.password_hash_of(tx, user_id)
    plane.lockout.check(user_id)
    if not plane.passwords.matches(stored, original):
        plane.lockout.failed(user_id)
        raise Forbidden("The original password is wrong.")
    plane.lockout.succeeded(user_id)
    update_user(plane, user_id, Change(password=password))


def delete_user(plane: IdentityPlane, user_id: str) -> None:
    """Forget the user with tokens, grants and credentials. Raises NotFound."""
    with plane.database.begin() as tx:
        _user(tx, user_id)
        rows.delete_user(tx, user_id)


def create_role(plane: IdentityPlane, name: str) -> Role:
    """A new role. Raises Conflict when the name is taken."""
    role = Role(name, new_account_id())
    with plane.database.begin() as tx:
        _refuse_taken("role", name, bool(rows.list_roles(tx, name=name)))
        rows.insert_role(tx, role, now=plane.clock.utc())
    return role


def get_role(plane: IdentityPlane, role_id: str) -> Role:
    """The role. Raises NotFound."""
    with plane.database.read() as tx:
        return _role(tx, role_id)


def list_roles(plane: IdentityPlane, *, name: str | None = None) -> list[Role]:
    """Roles by name."""
    with plane.database.read() as tx:
        return rows.list_roles(tx, name=name)


def delete_role(plane: IdentityPlane, role_id: str) -> None:
    """Forget the role and its grants. Raises NotFound, Conflict for the roles the product itself needs."""
    with plane.database.begin() as tx:
        role = _role(tx, role_id)
        if role.name in STANDARD_ROLES:
            raise Conflict(f"The role '{role.name}' is needed by the product and stays.")
        rows.delete_role(tx, role_id)


def roles_in(plane: IdentityPlane, user_id: str, project_id: str) -> list[Role]:
    """The roles granted to the user in the project. Raises NotFound."""
    with plane.database.read() as tx:
        _user(tx, user_id)
        _project(tx, project_id)
        return rows.roles_of(tx, user_id, project_id)


def grant(plane: IdentityPlane, wanted: Grant) -> None:
    """Give the role. Safe to repeat. Raises NotFound."""
    with plane.database.begin() as tx:
        _user(tx, wanted.user_id)
        _project(tx, wanted.project_id)
        _role(tx, wanted.role_id)
        rows.grant(tx, wanted)


def is_granted(plane: IdentityPlane, given: Grant) -> bool:
    """Was the role given?"""
    with plane.database.read() as tx:
        found = rows.list_grants(tx, user_id=given.user_id, project_id=given.project_id, role_id=given.role_id)
    return bool(found)


def revoke(plane: IdentityPlane, given: Grant) -> None:
    """Take the role away, and with it the user's tokens of the project. Raises NotFound when it was not given."""
    with plane.database.begin() as tx:
        if not rows.revoke(tx, given):
            raise NotFound("The user does not have this role in the project.")
        tokens.delete_tokens_of(tx, given.user_id, project_id=given.project_id)


def list_grants(
    plane: IdentityPlane, *, user_id: str | None, project_id: str | None, role_id: str | None
) -> list[Grant]:
    """Grants, narrowed by what is not None."""
    with plane.database.read() as tx:
        return rows.list_grants(tx, user_id=user_id, project_id=project_id, role_id=role_id)


def _project(tx: Transaction, project_id: str) -> Project:
    project = rows.get_project(tx, project_id)
    if project is None:
        raise NotFound(f"Could not find project: {project_id[:64]}.")
    return project


def _user(tx: Transaction, user_id: str) -> User:
    user = rows.get_user(tx, user_id)
    if user is None:
        raise NotFound(f"Could not find user: {user_id[:64]}.")
    return user


def _role(tx: Transaction, role_id: str) -> Role:
    found = rows.list_roles(tx, role_id=role_id)
    if not found:
        raise NotFound(f"Could not find role: {role_id[:64]}.")
    return found[0]


def _refuse_taken(kind: str, name: str, is_taken: bool) -> None:
    if is_taken:
        raise Conflict(f"There is a {kind} named '{name}' already.")
