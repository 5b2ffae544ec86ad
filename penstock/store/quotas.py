"""Quota limits as set, and usage as the rows say: nothing is counted on the side, so nothing drifts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, insert, or_, select, update

from penstock.domain.quotas import QuotaResource, Usage
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.store.schema import quotas, share_instances, shares, snapshot_instances, snapshots
from penstock.store.transaction import Transaction


class QuotaScope(StrEnum):
    """Whom a limit is for: a quota class, a project, a user of a project, or a share type in a project."""

    CLASS = "class"
    PROJECT = "project"
    USER = "user"
    TYPE = "type"


# Asked before every create: built once, because building a statement costs more than running it.
_COUNTED = case((shares.c.size_target_gib > shares.c.size_gib, shares.c.size_target_gib), else_=shares.c.size_gib)
_NEW_SHARE = share_instances.c.status.in_([ShareStatus.CREATING, ShareStatus.MANAGING])
_SHARES = (
    select(
        func.count(),
        func.coalesce(func.sum(_COUNTED), 0),
        func.coalesce(func.sum(case((_NEW_SHARE, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_NEW_SHARE, _COUNTED), else_=_COUNTED - shares.c.size_gib)), 0),
    )
    .select_from(shares.join(share_instances, share_instances.c.id == shares.c.instance_id))
    .where(shares.c.project_id == bindparam("project_id"))
)
_NEW_SNAPSHOT = snapshot_instances.c.status.in_([SnapshotStatus.CREATING, SnapshotStatus.MANAGING])
_SNAPSHOTS = (
    select(
        func.count(),
        func.coalesce(func.sum(snapshots.c.size_gib), 0),
        func.coalesce(func.sum(case((_NEW_SNAPSHOT, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_NEW_SNAPSHOT, snapshots.c.size_gib), else_=0)), 0),
    )
    .select_from(
        snapshots.join(snapshot_instances, snapshot_instances.c.id == snapshots.c.instance_id).join(
            shares, shares.c.id == snapshots.c.share_id
        )
    )
    .where(snapshots.c.project_id == bindparam("project_id"))
)
_NEW_REPLICA = share_instances.c.status == ShareStatus.CREATING
_REPLICAS = (
    select(
        func.count(),
        func.coalesce(func.sum(_COUNTED), 0),
        func.coalesce(func.sum(case((_NEW_REPLICA, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_NEW_REPLICA, _COUNTED), else_=_COUNTED - shares.c.size_gib)), 0),
    )
    .select_from(shares.join(share_instances, share_instances.c.share_id == shares.c.id))
    .where(shares.c.project_id == bindparam("project_id"), share_instances.c.replica_state.is_not(None))
)
_LIMITS = select(quotas.c.resource, quotas.c.hard_limit).where(
    quotas.c.scope == bindparam("scope"),
    quotas.c.project_id == bindparam("project_id"),
    quotas.c.subject == bindparam("subject"),
)
_LIMITS_OF_REQUEST = select(quotas.c.scope, quotas.c.resource, quotas.c.hard_limit).where(
    or_(
        (quotas.c.scope == QuotaScope.CLASS)
        & (quotas.c.project_id == "")
        & (quotas.c.subject == bindparam("of_class")),
        (quotas.c.project_id == bindparam("project_id"))
        & or_(
            (quotas.c.scope == QuotaScope.PROJECT) & (quotas.c.subject == ""),
            (quotas.c.scope == QuotaScope.USER) & (quotas.c.subject == bindparam("user_id")),
            (quotas.c.scope == QuotaScope.TYPE) & (quotas.c.subject == bindparam("share_type_id")),
        ),
    )
)
# What is counted by one query: asked only when one of them matters.
SHARE_RESOURCES = (QuotaResource.SHARES, QuotaResource.GIGABYTES)
SNAPSHOT_RESOURCES = (QuotaResource.SNAPSHOTS, QuotaResource.SNAPSHOT_GIGABYTES)
REPLICA_RESOURCES = (QuotaResource.SHARE_REPLICAS, QuotaResource.REPLICA_GIGABYTES)
_COUNTS: tuple[tuple[tuple[QuotaResource, QuotaResource], Select[Any], ColumnElement[Any], ColumnElement[Any]], ...] = (
    (SHARE_RESOURCES, _SHARES, shares.c.user_id, shares.c.share_type_id),
    (SNAPSHOT_RESOURCES, _SNAPSHOTS, snapshots.c.user_id, shares.c.share_type_id),
    (REPLICA_RESOURCES, _REPLICAS, shares.c.user_id, shares.c.share_type_id),
)


def limits_of_request(
    tx: Transaction, quota_class: str, *, project_id: str, user_id: str, share_type_id: str | None
) -> dict[QuotaScope, dict[QuotaResource, int]]:
    """What is stored in every scope that a request of that user, for that type, is held to. One query."""
    of = {"of_class": quota_class, "project_id": project_id, "user_id": user_id, "share_type_id": share_type_id}
    found: dict[QuotaScope, dict[QuotaResource, int]] = {scope: {} for scope in QuotaScope}
    for row in tx.execute(_LIMITS_OF_REQUEST, of):
        found[QuotaScope(row.scope)][QuotaResource(row.resource)] = row.hard_limit
    return found


def limits(tx: Transaction, scope: QuotaScope, *, project_id: str = "", subject: str = "") -> dict[QuotaResource, int]:
    """The limits stored for exactly that scope; what is not there is not set."""
    of = {"scope": scope, "project_id": project_id, "subject": subject}
    return {QuotaResource(row.resource): row.hard_limit for row in tx.execute(_LIMITS, of)}


def set_limits(
    tx: Transaction,
    scope: QuotaScope,
    wanted: Mapping[QuotaResource, int],
    *,
    now: datetime,
    project_id: str = "",
    subject: str = "",
) -> None:
    """Store limits of that scope; others stay."""
    for resource, limit in wanted.items():
        mine = _mine(scope, project_id, subject) & (quotas.c.resource == resource)
        values = {"hard_limit": limit, "updated_at": now}
        if tx.execute(update(quotas).where(mine).values(**values)).rowcount == 0:
            tx.execute(
                insert(quotas).values(
                    scope=scope, project_id=project_id, subject=subject, resource=resource, created_at=now, **values
                )
            )


def delete_limits(tx: Transaction, scope: QuotaScope, *, project_id: str = "", subject: str | None = "") -> None:
    """Forget the limits of that scope; `subject` None means of every subject of the project."""
    where = (quotas.c.scope == scope) & (quotas.c.project_id == project_id)
    if subject is not None:
        where = where & (quotas.c.subject == subject)
    tx.execute(delete(quotas).where(where))


def usage(
    tx: Transaction,
    project_id: str,
    *,
    user_id: str | None = None,
    share_type_id: str | None = None,
    resources: Collection[QuotaResource] = tuple(QuotaResource),
) -> dict[QuotaResource, Usage]:
    """What the project (a user of it, a type in it) uses, from the rows. `in_use` includes what is being created.

    Only `resources` need be right; one query for shares, snapshots, replicas each.
    """
    found = {resource: Usage(0) for resource in QuotaResource}
    for counted, query, owner, of_type in _COUNTS:
        if not set(counted).intersection(resources):
            continue
        if user_id is not None:
            query = query.where(owner == user_id)
        if share_type_id is not None:
            query = query.where(of_type == share_type_id)
        count, gib, new, new_gib = map(int, tx.execute(query, {"project_id": project_id}).one())
        found[counted[0]] = Usage(count - new, new)
        found[counted[1]] = Usage(gib - new_gib, new_gib)
    return found


def _mine(scope: QuotaScope, project_id: str, subject: str) -> Any:
    return (quotas.c.scope == scope) & (quotas.c.project_id == project_id) & (quotas.c.subject == subject)
