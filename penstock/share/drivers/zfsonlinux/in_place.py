"""Another share type on the same pool, where nothing has to be written anew: the dataset stays, and takes a new owner.

Same path, same exports, same clients. Compression and deduplication only change what is written from then on, so a type
that asks for other than the dataset has is met by a copy, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.errors import Conflict, ShareResourceNotFound
from penstock.share.drivers.zfsonlinux import plan, spec
from penstock.share.drivers.zfsonlinux.fencing import serve_stored
from penstock.share.drivers.zfsonlinux.identity import ID, Kind
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.peers import Peer
from penstock.share.drivers.zfsonlinux.replica_set import Copy, observe
from penstock.share.drivers.zfsonlinux.steps import SetProperties, carry_out, settle
from penstock.share.models import ShareModel, SnapshotModel
from penstock.zfs.lines import observe_line


def is_possible(own: Peer, source: ShareModel, target: ShareModel) -> bool:
    """Is it the same pool, and does the dataset have what the new type asks for? One command."""
    if source["host"] != target["host"]:
        return False
    seen = observe(own, source).seen or observe(own, target).seen
    if seen is None:
        return False
    asked = dict(spec.creation_options(target["extra_specs"], own.settings, own.storage.flavour))
    has = {"compression": seen.compression, "dedup": seen.dedup}
    return all(asked.get(name, value) == value for name, value in has.items())


def take_over(
    own: Peer,
    source: ShareModel,
    target: ShareModel,
    mappings: Mapping[str, SnapshotModel],
    snapshots: Sequence[SnapshotModel],
) -> Copy:
    """Make the source's dataset the target's. Safe to repeat: the id comes last, and says that it is done.

    Raises InsufficientCapacity when the new type sets space aside that is not there: then nothing is changed.
    """
    done = observe(own, target)
    if done.seen is None:
        here = observe(own, source)
        if here.seen is None:
            raise ShareResourceNotFound(f"share {source['share_id']} is not on the backend")
        is_thick = spec.is_thick(target)
        settle(lambda: plan.plan_size(here.dataset, target["size"], _seen(here), is_thick=is_thick), here.zfs)
        _mark_snapshots(here, mappings, snapshots)
        marks = spec.share_identity(target, target["size"]).properties(Kind.SHARE)
        epoch = {name: value for name, value in marks.items() if not name.endswith(":epoch") and name != ID}
        carry_out((SetProperties(here.dataset, (*epoch.items(), (ID, marks[ID]))),), here.zfs)
        done = observe(own, target)
    serve_stored(done)
    return done


def give_back(own: Peer, target: ShareModel) -> None:
    """Nothing was changed before the last step. Raises Conflict when that was done."""
    if observe(own, target).seen is not None:
        raise Conflict("the share has its new type already: that can only be completed")


def _seen(copy: Copy) -> SeenShare:
    seen = observe_share(copy.zfs, copy.dataset)
    if seen is None:
        raise ShareResourceNotFound(f"{copy.dataset} went away")
    return seen


def _mark_snapshots(copy: Copy, mappings: Mapping[str, SnapshotModel], snapshots: Sequence[SnapshotModel]) -> None:
    line = observe_line(copy.zfs, copy.dataset, ())
    for here in snapshots:
        there, taken = mappings.get(here["id"]), line.owned_by(here["id"])
        if there is None or taken is None:
            continue
        identity = spec.snapshot_identity(there, there["share_size"])
        pairs = tuple(identity.properties(Kind.SNAPSHOT).items())
        carry_out((SetProperties(line.name(taken), pairs),), copy.zfs)
