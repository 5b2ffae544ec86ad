"""Which copy of a dataset is to be believed, written on the copies themselves: reigns, fences, and what was synced.

One copy is active at a time; each promotion begins a new reign, of a higher number (its *epoch*) than any before. The
marks are of shares and of volumes; which others each half has, and what it calls its things, its `identity` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from penstock.zfs.marks import PREFIX

ACCEPTED = f"{PREFIX}accepted"
EPOCH = f"{PREFIX}epoch"
FENCED = f"{PREFIX}fenced"
OF = f"{PREFIX}of"
PROMOTED = f"{PREFIX}promoted"
REVERTED_TO = f"{PREFIX}reverted_to"
SYNCED_AT = f"{PREFIX}synced_at"
SYNCED_GUID = f"{PREFIX}synced_guid"
FIRST_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Fence:
    """Why a copy must not serve: `epoch` is the reign it made way for, `successor` the copy that was to begin it.

    `successor` is empty when it was found to be of an old reign.
    """

    epoch: int
    successor: str

    def __str__(self) -> str:
        return f"{self.epoch}:{self.successor}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``str`` wrote. Raises ValueError."""
        epoch, _, successor = text.partition(":")
        return cls(int(epoch), successor)


def base_for(copy_id: str) -> str:
    """The property of a sync snapshot that says: the copy's next increment starts from it."""
    return f"{PREFIX}for_{copy_id}"


def hold_tag(copy_id: str) -> str:
    """The tag of the holds that a copy's base has; of an empty id, what those of all begin with."""
    return f"{PREFIX}{copy_id}"
