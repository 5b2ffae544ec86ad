"""Quota limits of volumes as set, and usage as the rows say: nothing is counted on the side, so nothing drifts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import bindparam, case, delete, func, insert, select, true, update

from penstock.domain.backups import BackupStatus
from penstock.domain.quotas import Usage
from penstock.domain.volume_quotas import (
    TYPED,
    Counted,
    Limits,
    QuotaRules,
    VolumeResource,
    VolumeUsage,
    check_fits,
)
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import VolumeStatus
from penstock.store import volume_types
from penstock.store.backup_schema import volume_backups
from penstock.store.database import hold
from penstock.store.transaction import Transaction
from penstock.store.volume_group_schema import volume_groups
from penstock.store.volume_schema import volume_quotas, volume_snapshots, volumes

CLASS, PROJECT = "class", "project"
DEFAULT_CLASS = "default"

# Asked before every create: built once.
_SIZE = case((volumes.c.size_target_gib > volumes.c.size_gib, volumes.c.size_target_gib), else_=volumes.c.size_gib)
_NEW = volumes.c.status.in_([VolumeStatus.CREATING, VolumeStatus.MANAGING])
_VOLUMES = (
    select(
        volumes.c.volume_type_id,
        func.count(),
        func.coalesce(func.sum(_SIZE), 0),
        func.coalesce(func.sum(case((_NEW, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_NEW, _SIZE), else_=_SIZE - volumes.c.size_gib)), 0),
    )
    .where(volumes.c.project_id == bindparam("project_id"), volumes.c.uses_quota == true())
    .group_by(volumes.c.volume_type_id)
)
_NEW_SNAPSHOT = volume_snapshots.c.status.in_([VolumeSnapshotStatus.CREATING, VolumeSnapshotStatus.MANAGING])
_SNAPSHOTS = (
    select(
        volume_snapshots.c.volume_type_id,
        func.count(),
        func.coalesce(func.sum(volume_snapshots.c.volume_size_gib), 0),
        func.coalesce(func.sum(case((_NEW_SNAPSHOT, 1), else_=0)), 0),
        func.coalesce(func.sum(case((_NEW_SNAPSHOT, volume_snapshots.c.volume_size_gib), else_=0)), 0),
    )
    .where(volume_snapshots.c.project_id == bindparam("project_id"), volume_snapshots.c.uses_quota == true())
    .group_by(volume_snapshots.c.volume_type_id)
)
_NEW_BACKUP = volume_backups.c.status == BackupStatus.CREATING
_BACKUPS = select(
    func.count(),
    func.coalesce(func.sum(volume_backups.c.size_gib), 0),
    func.coalesce(func.sum(case((_NEW_BACKUP, 1), else_=0)), 0),
    func.coalesce(func.sum(case((_NEW_BACKUP, volume_backups.c.size_gib), else_=0)), 0),
).where(volume_backups.c.project_id == bindparam("project_id"))
_GROUPS = select(func.count()).select_from(volume_groups).where(volume_groups.c.project_id == bindparam("project_id"))
_LIMITS = select(volume_quotas.c.resource, volume_quotas.c.hard_limit).where(
    volume_quotas.c.scope == bindparam("scope"), volume_quotas.c.subject == bindparam("subject")
)
_LIMITS_OF_PROJECT = select(volume_quotas.c.scope, volume_quotas.c.resource, volume_quotas.c.hard_limit).where(
    ((volume_quotas.c.scope == CLASS) & (volume_quotas.c.subject == DEFAULT_CLASS))
    | ((volume_quotas.c.scope == PROJECT) & (volume_quotas.c.subject == bindparam("project_id")))
)


def limits(tx: Transaction, scope: str, subject: str) -> Limits:
    """The limits stored for that class or project; what is not there is not set."""
    return {_counted(row.resource): row.hard_limit for row in tx.execute(_LIMITS, {"scope": scope, "subject": subject})}


def set_limits(tx: Transaction, scope: str, subject: str, wanted: Mapping[Counted, int], *, now: datetime) -> None:
    """Store limits of that class or project; others stay."""
    table = volume_quotas
    for counted, limit in wanted.items():
        of = {"scope": scope, "subject": subject, "resource": _text(counted)}
        mine = (table.c.scope == scope) & (table.c.subject == subject) & (table.c.resource == of["resource"])
        values = {"hard_limit": limit, "updated_at": now}
        if tx.execute(update(table).where(mine).values(**values)).rowcount == 0:
            tx.execute(insert(table).values(created_at=now, **of, **values))


def delete_limits(tx: Transaction, scope: str, subject: str) -> None:
    """Forget the limits of that class or project. Safe to repeat."""
    tx.execute(delete(volume_quotas).where(volume_quotas.c.scope == scope, volume_quotas.c.subject == subject))


def usage(
    tx: Transaction,
    project_id: str,
    *,
    counts_snapshot_gib: bool,
    of: Collection[VolumeResource] = frozenset(VolumeResource),
) -> VolumeUsage:
    """What the project uses in all and by type, at least `of` these. `in_use` is there, `reserved` on its way or
    promised."""
    found: dict[Counted, Usage] = {}

    def add(resource: VolumeResource, type_id: str | None, have: int, new: int) -> None:
        for counted in {Counted(resource), Counted(resource, type_id)}:
            line = found.get(counted, Usage(0))
            found[counted] = Usage(line.in_use + have - new, line.reserved + new)

    mine, wanted = {"project_id": project_id}, set(of)
    if wanted & {VolumeResource.VOLUMES, VolumeResource.GIGABYTES}:
        for type_id, count, gib, new, new_gib in tx.execute(_VOLUMES, mine):
            add(VolumeResource.VOLUMES, type_id, int(count), int(new))
            add(VolumeResource.GIGABYTES, type_id, int(gib), int(new_gib))
    if VolumeResource.SNAPSHOTS in wanted or (counts_snapshot_gib and VolumeResource.GIGABYTES in wanted):
        for type_id, count, gib, new, new_gib in tx.execute(_SNAPSHOTS, mine):
            add(VolumeResource.SNAPSHOTS, type_id, int(count), int(new))
            if counts_snapshot_gib:
                add(VolumeResource.GIGABYTES, type_id, int(gib), int(new_gib))
    if wanted & {VolumeResource.BACKUPS, VolumeResource.BACKUP_GIGABYTES}:
        count, gib, new, new_gib = map(int, tx.execute(_BACKUPS, mine).one())
        add(VolumeResource.BACKUPS, None, count, new)
        add(VolumeResource.BACKUP_GIGABYTES, None, gib, new_gib)
    if VolumeResource.GROUPS in wanted:
        found[Counted(VolumeResource.GROUPS)] = Usage(int(tx.execute(_GROUPS, mine).scalar_one()))
    return VolumeUsage(found)


def class_limits(tx: Transaction, rules: QuotaRules, name: str) -> Limits:
    """The limits of a class, set or configured."""
    return {**rules.limits, **limits(tx, CLASS, name)}


def project_limits(tx: Transaction, rules: QuotaRules, project_id: str) -> Limits:
    """The limits that hold for the project: its own, else those of the class ``default``, else the configured ones."""
    found = tx.execute(_LIMITS_OF_PROJECT, {"project_id": project_id}).all()
    own = {_counted(row.resource): row.hard_limit for row in found if row.scope == PROJECT}
    common = {_counted(row.resource): row.hard_limit for row in found if row.scope == CLASS}
    return {**rules.limits, **common, **own}


def check(
    tx: Transaction, rules: QuotaRules, project_id: str, type_id: str | None, more: Mapping[VolumeResource, int]
) -> None:
    """Raise QuotaExceeded unless `more` fits the project's quota, and its quota of that type, in this transaction.

    `more` holds additions; for PER_VOLUME_GIGABYTES the whole size. Holds the project's quota until the transaction
    ends, so that two requests cannot both take what is left.
    """
    hold(tx, f"volume quota {project_id}")
    used = usage(tx, project_id, counts_snapshot_gib=rules.counts_snapshot_gib, of=more)
    wanted = {Counted(resource): amount for resource, amount in more.items()}
    if type_id is not None:
        wanted |= {Counted(resource, type_id): more[resource] for resource in TYPED if resource in more}
    check_fits(project_limits(tx, rules, project_id), used, wanted, lambda: volume_types.names(tx).get(type_id or ""))


def _text(counted: Counted) -> str:
    """How it is stored: by the type's id, so that a type may be renamed."""
    return counted.resource.value if counted.type_id is None else f"{counted.resource}:{counted.type_id}"


def _counted(text: str) -> Counted:
    resource, _, type_id = text.partition(":")
    return Counted(VolumeResource(resource), type_id or None)
