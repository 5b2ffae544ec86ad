"""A replica's data on its way: one transfer between two copies, and what the dataset it ends in is made with."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.clock import Clock
from penstock.host.streaming import Routes
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.fencing import BOOT_SAFE, READ_ONLY
from penstock.share.drivers.zfsonlinux.replica_set import Copy
from penstock.share.replication import Watch
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.names import Dataset
from penstock.zfs.snapshots import Side
from penstock.zfs.transfer import Transfer


@dataclass(frozen=True, slots=True)
class Sending:
    """How data goes from host to host, and by which clock its age is told; `seen` is what the source was just now."""

    routes: Routes
    clock: Clock
    watch: Watch
    seen: Side | None = None


def transfer(source: Copy, target: Copy, to: SnapshotPoint, into: Dataset, sending: Sending) -> int:
    """Have `to` in `into` on the target's host; the bytes sent. Raises what `Transfer.run` raises. Safe to repeat."""
    way = Transfer(
        source.zfs,
        source.dataset.snapshot(to.name),
        target.zfs,
        into,
        route=sending.routes.between(source.peer.storage.host, target.peer.storage.host),
        properties=native_options(target),
        seen=sending.seen,
    )
    limit = source.peer.settings.bandwidth_limit_bytes_per_s
    return way.run(sending.watch.on_progress, sending.watch.should_stop, limit).sent_bytes


def native_options(target: Copy) -> dict[str, str]:
    """What a replica's dataset is made with; its type and backend decide, as for any share."""
    options = spec.creation_options(target.model["extra_specs"], target.peer.settings, target.zfs.flavour)
    return {**dict(options), **dict((READ_ONLY, BOOT_SAFE))}
