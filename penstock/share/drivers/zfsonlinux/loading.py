"""The helper classes that ``zfs_share_helpers`` names."""

from __future__ import annotations

import importlib

from penstock.errors import Invalid
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.utils import NFSviaZFSHelper


def helper_class(settings: Settings) -> type[NFSviaZFSHelper]:
    """The class that exports by NFS, ours or one derived from it. Raises Invalid, naming what is wrong."""
    dotted = settings.helpers.get("NFS")
    if dotted is None:
        raise Invalid("zfs_share_helpers has no helper for NFS, the one protocol this driver serves.")
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as err:
        raise Invalid(f"zfs_share_helpers: {dotted} cannot be imported: {err}.") from err
    if not (isinstance(found, type) and issubclass(found, NFSviaZFSHelper)):
        raise Invalid(f"zfs_share_helpers: {dotted} is not derived from {NFSviaZFSHelper.__name__}.")
    return found
