"""Moving a share over the API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.client import shares
from penstock.client.session import Session
from penstock.errors import BackendFault, UnknownResult

Document = dict[str, Any]

PHASE1_DONE = frozenset({"migration_driver_phase1_done", "data_copying_completed"})
ENDED = frozenset({"migration_success", "migration_error", "migration_cancelled"})
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a share is to be moved; the published flags. `share_type` is an id."""

    writable: bool = True
    preserve_metadata: bool = True
    preserve_snapshots: bool = True
    nondisruptive: bool = False
    force_host_assisted: bool = False
    share_type: str | None = None

    def body(self, host: str) -> Document:
        """The published action."""
        found: Document = {
            "host": host,
            "writable": self.writable,
            "preserve_metadata": self.preserve_metadata,
            "preserve_snapshots": self.preserve_snapshots,
            "nondisruptive": self.nondisruptive,
            "force_host_assisted_migration": self.force_host_assisted,
        }
        if self.share_type is not None:
            found["new_share_type_id"] = self.share_type
        return {"migration_start": found}


def act(session: Session, share_id: str, action: Document) -> Any:
    """One action on the share."""
    return session.post(f"shares/{share_id}/action", action)


def progress(session: Session, share_id: str) -> Document:
    """How far the share's latest migration is. Raises Invalid when there was none."""
    return dict(act(session, share_id, {"migration_get_progress": None}))


def told(found: Document) -> str:
    """The progress in a line: state, percent, bytes, time left, what it waits for."""
    details = found.get("details") or {}
    words = [str(found["task_state"]), f"{found['total_progress']} %"]
    if details.get("total_bytes"):
        words.append(f"{_size(details.get('moved_bytes', 0))} of {_size(details['total_bytes'])}")
    if details.get("eta_seconds"):
        words.append(f"{details['eta_seconds']} s left")
    if details.get("note"):
        words.append(str(details["note"]))
    return ", ".join(words)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def await_state(
    session: Session, share_id: str, wanted: frozenset[str], *, timeout_s: float, tell: Callable[[str], None]
) -> Document:
    """Wait until the migration is in one of `wanted`, or over. Raises BackendFault when it failed, UnknownResult."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = progress(session, share_id)
        if found["task_state"] == "migration_error":
            raise BackendFault(f"The migration failed: {why(session, share_id, found)}")
        if found["task_state"] in wanted | ENDED:
            return found
        tell(told(found))
        if time.monotonic() >= deadline:
            raise UnknownResult(f"After {timeout_s:g} s it is at: {told(found)}. It goes on without us.")
        time.sleep(PAUSE_S)  # the API tells nobody of changes


def why(session: Session, share_id: str, found: Document) -> str:
    """Why a migration failed."""
    return str((found.get("details") or {}).get("note") or shares.reason(session, share_id) or "no reason was given")
