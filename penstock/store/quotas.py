"""Quota limits as set, and usage as the rows say: nothing is counted on the side, so nothing drifts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from penstock.domain.quotas import QuotaResource, Usage
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.store.schema import quotas, share_instances, shares, snapshot_instances, snapshots


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


def limits(tx: Connection, scope: QuotaScope, *, project_id: str = "", subject: str = "") -> dict[QuotaResource, int]:
    """The limits stored for exactly that scope; what is not there is not set."""
    of = {"scope": scope, "project_id": project_id, "subject": subject}
    return {QuotaResource(row.resource): row.hard_limit for row in tx.execute(_LIMITS, of)}


def set_limits(
    tx: Connection,
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


def delete_limits(tx: Connection, scope: QuotaScope, *, project_id: str = "", subject: str | None = "") -> None:
    """Forget the limits of that scope; `subject` None means of every subject of the project."""
    where = (quotas.c.scope == scope) & (quotas.c.project_id == project_id)
    if subject is not None:
        where = where & (quotas.c.subject == subject)
    tx.execute(delete(quotas).where(where))


def usage(
    tx: Connection, project_id: str, *, user_id: str | None = None, share_type_id: str | None = None
) -> dict[QuotaResource, Usage]:
    """What the project (a user of it, a type in it) uses, from the rows. `in_use` includes what is being created."""
    shares_used, snapshots_used, replicas_used = _SHARES, _SNAPSHOTS, _REPLICAS
    if user_id is not None:
        shares_used = shares_used.where(shares.c.user_id == user_id)
        replicas_used = replicas_used.where(shares.c.user_id == user_id)
        snapshots_used = snapshots_used.where(snapshots.c.user_id == user_id)
    if share_type_id is not None:
        shares_used = shares_used.where(shares.c.share_type_id == share_type_id)
        replicas_used = replicas_used.where(shares.c.share_type_id == share_type_id)
        snapshots_used = snapshots_used.where(shares.c.share_type_id == share_type_id)
    of = {"project_id": project_id}
    counts, gib, new, new_gib = map(int, tx.execute(shares_used, of).one())
    snapshot_counts, snapshot_gib, new_snapshots, new_snapshot_gib = map(int, tx.execute(snapshots_used, of).one())
    replica_counts, replica_gib, new_replicas, new_replica_gib = map(int, tx.execute(replicas_used, of).one())
    found = {resource: Usage(0) for resource in QuotaResource}
    found[QuotaResource.SHARES] = Usage(counts - new, new)
    found[QuotaResource.GIGABYTES] = Usage(gib - new_gib, new_gib)
    found[QuotaResource.SNAPSHOTS] = Usage(snapshot_counts - new_snapshots, new_snapshots)
    found[QuotaResource.SNAPSHOT_GIGABYTES] = Usage(snapshot_gib - new_snapshot_gib, new_snapshot_gib)
    found[QuotaResource.SHARE_REPLICAS] = Usage(replica_counts - new_replicas, new_replicas)
    found[QuotaResource.REPLICA_GIGABYTES] = Usage(replica_gib - new_replica_gib, new_replica_gib)
    return found


def _mine(scope: QuotaScope, project_id: str, subject: str) -> Any:
    return (quotas.c.scope == scope) & (quotas.c.project_id == project_id) & (quotas.c.subject == subject)
