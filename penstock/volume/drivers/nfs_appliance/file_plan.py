"""What has to be done to a volume's file on its share, from what is there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import BackendFault, Conflict

Step = tuple[str, ...]
"""``("create", name)``, ``("rename", old, new)``, ``("truncate", name, bytes)``, ``("fill", name, bytes)`` or
``("mode", name, octal)``; words only, as they go to a program."""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A regular file at the top of a share; `mode` are its permissions."""

    name: str
    size_bytes: int
    mode: int


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A volume's file. One that is not `sparse` is written to its end."""

    name: str
    size_bytes: int
    mode: int
    sparse: bool = True


def plan_file(want: WantedFile, seen: Sequence[SeenFile], *, may_create: bool) -> tuple[Step, ...]:
    """Steps from `seen` to `want`; empty when it is so. A larger file is left as large: data is never cut off.

    A share made of a snapshot has the file under the name it had there, and `may_create` is False: without any file,
    there was no volume. Raises BackendFault, Conflict when several files could be meant.
    """
    found = next((file for file in seen if file.name == want.name), None)
    steps: list[Step] = []
    if found is None and len(seen) > 1:
        names = ", ".join(sorted(file.name for file in seen))
        raise Conflict(f"The share holds several files ({names}), and none of them is {want.name}.")
    if found is None and seen:
        found = seen[0]
        steps.append(("rename", found.name, want.name))
    if found is None:
        if not may_create:
            raise BackendFault(f"The share has no file that could be {want.name}.")
        steps.append(("create", want.name))
        found = SeenFile(want.name, 0, 0)
    if found.size_bytes < want.size_bytes:
        # What is written to the end of a file shows by its size how far it got.
        steps.append(("truncate" if want.sparse else "fill", want.name, str(want.size_bytes)))
    if found.mode != want.mode:
        steps.append(("mode", want.name, f"{want.mode:o}"))
    return tuple(steps)


def only_file(seen: Sequence[SeenFile]) -> SeenFile | None:
    """The one file of a share that may be taken over as a volume; None when there is none, or more than one."""
    return seen[0] if len(seen) == 1 else None
