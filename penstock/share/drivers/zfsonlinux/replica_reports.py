"""How replicas are, read in a fixed number of commands per pool: what the lag is measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from penstock.clock import Clock
from penstock.errors import Invalid, NotFound, Unavailable
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.identity import (
    ID,
    KIND,
    REPLICA_MARKS,
    Kind,
    ReplicaMarks,
    ShareIdentity,
    kind_of,
    owner_id,
)
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.models import ShareModel
from penstock.share.replication import ReplicaReport, Role
from penstock.zfs.changes import Change, look_for_changes
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, local_value
from penstock.zfs.reigns import EPOCH, OF, SYNCED_AT

log = structlog.get_logger(__name__)

# no more than is told of: with hundreds of shares that are looked at all the time, every property counts
MARKS = (KIND, ID, OF, EPOCH, *REPLICA_MARKS, "mounted", "readonly")


@dataclass(frozen=True, slots=True)
class _Glance:
    """A dataset as `MARKS` tell of it, with the meaning of `SeenShare`'s fields."""

    dataset: Dataset
    kind: Kind | None
    owner_id: str | None
    of: str | None
    epoch: int
    marks: ReplicaMarks
    is_mounted: bool
    is_readonly: bool

    @property
    def role(self) -> Role:
        """What is in no set of replicas is active. One whose activation broke off is not: it takes no writes yet."""
        if self.marks.role is Role.ACTIVE and self.is_readonly:
            return Role.DEMOTED
        return self.marks.role or Role.ACTIVE


def _glance(dataset: Dataset, properties: Properties) -> _Glance:
    identity = ShareIdentity.read(properties)
    return _Glance(
        dataset,
        kind_of(properties),
        owner_id(properties),
        local_value(properties, OF),
        identity.epoch if identity is not None else 0,
        ReplicaMarks.read(properties),
        properties["mounted"].value == "yes",
        properties["readonly"].value == "on",
    )


@dataclass(frozen=True, slots=True)
class _Pool:
    """What is in a backend's pool: shares by instance id, and what was set aside of them."""

    shares: Mapping[str, _Glance]
    receiving: frozenset[str]
    diverged: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Source:
    """Active shares of a pool, with what was written since their newest snapshots, at the time of the look."""

    shares: Mapping[str, _Glance]
    changes: Mapping[Dataset, Change]
    looked_at: datetime


def reports(
    own: Peer,
    peers: Peers,
    clock: Clock,
    replicas: Sequence[ShareModel],
    replica_lists: Mapping[str, Sequence[ShareModel]],
) -> dict[str, ReplicaReport]:
    """See `HasReplicaReports.replica_reports`."""
    pools: dict[str, _Pool | None] = {}
    sources: dict[str, _Source | None] = {}
    told: dict[str, ReplicaReport] = {}
    confirmed: dict[datetime, list[Dataset]] = {}
    for replica in replicas:
        if replica["host"] not in pools:
            pools[replica["host"]] = _pool(own, replica["host"])
        pool = pools[replica["host"]]
        if pool is None:
            continue
        seen = pool.shares.get(replica["id"])
        if seen is None:
            if replica["id"] in pool.receiving:
                told[replica["id"]] = ReplicaReport(Role.REPLICA, 0, is_complete=False)
            continue
        active = next(
            (m for m in replica_lists.get(replica["share_id"], ()) if m["replica_state"] == Role.ACTIVE), None
        )
        source = None
        if active is not None and active["id"] != replica["id"]:
            if active["host"] not in sources:
                sources[active["host"]] = _source(peers, clock, active["host"])
            source = sources[active["host"]]
        is_changed = _is_changed(seen, source, active)
        synced_at = seen.marks.synced_at
        if is_changed is False and source is not None:
            synced_at = source.looked_at
            confirmed.setdefault(synced_at, []).append(seen.dataset)
        is_complete = seen.role is Role.ACTIVE or synced_at is not None
        diverged = pool.diverged.get(replica["id"], ())
        is_replicated = seen.role is Role.ACTIVE and bool(seen.marks.hosts)
        told[replica["id"]] = ReplicaReport(
            seen.role, seen.epoch, synced_at, is_changed, diverged, is_complete, is_replicated
        )
    for looked_at, datasets in confirmed.items():
        own.storage.zfs.set_each(datasets, {SYNCED_AT: looked_at.isoformat()})
    return told


def _pool(own: Peer, host: str) -> _Pool | None:
    """None when the pool is not there now."""
    try:
        found = own.storage.zfs.tree(spec.root_of(host, own.settings), MARKS)
    except NotFound:
        log.warning("pool.missing", host=host)
        return None
    glances = [_glance(Dataset(name), each) for name, each in found.items()]
    shares = {seen.owner_id: seen for seen in glances if seen.kind is Kind.SHARE and seen.owner_id}
    receiving = frozenset(seen.of for seen in glances if seen.kind is Kind.RECEIVING and seen.of)
    diverged: dict[str, tuple[str, ...]] = {}
    for seen in glances:
        if seen.kind is Kind.DIVERGED and seen.of:
            diverged[seen.of] = (*diverged.get(seen.of, ()), str(seen.dataset))
    return _Pool(shares, receiving, diverged)


def _source(peers: Peers, clock: Clock, host: str) -> _Source | None:
    """None when it cannot be asked."""
    try:
        peer = peers.storage_of(host)
        root = spec.root_of(host, peer.settings)
        looked_at = clock.utc()
        found = look_for_changes(peer.storage.zfs, root, MARKS)
    except (Unavailable, NotFound, Invalid) as fault:
        log.warning("replica.source_not_asked", host=host, reason=fault.message)
        return None
    glances = [_glance(dataset, each) for dataset, (_, each) in found.items()]
    shares = {seen.owner_id: seen for seen in glances if seen.kind is Kind.SHARE and seen.owner_id}
    return _Source(shares, {dataset: change for dataset, (change, _) in found.items()}, looked_at)


def _is_changed(seen: _Glance, source: _Source | None, active: ShareModel | None) -> bool | None:
    if source is None or active is None or seen.role is not Role.REPLICA:
        return None
    found = source.shares.get(active["id"])
    if found is None or found.role is not Role.ACTIVE or found.epoch < seen.epoch:
        return None
    if not found.is_mounted:  # the last writes may be in its intent log, which counts as unwritten
        return None
    change = source.changes.get(found.dataset)
    guid = seen.marks.synced_guid
    is_same = change is not None and guid is not None and change.is_unwritten_since(guid)
    return not (is_same and found.epoch == seen.epoch)
