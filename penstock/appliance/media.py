"""What a LUN's data is on: a zvol where this ZFS has them, else one file in a filesystem of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from penstock.appliance.names import KIND
from penstock.errors import BackendFault, Unavailable
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import Properties, bytes_of, options

FILE = "disk"
UNFINISHED = "unfinished"  # the kind of a dataset whose file may be missing yet
COMMAND_TIMEOUT_S = 60.0
FILE_BLOCKS = (512, 128 * 1024)  # recordsize


class Medium(Protocol):
    """Makes and resizes; everything else is ZFS's, and the same for both. Every call may be repeated."""

    size_property: str
    """Where the size is read."""

    def create(
        self, dataset: Dataset, properties: Mapping[str, str], *, size_bytes: int, block_bytes: int, is_sparse: bool
    ) -> None:
        """Make it, empty. Raises Conflict when there is one, InsufficientCapacity."""
        ...

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str], *, reserved: int) -> None:
        """Make it as the snapshot is, with so much space kept for it. Raises as `create`."""
        ...

    def grow(self, dataset: Dataset, size_bytes: int, *, is_sparse: bool) -> None:
        """Make it that large. Raises InsufficientCapacity."""
        ...

    def size_bytes(self, properties: Properties) -> int:
        """Of a LUN or a snapshot of one, from its properties."""
        ...

    def path(self, dataset: Dataset, properties: Properties) -> str:
        """The block device or file that is exported; `properties` has ``mountpoint``."""
        ...


class Zvols:
    """Block devices of OpenZFS."""

    size_property = "volsize"

    def __init__(self, zfs: Zfs) -> None:
        self._zfs = zfs

    def create(
        self, dataset: Dataset, properties: Mapping[str, str], *, size_bytes: int, block_bytes: int, is_sparse: bool
    ) -> None:
        sparse = ("-s",) if is_sparse else ()
        words = options({**properties, "volblocksize": str(block_bytes)})
        self._zfs.commands.zfs("create", *sparse, "-V", str(_whole(size_bytes, block_bytes)), *words, str(dataset))

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str], *, reserved: int) -> None:
        kept = {"refreservation": str(reserved)} if reserved else {}
        self._zfs.clone(snapshot, dataset, {**properties, **kept})

    def grow(self, dataset: Dataset, size_bytes: int, *, is_sparse: bool) -> None:  # noqa: ARG002
        """A thick zvol's reservation grows with it (zfsprops(7), volsize)."""
        block_bytes = bytes_of(self._zfs.get(dataset, ["volblocksize"]), "volblocksize")
        self._zfs.set(dataset, {"volsize": str(_whole(size_bytes, block_bytes))})

    def size_bytes(self, properties: Properties) -> int:
        return bytes_of(properties, self.size_property)

    def path(self, dataset: Dataset, properties: Properties) -> str:  # noqa: ARG002
        return f"/dev/zvol/{dataset}"


class Files:
    """A file in a filesystem, its size in a property: snapshots of it must tell theirs."""

    size_property = "penstock.appliance:volsize"

    def __init__(self, zfs: Zfs) -> None:
        self._zfs = zfs

    def create(
        self, dataset: Dataset, properties: Mapping[str, str], *, size_bytes: int, block_bytes: int, is_sparse: bool
    ) -> None:
        record = min(max(block_bytes, FILE_BLOCKS[0]), FILE_BLOCKS[1])
        kept = {} if is_sparse else {"refreservation": str(size_bytes)}
        own = {"recordsize": str(record), **kept, self.size_property: str(size_bytes)}
        self._zfs.create(dataset, {**properties, **own, KIND: UNFINISHED}, parents=False)
        self._resize(dataset, size_bytes)
        self._zfs.set(dataset, {KIND: properties[KIND]})

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str], *, reserved: int) -> None:
        size = self._zfs.get(snapshot, [self.size_property])
        kept = {"refreservation": str(reserved)} if reserved else {}
        own = {self.size_property: str(self.size_bytes(size)), **kept}
        self._zfs.clone(snapshot, dataset, {**properties, **own})

    def grow(self, dataset: Dataset, size_bytes: int, *, is_sparse: bool) -> None:
        """Space first, then the file, then what we say of it: a crash between leaves it too large, not too small."""
        if not is_sparse:
            self._zfs.set(dataset, {"refreservation": str(size_bytes)})
        self._resize(dataset, size_bytes)
        self._zfs.set(dataset, {self.size_property: str(size_bytes)})

    def size_bytes(self, properties: Properties) -> int:
        return bytes_of(properties, self.size_property)

    def path(self, dataset: Dataset, properties: Properties) -> str:
        mountpoint = properties["mountpoint"].value
        if not mountpoint.startswith("/"):
            raise BackendFault(f"{dataset} has no mountpoint; a LUN that is a file needs one")
        return f"{mountpoint}/{FILE}"

    def _resize(self, dataset: Dataset, size_bytes: int) -> None:
        now = self._zfs.get(dataset, ["mountpoint", "mounted"])
        if now["mounted"].value != "yes":
            raise Unavailable(f"{dataset} is not mounted")
        argv = ("truncate", "-s", str(size_bytes), "--", self.path(dataset, now))
        done = self._zfs.host.run(argv, timeout_s=COMMAND_TIMEOUT_S)
        if done.exit_code != 0:
            raise BackendFault(f"the file of {dataset} could not be resized: {done.stderr.strip()}")


def _whole(size_bytes: int, block_bytes: int) -> int:
    """A zvol is a whole number of blocks."""
    return -(-size_bytes // block_bytes) * block_bytes


def medium_of(zfs: Zfs) -> Medium:
    """What this ZFS can do best."""
    return Zvols(zfs) if zfs.flavour.has_zvols else Files(zfs)
