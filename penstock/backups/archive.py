"""Backups in a folder, which may be an NFS mount: blocks that changed since the parent, each with its digest.

A backup is a folder of three files. ``manifest.json`` says what it is of; ``index`` has for every block of the volume
the SHA-256 of its bytes, and where in ``data`` they are, unless they are all zero or the parent's. So a volume of any
age is read from its newest backup and the ancestors of that, and every block is verified as it is read.

It becomes visible whole: it is written beside its place, synced, and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from penstock.errors import BackendFault, Invalid, NotFound

BLOCK_BYTES = 1024 * 1024
VERSION = 1
MANIFEST, INDEX, DATA = "manifest.json", "index", "data"
ENTRY = struct.Struct(">32sQI")  # digest, offset in data, length there; no length: zeros, or the parent's
ZEROS = hashlib.sha256(bytes(BLOCK_BYTES)).digest()
NONE, ZLIB = "none", "zlib"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of. `stored_blocks` are those it holds itself."""

    id: str
    volume_id: str
    size_bytes: int
    parent_id: str | None
    compression: str
    stored_blocks: int
    block_bytes: int = BLOCK_BYTES
    version: int = VERSION


class Archive:
    """The backups below the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(
        self,
        backup_id: str,
        volume_id: str,
        source: Path,
        *,
        size_bytes: int,
        parent_id: str | None,
        compression: str = ZLIB,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Manifest:
        """Back up the first `size_bytes` of `source`, a file or device. Repeatable: a whole one is left as it is.

        Raises NotFound when the parent is not there, Invalid when it is another volume's.
        """
        place = self._place(backup_id)
        if place.exists():
            return self.manifest(backup_id)
        before = [] if parent_id is None else self._digests(self._parent(parent_id, volume_id))
        part = place.with_name(f"{backup_id}.part")
        shutil.rmtree(part, ignore_errors=True)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.parent.mkdir(mode=0o700, exist_ok=True)
        part.mkdir(mode=0o700)
        stored = 0
        with source.open("rb") as volume, _made(part / DATA, "wb") as data, _made(part / INDEX, "wb") as index:
            for number, block in enumerate(_blocks(volume, size_bytes)):
                if should_stop():
                    raise BackendFault("The backup was stopped.")
                digest = ZEROS if block is None else hashlib.sha256(block).digest()
                is_known = number < len(before) and before[number] == digest
                if block is None or is_known or digest == ZEROS:
                    index.write(ENTRY.pack(digest, 0, 0))
                    continue
                packed = zlib.compress(block, 1) if compression == ZLIB else block
                index.write(ENTRY.pack(digest, data.tell(), len(packed)))
                data.write(packed)
                stored += 1
            for file in (data, index):
                file.flush()
                os.fsync(file.fileno())
        manifest = Manifest(backup_id, volume_id, size_bytes, parent_id, compression, stored)
        with _made(part / MANIFEST, "w") as told:
            json.dump(asdict(manifest), told)
            told.flush()
            os.fsync(told.fileno())
        part.replace(place)
        _sync_folder(place.parent)
        return manifest

    def read(self, backup_id: str, target: Path) -> Manifest:
        """Make `target` a sparse file with the bytes that were backed up, each block verified.

        Raises NotFound when the backup or an ancestor is not there, BackendFault when one is damaged.
        """
        chain = self._chain(backup_id)
        manifest = chain[0]
        layers = [(one, self._entries(one.id)) for one in chain]
        files = {one.id: (self._place(one.id) / DATA).open("rb") for one in chain}
        try:
            with target.open("wb") as volume:
                volume.truncate(manifest.size_bytes)
                for number, (digest, _, _) in enumerate(layers[0][1]):
                    if digest == ZEROS:
                        continue
                    volume.seek(number * manifest.block_bytes)
                    block = _found(layers, files, number, digest)
                    volume.write(block[: manifest.size_bytes - number * manifest.block_bytes])
        finally:
            for file in files.values():
                file.close()
        return manifest

    def delete(self, backup_id: str) -> None:
        """Remove the backup; it is fine when there is none. Nobody may be its child."""
        place = self._place(backup_id)
        gone = place.with_name(f"{backup_id}.gone")
        if place.exists():
            place.replace(gone)
        for left in (gone, place.with_name(f"{backup_id}.part")):
            if left.exists():
                shutil.rmtree(left)

    def manifest(self, backup_id: str) -> Manifest:
        """What the backup is of. Raises NotFound, BackendFault."""
        try:
            text = (self._place(backup_id) / MANIFEST).read_text()
        except FileNotFoundError:
            raise NotFound(f"There is no backup {backup_id} in {self._root}.") from None
        try:
            found = Manifest(**json.loads(text))
        except (ValueError, TypeError) as err:
            raise BackendFault(f"The manifest of backup {backup_id} is damaged.") from err
        if found.version != VERSION:
            raise Invalid(f"Backup {backup_id} has format {found.version}; this version reads {VERSION}.")
        return found

    def _parent(self, parent_id: str, volume_id: str) -> Manifest:
        parent = self.manifest(parent_id)
        if parent.volume_id != volume_id:
            raise Invalid(f"Backup {parent_id} is of volume {parent.volume_id}, not of {volume_id}.")
        return parent

    def _chain(self, backup_id: str) -> list[Manifest]:
        found = [self.manifest(backup_id)]
        while found[-1].parent_id is not None:
            found.append(self.manifest(found[-1].parent_id))
        return found

    def _digests(self, manifest: Manifest) -> list[bytes]:
        return [digest for digest, _, _ in self._entries(manifest.id)]

    def _entries(self, backup_id: str) -> list[tuple[bytes, int, int]]:
        raw = (self._place(backup_id) / INDEX).read_bytes()
        if len(raw) % ENTRY.size:
            raise BackendFault(f"The index of backup {backup_id} is damaged.")
        return list(ENTRY.iter_unpack(raw))

    def _place(self, backup_id: str) -> Path:
        return self._root / backup_id[:2] / backup_id


def _found(
    layers: list[tuple[Manifest, list[tuple[bytes, int, int]]]],
    files: Mapping[str, IO[bytes]],
    number: int,
    digest: bytes,
) -> bytes:
    """The block from the newest backup that holds it."""
    for manifest, entries in layers:
        if number >= len(entries) or entries[number][2] == 0:
            continue
        _, offset, length = entries[number]
        files[manifest.id].seek(offset)
        packed = files[manifest.id].read(length)
        try:
            block = zlib.decompress(packed) if manifest.compression == ZLIB else packed
        except zlib.error as err:
            raise BackendFault(f"Block {number} of backup {manifest.id} is damaged.") from err
        if hashlib.sha256(block).digest() != digest:
            raise BackendFault(f"Block {number} of backup {manifest.id} is damaged.")
        return block
    raise BackendFault(f"Block {number} of backup {layers[0][0].id} is in none of its ancestors.")


def _blocks(file: IO[bytes], size_bytes: int) -> Iterator[bytes | None]:
    """Blocks of full size, the last filled up with zeros; None for one that lies in a hole."""
    offset = 0
    while offset < size_bytes:
        if _is_hole(file, offset):
            yield None
        else:
            file.seek(offset)
            block = file.read(min(BLOCK_BYTES, size_bytes - offset))
            yield block.ljust(BLOCK_BYTES, b"\0")
        offset += BLOCK_BYTES


def _is_hole(file: IO[bytes], offset: int) -> bool:
    try:
        return os.lseek(file.fileno(), offset, os.SEEK_DATA) >= offset + BLOCK_BYTES
    except OSError as err:
        if err.errno == errno.ENXIO:  # nothing but a hole up to the end
            return True
        if err.errno == errno.EINVAL:  # a device: it has no holes to tell of
            return False
        raise


def _made(path: Path, mode: str) -> IO[Any]:
    """A new file that its owner alone may read."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
