"""Snapshots of replicated shares: taken on the active one, carried by the next sync, then marked with their own ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import SnapshotLost, SnapshotResourceNotFound, Unavailable
from penstock.share.drivers.zfsonlinux import lineage, spec
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.observe import observe_snapshot
from penstock.share.drivers.zfsonlinux.peers import Peers
from penstock.share.drivers.zfsonlinux.replica_set import Copy, observe
from penstock.share.drivers.zfsonlinux.setting_aside import comes_back
from penstock.share.drivers.zfsonlinux.steps import SetProperties, carry_out
from penstock.share.models import ShareModel, SnapshotModel
from penstock.share.replication import Role
from penstock.zfs.lines import Line, Taken, observe_line

SnapshotPair = Mapping[str, SnapshotModel]
AVAILABLE = "available"
DELETING = "deleting"
ERROR = "error"
ERROR_DELETING = "error_deleting"


def marked(copy: Copy, line: Line, found: Taken, snapshot: SnapshotModel) -> dict[str, Any]:
    """Mark what arrived as this replica's instance of the snapshot; the updates that say so. Safe to repeat."""
    name = line.name(found)
    if found.owner != snapshot["id"] or found.kind != Kind.SNAPSHOT:
        identity = spec.snapshot_identity(snapshot, snapshot["share_size"])
        carry_out((SetProperties(name, tuple(identity.properties(Kind.SNAPSHOT).items())),), copy.zfs)
    return {"id": snapshot["id"], "status": AVAILABLE, "progress": "100%", "provider_location": str(name)}


def mark_arrived(source: Copy, target: Copy, pairs: Sequence[SnapshotPair]) -> bool:
    """Mark each snapshot that arrived; whether all did that have to.

    One whose creation or deletion failed need not; one that the source has lost cannot (see `check_is_coming`).
    """
    if not pairs:
        return True
    theirs = observe_line(source.zfs, source.dataset, ())
    own = observe_line(target.zfs, target.dataset, ())
    is_whole = True
    for pair in pairs:
        there, here = pair["active_replica_snapshot"], pair["share_replica_snapshot"]
        wanted = _find(source, theirs, there, [there])
        if wanted is None:
            continue
        marked(source, theirs, wanted, there)  # it may have got there by a sync, when it was not the source yet
        found = own.by_guid(wanted.point.guid)
        if found is None:
            is_whole = is_whole and here["status"] in (ERROR, ERROR_DELETING)
        else:
            marked(target, own, found, here)
    return is_whole


def check_is_coming(source: Copy, instances: Sequence[SnapshotModel]) -> None:
    """Raises SnapshotLost when the active replica, `source`, has the snapshot by its row only.

    A copy that was set aside and made anew from one that never got the snapshot has it no more, and may be promoted
    before anybody noticed.
    """
    mine = next((instance for instance in instances if instance["share_instance_id"] == source.id), None)
    if mine is None or mine["status"] != AVAILABLE or source.seen is None or source.role is not Role.ACTIVE:
        return
    if _find(source, observe_line(source.zfs, source.dataset, ()), mine, instances) is None:
        raise SnapshotLost(f"{source.dataset} on {source.peer.section} does not have it any more.")


def arrived(copy: Copy, snapshot: SnapshotModel, instances: Sequence[SnapshotModel]) -> dict[str, Any] | None:
    """The updates of a snapshot that is on the replica, None when it is not; by its mark, or by its name elsewhere."""
    if copy.seen is None:
        return None
    line = observe_line(copy.zfs, copy.dataset, ())
    found = _find(copy, line, snapshot, instances)
    return marked(copy, line, found, snapshot) if found is not None else None


def _find(copy: Copy, line: Line, snapshot: SnapshotModel, instances: Sequence[SnapshotModel]) -> Taken | None:
    """By its mark, or by its name elsewhere when it arrived and was not marked yet."""
    found = line.owned_by(snapshot["id"])
    if found is not None:
        return found
    names = frozenset().union(*(spec.snapshot_names(instance, copy.peer.settings) for instance in instances))
    return next((taken for taken in line.taken if taken.point.name in names and taken.kind is None), None)


def destroy(copy: Copy, snapshot: SnapshotModel, instances: Sequence[SnapshotModel]) -> None:
    """Destroy the replica's instance of the snapshot, now or with its last clone; fine when there is none.

    Raises Unavailable while what was set aside has it, and the next sync may bring it back from there.
    """
    aside = comes_back(copy)
    if aside is not None:
        theirs = observe_line(copy.zfs, aside.dataset, ())
        if _find(copy, theirs, snapshot, instances) is not None:
            raise Unavailable(f"{aside.dataset} was set aside and has it, until a sync has put {copy.dataset} right.")
    if copy.seen is None:
        return
    line = observe_line(copy.zfs, copy.dataset, ())
    found = _find(copy, line, snapshot, instances)
    seen = observe_snapshot(copy.zfs, line.name(found)) if found is not None else None
    if seen is not None:
        lineage.destroy_snapshot(copy.zfs, seen)


def destroy_everywhere(
    peers: Peers, replica_list: Sequence[ShareModel], instances: Sequence[SnapshotModel]
) -> list[dict[str, Any]]:
    """On the active one first, else a sync would bring it back; a host that is away does its part when it is asked.

    Raises Unavailable when the active one's is.
    """
    by_replica = {instance["share_instance_id"]: instance for instance in instances}
    gone: list[dict[str, Any]] = []
    for model in sorted(replica_list, key=lambda model: model["replica_state"] != Role.ACTIVE):
        instance = by_replica.get(model["id"])
        try:
            # A first copy brings what was there to one that has no instance: a snapshot that was an error then, say.
            destroy(observe(peers.storage_of(model["host"]), model), instance or instances[0], instances)
        except Unavailable:
            if model["replica_state"] == Role.ACTIVE:
                raise
            continue
        if instance is not None:
            gone.append({"id": instance["id"], "status": "deleted"})
    return gone


def progress_of(copy: Copy, snapshot: SnapshotModel, instances: Sequence[SnapshotModel]) -> dict[str, Any] | None:
    """None while it is not here. Raises SnapshotResourceNotFound at the end of a deletion."""
    if snapshot["status"] == DELETING:
        destroy(copy, snapshot, instances)
        raise SnapshotResourceNotFound(f"snapshot {snapshot['snapshot_id']} is gone")
    return arrived(copy, snapshot, instances)
