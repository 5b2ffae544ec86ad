"""Notes of what this machine's kernel has attached for a backend: one file each, which outlives a process that dies.

The kernel keeps a session whoever asked for it is dead. What a note tells of is detached by the next process of the
backend, also where the operation that wanted it is not taken up again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from penstock.errors import BackendFault
from penstock.ids import new_id

log = structlog.get_logger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SECRETS = ("auth_", "discovery_auth_")


@dataclass(frozen=True, slots=True)
class Note:
    """`connection` is the whole connection information, without secrets."""

    path: Path
    volume_id: str
    connection: Mapping[str, Any]


def note(folder: Path, volume_id: str, connection: Mapping[str, Any]) -> Path:
    """Write that the volume is about to be attached, for root only. Raises BackendFault."""
    data = {name: value for name, value in connection["data"].items() if not name.startswith(SECRETS)}
    told = {"boot": _boot_id(), "volume_id": volume_id, "connection": {**connection, "data": data}}
    path = folder / f"{new_id()}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(told, default=str))
    except OSError as err:
        raise BackendFault(f"What is attached to this machine cannot be noted in {folder}: {err.strerror}") from err
    return path


def forget(path: Path) -> None:
    """It is not attached any more. Safe to repeat. Raises OSError."""
    path.unlink(missing_ok=True)


def left(folder: Path) -> list[Note]:
    """What earlier processes left. Notes that are cut off, and those of an earlier boot of the machine, go: a note is
    whole before anything is attached, and no session outlives its kernel. One that we may not read, or not remove,
    stays, and the log is told."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            told = _read(path)
            if told.get("boot") == _boot_id():
                found.append(Note(path, told["volume_id"], told["connection"]))
            else:
                forget(path)
        except OSError as err:
            log.warning("volume.note_stays", path=str(path), error=str(err))
    return found


def _read(path: Path) -> dict[str, Any]:
    """What the note tells: nothing when it is cut off. Raises OSError."""
    text = path.read_text()
    try:
        told: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return told


def _boot_id() -> str:
    return BOOT_ID.read_text().strip()
