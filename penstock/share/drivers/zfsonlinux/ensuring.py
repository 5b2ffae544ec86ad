"""After a restart: which shares may be served, decided before any is, and then served in one batch.

A copy of a replicated share is served as active only when nobody knows of a later reign: neither the database nor any
other copy that can be asked. One that was overtaken is fenced before anything else happens to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import structlog

from penstock.errors import Fault, Invalid, InvalidShare, NotFound, Unavailable
from penstock.exports.model import Export
from penstock.share.drivers.zfsonlinux import plan, spec
from penstock.share.drivers.zfsonlinux.exporting import wanted_export
from penstock.share.drivers.zfsonlinux.fencing import fence_copy
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.identity import KIND, SHARE_ID, Kind, kind_of
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.drivers.zfsonlinux.replica_ending import end_replication
from penstock.share.drivers.zfsonlinux.replica_set import Copy
from penstock.share.drivers.zfsonlinux.steps import carry_out
from penstock.share.drivers.zfsonlinux.utils import NFSviaZFSHelper
from penstock.share.models import ShareModel
from penstock.share.replication import Role
from penstock.zfs.properties import local_value
from penstock.zfs.reigns import EPOCH, Fence

log = structlog.get_logger(__name__)

FOLLOWING = frozenset({"in_sync", "out_of_sync"})  # states in which the database calls another replica the active one
PROMOTING = "replication_change"
Updates = dict[str, dict[str, Any]]


class Verdict(Enum):
    """What becomes of a share's dataset after a restart."""

    SERVE = "serve"
    LEAVE = "leave"  # fenced, or being promoted: serves nothing
    FENCE = "fence"


def judge(share: ShareModel, seen: SeenShare, known_epoch: int) -> Verdict:
    """Whether it may be served; `known_epoch` is the latest reign that other copies tell of. Pure."""
    if not seen.marks.is_replicated or seen.role is Role.REPLICA:
        return Verdict.SERVE
    if seen.role is Role.DEMOTED:
        return Verdict.LEAVE
    if share["status"] == PROMOTING and share["replica_state"] in FOLLOWING:
        return Verdict.LEAVE
    if share["replica_state"] in FOLLOWING or seen.epoch < max(share["epoch"], known_epoch):
        return Verdict.FENCE
    return Verdict.SERVE


@dataclass(frozen=True, slots=True)
class Ensuring:
    """The backend that shares are ensured on."""

    own: Peer
    peers: Peers
    finder: Finder
    helper: NFSviaZFSHelper

    def ensure_one(self, share: ShareModel, seen: SeenShare) -> list[dict[str, Any]]:
        """See `ensure_share`. Raises what keeps it from being mounted."""
        update, export = self._ensure(share, seen, self._elsewhere([seen]).epoch_of(share["share_id"]))
        self.helper.serve_again([export] if export is not None else [], unmounted_before([seen]))
        return cast("list[dict[str, Any]]", update["export_locations"])

    def ensure(self, found: Sequence[tuple[ShareModel, SeenShare | None]]) -> Updates:
        """See `ensure_shares`: one command per pool (two with very long access lists), and one batch of exports.

        One more per backend that replicas of active shares are on.
        """
        updates: Updates = {}
        wanted: list[Export] = []
        unserved: list[str] = []
        elsewhere = self._elsewhere(seen for _, seen in found if seen is not None)
        for share, seen in found:
            if seen is None:
                log.error("share.dataset_missing", share=share["id"])
                updates[share["id"]] = {"status": "error"}
                continue
            try:
                update, export = self._ensure(share, seen, elsewhere.epoch_of(share["share_id"]))
                if self._end_if_alone(share, seen, elsewhere):
                    now = observe_share(self.own.storage.zfs, seen.dataset)
                    export = wanted_export(now) if now is not None else None
            except Fault as fault:  # one that cannot be served must not keep the others waiting
                log.warning("share.not_mounted", share=share["id"], reason=fault.message)
                unserved += [seen.mountpoint] if seen.mountpoint else []
                continue
            updates[share["id"]] = update
            if export is not None:
                wanted.append(export)
            elif seen.marks.is_replicated and seen.role is not Role.REPLICA and seen.mountpoint:
                unserved.append(seen.mountpoint)
        self.helper.remove(unserved)  # else clients would get the empty directory below, on the host's own disk
        self.helper.serve_again(wanted, unmounted_before(seen for _, seen in found if seen is not None))
        return updates

    def _ensure(self, share: ShareModel, seen: SeenShare, known_epoch: int) -> tuple[dict[str, Any], Export | None]:
        update: dict[str, Any] = {"export_locations": self.locations(seen)}
        verdict = judge(share, seen, known_epoch)
        if verdict is Verdict.FENCE:
            fence_copy(Copy(share, self.own, seen.dataset, seen), Fence(max(share["epoch"], known_epoch), ""))
        if verdict is not Verdict.SERVE:
            log.warning("share.not_served", share=share["id"], role=seen.role.value, epoch=seen.epoch)
            return update, None
        carry_out(plan.plan_mount(seen), self.own.storage.zfs)
        if seen.rules is None and seen.rules_marks:
            update["reapply_access_rules"] = True  # half written when we stopped
        return update, wanted_export(seen)

    def locations(self, seen: SeenShare) -> list[dict[str, Any]]:
        """The export locations. Raises InvalidShare when it has no mountpoint of its own."""
        if seen.mountpoint is None:
            raise InvalidShare(f"{seen.dataset} has no mountpoint of its own, so there is no path to export")
        return self.helper.locations(seen.mountpoint)

    def _end_if_alone(self, share: ShareModel, seen: SeenShare, elsewhere: Elsewhere) -> bool:
        """The last replica was deleted while we could not be told: then the marks of replication go now."""
        if share["replica_state"] != Role.ACTIVE or not is_alone(seen, elsewhere):
            return False
        end_replication(Copy(share, self.own, seen.dataset, seen))
        return True

    def _elsewhere(self, seen: Iterable[SeenShare]) -> Elsewhere:
        return look_elsewhere(self.peers, seen)


def unmounted_before(seen: Iterable[SeenShare]) -> set[str]:
    """Paths of those that were not mounted when they were looked at. Pure."""
    return {one.mountpoint for one in seen if one.mountpoint is not None and not one.is_mounted}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What backends with replicas of our active shares hold: the latest reign by share id, for each that answered."""

    epochs: Mapping[str, Mapping[str, int]]

    def epoch_of(self, share_id: str) -> int:
        """The latest reign of the share that any other copy is of; 0 for none."""
        return max((epochs.get(share_id, 0) for epochs in self.epochs.values()), default=0)


def is_alone(seen: SeenShare, elsewhere: Elsewhere) -> bool:
    """Is the active copy known to be the only one left?"""
    if seen.identity is None or not seen.marks.hosts or seen.role is not Role.ACTIVE:
        return False
    share_id = seen.identity.share_id
    return all(host in elsewhere.epochs and share_id not in elsewhere.epochs[host] for host in seen.marks.hosts)


def look_elsewhere(peers: Peers, seen: Iterable[SeenShare]) -> Elsewhere:
    """One command per backend that holds replicas of those of them that are active."""
    active = [one for one in seen if one.marks.is_replicated and one.role is Role.ACTIVE]
    epochs: dict[str, Mapping[str, int]] = {}
    for host in sorted({host for one in active for host in one.marks.hosts}):
        try:
            epochs[host] = _epochs_at(peers, host)
        except (Unavailable, NotFound, Invalid) as fault:
            log.warning("peer.not_asked", host=host, reason=fault.message)
    return Elsewhere(epochs)


def _epochs_at(peers: Peers, host: str) -> Mapping[str, int]:
    """By share id; 0 for a copy that has not arrived yet."""
    peer = peers.storage_of(host)
    tree = peer.storage.zfs.tree(spec.root_of(host, peer.settings), (KIND, SHARE_ID, EPOCH))
    found: dict[str, int] = {}
    for properties in tree.values():
        share_id, epoch = local_value(properties, SHARE_ID), local_value(properties, EPOCH) or "0"
        if kind_of(properties) in (Kind.SHARE, Kind.RECEIVING) and share_id:
            found[share_id] = max(int(epoch) if epoch.isdecimal() else 0, found.get(share_id, 0))
    return found
