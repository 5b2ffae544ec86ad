"""The words of zfs(8) and zpool(8) read as real ZFS reads them, carried out on the model, answered in its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.simulation.zfs_model import Model, Refused
from tests.simulation.zfs_properties import all_names, is_known, shown
from tests.simulation.zfs_state import Filesystem, Snap
from tests.simulation.zfs_transfer import Receiving, Stream, abort, receive, send, send_token

USAGE = "\nusage:\n\t(the real one prints its page here)"


class Words(NamedTuple):
    """A command line taken apart: flags, options with values, the rest."""

    flags: frozenset[str]
    values: dict[str, list[str]]
    rest: list[str]

    def properties(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.values.get("o", ()))


def take_apart(args: Sequence[str], flags: str, valued: str = "") -> Words:
    """Getopt, as the C library does it. Raises Refused for options this command does not have."""
    seen: set[str] = set()
    values: dict[str, list[str]] = {}
    index = 0
    while index < len(args) and len(args[index]) > 1 and args[index][0] == "-":
        word = args[index]
        index += 1
        for place, letter in enumerate(word[1:], 2):
            if letter in flags:
                seen.add(letter)
                continue
            if letter not in valued:
                raise Refused(f"invalid option '{letter}'{USAGE}", 2)
            value = word[place:]
            if not value:
                value, index = args[index], index + 1
            values.setdefault(letter, []).append(value)
            break
    return Words(frozenset(seen), values, list(args[index:]))


class Answer(NamedTuple):
    """How a command ends."""

    code: int
    stdout: str
    stderr: str


class Cli:
    """zfs and zpool on one model."""

    def __init__(self, model: Model, now: Callable[[], int]) -> None:
        self._model = model
        self._now = now

    def run(self, program: str, args: Sequence[str]) -> Answer:
        """Carry out and answer."""
        verb = args[0] if args else ""
        handler = getattr(self, f"_{program}_{verb}", None) if verb.isalpha() else None
        try:
            if handler is None or (verb == "version" and self._model.is_old):
                raise Refused(f"unrecognized command '{verb}'{USAGE}", 2)  # noqa: TRY301
            answer: Answer | str | None = handler(args[1:])
        except Refused as refused:
            return Answer(refused.code, "", refused.words + "\n")
        finally:
            if verb not in ("get", "list"):
                self._model.changed()
        return answer if isinstance(answer, Answer) else Answer(0, answer or "", "")

    # --- questions ---------------------------------------------------------------------------------------------------

    def _zfs_version(self, args: Sequence[str]) -> str:
        return "zfs-2.1.11-1+deb12u1\nzfs-kmod-2.1.11-1+deb12u1\n"

    def _zpool_upgrade(self, args: Sequence[str]) -> str:
        if self._model.is_old:
            return (
                "This system is currently running ZFS pool version 23.\n\nAll pools are formatted using this version."
            )
        return "This system supports ZFS pool feature flags.\n\nAll pools are formatted using feature flags.\n"

    def _zpool_list(self, args: Sequence[str]) -> str:
        words = take_apart(args, "H" if self._model.is_old else "Hp", "o")
        columns = words.values.get("o", ["name,size,health"])[0].split(",")
        for name in words.rest:
            if name not in self._model.state.pools:
                raise Refused(f"cannot open '{name}': no such pool")
        lines = []
        for pool in self._model.state.pools.values():
            used = pool.root.used
            facts = {
                "name": pool.name,
                "health": pool.health,
                "size": pool.size,
                "alloc": used,
                "free": pool.size - used,
            }
            if not words.rest or pool.name in words.rest:
                lines.append("\t".join(str(facts[column]) for column in columns) + "\n")
        return "".join(lines)

    def _zfs_get(self, args: Sequence[str]) -> Answer:
        words = take_apart(args, "rHp", "do" if self._model.is_old else "dot")
        names = words.rest[0].split(",")
        for name in names:
            if names != ["all"] and not is_known(name, is_old=self._model.is_old):
                raise Refused(f"bad property list: invalid property '{name}'{USAGE}", 2)
        found, missing = self._targets(words)
        lines = []
        for target in found:
            path = target.path
            for name in all_names(target, is_old=self._model.is_old) if names == ["all"] else names:
                value, source = self._shown(target, name)
                lines.append(f"{path}\t{name}\t{value}\t{source}\n")
        return Answer(1 if missing else 0, "".join(lines), missing)

    def _zfs_list(self, args: Sequence[str]) -> Answer:
        words = take_apart(args, "rH" if self._model.is_old else "rHp", "dots")
        columns = words.values.get("o", ["name,used"])[0].split(",")
        kinds = words.values.setdefault("t", ["filesystem"])
        if kinds == ["all"]:
            kinds[:] = ["filesystem,snapshot"]
        words.rest.insert(0, "")
        found, missing = self._targets(words)
        lines = ("\t".join(t.path if c == "name" else shown(t, c)[0] for c in columns) + "\n" for t in found)
        return Answer(1 if missing else 0, "".join(lines), missing)

    def _shown(self, target: Filesystem | Snap, name: str) -> tuple[str, str]:
        value, source = shown(target, name)
        hides = self._model.is_old and name == "readonly" and value == "on"
        return (
            ("off", "temporary") if hides and isinstance(target, Filesystem) and target.is_mounted else (value, source)
        )

    def _targets(self, words: Words) -> tuple[list[Filesystem | Snap], str]:
        """What was asked for, sorted as ZFS sorts, and the complaints about what is missing."""
        depth = int(words.values["d"][0]) if "d" in words.values else 999 if "r" in words.flags else 0
        kinds = words.values.get("t", ["filesystem,volume,snapshot"])[0].split(",")
        found: list[Filesystem | Snap] = []
        complaints = []
        for path in words.rest[1:] or list(self._model.state.pools):
            try:
                target = self._model.find(path)
            except Refused as refused:
                complaints.append(refused.words + "\n")
                continue
            found += _reach(target, depth, kinds) if isinstance(target, Filesystem) else [target]
        if len(words.rest) > 2:
            found.sort(key=lambda target: target.path.partition("@"))
        return found, "".join(complaints)

    # --- changes -----------------------------------------------------------------------------------------------------

    def _zfs_create(self, args: Sequence[str]) -> None:
        words = take_apart(args, "p", "o")
        (path,) = words.rest
        if "p" in words.flags:
            parts = path.split("/")
            for end in range(2, len(parts)):
                above = "/".join(parts[:end])
                if above not in self._model.state.filesystems:
                    self._model.create(above, {}, self._now())
            if path in self._model.state.filesystems:
                return
        self._model.create(path, words.properties(), self._now())

    def _zfs_destroy(self, args: Sequence[str]) -> None:
        words = take_apart(args, "rfd")
        (path,) = words.rest
        if "@" in path:
            self._model.destroy_snapshots(path, deferred="d" in words.flags)
        else:
            self._model.destroy(path, recursive="r" in words.flags)

    def _zfs_snapshot(self, args: Sequence[str]) -> None:
        words = take_apart(args, "", "o")
        if self._model.is_old and len(words.rest) > 1:
            raise Refused(f"too many arguments{USAGE}", 2)
        self._model.snapshot(words.rest, words.properties(), self._now())

    def _zfs_clone(self, args: Sequence[str]) -> None:
        words = take_apart(args, "", "o")
        snap, path = words.rest
        self._model.create(path, words.properties(), self._now(), self._model.snap(snap))

    def _zfs_promote(self, args: Sequence[str]) -> None:
        self._model.promote(args[0])

    def _zfs_rename(self, args: Sequence[str]) -> None:
        old, new = args
        self._model.rename(old, new)

    def _zfs_mount(self, args: Sequence[str]) -> None:
        self._model.mount(args[0])

    def _zfs_unmount(self, args: Sequence[str]) -> None:
        self._model.unmount(take_apart(args, "f").rest[0])

    def _zfs_rollback(self, args: Sequence[str]) -> None:
        words = take_apart(args, "r")
        self._model.rollback(words.rest[0], destroy_newer="r" in words.flags)

    def _zfs_set(self, args: Sequence[str]) -> None:
        pairs = [word for word in args if "=" in word and "/" not in word.partition("=")[0]]
        paths = args[len(pairs) :]
        if self._model.is_old and len(pairs) > 1:
            # what zfs-fuse does: the first word is the property, all others are datasets, and those that exist get it
            for path in paths:
                self._model.set(path, dict([pairs[0].split("=", 1)]))
            raise Refused(f"cannot open '{pairs[1]}': invalid dataset name")
        for path in paths:
            self._model.set(path, dict(pair.split("=", 1) for pair in pairs))

    def _zfs_inherit(self, args: Sequence[str]) -> None:
        name, path = args
        self._model.inherit(path, name)

    # --- streams -----------------------------------------------------------------------------------------------------

    def pipe(self, source: Sequence[str], target: Sequence[str]) -> tuple[Answer, Answer]:
        """``zfs send | zfs receive`` on this host."""
        sent, stream = self.begin_send(source)
        if stream is None:
            return sent, Answer(1, "", "cannot receive: failed to read from stream\n")
        received = self.end_receive(target, stream, 1.0)
        return (Answer(141, "", "") if received.code else sent), received

    def begin_send(self, args: Sequence[str]) -> tuple[Answer, tuple[Stream, ...] | None]:
        """What ``zfs send`` says, and prints; None when it fails."""
        try:
            words = take_apart(args[1:], *(("pDv", "iI") if self._model.is_old else ("pvPnLecw", "iIt")))
            streams = self._streams(words)
        except Refused as refused:
            return Answer(refused.code, "", refused.words + "\n"), None
        reports = {"v", "P"} <= words.flags
        return Answer(0, "", f"size\t{sum(stream.size for stream in streams)}\n" if reports else ""), streams

    def _streams(self, words: Words) -> tuple[Stream, ...]:
        if "t" in words.values:
            return send_token(self._model, words.values["t"][0])
        many = "I" in words.values
        base = words.values.get("I" if many else "i", [None])[0]
        return send(self._model, words.rest[0], base=base, many=many, with_properties="p" in words.flags)

    def end_receive(self, args: Sequence[str], streams: tuple[Stream, ...], share: float) -> Answer:
        """What ``zfs receive`` says to that share of a stream, taking it in."""
        try:
            words = take_apart(args[1:], *(("u", "") if self._model.is_old else ("us", "o")))
            flags = words.flags
            how = Receiving(words.rest[0], words.properties(), mounts="u" not in flags, keeps_partial="s" in flags)
            receive(self._model, streams, how, self._now(), share)
        except Refused as refused:
            return Answer(refused.code, "", refused.words + "\n")
        finally:
            self._model.changed()
        return Answer(0, "", "")

    def _zfs_send(self, args: Sequence[str]) -> Answer:
        """Without a pipe only a dry run: ``-nvP``."""
        words = take_apart(args, *(("pDv", "iI") if self._model.is_old else ("pvPnLecw", "iIt")))
        streams = self._streams(words)
        told = "".join(f"\ttoguid = {stream.guid:#x}\n" for stream in streams if stream.resumes)
        return Answer(0, f"{told}size\t{sum(stream.size for stream in streams)}\n", "")

    def _zfs_receive(self, args: Sequence[str]) -> None:
        abort(self._model, take_apart(args, "A").rest[0])

    # --- holds -------------------------------------------------------------------------------------------------------

    def _zfs_hold(self, args: Sequence[str]) -> None:
        self._new_only()
        self._model.hold(args[0], args[1:])

    def _zfs_release(self, args: Sequence[str]) -> None:
        self._new_only()
        self._model.release(args[0], args[1:])

    def _zfs_holds(self, args: Sequence[str]) -> str:
        self._new_only()
        snaps = [self._model.snap(path) for path in take_apart(args, "H").rest]
        lines = [f"{snap.path}\t{tag}\tSat Nov 21 12:54 2026\n" for snap in snaps for tag in sorted(snap.holds)]
        return "".join(lines)

    def _new_only(self) -> None:
        if self._model.is_old:
            raise Refused("internal error: Function not implemented", 255)

    def _zpool_sync(self, args: Sequence[str]) -> None:
        self._new_only()

    def _zpool_get(self, args: Sequence[str]) -> str:
        self._new_only()
        if args[-1] not in self._model.state.pools:
            raise Refused(f"cannot open '{args[-1]}': no such pool")
        features = ("lz4_compress", "zstd_compress", "large_blocks", "embedded_data", "encryption")
        return "".join(f"feature@{name}\tenabled\n" for name in features)


def _reach(top: Filesystem, depth: int, kinds: Sequence[str]) -> Iterator[Filesystem | Snap]:
    if "filesystem" in kinds:
        yield top
    if depth < 1:
        return
    if "snapshot" in kinds:
        yield from top.snapshots.values()
    for name in sorted(top.children):
        yield from _reach(top.children[name], depth - 1, kinds)
