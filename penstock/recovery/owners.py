"""Projects and users that storage names and the built-in identity does not know."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from penstock.domain.identity import Project, User
from penstock.ids import ProjectId, UserId
from penstock.store import identity
from penstock.store.database import Transaction


def insert_owners(tx: Transaction, project_ids: Iterable[str], user_ids: Iterable[str], *, now: datetime) -> None:
    """Projects are usable at once; users have no password until an administrator gives them one."""
    for project_id in project_ids:
        project = Project(ProjectId(project_id), f"recovered-{project_id}", "Named in storage, made by recovery", True)
        identity.insert_project(tx, project, now=now)
    for user_id in user_ids:
        user = User(UserId(user_id), f"recovered-{user_id}", None, None, False)
        identity.insert_user(tx, user, None, now=now)


def known_owners(tx: Transaction, *, with_identity: bool) -> tuple[frozenset[str], frozenset[str]]:
    """Ids of the projects and users there are; none without the built-in identity, which then needs none."""
    if not with_identity:
        return frozenset(), frozenset()
    projects = frozenset(str(project.id) for project in identity.list_projects(tx))
    return projects, frozenset(str(user.id) for user in identity.list_users(tx))
