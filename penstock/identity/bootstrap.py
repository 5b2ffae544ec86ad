"""The first accounts: what must be there before anybody can log in to make more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.clock import Clock
from penstock.domain.identity import STANDARD_ROLES, Grant, Project, Role, User
from penstock.errors import Invalid
from penstock.identity.accounts import new_account_id
from penstock.identity.passwords import Passwords
from penstock.ids import ProjectId, UserId
from penstock.store import identity as rows
from penstock.store.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Account:
    """A user with roles in one project. `password` None leaves the password as it is."""

    user: str
    project: str
    roles: tuple[str, ...] = ("member",)
    password: str | None = field(default=None, repr=False)


def bootstrap(
    database: Database,
    clock: Clock,
    *,
    admin_password: str | None,
    admin_username: str = "admin",
    admin_project_name: str = "admin",
    accounts: Sequence[Account] = (),
    passwords: Passwords | None = None,
) -> None:
    """Make the standard roles, the administrator and `accounts`. Safe to repeat: what is there stays.

    A password that is given and differs from the stored one replaces it; with `admin_password` None an existing
    administrator keeps the present one. Raises Invalid for a role that does not exist.
    """
    passwords = passwords or Passwords()
    admin = Account(admin_username, admin_project_name, ("admin",), admin_password)
    wanted = (admin, *accounts)
    with database.read() as tx:
        hashes = {account: _new_hash(tx, passwords, account) for account in wanted}
    with database.begin() as tx:
        for name in STANDARD_ROLES:
            if not rows.list_roles(tx, name=name):
                rows.insert_role(tx, Role(name, new_account_id()), now=clock.utc())
        for account in wanted:
            _ensure(tx, clock, account, hashes[account])


def _new_hash(tx: Transaction, passwords: Passwords, account: Account) -> str | None:
    """The hash to store; None when the stored one is right already or no password is given."""
    if account.password is None:
        return None
    users = rows.list_users(tx, name=account.user)
    if users and passwords.matches(rows.password_hash_of(tx, users[0].id), account.password):
        return None
    return passwords.hash(account.password)


def _ensure(tx: Transaction, clock: Clock, account: Account, password_hash: str | None) -> None:
    now = clock.utc()
    project = next(iter(rows.list_projects(tx, name=account.project)), None)
    if project is None:
        project = Project(ProjectId(new_account_id()), account.project, "", True)
        rows.insert_project(tx, project, now=now)
    user = next(iter(rows.list_users(tx, name=account.user)), None)
    if user is None:
        user = User(UserId(new_account_id()), account.user, project.id, None, True)
        rows.insert_user(tx, user, password_hash, now=now)
    elif password_hash is not None:
        rows.update_user(tx, user.id, now=now, password_hash=password_hash)
    for name in account.roles:
        roles = rows.list_roles(tx, name=name)
        if not roles:
            raise Invalid(f"Account '{account.user}': there is no role '{name}'.")
        rows.grant(tx, Grant(user.id, project.id, roles[0].id))
