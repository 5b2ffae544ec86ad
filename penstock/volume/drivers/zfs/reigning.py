"""Who outranks whom: a volume's copies on the two sides of a failover, and the numbers of reigns.

A reign's number is given out by the volume's row, and is there on disk before any side is told of it. So none is given
twice, and a new one is higher than whatever a side that is away may have been told by a call that ended too early.
Where the old copy has to make way, two are given out at once: the lower is for that, should the failover be taken back,
which then needs the hosts alone. The higher, which the row knows, is the new copy's: no call begins reigns of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from penstock.errors import BackendFault, Conflict
from penstock.volume.drivers.zfs.copies import Reign, VolumeCopy, observe_copy
from penstock.volume.drivers.zfs.fencing import PLANNED, UNPLANNED
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.models import VolumeModel
from penstock.volume.records import Records
from penstock.zfs.changes import flush
from penstock.zfs.lines import observe_line
from penstock.zfs.reigns import EPOCH, PROMOTED

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """A volume's copy on the side that is to serve it, and on the one that does; `old` is None when that is away.

    `is_back`: the rows say that it is served where it is to be served, so that a failover that began is taken back.
    `given` is the highest number given out before, `reign` the one that this call may begin a reign by.
    """

    new: VolumeCopy
    old: VolumeCopy | None
    is_back: bool = False
    given: int = 0
    reign: int = 0

    @property
    def volume(self) -> VolumeModel:
        return self.new.volume

    @property
    def row_epoch(self) -> int:
        return Reign.of(self.volume).epoch

    @property
    def highest(self) -> int:
        """Of all that are known, and all that were given out."""
        known = [self.given, self.reign, self.row_epoch, self.new.highest_epoch]
        return max(*known, self.old.highest_epoch if self.old is not None else 0)

    @property
    def way_back(self) -> int:
        """The number for the old one, which made way, when the new one's reign does not begin: above all before it."""
        return self.reign - 1

    @property
    def has_way_back(self) -> bool:
        """Is there an old one that may have to be served again?"""
        return self.old is not None and self.old.was_active

    @property
    def lost_since(self) -> datetime | None:
        """From when on writes are lost that nobody was told of: the old one became the volume without the one before,
        by a call that ended too early for any row to know of its reign."""
        return lost_since(self.old, self.row_epoch) if self.old is not None else None

    @property
    def is_done(self) -> bool:
        """Did an earlier call get as far as making the new one active?"""
        is_older = self.old is None or not self.old.is_active or self.old.epoch < self.new.epoch
        return self.new.is_active and self.new.epoch >= self.row_epoch and is_older

    @property
    def is_passed_over(self) -> bool:
        """May the side that serves it, and is away, have done so under a later reign than the new one's?"""
        is_away = self.old is None or self.old.seen is None
        return is_away and not self.is_back and self.new.epoch < self.given

    @property
    def is_challenged(self) -> bool:
        """Is the copy that the rows say is served outranked by one that was never served, and has nothing of its own?

        An earlier call made that one active, and ended before any row knew: until then nobody is let in to it.
        """
        here, there = (self.new, self.old) if self.is_back else (self.old, self.new)
        if here is None or there is None or not here.is_active or not there.is_active:
            return False
        return self.row_epoch <= here.epoch < there.epoch and not _has_data_of_its_own(there)


def pair_of(volume: VolumeModel, old: Side | None, new: Side, *, is_back: bool) -> Pair:
    """The copies as they are now. Raises Unavailable, Conflict (what is on the new side is another's)."""
    there, given = observe_copy(volume, new, is_served=False), Reign.of(volume).given
    try:
        here = observe_copy(volume, old, is_served=True) if old is not None else None
    except Conflict as fault:
        log.warning("volume.not_where_it_was", volume=volume.id, reason=fault.message)
        here = None
    return Pair(there, here, is_back, given)


def lost_since(copy: VolumeCopy, row_epoch: int) -> datetime | None:
    """From when on writes are lost that no row knows of; None when none are."""
    seen = copy.seen
    is_untold = seen is not None and seen.promoted == UNPLANNED and copy.epoch > row_epoch
    return seen.synced_at if seen is not None and is_untold else None


def _has_data_of_its_own(copy: VolumeCopy) -> bool:
    flush(copy.zfs, copy.dataset.pool)
    line = observe_line(copy.zfs, copy.dataset, ())
    synced = copy.seen.synced_guid if copy.seen is not None else None
    return line.newest is None or line.newest.point.guid != synced or line.written_bytes > 0


# --- numbers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Numbers:
    """Gives them out."""

    records: Records

    def give(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Each with numbers that nothing has had, and that its row knows from now on. Raises Unavailable: none has."""
        given = [replace(pair, reign=pair.highest + (2 if pair.has_way_back else 1)) for pair in pairs]
        self._note((pair.volume, pair.reign) for pair in given)
        return given

    def challenged(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The same pairs; what was challenged outranks the other now: nothing is lost by going on from it."""
        raised = {pair.volume.id: _answered(pair) for pair in self.give(one for one in pairs if one.is_challenged)}
        return [raised.get(pair.volume.id, pair) for pair in pairs]

    def outrank(self, copies: Sequence[VolumeCopy]) -> None:
        """Have the copies, which are active, outrank whatever was begun elsewhere and did not end.

        `copies` are on the side that serves; what was begun is on another, which need not answer. Safe to repeat.
        """
        behind = [copy for copy in copies if copy.epoch < Reign.of(copy.volume).given]
        for pair in self.give(Pair(copy, None, True, Reign.of(copy.volume).given) for copy in behind):
            raise_reign(pair, pair.new)

    def begin_again(self, copy: VolumeCopy) -> str | None:
        """Have the volume, whose replication ended once, outrank what a side that was away then may still have of it.
        Returns what its row keeps (``replication_driver_data``). Safe to repeat."""
        given = Reign.of(copy.volume).given
        if given:
            self.outrank([copy])
            given = max(given, copy.again().epoch)
        return without_copies(given)

    def _note(self, numbers: Iterable[tuple[VolumeModel, int]]) -> None:
        rows = ((volume.id, replace(Reign.of(volume), given=number)) for volume, number in numbers)
        updates = {volume_id: {"replication_driver_data": str(row)} for volume_id, row in rows}
        if updates:
            self.records.update_volumes(updates)


def without_copies(given: int) -> str | None:
    """What the row of a volume keeps that has no copies: the highest number that was given out, where there is one."""
    return str(Reign(given=given)) if given else None


def _answered(pair: Pair) -> Pair:
    if pair.is_back:
        return replace(pair, new=raise_reign(pair, pair.new), given=pair.reign)
    if pair.old is None:
        return pair
    return replace(pair, old=raise_reign(pair, pair.old), given=pair.reign)


def raise_reign(pair: Pair, copy: VolumeCopy) -> VolumeCopy:
    """Have the active `copy` of the pair be of its reign. Safe to repeat. Raises BackendFault when it is not then.

    It says of a loss what it said before, until the rows know: then it was told.
    """
    seen = copy.seen
    how = UNPLANNED if pair.is_passed_over else PLANNED if copy.epoch <= pair.row_epoch else None
    if seen is None or seen.kind is not Kind.VOLUME:
        raise BackendFault(f"{copy.dataset} on {copy.side.id} is not volume {copy.volume.id} any more")
    copy.zfs.set(copy.dataset, {**({PROMOTED: how} if how else {}), EPOCH: str(pair.reign)})
    after = copy.again()
    if after.epoch != pair.reign or not after.is_active:
        raise BackendFault(f"{copy.dataset} on {copy.side.id} was to be of reign {pair.reign}, and is not")
    log.warning("volume.reign_raised", volume=copy.volume.id, side=copy.side.id, epoch=pair.reign)
    return after
