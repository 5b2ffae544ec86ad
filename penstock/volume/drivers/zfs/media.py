"""What a volume is on the ZFS host: a zvol, or one file on a filesystem of its own where ZFS has no zvols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from penstock.errors import BackendFault, Conflict, InsufficientCapacity, NotFound
from penstock.host.runner import Host
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import Property, bytes_of

FILE = "volume"
"""The file's name within its filesystem."""
TIMEOUT_S = 60.0
# Nobody but root may read it. coreutils: > is at least, so nobody's data are ever cut off.
_GROW = 'umask 077 && truncate -s ">$1" -- "$2"'
# One that is large enough is not touched: that would count as if somebody had written to it.
_GROW_SMALLER = f'[ "$(stat -L -c %s -- "$2" 2>/dev/null || echo 0)" -ge "$1" ] || {{ {_GROW}; }}'
_SIZE = "stat", "-L", "-c", "%s", "--"
# A filesystem keeps this much beside the bytes of a file that is written whole (indirect blocks, metadata).
OVERHEAD_SHARE, OVERHEAD_BYTES = 64, 4 * 2**20


class Medium(Protocol):
    """How volumes are made, and where their bytes are."""

    @property
    def type(self) -> str:
        """What ZFS calls the dataset: ``volume`` or ``filesystem``."""
        ...

    @property
    def asked(self) -> tuple[str, ...]:
        """Properties that `sizes` wants to know."""
        ...

    def create(self, dataset: Dataset, size_bytes: int, properties: Mapping[str, str], *, is_thin: bool) -> None:
        """Make an empty one. Raises Conflict when the dataset exists, InsufficientCapacity."""
        ...

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        """Make one that starts as the snapshot. Raises Conflict, NotFound."""
        ...

    def settle(self, dataset: Dataset, size_bytes: int, *, is_thin: bool) -> None:
        """Have it at least that large, its space set aside unless thin. Safe to repeat. Raises NotFound."""
        ...

    def reserve(self, dataset: Dataset, size_bytes: int) -> None:
        """Set the space for it aside, also while it is read-only and nobody may open it. Safe to repeat."""
        ...

    def path(self, dataset: Dataset) -> str:
        """The device or file. Raises NotFound."""
        ...

    def directory(self, root: Dataset) -> str:
        """What the paths of all volumes below `root` begin with."""
        ...

    def sizes(self, datasets: Mapping[str, Mapping[str, Property]]) -> dict[str, int]:
        """Bytes of each, from its properties `asked` (files are looked at, too)."""
        ...


@dataclass(frozen=True, slots=True)
class Zvols:
    """Volumes are zvols."""

    zfs: Zfs
    type: str = "volume"
    asked: tuple[str, ...] = ("type", "volsize", "refreservation")

    def create(self, dataset: Dataset, size_bytes: int, properties: Mapping[str, str], *, is_thin: bool) -> None:
        self.zfs.create_volume(dataset, size_bytes, properties, is_sparse=is_thin)

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        self.zfs.clone(snapshot, dataset, properties)

    def settle(self, dataset: Dataset, size_bytes: int, *, is_thin: bool) -> None:
        found = self.zfs.get(dataset, ["volsize", "refreservation"])
        if bytes_of(found, "volsize") < size_bytes:
            self.zfs.set(dataset, {"volsize": str(size_bytes)})
        if not is_thin and bytes_of(found, "refreservation") < size_bytes:
            self.zfs.set(dataset, {"refreservation": "auto"})

    def reserve(self, dataset: Dataset, size_bytes: int) -> None:
        if bytes_of(self.zfs.get(dataset, ["refreservation"]), "refreservation") < size_bytes:
            self.zfs.set(dataset, {"refreservation": "auto"})

    def path(self, dataset: Dataset) -> str:
        return f"/dev/zvol/{dataset}"

    def directory(self, root: Dataset) -> str:
        return f"/dev/zvol/{root}/"

    def sizes(self, datasets: Mapping[str, Mapping[str, Property]]) -> dict[str, int]:
        return {name: bytes_of(found, "volsize") for name, found in datasets.items()}


@dataclass(frozen=True, slots=True)
class Files:
    """Volumes are files. `mountpoints` are those of the roots, below which filesystems inherit theirs."""

    zfs: Zfs
    host: Host
    mountpoints: Mapping[str, str]
    type: str = "filesystem"
    asked: tuple[str, ...] = ("type", "mountpoint", "refreservation")

    def create(self, dataset: Dataset, size_bytes: int, properties: Mapping[str, str], *, is_thin: bool) -> None:
        reserved = {} if is_thin else {"refreservation": str(_reserved(size_bytes))}
        self.zfs.create(dataset, {**reserved, **properties}, parents=False)
        self._grow(dataset, self._inherited(dataset), size_bytes)

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        self.zfs.clone(snapshot, dataset, properties)

    def settle(self, dataset: Dataset, size_bytes: int, *, is_thin: bool) -> None:
        found = self.zfs.get(dataset, ["mounted", "mountpoint", "refreservation"])
        if found["mounted"].value != "yes":
            self.zfs.mount(dataset)
        if not is_thin:
            self._reserve(dataset, found, size_bytes)
        self._grow(dataset, f"{found['mountpoint'].value}/{FILE}", size_bytes, _GROW_SMALLER)

    def reserve(self, dataset: Dataset, size_bytes: int) -> None:
        self._reserve(dataset, self.zfs.get(dataset, ["refreservation"]), size_bytes)

    def _reserve(self, dataset: Dataset, found: Mapping[str, Property], size_bytes: int) -> None:
        if bytes_of(found, "refreservation") < _reserved(size_bytes):
            self.zfs.set(dataset, {"refreservation": str(_reserved(size_bytes))})

    def path(self, dataset: Dataset) -> str:
        return self._inherited(dataset)

    def directory(self, root: Dataset) -> str:
        return self._inherited(root).removesuffix(FILE)

    def sizes(self, datasets: Mapping[str, Mapping[str, Property]]) -> dict[str, int]:
        paths = {f"{found['mountpoint'].value}/{FILE}": name for name, found in datasets.items()}
        if not paths:
            return {}
        done = self.host.run(["stat", "-L", "-c", "%s %n", "--", *paths], timeout_s=TIMEOUT_S)
        lines = (line.partition(" ") for line in done.stdout.splitlines())
        return {paths[path]: int(size) for size, _, path in lines}

    def _inherited(self, dataset: Dataset) -> str:
        for root, mountpoint in self.mountpoints.items():
            if Dataset(root).contains(dataset):
                return f"{mountpoint}{str(dataset).removeprefix(root)}/{FILE}"
        raise NotFound(f"{dataset} is below none of {', '.join(self.mountpoints)}")

    def _grow(self, dataset: Dataset, path: str, size_bytes: int, script: str = _GROW) -> None:
        done = self.host.run(["sh", "-c", script, "penstock-grow", str(size_bytes), path], timeout_s=TIMEOUT_S)
        if done.exit_code == 0:
            return
        if "No space left" in done.stderr:
            raise InsufficientCapacity(f"{dataset}: {done.stderr.strip()}")
        if "No such file" in done.stderr:
            raise NotFound(f"{dataset} is not mounted where it should be: {done.stderr.strip()}")
        raise BackendFault(f"{path} could not be made {size_bytes} bytes long: {done.stderr.strip()}")


def _reserved(size_bytes: int) -> int:
    return size_bytes + size_bytes // OVERHEAD_SHARE + OVERHEAD_BYTES


def choose(kind: str, zfs: Zfs, host: Host, flavour: Flavour, roots: Mapping[str, Mapping[str, Property]]) -> Medium:
    """By ``zfs_volume_kind``, or by what this ZFS has. `roots` with their mountpoints, by name. Raises Conflict."""
    if kind == "zvol" or (kind == "auto" and flavour.has_zvols):
        return Zvols(zfs)
    mountpoints = {name: found["mountpoint"].value for name, found in roots.items()}
    for name, mountpoint in mountpoints.items():
        if not mountpoint.startswith("/"):
            raise Conflict(f"{name} has no mountpoint, so volumes cannot be files below it")
    return Files(zfs, host, {name: "" if place == "/" else place for name, place in mountpoints.items()})
