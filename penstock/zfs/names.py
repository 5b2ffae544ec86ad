"""Names of ZFS things, checked once: past here a name cannot be an option, a pattern or another pool's business."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import Invalid

MAX_NAME_BYTES = 255  # ZFS_MAX_DATASET_NAME_LEN less its NUL (include/sys/fs/zfs.h)
MAX_USER_VALUE_BYTES = 1024  # zfsprops(7) promises 1024; newer ones take 8192, zfs-fuse does not

_COMPONENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.: -]+")  # what OpenZFS takes, or one odd dataset stops us
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*")
_PROPERTY = re.compile(r"[a-z0-9_@#.:-]+")


class InvalidName(Invalid):
    """Not a name that ZFS would take, or one we refuse to handle."""


@dataclass(frozen=True, slots=True, order=True)
class Dataset:
    """A filesystem or zvol, e.g. ``tank/shares/7f3c``; the first component is the zpool.

    Raises InvalidName for what OpenZFS does not take (module/zcommon/zfs_namecheck.c); of zpools only plain names.
    Beginning with the zpool it cannot be an option, whatever administrators call what they make beside ours.
    """

    path: str

    def __post_init__(self) -> None:
        pool, *components = self.path.split("/")
        if not _POOL.fullmatch(pool) or not all(map(_COMPONENT.fullmatch, components)):
            raise InvalidName(f"{self.path!r} is not a dataset name")
        if len(self.path) > MAX_NAME_BYTES:
            raise InvalidName(f"the dataset name {self.path!r} is longer than {MAX_NAME_BYTES} bytes")

    def __str__(self) -> str:
        return self.path

    @property
    def pool(self) -> str:
        """The zpool's name."""
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Dataset | None:
        """The dataset above, None for a pool's root."""
        above = self.path.rpartition("/")[0]
        return Dataset(above) if above else None

    def child(self, name: str) -> Dataset:
        """The dataset `name` directly (or, with slashes, further) below this one."""
        return Dataset(f"{self.path}/{name}")

    def contains(self, other: Dataset) -> bool:
        """True when `other` is this dataset or below it."""
        return other.path == self.path or other.path.startswith(self.path + "/")

    def snapshot(self, name: str) -> SnapshotName:
        """The snapshot `name` of this dataset."""
        return SnapshotName(self, name)


@dataclass(frozen=True, slots=True, order=True)
class SnapshotName:
    """A snapshot, e.g. ``tank/shares/7f3c@daily``. Raises InvalidName."""

    dataset: Dataset
    name: str

    def __post_init__(self) -> None:
        if not _COMPONENT.fullmatch(self.name):
            raise InvalidName(f"{self.name!r} is not a snapshot name")
        if len(str(self)) > MAX_NAME_BYTES:
            raise InvalidName(f"the snapshot name {str(self)!r} is longer than {MAX_NAME_BYTES} bytes")

    def __str__(self) -> str:
        return f"{self.dataset.path}@{self.name}"

    @property
    def pool(self) -> str:
        """The zpool's name."""
        return self.dataset.pool


Target = Dataset | SnapshotName


def parse_target(text: str) -> Target:
    """A dataset or snapshot from its full name. Raises InvalidName."""
    dataset, at, snapshot = text.partition("@")
    return SnapshotName(Dataset(dataset), snapshot) if at else Dataset(dataset)


def check_property(name: str, value: str | None = None) -> None:
    """Refuse property names and values that ZFS would not keep exactly as given. Raises InvalidName."""
    if not _PROPERTY.fullmatch(name) or name.startswith("-"):
        raise InvalidName(f"{name!r} is not a property name")
    if value is None:
        return
    if not value or not value.isprintable() or len(value.encode()) > MAX_USER_VALUE_BYTES:
        raise InvalidName(f"the value of {name} is not printable text of 1 to {MAX_USER_VALUE_BYTES} bytes")
