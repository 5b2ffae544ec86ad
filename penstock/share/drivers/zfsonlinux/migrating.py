"""Moving a share to another pool, host or type: copied while clients write, fenced, the rest copied, switched.

It is a replica for as long as it takes: the same snapshots, holds, marks and fence (`syncing`, `fencing`), under the
prefix of migrations. What is done is read from the storage, so the same call after a crash finds how far it came. Until
the destination is activated the source can be taken back; from then on the only way is forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from penstock.errors import BackendFault, Conflict, Fault, ShareResourceNotFound
from penstock.share.drivers.zfsonlinux import plan
from penstock.share.drivers.zfsonlinux.fencing import activate, fence_copy, is_seen_active, serve_stored
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.drivers.zfsonlinux.replica_ending import destroy_copy, destroy_placeholder, end_replication
from penstock.share.drivers.zfsonlinux.replica_set import Copy, observe
from penstock.share.drivers.zfsonlinux.replicated_snapshots import mark_arrived
from penstock.share.drivers.zfsonlinux.sending import Sending
from penstock.share.drivers.zfsonlinux.steps import settle
from penstock.share.drivers.zfsonlinux.syncing import bring
from penstock.share.models import ShareModel, SnapshotModel
from penstock.share.replication import UNWATCHED, PromotionKind, Role
from penstock.zfs.lines import observe_line
from penstock.zfs.reigns import Fence

log = structlog.get_logger(__name__)

MOST_ROUNDS = 10  # a share written to faster than the way carries is fenced with what is then missing
SHORT_S = 2.0  # a round that took no longer is short: the one after the fence will be, too
SHORT_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Pair:
    """The source and the destination of one migration."""

    source: Copy
    target: Copy

    @property
    def models(self) -> tuple[ShareModel, ShareModel]:
        """As the modules of replication want the list of replicas."""
        return self.source.model, self.target.model

    @property
    def is_switched(self) -> bool:
        """Is the destination serving, or about to? Then clients may have written to it."""
        return self.target.seen is not None and self.target.role is Role.ACTIVE

    @property
    def fence(self) -> Fence:
        """The one this migration puts up."""
        return Fence(self.source.epoch + 1, self.target.id)


def look(own: Peer, peers: Peers, source: ShareModel, target: ShareModel) -> Pair:
    """Both as they are now. Raises Unavailable when one cannot be asked, Invalid when it is none of ours."""
    named = replace(own, settings=replace(own.settings, replica_snapshot_prefix=own.settings.migration_snapshot_prefix))
    return Pair(observe(named, source), observe(peers.storage_of(target["host"]), target))


def copy_rounds(pair: Pair, sending: Sending) -> Pair:
    """Bring the destination to the source's present, and again, until a round was short. Clients write meanwhile."""
    if pair.source.seen is None:
        raise ShareResourceNotFound(f"share {pair.source.model['share_id']} is not on the backend")
    for count in range(MOST_ROUNDS):
        started_s = sending.clock.monotonic_s()
        brought = bring(pair.source, pair.target, pair.models, sending)
        pair = Pair(pair.source.again(), brought.copy)
        took_s = sending.clock.monotonic_s() - started_s
        log.info("migration.round", share=pair.source.model["share_id"], round=count, bytes=brought.sent_bytes)
        if took_s <= SHORT_S or brought.sent_bytes <= SHORT_BYTES:
            break
    return pair


def switch(
    pair: Pair, mappings: Mapping[str, SnapshotModel], snapshots: Sequence[SnapshotModel], sending: Sending
) -> Copy:
    """Make the destination what serves; the source is fenced, and stays. Safe to repeat.

    A failure before the destination is activated gives the source back to its clients.
    """
    if not pair.is_switched:
        if pair.source.fence != pair.fence:
            pair = copy_rounds(pair, sending)
        pair = _last_changes(pair, mappings, snapshots, replace(sending, watch=UNWATCHED))
    if pair.target.seen is None or pair.target.seen.marks.is_replicated:  # else it was finished, all but our answer
        activate(pair.target, pair.target.epoch, PromotionKind.PLANNED)
    target = pair.target.again()
    serve_stored(target)
    destroy_placeholder(target)
    end_replication(target)
    return target.again()


def _last_changes(
    pair: Pair, mappings: Mapping[str, SnapshotModel], snapshots: Sequence[SnapshotModel], sending: Sending
) -> Pair:
    fence = pair.fence
    try:
        source = fence_copy(pair.source, fence)
        brought = bring(source, pair.target, pair.models, sending)
        pairs = [
            {"active_replica_snapshot": here, "share_replica_snapshot": mappings[here["id"]]}
            for here in snapshots
            if here["id"] in mappings
        ]
        if not mark_arrived(source, brought.copy, pairs):
            raise BackendFault(f"{brought.copy.dataset} lacks a snapshot of {source.dataset}")
        _drop_tombstones(source, brought.copy)
        _take_rules(source, brought.copy)
    except Fault:
        if not is_seen_active(pair.target):  # by a process that took the turn over from us
            lift(pair.source, fence)
        raise
    return Pair(source, brought.copy.again())


def _drop_tombstones(source: Copy, target: Copy) -> None:
    """What its user deleted and only a clone at the source needs has no business here."""
    deleted = {
        taken.point.guid for taken in observe_line(source.zfs, source.dataset, ()).taken if taken.kind == Kind.TOMBSTONE
    }
    names = [
        taken.point.name for taken in observe_line(target.zfs, target.dataset, ()).taken if taken.point.guid in deleted
    ]
    if names:
        target.zfs.destroy_snapshots(target.dataset, names, deferred=True)


def _take_rules(source: Copy, target: Copy) -> None:
    """The rules as they are on the source, so that clients find them at once; the manager sees to them again."""
    rules = source.seen.rules if source.seen is not None else None

    def planned() -> plan.Steps:
        seen = observe_share(target.zfs, target.dataset)
        if seen is None:
            raise ShareResourceNotFound(f"{target.dataset} went away")
        return plan.plan_rules(rules or (), seen)

    settle(planned, target.zfs)


def lift(source: Copy, fence: Fence) -> None:
    """Let the source serve again, if that fence is what keeps it. Only before the destination was activated."""
    seen = observe_share(source.zfs, source.dataset)
    if seen is None or seen.marks.fence != fence:
        return
    activate(source, source.epoch, PromotionKind.PLANNED)
    serve_stored(source)
    log.info("migration.fence_lifted", share=source.model["share_id"])


def take_back(pair: Pair) -> None:
    """The source as it was, and nothing at the destination. Safe to repeat. Raises Conflict when it is too late."""
    if pair.is_switched:
        raise Conflict(f"{pair.target.dataset} serves the share already: it can only be completed")
    source = pair.source.again()
    if source.seen is not None:
        lift(source, Fence(source.epoch + 1, pair.target.id))
        serve_stored(source)  # the fence begins with the exports: they may be gone, and no mark says so
    if pair.target.seen is None and pair.target.zfs.exists(pair.target.dataset):
        destroy_placeholder(pair.target)  # what has its name there is not ours
    else:
        destroy_copy(pair.target, pair.models)
    end_replication(source.again())
