"""Simulated ``zfs send`` and ``zfs receive``: full and incremental streams, matched by GUID as real ones are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.zfs_model import Model, Refused
from tests.simulation.zfs_state import EMPTY_BYTES, Block, Filesystem, Snap


@dataclass(frozen=True, slots=True)
class Stream:
    """What ``zfs send`` prints. `base` is the GUID of the snapshot it starts from, None for a full one."""

    name: str
    guid: int
    base: int | None
    blocks: tuple[Block, ...]
    properties: dict[str, str]
    snapshot_properties: dict[str, str]

    @property
    def size(self) -> int:
        return sum(block.size for block in self.blocks)


def send(model: Model, path: str, *, base: str | None, with_properties: bool) -> Stream:
    try:
        snap = model.snap(path)
    except Refused:
        if model.is_old:
            raise Refused(f"WARNING: could not send {path}: does not exist") from None
        raise
    start = model.snap(base if "@" in base and not base.startswith("@") else snap.owner.path + base) if base else None
    if start is not None and start.txg >= snap.txg:
        raise Refused(f"warning: cannot send '{path}': not an earlier snapshot from the same fs")
    return Stream(
        snap.name,
        snap.guid,
        start.guid if start else None,
        tuple(snap.blocks.values()),
        dict(snap.owner.local) if with_properties else {},
        dict(snap.local) if with_properties else {},
    )


def receive(model: Model, stream: Stream, path: str, local: Mapping[str, str], now: int, *, mounts: bool) -> None:
    target = model.state.filesystems.get(path)
    if stream.base is None:
        _receive_full(model, stream, path, target, local, now, mounts=mounts)
    else:
        _receive_incremental(model, stream, path, target, now)


def _receive_full(
    model: Model,
    stream: Stream,
    path: str,
    target: Filesystem | None,
    local: Mapping[str, str],
    now: int,
    *,
    mounts: bool,
) -> None:
    what = "cannot receive new filesystem stream"
    if target is not None:
        raise Refused(f"{what}: destination '{path}' exists\nmust specify -F to overwrite it")
    parent = model.state.filesystems.get(path.rpartition("/")[0])
    if parent is None:
        missing = path if model.is_old else path.rpartition("/")[0]
        end = "dataset does not exist" if model.is_old else "unable to restore to destination"
        raise Refused(f"cannot open '{missing}': dataset does not exist\n{what}: {end}")
    if stream.size + EMPTY_BYTES > parent.room:
        full = "out of space" if model.is_old else f"destination {path} space quota exceeded."
        raise Refused(f"{what}: {full}")
    new = model.create(path, local, now)
    new.received = dict(stream.properties)
    _fill(model, new, stream, now)
    new.is_mounted = new.is_mounted and mounts


def _receive_incremental(model: Model, stream: Stream, path: str, target: Filesystem | None, now: int) -> None:
    what = "cannot receive incremental stream"
    if target is None:
        raise Refused(f"{what}: destination '{path}' does not exist")
    last = target.last
    if last is None or last.guid != stream.base:
        raise Refused(f"{what}: most recent snapshot of {path} does not\nmatch incremental source")
    if target.blocks != last.blocks:
        raise Refused(f"{what}: destination {path} has been modified\nsince most recent snapshot")
    kept = {block.content for block in last.blocks.values()}
    if sum(block.size for block in stream.blocks if block.content not in kept) > target.room:
        raise Refused(f"{what}: out of space")
    _fill(model, target, stream, now)


def _fill(model: Model, target: Filesystem, stream: Stream, now: int) -> None:
    """The stream's content, in blocks of the target's own; what it has already stays where it is."""
    here = {block.content: block for block in target.blocks.values()}
    blocks = [here.get(b.content) or Block(model.state.next(), b.content, b.size) for b in stream.blocks]
    target.blocks = {block.number: block for block in blocks}
    snap = Snap(target, stream.name, stream.guid, model.state.next(), now, dict(target.blocks))
    snap.received = dict(stream.snapshot_properties)
    target.snapshots[stream.name] = snap
