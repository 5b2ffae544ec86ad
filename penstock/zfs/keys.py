"""Keys of encrypted datasets (zfs-load-key(8), OpenZFS): loaded from where operators keep them, never seen by us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.zfs import queries
from penstock.zfs.faults import KeyNotLoaded
from penstock.zfs.names import Dataset

if TYPE_CHECKING:
    from penstock.zfs.commands import Commands

URLS = ("file://", "https://", "http://")  # what keylocation may be, beside prompt
NOT_LOADED = "unavailable"  # a value of keystatus
_ROOT, _LOCATION, _STATUS = "encryptionroot", "keylocation", "keystatus"


def unlock(commands: Commands, dataset: Dataset) -> None:
    """Have the dataset's key loaded. Safe to repeat; nothing to do for one that is not encrypted or has it already.

    A copy that came as a raw stream is its own encryption root and asks for its key (``keylocation=prompt``): it has
    the key of what it was copied from. Where the datasets around it keep theirs is then tried, and remembered when it
    fits, so that the host finds it at the next boot.

    Raises KeyNotLoaded (no place is known, or the key there is another), NotFound.
    """
    found = queries.get(commands, dataset, (_STATUS, _ROOT))
    if found[_STATUS].value != NOT_LOADED:
        return
    root = Dataset(found[_ROOT].value)
    own = queries.get(commands, root, (_LOCATION,))[_LOCATION].value
    if own.startswith(URLS):
        commands.zfs("load-key", str(root))
        return
    around = _location_around(commands, root)
    if around is None:
        raise KeyNotLoaded(
            f"the key of {root} is not loaded, and its keylocation is '{own}': on the host, run zfs load-key {root}, "
            "or set keylocation to where the key is"
        )
    commands.zfs("load-key", "-L", around, str(root))
    commands.zfs("set", f"{_LOCATION}={around}", str(root))


def _location_around(commands: Commands, root: Dataset) -> str | None:
    """Where the dataset above keeps its key, if that is a place that can be read without asking."""
    if root.parent is None:
        return None
    above = queries.get(commands, root.parent, (_ROOT,))[_ROOT].value
    if above == "-":
        return None
    location = queries.get(commands, Dataset(above), (_LOCATION,))[_LOCATION].value
    return location if location.startswith(URLS) else None
