"""Simulated ``zfs send`` and ``zfs receive``: streams of one or many snapshots, matched by GUID as real ones are.

A stream may be cut: what came whole stays, of the next snapshot a resumable receive keeps a part, and a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.simulation.zfs_model import Model, Refused
from tests.simulation.zfs_state import EMPTY_BYTES, Block, Filesystem, Partial, Snap


@dataclass(frozen=True, slots=True)
class Stream:
    """One snapshot of what ``zfs send`` prints. `base` is the GUID of the one it starts from, None for a full one."""

    path: str  # of the snapshot, on the source
    guid: int
    base: int | None
    blocks: tuple[Block, ...]
    properties: dict[str, str] = field(default_factory=dict)
    snapshot_properties: dict[str, str] = field(default_factory=dict)
    resumes: bool = False

    @property
    def name(self) -> str:
        return self.path.partition("@")[2]

    @property
    def size(self) -> int:
        return sum(block.size for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Receiving:
    """The options of ``zfs receive``."""

    path: str
    local: Mapping[str, str] = field(default_factory=dict)
    mounts: bool = True
    keeps_partial: bool = False


def send(model: Model, path: str, *, base: str | None, many: bool, with_properties: bool) -> tuple[Stream, ...]:
    try:
        snap = model.snap(path)
    except Refused:
        if model.is_old:
            raise Refused(f"WARNING: could not send {path}: does not exist") from None
        raise
    start = model.snap(base if "@" in base and not base.startswith("@") else snap.owner.path + base) if base else None
    if start is not None and start.txg >= snap.txg:
        raise Refused(f"warning: cannot send '{path}': not an earlier snapshot from the same fs")
    snaps = [snap]
    if many and start is not None:
        snaps = [each for each in snap.owner.snapshots.values() if start.txg < each.txg <= snap.txg]
    streams = []
    for each in snaps:
        streams.append(_stream(each, start, with_properties=with_properties))
        start = each
    return tuple(streams)


def _stream(snap: Snap, start: Snap | None, *, with_properties: bool) -> Stream:
    return Stream(
        snap.path,
        snap.guid,
        start.guid if start else None,
        tuple(snap.blocks.values()),
        dict(snap.owner.local) if with_properties else {},
        dict(snap.local) if with_properties else {},
    )


def send_token(model: Model, token: str) -> tuple[Stream, ...]:
    try:
        _, guid, base, path = token.split("-")
        name = bytes.fromhex(path).decode()
        wanted, start = int(guid, 16), int(base, 16) or None
    except ValueError:
        raise Refused("cannot resume send: resume token is corrupt (invalid format)", 255) from None
    try:
        snap = model.snap(name)
    except Refused:
        raise Refused(f"cannot resume send: '{name}' used in the initial send no longer exists", 255) from None
    if snap.guid != wanted:
        raise Refused(f"cannot resume send: '{name}' is no longer the same snapshot used in the initial send", 255)
    return (replace(_stream(snap, None, with_properties=False), base=start, resumes=True),)


def receive(model: Model, streams: tuple[Stream, ...], how: Receiving, now: int, share: float = 1.0) -> None:
    """Take in that `share` of the stream; less than all of it is Refused with the words for a cut stream."""
    whole = int(share * len(streams))
    for number, stream in enumerate(streams):
        _receive_one(model, stream, how, now, cut=number >= whole)


def _receive_one(model: Model, stream: Stream, how: Receiving, now: int, *, cut: bool) -> None:
    target = model.state.filesystems.get(how.path)
    partial = target.partial if target is not None else None
    if stream.resumes and (partial is None or partial.guid != stream.guid):
        raise Refused("cannot receive resume stream: destination has no such state")
    if partial is not None and not stream.resumes and stream.base is not None:
        words = f'destination {how.path} contains partially-complete state from "zfs receive -s".'
        raise Refused(f"cannot receive incremental stream: {words}")
    if stream.base is None:
        _receive_full(model, stream, target, how, now, cut=cut)
    else:
        _receive_incremental(model, stream, how, target, now, cut=cut)


def _receive_full(
    model: Model, stream: Stream, target: Filesystem | None, how: Receiving, now: int, *, cut: bool
) -> None:
    what = "cannot receive new filesystem stream"
    if target is not None and not stream.resumes:
        raise Refused(f"{what}: destination '{how.path}' exists\nmust specify -F to overwrite it")
    if target is None:
        parent = model.state.filesystems.get(how.path.rpartition("/")[0])
        if parent is None:
            missing = how.path if model.is_old else how.path.rpartition("/")[0]
            end = "dataset does not exist" if model.is_old else "unable to restore to destination"
            raise Refused(f"cannot open '{missing}': dataset does not exist\n{what}: {end}")
        target = _new(model, parent, stream, how, now, what)
    lacking = stream.size - sum(block.size for block in target.blocks.values())
    full = lacking > target.room
    if cut or full:
        _keep_part(model, target, stream, how, is_new=True)
        words = ("out of space" if model.is_old else f"destination {how.path} space quota exceeded.") if full else CUT
        raise Refused(f"{what}: {words}")
    _fill(model, target, stream, now)
    target.partial = None
    if how.mounts and not stream.resumes:
        model.mount_at_boot(target)


CUT = "checksum mismatch or incomplete stream."


def _new(model: Model, parent: Filesystem, stream: Stream, how: Receiving, now: int, what: str) -> Filesystem:
    if parent.room < EMPTY_BYTES or (not how.keeps_partial and stream.size + EMPTY_BYTES > parent.room):
        full = "out of space" if model.is_old else f"destination {how.path} space quota exceeded."
        raise Refused(f"{what}: {full}")
    new = model.create(how.path, how.local, now)
    new.received = dict(stream.properties)
    new.is_mounted = False
    return new


def _keep_part(model: Model, target: Filesystem, stream: Stream, how: Receiving, *, is_new: bool) -> None:
    """What is left of a receive that was cut: half of it with a token, or nothing."""
    if not how.keeps_partial:
        if is_new:
            model.destroy(target.path, recursive=True)
        return
    target.partial = Partial(stream.path, stream.guid, stream.base, is_new)


def _receive_incremental(
    model: Model, stream: Stream, how: Receiving, target: Filesystem | None, now: int, *, cut: bool
) -> None:
    what = "cannot receive incremental stream"
    if target is None:
        raise Refused(f"{what}: destination '{how.path}' does not exist")
    last = target.last
    if last is None or last.guid != stream.base:
        raise Refused(f"{what}: most recent snapshot of {how.path} does not\nmatch incremental source")
    if target.blocks != last.blocks:
        raise Refused(f"{what}: destination {how.path} has been modified\nsince most recent snapshot")
    kept = {block.content for block in last.blocks.values()}
    full = sum(block.size for block in stream.blocks if block.content not in kept) > target.room
    if cut or full:
        _keep_part(model, target, stream, how, is_new=False)
        raise Refused(f"{what}: {'out of space' if full else CUT}")
    _fill(model, target, stream, now)
    target.partial = None


def abort(model: Model, path: str) -> None:
    """``zfs receive -A``."""
    target = model.filesystem(path)
    if target.partial is None:
        raise Refused(f"'{path}' does not have any resumable receive state to abort")
    if target.partial.is_new:
        model.destroy(path, recursive=True)
    target.partial = None


def _fill(model: Model, target: Filesystem, stream: Stream, now: int) -> None:
    """The stream's content, in blocks of the target's own; what it has already stays where it is."""
    here = {block.content: block for block in target.blocks.values()}
    blocks = [here.get(b.content) or Block(model.state.next(), b.content, b.size) for b in stream.blocks]
    target.blocks = {block.number: block for block in blocks}
    snap = Snap(target, stream.name, stream.guid, model.state.next(), now, dict(target.blocks))
    snap.received = dict(stream.snapshot_properties)
    target.snapshots[stream.name] = snap
