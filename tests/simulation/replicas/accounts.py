"""Every hold and every snapshot taken to move data is somebody's, and of use: checked once nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, PREFIX, Kind
from penstock.zfs.reigns import OF, hold_tag
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_state import Filesystem, Snap

BASE_FOR = f"{PREFIX}for_"
OURS = hold_tag("")


@dataclass(frozen=True)
class Place:
    """A filesystem of ours: which instance's, and where."""

    host: SimulatedHost
    filesystem: Filesystem
    instance_id: str

    def __str__(self) -> str:
        return f"{self.host.name}:{self.filesystem.path}"

    @property
    def kind(self) -> Kind:
        return Kind(self.filesystem.local[KIND])

    @property
    def snapshots(self) -> list[Snap]:
        return list(self.filesystem.snapshots.values())

    @property
    def syncs(self) -> list[Snap]:
        """Those in use: what was destroyed already, and only waits for a clone or a hold of somebody's, is none."""
        return [snap for snap in self.snapshots if snap.local.get(KIND) == Kind.SYNC and not snap.is_deferred]


def places(hosts: Mapping[str, SimulatedHost]) -> Iterator[Place]:
    """All filesystems of ours."""
    for host in hosts.values():
        for filesystem in host.state.filesystems.values():
            if filesystem.local.get(KIND) in {kind.value for kind in Kind}:
                yield Place(host, filesystem, filesystem.local.get(ID) or filesystem.local.get(OF, ""))


def check_accounts(hosts: Mapping[str, SimulatedHost], replicas: Mapping[str, Share], strangers: set[int]) -> None:
    """`replicas`: all that there are, by instance id; `strangers`: GUIDs of other people's snapshots.

    Raises AssertionError at the first thing that nobody needs, or that is missing.
    """
    every = list(places(hosts))
    copies = {place.instance_id: place for place in every if place.kind is Kind.SHARE}
    for place in every:
        _check_kind(place, replicas)
        if place.kind is Kind.SHARE:
            _check_snapshots(place, copies, replicas, strangers)
        for snap in place.snapshots:
            assert not snap.is_deferred or snap.clones or not _ours(snap.holds), f"{snap.path}: our hold keeps it"
    for row in replicas.values():
        if row.instance.replica_state is ReplicaState.IN_SYNC and row.instance.status is ShareStatus.AVAILABLE:
            _check_base(row, copies, replicas)


def _ours(holds: set[str]) -> set[str]:
    return {tag.removeprefix(OURS) for tag in holds if tag.startswith(OURS)}


def _check_kind(place: Place, replicas: Mapping[str, Share]) -> None:
    row = replicas.get(place.instance_id)
    is_well = row is not None and row.instance.status is ShareStatus.AVAILABLE
    assert place.kind is not Kind.REHEARSAL, f"{place} is a rehearsal that nobody asked for"
    if place.kind is Kind.RECEIVING:
        assert row is not None, f"{place} waits for the first copy of a replica that is gone"
        assert not is_well, f"{place} is still there though its replica is available"
    assert not (is_well and place.filesystem.partial), f"{place} has a part of a stream that nobody goes on with"
    if place.kind is Kind.TOMBSTONE:
        is_needed = any(snap.clones or snap.holds for snap in place.snapshots)
        assert is_needed, f"{place} is a tombstone that nobody needs"
    if place.kind is Kind.DIVERGED:
        held = {snap.path for snap in place.snapshots if _ours(snap.holds)}
        assert not held, f"set aside, and held for ever: {held}"


def _check_snapshots(
    place: Place, copies: Mapping[str, Place], replicas: Mapping[str, Share], strangers: set[int]
) -> None:
    row = replicas.get(place.instance_id)
    if row is None or row.instance.status is not ShareStatus.AVAILABLE:
        return
    siblings = [other for other in replicas.values() if other.id == row.id]
    if any(other.instance.status is not ShareStatus.AVAILABLE for other in siblings):
        return  # what it may still need is not settled
    active = next(other for other in siblings if other.instance.replica_state is ReplicaState.ACTIVE)
    followers = {other.instance.id for other in siblings} - {active.instance.id}
    of_active = {snap.guid for snap in copies[active.instance.id].syncs}
    # What was an error when a replica was made has no instance there: it came with the copy, and goes with the other.
    users = {snap.guid for snap in copies[active.instance.id].snapshots if snap.local.get(KIND) == Kind.SNAPSHOT}
    for snap in place.snapshots:
        unknown = _ours(snap.holds) - followers
        assert not unknown, f"{place.host.name}:{snap.path} is held for {unknown}, who need nothing"
        kind = snap.local.get(KIND)
        is_known = kind is not None or snap.is_deferred or snap.guid in strangers | users
        assert is_known, f"{place.host.name}:{snap.path} is nobody's"
        assert kind == Kind.SYNC or not _ours(snap.holds), f"{place.host.name}:{snap.path} is held, and no base"
    # A replica keeps what another one starts from, to be its source one day, and learns with its own next sync only
    # that the other has gone on.
    surplus = [snap.name for snap in place.syncs if snap.guid not in of_active]
    assert not surplus or len(surplus) < len(followers), f"{place} keeps {surplus}, which are the bases of nothing"
    for snap in place.syncs:
        bases = {name.removeprefix(BASE_FOR) for name in snap.local if name.startswith(BASE_FOR)}
        is_base = place.instance_id != active.instance.id or bases & followers
        assert is_base, f"{place.host.name}:{snap.path} is kept for {bases or 'nobody'} of {followers}"


def _check_base(row: Share, copies: Mapping[str, Place], replicas: Mapping[str, Share]) -> None:
    active = next(
        other
        for other in replicas.values()
        if other.id == row.id and other.instance.replica_state is ReplicaState.ACTIVE
    )
    own, source = copies[row.instance.id], copies[active.instance.id]
    bases = [snap for snap in source.syncs if f"{BASE_FOR}{row.instance.id}" in snap.local]
    assert len(bases) == 1, f"{source} has {len(bases)} bases for {own}: {[snap.name for snap in bases]}"
    there = next((snap for snap in own.syncs if snap.guid == bases[0].guid), None)
    assert there is not None, f"{own} has lost its base {bases[0].path}"
    for place, snap in ((source, bases[0]), (own, there)):
        is_held = row.instance.id in _ours(snap.holds) or not place.host.flavour.can_hold
        assert is_held, f"{place.host.name}:{snap.path} is a base, and not held"


def check_nothing_left(hosts: Mapping[str, SimulatedHost]) -> None:
    """After everything was deleted: nothing of ours but what was set aside, and tombstones somebody needs."""
    for place in places(hosts):
        is_needed = place.kind is Kind.TOMBSTONE and any(snap.clones for snap in place.snapshots)
        assert place.kind is Kind.DIVERGED or is_needed, f"{place} was left behind"
        for snap in place.snapshots:
            assert not _ours(snap.holds), f"{place.host.name}:{snap.path} is held for nobody"
