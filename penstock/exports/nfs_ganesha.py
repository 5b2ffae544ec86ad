"""NFS-Ganesha: files of EXPORT blocks that a restarted Ganesha reads, and D-Bus for the one that runs.

It does not look whether an export's directory is where something is mounted. So what is not mounted at boot is kept in
files that no configuration includes (``.later``): one that starts does not serve it, however long nobody tells it to.

UpdateExport adds what is missing and changes what is there, so it is the only call for both; its change of clients is
in force at once for mounted clients too, NFSv3 and NFSv4 (the contract suite proves it). It never takes a number away
from an export with another path.

Measured with 4.3 on two busy cores, a client or two for each export: one UpdateExport, AddExport or RemoveExport 3 to
5 ms with 10 as with 1,000 exports; ShowExports 42 ms with 1,000. What grows is the start, since its parser compares
every new word with all before: see `ganesha_words` and docs/decisions/0003.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from penstock.errors import BackendFault, Unavailable, Unsupported
from penstock.exports import ganesha_files, shards
from penstock.exports.ganesha_bus import GaneshaBus, served_by
from penstock.exports.ganesha_files import Numbered
from penstock.exports.model import Export
from penstock.exports.shards import Overtaken, Shards
from penstock.host.runner import Host

DIRECTORY = "/etc/ganesha/exports.d"
INDEX = f"{DIRECTORY}/penstock.conf"
MAIN = "/etc/ganesha/ganesha.conf"
LAST_BYTES = 256  # of an Export_Id, which has two bytes; a multiple of the number of files
MANY = 16  # from so many new exports on, asking for all numbers in use is cheaper than being refused some
TIMEOUT_S = 30.0
INCLUDE = re.compile(r'^\s*%include\s+"?([^"\s]+)"?\s*$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class GaneshaNfs:
    """`exports.nfs.NfsServer` by the NFS-Ganesha of `host`, as root there (its prefix)."""

    host: Host

    @property
    def _shards(self) -> Shards:
        """Both kinds of files, for reading and for changing."""
        return Shards(self.host, DIRECTORY, ".*")

    @property
    def _at_boot(self) -> Shards:
        """What a Ganesha that starts reads."""
        return Shards(self.host, DIRECTORY, ".conf")

    @property
    def _later(self) -> Shards:
        """What it does not read, but is told of over D-Bus when the filesystem is mounted."""
        return Shards(self.host, DIRECTORY, ".later")

    def _homes(self, paths: Iterable[str]) -> list[str]:
        """The files that may have these paths."""
        return sorted({kind.file_of(path) for path in paths for kind in (self._at_boot, self._later)})

    def _home_of(self, export: Export) -> str:
        return (self._at_boot if export.is_mounted_at_boot else self._later).file_of(export.path)

    @property
    def _bus(self) -> GaneshaBus:
        return GaneshaBus(self.host)

    def put(self, exports: Sequence[Export]) -> None:
        """See NfsServer. The files first, so that a crash between leaves what a repeat completes.

        Raises Unsupported for IPv6 networks of prefix length 100 to 119.
        """
        for export in exports:
            ganesha_files.check_clients(export)
        if exports:  # numbers are given out, too
            self._shards.change(lambda: self._put_in_force({export.path: export for export in exports}, {}))

    def put_back(self, choose: Callable[[], Sequence[Export]]) -> None:
        """See NfsServer. An export that Ganesha still serves, and whose file was lost, keeps its number."""
        self._shards.change(lambda: self._put_back(choose()))

    def _put_back(self, exports: Sequence[Export]) -> None:
        for export in exports:
            ganesha_files.check_clients(export)
        if exports:
            ours = {one.export_id for one in self._everything().values()}
            served = {path: number for number, path in self._bus.served_paths().items() if number not in ours}
            self._put_in_force({export.path: export for export in exports}, served)

    def _put_in_force(self, wanted: Mapping[str, Export], served: Mapping[str, int]) -> None:
        """`served` are numbers that Ganesha has for paths, which our files may not know."""
        refused: set[int] = set()
        while True:
            try:
                self._put(wanted, served, refused)
            except _Taken as taken:
                refused |= taken.numbers
            else:
                return

    def _put(self, wanted: Mapping[str, Export], served: Mapping[str, int], refused: AbstractSet[int]) -> None:
        present = self._read(wanted)
        numbered = self._number(wanted, {**served, **present.numbers}, refused)
        blocks = present.without(wanted)
        for one in numbered.values():
            blocks[self._home_of(one.export)][one.export.path] = one
        self._write(blocks, present)
        for file in blocks:
            changed = [one for path, one in blocks[file].items() if path in numbered]
            self._enforce(file, changed, len(blocks[file]))

    def _read(self, paths: Iterable[str]) -> _Present:
        homes = self._homes(paths)
        texts = self._shards.texts(homes)
        return _Present(texts, {file: ganesha_files.parse(texts.get(file, "")) for file in homes})

    def remove(self, paths: Sequence[str]) -> None:
        """See NfsServer. The server first: its number for a path is only in the file.

        A path that no file has is looked for in what the server serves (one command): the file may have been lost.
        """
        if paths:
            self._shards.change(lambda: self._remove(paths))

    def _remove(self, paths: Sequence[str]) -> None:
        present = self._read(paths)
        known = present.numbers
        for path in sorted(set(paths) & set(known)):
            self._bus.remove(known[path])
        unknown = set(paths) - set(known)
        if unknown:
            for export_id, path in self._bus.served_paths().items():
                if path in unknown:
                    self._bus.remove(export_id)
        self._write(present.without(paths), present)

    def let_go(self, path: str) -> None:
        """See NfsServer. Nothing to do: Ganesha closes all files of an export that it removes."""

    def get(self, path: str) -> Export | None:
        """See NfsServer."""
        found = ganesha_files.parse("".join(self._shards.texts(self._homes([path])).values())).get(path)
        return found.export if found else None

    def all(self) -> dict[str, Export]:
        """See NfsServer. One command."""
        return {path: numbered.export for path, numbered in self._everything().items()}

    def in_force(self) -> set[str]:
        """See NfsServer. Three commands; one asks Ganesha about each export (4 ms), for only that shows the rules."""
        configured = self._everything()
        served = self._bus.served_paths()
        present = [one.export_id for path, one in configured.items() if served.get(one.export_id) == path]
        shown = self._bus.all_shown(present)
        return {path for path, one in configured.items() if shown.get(one.export_id) == served_by(one.export)}

    def serving(self) -> set[str]:
        """See NfsServer. Two commands."""
        served = self._bus.served_paths()
        return {path for path, one in self._everything().items() if served.get(one.export_id) == path}

    def verify(self) -> None:
        """See NfsServer. Also sees to it that the file which ganesha.conf must include exists."""
        for program, package in (("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs"), ("dbus-send", "dbus")):
            if not installed(self.host, program):
                raise Unsupported(f"{self.host.name} has no {program}; install it with: apt install {package}")
        if self.host.read_file(INDEX) is None:
            self.host.swap_file(INDEX, None, "")
        if INDEX not in self._included():
            raise Unavailable(f'a restarted Ganesha would serve nothing: add this line to {MAIN}: %include "{INDEX}"')
        try:
            self._bus.served_paths()
        except Unavailable as err:
            raise Unavailable(
                f"NFS-Ganesha on {self.host.name} does not answer; start it with: systemctl enable --now nfs-ganesha"
            ) from err

    def _included(self) -> set[str]:
        """Files that ganesha.conf includes, itself or through one more file."""
        direct = set(INCLUDE.findall(self.host.read_file(MAIN) or ""))
        if INDEX in direct:
            return direct
        return direct.union(*(INCLUDE.findall(self.host.read_file(file) or "") for file in sorted(direct)))

    def _everything(self) -> dict[str, Numbered]:
        return ganesha_files.parse(self._shards.all_text())

    def _number(
        self, wanted: Mapping[str, Export], known: Mapping[str, int], refused: AbstractSet[int]
    ) -> dict[str, Numbered]:
        """Exports with their `known` numbers unless those are `refused`, or new ones, which no other export of ours
        has.

        That none has is known from the files of the wanted paths alone: see `free_id`. What Ganesha serves beside
        ours it says itself: it refuses a number that has another path.
        """
        kept = {path: known[path] for path in wanted if path in known}
        numbered = {path: Numbered(n, wanted[path]) for path, n in kept.items() if n not in refused}
        new = [export for path, export in sorted(wanted.items()) if path not in numbered]
        taken = {*known.values(), *refused}
        if len(new) >= MANY:
            taken |= self._bus.served_paths().keys()
        for export in new:
            export_id = free_id(export, taken)
            taken.add(export_id)
            numbered[export.path] = Numbered(export_id, export)
        return numbered

    def _write(self, blocks: Mapping[str, Mapping[str, Numbered]], present: _Present) -> None:
        """Write the files that differ. A new file is in the index after it exists, a lost one before it goes.

        What moves from one file to another is in both for a moment, not in neither.
        """
        changed = {file: inside for file, inside in blocks.items() if inside != present.blocks[file]}
        gaining = [file for file, inside in changed.items() if inside.keys() - present.blocks[file].keys()]
        for file in sorted(changed, key=lambda file: file not in gaining):
            if changed[file]:
                self._shards.swap(file, present.texts.get(file), ganesha_files.render(changed[file].values()))
        at_boot = {file: inside for file, inside in blocks.items() if file.endswith(self._at_boot.suffix)}
        self._index(at_boot)
        for file, inside in changed.items():
            if not inside:
                self._shards.swap(file, present.texts.get(file), "")

    def _index(self, wanted: Mapping[str, Mapping[str, Numbered]]) -> None:
        text = self.host.read_file(INDEX)
        indexed = set(INCLUDE.findall(text or ""))
        index = (indexed | {file for file, blocks in wanted.items() if blocks}) - {
            file for file, blocks in wanted.items() if not blocks
        }
        if index != indexed and not self.host.swap_file(INDEX, text, ganesha_files.render_index(index)):
            raise Overtaken(INDEX)

    def _enforce(self, file: str, changed: Sequence[Numbered], in_file: int) -> None:
        if not changed:
            return
        try:
            if len(changed) == in_file > 1:
                self._bus.update(file, ganesha_files.EVERY_BLOCK, in_file)
                return
            for numbered in changed:
                self._bus.update(file, f"EXPORT(Export_Id={numbered.export_id})", 1)
        except BackendFault as fault:
            shown = ((one, self._bus.shown(one.export_id)) for one in changed)
            taken = {one.export_id for one, other in shown if other is not None and other.path != one.export.path}
            if not taken:
                raise
            raise _Taken(taken) from fault


@dataclass(frozen=True, slots=True)
class _Present:
    """Our files as they are now: their texts, and the exports in each by path, also for those that do not exist."""

    texts: Mapping[str, str]
    blocks: Mapping[str, Mapping[str, Numbered]]

    @property
    def numbers(self) -> dict[str, int]:
        """By path."""
        return {path: one.export_id for inside in self.blocks.values() for path, one in inside.items()}

    def without(self, paths: Iterable[str]) -> dict[str, dict[str, Numbered]]:
        """`blocks` without those of these paths."""
        gone = set(paths)
        return {file: {p: one for p, one in inside.items() if p not in gone} for file, inside in self.blocks.items()}


class _Taken(Exception):
    """Ganesha serves other paths under these numbers."""

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(numbers)
        self.numbers = numbers


def free_id(export: Export, taken: AbstractSet[int]) -> int:
    """A number for the export, not in `taken`: the first free one from where its instance id hashes to.

    So a number is not soon given again to somebody else: old NFSv3 file handles carry it. Paths in different files
    never get the same: the number's last byte is that of the path's hash, which also decides the file. Raises
    BackendFault when all of these are taken, 256 of the 65,535 there are.
    """
    start, last = zlib.crc32(export.instance_id.encode()), shards.hash_of(export.path) % LAST_BYTES
    for step in range(LAST_BYTES):
        candidate = last + LAST_BYTES * ((start + step) % LAST_BYTES)
        if candidate and candidate not in taken:
            return candidate
    raise BackendFault(f"NFS-Ganesha has no free Export_Id for {export.path}: all {LAST_BYTES} it may have are taken")


def installed(host: Host, program: str) -> bool:
    """Whether the program is on the host's path for daemons. Raises Unavailable when the host cannot be reached."""
    argv = ("find", "/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "-maxdepth", "1", "-name", program)
    return program in host.run(argv, timeout_s=TIMEOUT_S).stdout
