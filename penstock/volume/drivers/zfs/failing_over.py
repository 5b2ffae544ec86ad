"""Serving volumes from another side, step by step; each looks before it acts, so that the same call goes on after a
crash.

The truth is with the copy of the highest reign, the *head*: the one that is served, or the one that made way for a
failover that has not ended. Where its side answers the failover is planned, for all volumes together: catch up while
clients still write; fence all; their last changes; then make the others active. Until the last step nothing is decided,
and a fault lifts the fences. Where it does not, each volume starts from what its replica holds, and says from when
that is. At no time do two sides serve a volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog

from penstock.errors import BackendFault, Conflict, Fault, InsufficientCapacity, Unavailable
from penstock.volume.drivers.zfs import accepting, spec
from penstock.volume.drivers.zfs.copies import Reign, VolumeCopy
from penstock.volume.drivers.zfs.fencing import PLANNED, UNPLANNED, activate, fence_copy, settle, stop_serving
from penstock.volume.drivers.zfs.identity import SOURCE, Kind
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.drivers.zfs.reigning import Numbers, Pair, lost_since, pair_of, raise_reign
from penstock.volume.drivers.zfs.replica_syncing import Sending, bring, snapshots_kept
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.errors import UnableToFailOver
from penstock.volume.models import VolumeModel
from penstock.zfs.faults import Busy, KeyNotLoaded, MountFailed
from penstock.zfs.holds import hold, release
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.lines import observe_line
from penstock.zfs.names import Dataset
from penstock.zfs.reigns import EPOCH, FENCED, PROMOTED, SYNCED_AT, SYNCED_GUID, Fence, base_for, hold_tag

CATCH_UPS = 3
OF_ONE = (Busy, MountFailed, KeyNotLoaded, InsufficientCapacity, BackendFault)  # not of the side that it is on
UNTOLD = "an earlier failover went on without the side that served it"

log = structlog.get_logger(__name__)

SendingOf = Callable[[VolumeModel], Sending]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one volume. `copy` is the one that is to be served now, None when there is none: `reason`, with
    the `fault` of this one alone that kept it from being served.

    `recovery_point` is the time whose state it starts from, when it was not planned: what was written later is not
    in it, nor snapshots that are not among `snapshots`. `reign` is what its row keeps.
    """

    volume: VolumeModel
    copy: VolumeCopy | None
    reign: Reign
    recovery_point: datetime | None = None
    reason: str = ""
    snapshots: Sequence[str] = ()
    fault: Fault | None = None


def fail_over(
    volumes: Sequence[VolumeModel],
    old: Side | None,
    new: Side,
    why: str,
    sending_of: SendingOf,
    numbers: Numbers,
    *,
    is_back: bool = False,
) -> list[Outcome]:
    """Serve the volumes from `new`; `old` is the side that did, None when it is away (`why`).

    `is_back`: the rows say that `new` serves them, and a failover that began is taken back.

    A volume that alone cannot be made active where the others are is in error; where none can, that is raised. Raises
    UnableToFailOver (nothing was failed over, and what was fenced serves on, but for what it names), Unavailable (a
    side, or the database, does not answer any more; go on by the same call).
    """
    found, strange = list[Pair](), list[Outcome]()
    for volume in volumes:
        try:
            found.append(pair_of(volume, old, new, is_back=is_back))
        except Conflict as fault:
            if old is not None:  # it is served, and would not be
                raise
            strange.append(_unserved(volume, new, fault))
    pairs = numbers.challenged(found)
    begun = [pair for pair in pairs if pair.is_done]
    for pair in begun:
        if pair.old is not None and pair.old.is_active:
            fence_copy(pair.old, Fence(pair.old.epoch, ""))
    outranked = {pair.volume.id: pair for pair in numbers.give(pair for pair in begun if pair.new.epoch < pair.given)}
    left = numbers.give(pair for pair in pairs if not pair.is_done)
    planned = [_undone(pair) for pair in left if pair.has_way_back]
    rest = [pair for pair in left if not pair.has_way_back]
    cause = why or "the side that served it has nothing of it"
    outcomes = [
        *(_unless_it_fails(pair, _again) for pair in (outranked.get(pair.volume.id, pair) for pair in begun)),
        *(_planned(planned, sending_of, is_begun=bool(begun)) if planned else ()),
        *(_unless_it_fails(pair, partial(_unplanned, why=cause)) for pair in rest),
        *strange,
    ]
    faults = [one.fault for one in outcomes if one.fault is not None]
    if faults and not any(one.copy for one in outcomes):
        raise faults[0]
    return outcomes


def _unless_it_fails(pair: Pair, serve: Callable[[Pair], Outcome]) -> Outcome:
    """What is wrong with this volume alone is no reason for the others not to be served."""
    try:
        return serve(pair)
    except OF_ONE as fault:
        return _unserved(pair.volume, pair.new.side, fault)


def _unserved(volume: VolumeModel, new: Side, fault: Fault) -> Outcome:
    log.warning("volume.not_activated", volume=volume.id, side=new.id, reason=fault.message)
    return Outcome(volume, None, Reign.of(volume), reason=fault.message, fault=fault)


def _undone(pair: Pair) -> Pair:
    """Where ZFS takes properties one at a time, an activation may have got half way: it was never served, and can still
    be brought to what the head holds."""
    seen = pair.new.seen
    is_half = seen is not None and seen.kind is Kind.REPLICA and seen.fence is None and seen.promoted is not None
    if not is_half:
        return pair
    pair.new.zfs.set(pair.new.dataset, {EPOCH: "0", "readonly": "on"})
    pair.new.zfs.inherit(pair.new.dataset, PROMOTED)
    return replace(pair, new=pair.new.again())


def _again(pair: Pair) -> Outcome:
    """What an earlier call began: it answers as that one would have; what is away may have served it since."""
    copy, seen = pair.new, pair.new.seen
    is_lossy = seen is not None and (seen.promoted == UNPLANNED or pair.is_passed_over)
    if copy.epoch < pair.reign:
        copy = raise_reign(pair, copy)
    settle(copy)
    return _outcome(pair, copy, seen.synced_at if seen is not None and is_lossy else None)


def _outcome(pair: Pair, copy: VolumeCopy, recovery_point: datetime | None = None, reason: str = "") -> Outcome:
    places = dict(Reign.of(copy.volume).places)
    for one in (copy, pair.old):
        if one is not None:
            _note_place(places, one.volume, one.side.id, one.side.settings, one.dataset)
    given = max(pair.given, pair.reign)
    kept = snapshots_kept(copy) if recovery_point is not None else ()
    return Outcome(copy.volume, copy, Reign(copy.epoch, places, given), recovery_point, reason, kept)


def with_place_left(outcome: Outcome, left: str, settings: Settings) -> Outcome:
    """Where the volume lies on the side `left`, also when that is away: its row names the place until the outcome is
    stored, and not any more from then on."""
    volume, reign = outcome.volume, outcome.reign
    if outcome.copy is None or Reign.of(volume).epoch >= reign.epoch:
        return outcome
    places = dict(reign.places)
    _note_place(places, volume, left, settings, spec.told_dataset(volume, settings))
    return replace(outcome, reign=replace(reign, places=places))


def _note_place(places: dict[str, str], volume: VolumeModel, side: str, settings: Settings, dataset: Dataset) -> None:
    places.pop(side, None)
    if dataset != spec.new_dataset(volume, settings):
        places[side] = str(dataset)


# --- planned --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handed:
    """A volume whose last changes have arrived. `base` is the snapshot both sides end in."""

    pair: Pair
    new: VolumeCopy
    base: SnapshotPoint


def _planned(pairs: Sequence[Pair], sending_of: SendingOf, *, is_begun: bool) -> list[Outcome]:
    fenced = {pair.volume.id for pair in pairs if pair.old is not None and pair.old.fence is not None}
    try:
        for pair in pairs:
            _catch_up(pair, sending_of)
        for pair in pairs:
            fenced.add(pair.volume.id)
            _fence(pair, Fence(pair.reign, pair.new.id))
        handed = [_last_changes(pair, sending_of) for pair in pairs]
    except Fault as fault:
        if is_begun:  # some volumes are served from there already: forward is the only way
            raise
        unlifted = [pair for pair in pairs if not _lift(pair)]
        told = _with_fences(fault.message, [pair for pair in unlifted if pair.volume.id in fenced])
        if not fault.retryable:
            raise UnableToFailOver(f"Nothing was failed over: {told}") from fault
        fault.message, fault.args = told, (told,)  # of its own kind: what is done about it depends on that
        raise
    return [_unless_it_fails(one.pair, partial(_hand_over, one=one, sending_of=sending_of)) for one in handed]


def _catch_up(pair: Pair, sending_of: SendingOf) -> None:
    """Bring most of it while clients still write, so that they are refused only for the last short delta."""
    if pair.old is None or not pair.old.is_active:
        return  # it made way already
    sending = sending_of(pair.new.volume)
    new = pair.new
    for _ in range(CATCH_UPS):
        brought = bring(pair.old, new, sending)
        new = brought.copy
        if brought.sent_bytes <= 4 * 2**20:
            return


def _fence(pair: Pair, fence: Fence) -> None:
    """Also one that made way for another failover: that one is over."""
    if pair.old is not None:
        fence_copy(pair.old, fence)


def _last_changes(pair: Pair, sending_of: SendingOf) -> _Handed:
    old = pair.old.again() if pair.old is not None else None
    if old is None:
        raise Conflict(f"volume {pair.new.volume.id} has nobody to give its last changes")
    brought = bring(old, pair.new.again(), sending_of(pair.new.volume))
    return _Handed(replace(pair, old=old), brought.copy, brought.base)


def _hand_over(pair: Pair, one: _Handed, sending_of: SendingOf) -> Outcome:
    old = pair.old
    if old is None or old.again().fence != old.fence:
        raise Conflict(f"another failover of volume {one.new.volume.id} has begun; this one ends here")
    since = pair.lost_since
    if since is not None:  # told again by `_again`, when we end before it is stored: what `old` says is gone then
        one.new.zfs.set(one.new.dataset, {SYNCED_AT: since.isoformat()})
    new = activate(one.new, pair.reign, _how(since))
    try:
        _reverse(old, new, one.base, sending_of(new.volume))
    except Fault as fault:  # clients wait for the new one; the next sync of the old one does it
        log.warning("volume.reversed_later", volume=new.volume.id, side=old.side.id, reason=fault.message)
    return _outcome(pair, new, since, UNTOLD if since is not None else "")


def _how(since: datetime | None) -> str:
    """The mark of an activation, from which a later call knows whether there is a loss to tell."""
    return PLANNED if since is None else UNPLANNED


def _reverse(old: VolumeCopy, new: VolumeCopy, base: SnapshotPoint, sending: Sending) -> None:
    """The old one follows the new one: both end in the snapshot of the last changes, which is its base now."""
    for copy in (new, old):
        line = observe_line(copy.zfs, copy.dataset, ())
        taken = line.by_guid(base.guid)
        if taken is None:
            raise Conflict(f"{copy.dataset} has lost {base.name}")
        hold(copy.zfs, [line.name(taken)], hold_tag(old.id))
        release(copy.zfs, [line.name(taken)], hold_tag(new.id))
        copy.zfs.set(line.name(taken), {base_for(old.id): "yes"})
    root = spec.root_of(new.volume.host, new.side.settings)
    marks = {
        EPOCH: str(new.epoch),
        SYNCED_GUID: str(base.guid),
        SOURCE: new.zfs.get(root, ["guid"])["guid"].value,
        SYNCED_AT: sending.clock.utc().isoformat(),
    }
    old.zfs.set(old.dataset, marks)
    old.zfs.inherit(old.dataset, FENCED)


def _lift(pair: Pair) -> bool:
    """Make the old one the volume again, under a reign of its own: who still believes in the failover finds it over.

    Also where an earlier call fenced it. Only before any new one was made active by us: one that does not answer any
    more was not active when we looked, and the reign that begins here outranks what it was told by the calls before.
    Its number was given with the failover's: only the hosts are needed. Targets are made again by whoever exports.
    False when it may still be fenced.
    """
    old = pair.old
    if old is None:
        return True
    try:
        if _is_active_now(pair.new):  # a process took over from us
            log.warning("volume.fence_stays", volume=old.volume.id, side=old.side.id)
            return False
        now = old.again()
        if now.fence is not None and now.fence.successor == pair.new.id and now.fence.epoch <= pair.reign:
            now = activate(now, pair.way_back, _how(pair.lost_since))
            log.warning("volume.fence_lifted", volume=old.volume.id, side=old.side.id, epoch=pair.way_back)
    except Fault as fault:  # the others' are lifted all the same; this one is asked for by the next call
        log.warning("volume.fence_not_lifted", volume=old.volume.id, side=old.side.id, reason=fault.message)
        return False
    return now.fence is None


def _with_fences(reason: str, left: Sequence[Pair]) -> str:
    """For whoever asked for the failover: which volumes nobody serves now, as far as is known, and what to do."""
    if not left:
        return reason
    side = next(pair.old.side.id for pair in left if pair.old is not None)
    first = ", ".join(pair.volume.id for pair in left[:3])
    ids = f"{first}, ..." if len(left) > 3 else first
    fenced = f"{len(left)} volume{'s' if len(left) > 1 else ''} may still be fenced on '{side}' ({ids})"
    return f"{reason.rstrip('.')}. {fenced}: fail over to '{side}' to serve what is there."


def _is_active_now(copy: VolumeCopy) -> bool:
    try:
        return copy.again().is_active
    except Unavailable as fault:
        log.warning("volume.not_looked_at", volume=copy.volume.id, side=copy.side.id, reason=fault.message)
        return False


# --- unplanned ------------------------------------------------------------------------------------------------------


def _unplanned(pair: Pair, why: str) -> Outcome:
    new, seen = pair.new, pair.new.seen
    synced_at = seen.synced_at if seen is not None else None
    is_told = synced_at is not None or not pair.is_passed_over
    if new.fence is not None and new.epoch >= pair.row_epoch and new.epoch > 0 and is_told:
        # it made way for a reign that never began: nobody has later data, unless the rows kept to the other side
        since = synced_at if pair.is_passed_over else lost_since(new, pair.row_epoch)
        active = activate(new, pair.reign, _how(since))
        return _outcome(pair, active, since, UNTOLD if since is not None else "")
    if seen is not None and seen.accepted is not None and accepting.is_older(new):
        # told again by `_again`, when we end before it is stored
        new.zfs.set(new.dataset, {SYNCED_AT: seen.accepted.isoformat()})
        _drop_old(pair)
        return _outcome(pair, activate(new, pair.reign, UNPLANNED), seen.accepted, accepting.WANTED)
    if seen is None or seen.kind is not Kind.REPLICA or seen.fence is not None or seen.synced_at is None:
        if new.is_active:  # of an older reign than the row's: what it holds is not the volume any more
            _fence_stale(pair)
        is_absent = seen is None
        reason = "its first copy has not ended" if is_absent else f"it is not in line with reign {pair.row_epoch}"
        return Outcome(new.volume, None, Reign.of(new.volume), reason=f"{new.side.id} cannot serve it: {reason}")
    _drop_old(pair)
    log.warning("volume.failed_over_unplanned", volume=new.volume.id, to=new.side.id, reason=why)
    return _outcome(pair, activate(new, pair.reign, UNPLANNED), seen.synced_at, why)


def _fence_stale(pair: Pair) -> None:
    """Best effort where the host answers: the volume is in error either way, and the others are to be served."""
    try:
        fence_copy(pair.new, Fence(pair.row_epoch, ""))
    except OF_ONE as fault:  # it has no target any more
        log.warning("volume.not_fenced", volume=pair.new.volume.id, side=pair.new.side.id, reason=fault.message)


def _drop_old(pair: Pair) -> None:
    """A side that answers, and has no copy to be believed, serves nothing of the volume."""
    if pair.old is not None:
        stop_serving(pair.old.side, [pair.old.volume])
