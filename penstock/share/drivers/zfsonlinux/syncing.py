"""One sync: a replica is brought to what its source holds now, by an increment, and says since when.

Between two syncs each replica has one base: a sync snapshot on either side, marked as its base on the source, held
where ZFS has holds, and destroyed when no replica needs it any more. A source that was not written since its newest
sync snapshot gives that one, so replicas share a base, and looking never makes anything that has to be sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from penstock.clock import Clock
from penstock.errors import BackendFault, Conflict, NotFound, Unavailable
from penstock.exports.model import Export
from penstock.host.streaming import Routes
from penstock.ids import new_id
from penstock.share.drivers.zfsonlinux import plan, spec
from penstock.share.drivers.zfsonlinux.exporting import wanted_export
from penstock.share.drivers.zfsonlinux.fencing import BOOT_SAFE, READ_ONLY, fence_copy
from penstock.share.drivers.zfsonlinux.identity import (
    EPOCH,
    FENCED,
    HOSTS,
    ID,
    KIND,
    OF,
    PROMOTED,
    REVERTED_TO,
    ROLE,
    SHARE_ID,
    SYNCED_AT,
    SYNCED_GUID,
    Fence,
    Kind,
    base_for,
)
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.replica_set import (
    Copy,
    Line,
    Taken,
    arriving,
    drop,
    hold_tag,
    is_arriving,
    observe_line,
    receiving,
)
from penstock.share.drivers.zfsonlinux.setting_aside import set_aside
from penstock.share.drivers.zfsonlinux.steps import Forget, Pairs, Rename, SetProperties, TakeSnapshot, carry_out
from penstock.share.models import ShareModel
from penstock.share.replication import Role, Watch
from penstock.units import gib_to_bytes
from penstock.zfs.changes import flush
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Diverged as DivergedFault
from penstock.zfs.faults import NewerSnapshots
from penstock.zfs.holds import hold, holds, release
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.snapshots import Side
from penstock.zfs.transfer import Transfer, look_at_source

log = structlog.get_logger(__name__)

OUR_ID = "[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}"
STAMP = "_[0-9]{8}T[0-9]{6}_[0-9a-f]{8}"  # as `snapshot_to_send` makes it


@dataclass(frozen=True, slots=True)
class Sending:
    """How data goes from host to host, and by which clock its age is told; `seen` is what the source was just now."""

    routes: Routes
    clock: Clock
    watch: Watch
    seen: Side | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """The target after a sync: as it is now, at which time the source was like that, and the bytes that took."""

    copy: Copy
    synced_at: datetime
    base: SnapshotPoint
    sent_bytes: int


def bring(source: Copy, target: Copy, replica_list: Sequence[ShareModel], sending: Sending) -> Brought:
    """Bring the target to what the source holds now, and mark it a replica of the source's reign.

    `replica_list` has all replicas of the share. What the target has of its own is set aside. Safe to repeat; an
    interrupted copy is gone on with. Raises what `Transfer.run` raises.
    """
    replica_ids = [model["id"] for model in replica_list]
    if source.seen is None:
        raise Conflict(f"{source.peer.section} has nothing of share {source.model['share_id']} to copy from")
    if target.epoch > source.epoch:
        raise Conflict(
            f"{target.dataset} is of reign {target.epoch}, {source.dataset} of {source.epoch}: not its source"
        )
    if target.role is Role.ACTIVE:
        target = fence_copy(target, Fence(source.highest_epoch, ""))
    _prepare(source, replica_list)
    target = settle_place(source, target)
    looked_at = sending.clock.utc()
    to, seen = snapshot_to_send(source, target, replica_ids, sending.clock)
    target, sent_bytes = _send(source, target, to, replace(sending, seen=seen))
    line = observe_line(target.zfs, target.dataset, replica_ids)
    arrived = line.newest
    if arrived is None or arrived.point.guid != to.guid:
        raise BackendFault(f"{target.dataset} was brought to {to.name}, and does not end in it")
    _mark(source, target, to.guid, looked_at, replica_list)
    move_base(source, target, arrived, line, replica_ids)
    return Brought(target.again(), looked_at, arrived.point, sent_bytes)


def settle_place(source: Copy, target: Copy) -> Copy:
    """Finish what an interrupted setting aside left."""
    seen = target.seen
    is_half_aside = seen is None or (seen.origin is not None and "_diverged_" in seen.origin.dataset.name)
    if not is_half_aside:
        return target
    points = observe_line(source.zfs, source.dataset, ()).points
    return set_aside(Copy(target.model, target.peer, target.dataset, None), points)


def hosts_of_others(copy: Copy, replica_list: Sequence[ShareModel]) -> str:
    """The mark that names where the share's other copies are."""
    return ",".join(sorted({model["host"] for model in replica_list if model["id"] != copy.id}))


def _prepare(source: Copy, replica_list: Sequence[ShareModel]) -> None:
    """From its first replica on, only we mount the active one: a host that reboots serves nothing by itself.

    Its NFS server learns that before ZFS does: the power may fail between the two.
    """
    seen = source.seen
    if seen is None or source.role is not Role.ACTIVE:
        return
    if not seen.is_mounted:  # its host was restarted: the last writes may be in the intent log until somebody mounts it
        raise Unavailable(
            f"{source.dataset} on {source.peer.section} is not mounted yet, so its last writes are not seen"
        )
    wanted = (
        (*BOOT_SAFE, not seen.is_boot_safe),
        (HOSTS, hosts := hosts_of_others(source, replica_list), ",".join(seen.marks.hosts) != hosts),
        (ROLE, Role.ACTIVE.value, seen.marks.role is None),
    )
    pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    if not seen.is_boot_safe:
        source.peer.storage.nfs.put_back(lambda: _mounted_by_us(source))
    if pairs:
        carry_out((SetProperties(source.dataset, pairs),), source.zfs)


def _mounted_by_us(source: Copy) -> list[Export]:
    """Its export, from a fresh look at its rules, as one that is not mounted at boot."""
    seen = observe_share(source.zfs, source.dataset)
    export = wanted_export(seen) if seen is not None and seen.is_mounted else None
    return [] if export is None else [replace(export, is_mounted_at_boot=False)]


# --- what to send ---------------------------------------------------------------------------------------------------


def snapshot_to_send(
    source: Copy, target: Copy, replica_ids: Sequence[str], clock: Clock
) -> tuple[SnapshotPoint, Side | None]:
    """The source's present state as a snapshot marked and held as the target's next base. Raises NotFound.

    With it the source as it was seen after a new snapshot.
    """
    zfs = source.zfs
    line = observe_line(zfs, source.dataset, replica_ids)
    if _ends_in_sync(line):  # as far as is counted; a snapshot would have what is not counted yet
        flush(zfs, source.dataset.pool)
        line = observe_line(zfs, source.dataset, replica_ids)
    newest = line.newest
    if newest is not None and _ends_in_sync(line):
        if target.id not in newest.bases:
            carry_out((SetProperties(line.name(newest), ((base_for(target.id), "yes"),)),), zfs)
        hold(zfs, [line.name(newest)], hold_tag(target.id))
        return newest.point, None
    _forget_unsent(zfs, line, target)
    prefix = source.peer.settings.replica_snapshot_prefix
    stamp = clock.utc().strftime("%Y%m%dT%H%M%S")
    name = source.dataset.snapshot(f"{prefix}{target.id.replace('-', '_')}_{stamp}_{new_id()[:8]}")
    carry_out((TakeSnapshot(name, ((base_for(target.id), "yes"), (KIND, Kind.SYNC.value))),), zfs)
    hold(zfs, [name], hold_tag(target.id))
    side = look_at_source(zfs, source.dataset)
    point = side.point(name.name)
    if point is None:
        raise NotFound(f"{name} was taken, and is gone")
    return point, side


def _ends_in_sync(line: Line) -> bool:
    """Was nothing written since a snapshot of ours?"""
    return line.newest is not None and line.newest.kind is Kind.SYNC and line.written_bytes == 0


def _forget_unsent(zfs: Zfs, line: Line, target: Copy) -> None:
    """Of syncs that did not end, all snapshots but the first go: that one may be on its way, to be gone on with."""
    base = line.by_guid(target.seen.marks.synced_guid) if target.seen is not None else None
    unsent = [t for t in line.syncs if target.id in t.bases and (base is None or t.point > base.point)]
    for taken in unsent[1:]:
        if taken.bases == {target.id}:
            drop(zfs, line, taken)


# --- sending --------------------------------------------------------------------------------------------------------


def _send(source: Copy, target: Copy, to: SnapshotPoint, sending: Sending) -> tuple[Copy, int]:
    before = 0
    if target.seen is None:
        target, before = _first_copy(source, target, to, sending)
    target = _follow_revert(source, target)
    if _was_written_beyond(target, to):
        target = set_aside(target, observe_line(source.zfs, source.dataset, ()).points)
    elif target.seen is not None:
        carry_out(_size(target), target.zfs)
        try:
            return target, before + _transfer(source, target, to, target.dataset, sending)
        except DivergedFault as fault:
            log.warning("replica.modified", replica=target.id, reason=fault.message)
        target = set_aside(target, observe_line(source.zfs, source.dataset, ()).points)
    if target.seen is None:
        return _first_copy(source, target, to, sending)
    return target, _transfer(source, target, to, target.dataset, sending)


def _was_written_beyond(target: Copy, to: SnapshotPoint) -> bool:
    """Was it active once, and written since the very snapshot it is to end in? Nothing is sent then, so that no receive
    would notice."""
    if target.seen is None or target.role is Role.REPLICA:
        return False
    line = observe_line(target.zfs, target.dataset, ())
    return line.newest is not None and line.newest.point.guid == to.guid and line.written_bytes > 0


def _size(target: Copy) -> plan.Steps:
    seen = target.seen
    if seen is None:
        return ()
    return plan.plan_size(seen.dataset, target.model["size"], seen, is_thick=spec.is_thick(target.model))


def _transfer(source: Copy, target: Copy, to: SnapshotPoint, into: Dataset, sending: Sending) -> int:
    transfer = Transfer(
        source.zfs,
        source.dataset.snapshot(to.name),
        target.zfs,
        into,
        route=sending.routes.between(source.peer.storage.host, target.peer.storage.host),
        properties=_native(target),
        seen=sending.seen,
    )
    limit = source.peer.settings.bandwidth_limit_bytes_per_s
    watch = sending.watch
    return transfer.run(watch.on_progress, watch.should_stop, limit).sent_bytes


def _native(target: Copy) -> dict[str, str]:
    """What a replica's dataset is made with; its type and backend decide, as for any share."""
    options = spec.creation_options(target.model["extra_specs"], target.peer.settings, target.zfs.flavour)
    return {**dict(options), **dict((READ_ONLY, BOOT_SAFE))}


def make_placeholder(target: Copy) -> None:
    """The empty dataset of ours that the first copy arrives in: so what is half received is known to be ours.

    Raises Conflict when something else has its name, NotFound, InsufficientCapacity.
    """
    place = receiving(target.dataset)
    marks = {
        "canmount": "off",
        "mountpoint": "none",
        SHARE_ID: target.model["share_id"],
        OF: target.id,
        KIND: Kind.RECEIVING.value,
    }
    try:
        target.zfs.create(place, marks, parents=False)
    except Conflict:
        if not is_arriving(target, place):
            raise


def _first_copy(source: Copy, target: Copy, to: SnapshotPoint, sending: Sending) -> tuple[Copy, int]:
    """Everything, into the placeholder; when it is whole it takes its place by a rename, and is marked there.

    Until its kind is written it is known for what it is by ``penstock:of``, wherever it lies.
    """
    zfs, inside = target.zfs, arriving(target.dataset)
    sent_bytes = 0
    if not is_arriving(target, target.dataset):
        make_placeholder(target)
        sent_bytes = _transfer(source, target, to, inside, sending)
        carry_out((SetProperties(inside, _first_marks(target)), Rename(inside, target.dataset)), zfs)
    place = receiving(target.dataset)
    if is_arriving(target, place):
        zfs.destroy(place, recursive=False)
    carry_out(
        (
            SetProperties(target.dataset, ((ID, target.id), (KIND, Kind.SHARE.value))),
            Forget(target.dataset, (OF,)),
        ),
        zfs,
    )
    return target.again(), sent_bytes


def _first_marks(target: Copy) -> Pairs:
    """All but what makes it the replica. Of no reign yet: until a sync has ended it is nobody's source."""
    identity = replace(spec.share_identity(target.model, target.model["size"]), epoch=0).properties(Kind.RECEIVING)
    size = str(gib_to_bytes(target.model["size"]))
    thick = {"refreservation": size} if spec.is_thick(target.model) else {}
    marks = {**_native(target), "refquota": size, **thick, ROLE: Role.DEMOTED.value, OF: target.id, **identity}
    del marks[ID]
    return tuple(marks.items())


def _follow_revert(source: Copy, target: Copy) -> Copy:
    """When the owner reverted the source to a snapshot that the target has, go back, too.

    Only snapshots taken to move data are destroyed for it; where there is anything else after it, nothing is done here.
    """
    guid = source.seen.marks.reverted_to if source.seen is not None else None
    if guid is None:
        return target
    line = observe_line(target.zfs, target.dataset, ())
    to = line.by_guid(guid)
    if to is None or target.role is not Role.REPLICA:
        return target
    known = {point.guid for point in observe_line(source.zfs, source.dataset, ()).points}
    newer = [taken for taken in line.taken if taken.point > to.point]
    if any(taken.point.guid in known or taken.kind is not Kind.SYNC for taken in newer):
        return target
    for taken in newer:
        drop(target.zfs, line, taken)
    was_mounted = target.seen is not None and target.seen.is_mounted
    if was_mounted and not target.zfs.flavour.rename_while_mounted:
        target.peer.storage.nfs.remove([str(target.seen.mountpoint)] if target.seen else [])
    try:
        target.zfs.rollback(line.name(to), destroy_newer=False)
    except NewerSnapshots as fault:
        log.warning("replica.not_reverted", replica=target.id, reason=fault.message)
    return target.again()


# --- afterwards -----------------------------------------------------------------------------------------------------


def _mark(source: Copy, target: Copy, guid: int, looked_at: datetime, replica_list: Sequence[ShareModel]) -> None:
    """Say what it is and since when; the role comes last: until then it does not serve."""
    seen = target.seen
    if seen is None:
        return
    wanted = (
        (EPOCH, str(source.epoch), seen.epoch != source.epoch),
        (SYNCED_GUID, str(guid), seen.marks.synced_guid != guid),
        (SYNCED_AT, looked_at.isoformat(), True),
        (*READ_ONLY, not seen.is_readonly),
        (*BOOT_SAFE, not seen.is_boot_safe),
        (HOSTS, hosts := hosts_of_others(target, replica_list), ",".join(seen.marks.hosts) != hosts),
        (ROLE, Role.REPLICA.value, seen.marks.role is not Role.REPLICA),
    )
    pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    carry_out((SetProperties(target.dataset, pairs),), target.zfs)
    stale = tuple(
        name
        for name, value in (
            (OF, seen.of),
            (FENCED, seen.marks.fence),
            (PROMOTED, seen.marks.promoted),
            (REVERTED_TO, seen.marks.reverted_to),
        )
        if value is not None
    )
    if stale:
        carry_out((Forget(target.dataset, stale),), target.zfs)


def move_base(source: Copy, target: Copy, arrived: Taken, line: Line, replica_ids: Sequence[str]) -> None:
    """From now on increments start from `arrived`; older bases that nobody needs go, on either side."""
    hold(target.zfs, [line.name(arrived)], hold_tag(target.id))
    if target.id.replace("-", "_") not in arrived.point.name:  # made for another replica
        followers = {hold_tag(replica_id) for replica_id in replica_ids if replica_id != source.id}
        for copy in (source, target):
            trim(copy.zfs, copy.dataset.snapshot(arrived.point.name), followers)
    theirs = observe_line(source.zfs, source.dataset, replica_ids)
    carried = _clean_source(source, target, theirs, arrived.point.guid, replica_ids)
    unmarked = [line.name(taken) for taken in line.taken if taken.kind is None and taken.point.guid in carried]
    target.zfs.set_each(unmarked, {KIND: Kind.SYNC.value})
    for taken in line.syncs:
        if taken.point.guid not in carried:
            drop(target.zfs, line, taken)
    for taken in deleted_on_their_way(line, theirs, [source.peer.settings, target.peer.settings]):
        drop(target.zfs, line, taken)


def deleted_on_their_way(line: Line, theirs: Line, settings: Sequence[Settings]) -> list[Taken]:
    """Snapshots of users, and of syncs, that came and were deleted at the source before anybody marked them here. Pure.

    Nobody would ever ask for them again. What is unmarked and called otherwise is somebody else's.
    """
    there = {point.guid for point in theirs.points}
    patterns = [re.escape(one.snapshot_prefix) + OUR_ID for one in settings]
    patterns += [re.escape(one.replica_snapshot_prefix) + OUR_ID + STAMP for one in settings]
    ours = re.compile("|".join(patterns))
    unmarked = [taken for taken in line.taken if taken.kind is None and taken.point.guid not in there]
    return [taken for taken in unmarked if ours.fullmatch(taken.point.name)]


def trim(zfs: Zfs, name: SnapshotName, wanted: set[str]) -> None:
    """Let go of it for whoever is not wanted; other people's holds stay."""
    for tag in holds(zfs, [name]).get(name, frozenset()) - wanted:
        if tag.startswith(hold_tag("")):
            release(zfs, [name], tag)


def _clean_source(source: Copy, target: Copy, line: Line, base_guid: int, replica_ids: Sequence[str]) -> set[int]:
    """Let go of the target's older bases there; the GUIDs of the sync snapshots that stay."""
    old = [t for t in line.syncs if target.id in t.bases and t.point.guid != base_guid]
    for taken in old:
        release(source.zfs, [line.name(taken)], hold_tag(target.id))
        if taken.bases != {target.id}:
            carry_out((Forget(line.name(taken), (base_for(target.id),)),), source.zfs)
    gone = removable(line, source.id, target.id, base_guid, replica_ids)
    for taken in gone:
        drop(source.zfs, line, taken)
    return {taken.point.guid for taken in line.syncs if taken not in gone}


def removable(line: Line, source_id: str, target_id: str, base_guid: int, replica_ids: Sequence[str]) -> list[Taken]:
    """The sync snapshots that no replica's next increment starts from. Pure.

    Those without a known need may be what a replica that has no base here yet starts from (after a promotion), so
    they stay until each replica has one.
    """
    followers = [replica_id for replica_id in replica_ids if replica_id != source_id]
    bases = {i for taken in line.syncs for i in taken.bases}
    is_settled = all(follower in bases for follower in followers)
    gone = []
    for taken in line.syncs:
        needs = taken.bases - {target_id} if taken.point.guid != base_guid else taken.bases
        needs &= set(followers)
        if not needs and (is_settled or taken.bases == {target_id}) and taken.point.guid != base_guid:
            gone.append(taken)
    return gone
