"""A share's copies over their hosts: where each is, what it is, and its snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from penstock.clock import Clock
from penstock.errors import Fault, NotFound, Unavailable
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.identity import KIND, Kind
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.options import naming_of
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.models import ShareModel
from penstock.share.replication import Role
from penstock.zfs.bases import End
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from penstock.zfs.reigns import OF, Fence

LOOKS = 3
PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Copy:
    """One replica on its host. `seen` is None while it holds nothing: not made yet, or its first copy on its way."""

    model: ShareModel
    peer: Peer
    dataset: Dataset
    seen: SeenShare | None

    @property
    def id(self) -> str:
        """The share instance's id."""
        return self.model.id

    @property
    def zfs(self) -> Zfs:
        """ZFS where it is."""
        return self.peer.storage.zfs

    @property
    def role(self) -> Role | None:
        """None while it holds nothing."""
        return self.seen.role if self.seen is not None else None

    @property
    def epoch(self) -> int:
        """Of which reign its data is; 0 while it holds nothing."""
        return self.seen.epoch if self.seen is not None else 0

    @property
    def fence(self) -> Fence | None:
        """For which reign it was fenced."""
        return self.seen.marks.fence if self.seen is not None else None

    @property
    def highest_epoch(self) -> int:
        """The highest reign it knows of."""
        return max(self.epoch, self.fence.epoch if self.fence else 0)

    @property
    def end(self) -> End:
        """As one end of a sync."""
        synced_guid = self.seen.marks.synced_guid if self.seen is not None else None
        return End(self.id, self.zfs, self.dataset, naming_of(self.peer.settings), synced_guid)

    def again(self) -> Copy:
        """Looked at once more."""
        return observe(self.peer, self.model)


def receiving(dataset: Dataset) -> Dataset:
    """The empty dataset that the first copy arrives in."""
    return Dataset(f"{dataset.path}_receiving")


def arriving(dataset: Dataset) -> Dataset:
    """Where the first copy is while it is not whole."""
    return receiving(dataset).child("data")


def rehearsal(dataset: Dataset) -> Dataset:
    """The clone for a rehearsal."""
    return Dataset(f"{dataset.path}_rehearsal")


def is_arriving(target: Copy, place: Dataset) -> bool:
    """Is it the replica's placeholder, or the first copy that is not the replica yet?"""
    found = target.zfs.get_many([place], (KIND, OF)).get(str(place))
    return found is not None and (found[KIND].value, found[OF].value) == (Kind.RECEIVING.value, target.id)


def observe(peer: Peer, model: ShareModel) -> Copy:
    """The copy as it is now. Raises Unavailable when nobody can tell: the host is away, its pool not imported."""
    finder = Finder(peer.storage.zfs, peer.settings)
    place = finder.place(model)
    seen = observe_share(peer.storage.zfs, place)
    if seen is None or not seen.belongs_to(model.id):
        seen = finder.share(model)
        if seen is not None and seen.dataset == arriving(place):
            seen = None  # whole and marked, but not in its place yet: `bring` completes it
    return Copy(model, peer, seen.dataset if seen is not None else place, seen)


@dataclass(frozen=True, slots=True)
class CopySet:
    """All copies of a share that answered; `away` has the reason of each that did not, by instance id."""

    copies: tuple[Copy, ...]
    away: Mapping[str, str]

    def get(self, instance_id: str) -> Copy | None:
        """The copy, None when it did not answer or is none of them."""
        return next((copy for copy in self.copies if copy.id == instance_id), None)

    def having(self, copy: Copy) -> CopySet:
        """With one more."""
        return CopySet((*self.copies, copy), self.away)

    def others(self, instance_id: str) -> tuple[Copy, ...]:
        """All that answered but this one."""
        return tuple(copy for copy in self.copies if copy.id != instance_id)


def observe_all(peers: Peers, models: Sequence[ShareModel], clock: Clock) -> CopySet:
    """Every copy whose host can be asked; one that does not answer is asked again before it counts as away.

    A moment's trouble must not make a promotion an unplanned one.
    """
    copies: list[Copy] = []
    away: dict[str, str] = {}
    for look in range(LOOKS):
        if look and away:
            clock.sleep(PAUSE_S)
        for model in models:
            if look and model["id"] not in away:
                continue
            try:
                copies.append(observe(peers.storage_of(model["host"]), model))
                away.pop(model["id"], None)
            except Unavailable as fault:
                away[model["id"]] = fault.message
    return CopySet(tuple(copies), away)


def if_it_answers(action: Callable[[], None]) -> Fault | None:
    """Do something on another host that can as well be done later; why it was not done, None when it was."""
    try:
        action()
    except (Unavailable, NotFound) as fault:
        return fault
    return None


def roots_of(peer: Peer, model: ShareModel) -> Dataset:
    """Where the copy's backend keeps shares of that pool."""
    return spec.root_of(model["host"], peer.settings)
