"""Finding and measuring what an administrator asks us to take over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.domain.types import parse_claim
from penstock.errors import Invalid, ManageInvalidShare, NotFound
from penstock.share.drivers.zfsonlinux.exporting import mountpoint_of
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.models import ShareModel
from penstock.units import bytes_to_gib_ceil
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, InvalidName


def find_by_path(zfs: Zfs, root: Dataset, location: str) -> SeenShare:
    """The dataset below `root` that is mounted at the location's path (or, without a slash in front, has that name).

    Tries the dataset of the same name first, and lists `root` only when that is mounted elsewhere. Raises
    ManageInvalidShare.
    """
    path = mountpoint_of(location)
    named = _dataset(path.strip("/"))
    seen = observe_share(zfs, named) if named is not None and root.contains(named) else None
    if seen is not None and path in (seen.mountpoint, seen.dataset.path):
        return _below(root, seen)
    try:
        mounted = zfs.tree(root, ("mountpoint",))
    except NotFound:
        mounted = {}
    for name, properties in mounted.items():
        if properties["mountpoint"].value == path:
            found = observe_share(zfs, Dataset(name))
            if found is not None:
                return _below(root, found)
    raise ManageInvalidShare(f"no dataset below {root} is mounted at '{path}'")


def _below(root: Dataset, seen: SeenShare) -> SeenShare:
    if seen.dataset == root:
        raise ManageInvalidShare(f"{root} is where shares are made, it cannot be a share itself")
    return seen


def _dataset(text: str) -> Dataset | None:
    try:
        return Dataset(text)
    except InvalidName:
        return None


def location_of(share: ShareModel) -> str:
    """The path the administrator gave. Raises ManageInvalidShare when there is none."""
    locations = share["export_locations"]
    if not locations or not locations[0]["path"]:
        raise ManageInvalidShare("there is no export location to tell which dataset is meant")
    return str(locations[0]["path"])


def adopted_size_gib(seen: SeenShare, options: Mapping[str, Any]) -> int:
    """The option ``size`` in GiB; else the limit the dataset has, else what it holds, each rounded up."""
    if options.get("size") is not None:
        return size_option(options["size"])
    return bytes_to_gib_ceil(max(seen.refquota_bytes or seen.quota_bytes, seen.referenced_bytes))


def size_option(value: Any) -> int:
    """A size in whole GiB. Raises ManageInvalidShare."""
    text = str(value).strip()
    if not text.isdecimal() or int(text) < 1:
        raise ManageInvalidShare(f"the option 'size' is a number of GiB of at least 1, not '{value}'")
    return int(text)


def is_rename_wanted(options: Mapping[str, Any]) -> bool:
    """The option ``rename``, default no: the path that clients use would change. Raises ManageInvalidShare."""
    try:
        return parse_claim("rename", options.get("rename", "false"))
    except Invalid as err:
        raise ManageInvalidShare(err.message) from err
