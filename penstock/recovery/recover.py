"""Rebuild the rows of one backend from its storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace

import structlog

from penstock.domain.shares import AccessRulesStatus, ReplicaState, ShareInstance, ShareStatus
from penstock.errors import Conflict
from penstock.recovery.owners import insert_owners, known_owners
from penstock.recovery.rebuilding import Known, Rebuilt, rebuild
from penstock.recovery.rows import Place
from penstock.services.snapshots import new_copy
from penstock.share.replication import Role
from penstock.share_site import ShareSite
from penstock.store import access, instances, shares, snapshots, types
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter

log = structlog.get_logger(__name__)


def reigns_of(sites: Iterable[ShareSite]) -> dict[str, int]:
    """The latest reign of each replicated share that a copy on any of these backends was active in. Raises as
    `ShareSite.inventory`."""
    found: dict[str, int] = {}
    for site in sites:
        for share in site.inventory().shares:
            if share.role is Role.ACTIVE:
                found[share.share_id] = max(share.epoch, found.get(share.share_id, 0))
    return found


def recover(
    site: ShareSite,
    *,
    merge: bool,
    dry_run: bool,
    with_identity: bool,
    reigns: Mapping[str, int] | None = None,
) -> Rebuilt:
    """Insert what the storage holds and the database does not; with `dry_run` only say what that is.

    All or nothing, and safe to repeat. `with_identity`: also make the projects and users that are referenced, for the
    built-in identity. `reigns` (of `reigns_of`) keeps a copy that was active once from being taken for the share.
    Raises Conflict when the database has shares of this backend and would get more, unless `merge`, and when a daemon
    serves the backend; else as `ShareSite.inventory`.
    """
    backend = site.backend
    place = Place(backend.host, backend.zone, backend.now())
    with nullcontext() if dry_run else site.alone():
        inventory = site.inventory()
        with backend.database.read() as tx:
            known, count = _known(tx, site, with_identity=with_identity, reigns=reigns or {})
        rebuilt = rebuild(inventory, known, place)
        if count and not merge and not rebuilt.is_empty:
            raise Conflict(
                f"The database has {count} shares of {backend.host} already; "
                "with --merge the missing ones are added to them."
            )
        if not dry_run and not rebuilt.is_empty:
            with backend.database.begin() as tx:
                _insert(tx, site, rebuilt, with_identity=with_identity)
            log.info(
                "database.recovered",
                backend=backend.host,
                shares=len(rebuilt.shares),
                snapshots=len(rebuilt.snapshots),
                replicas=len(rebuilt.replicas),
                left_out=len(rebuilt.left_out),
            )
    return rebuilt


def _known(tx: Transaction, site: ShareSite, *, with_identity: bool, reigns: Mapping[str, int]) -> tuple[Known, int]:
    """What there is, and how many shares of the backend. Ids of other backends' shares count as well."""
    placed = instances.list_all(tx)
    ids: set[str] = {instance.id for instance in placed} | {instance.share_id for instance in placed}
    for snapshot in snapshots.list_snapshots(tx, snapshots.SnapshotFilter()):
        ids |= {snapshot.id, snapshot.instance.id}
    rules = access.of_instances(tx, [instance.id for instance in placed])
    ids |= {rule.id for found in rules.values() for rule in found}
    projects, users = known_owners(tx, with_identity=with_identity)
    known = Known(
        ids=frozenset(ids),
        types=tuple(types.list_types(tx)),
        project_ids=projects,
        user_ids=users,
        reigns=reigns,
        active={one.share_id: one for one in placed if one.replica_state is ReplicaState.ACTIVE},
    )
    return known, len(shares.of_backend(tx, site.backend.host, statuses=list(ShareStatus)))


def _insert(tx: Transaction, site: ShareSite, rebuilt: Rebuilt, *, with_identity: bool) -> None:
    now = site.backend.now()
    for share_type in rebuilt.types:
        types.insert_type(tx, replace(share_type, created_at=now))
    if with_identity:
        insert_owners(tx, rebuilt.project_ids, rebuilt.user_ids, now=now)
    for item in rebuilt.shares:
        shares.insert_share(tx, item.share)
        locations = [
            {"path": found.path, "is_admin_only": found.is_admin_only, "preferred": found.preferred}
            for found in item.export_locations
        ]
        instances.put_export_locations(tx, item.share.instance.id, locations, now=now)
        for rule in item.rules:
            access.insert_rule(tx, rule, [item.share.instance.id])
    for snapshot in rebuilt.snapshots:
        snapshots.insert_snapshot(tx, snapshot)
    for replica in rebuilt.replicas:
        _insert_replica(tx, site, replica)


def _insert_replica(tx: Transaction, site: ShareSite, replica: ShareInstance) -> None:
    """With the share's rules and snapshots, which the daemon applies and looks for."""
    now = site.backend.now()
    instances.insert_instance(tx, replica)
    if access.add_instance(tx, replica.share_id, replica.id, now=now):
        instances.update_instance(tx, replica.id, now=now, access_rules_status=AccessRulesStatus.SYNCING)
    for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=replica.share_id)):
        snapshots.insert_instance(tx, new_copy(snapshot.instance, replica.id, now))
