"""Moving shares over the API: one, or all that a backend holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.client import shares
from penstock.client.session import Session
from penstock.errors import BackendFault, Conflict, Forbidden, Invalid, NotFound, UnknownResult

Document = dict[str, Any]

PHASE1_DONE = frozenset({"migration_driver_phase1_done", "data_copying_completed"})
ENDED = frozenset({"migration_success", "migration_error", "migration_cancelled"})
PAUSE_S = 1.0
MOST_TRIES = 3
REFUSED = (Invalid, Conflict, Forbidden, NotFound)


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
        time.sleep(PAUSE_S)


def why(session: Session, share_id: str, found: Document) -> str:
    """Why a migration failed."""
    return str((found.get("details") or {}).get("note") or shares.reason(session, share_id) or "no reason was given")


# --- emptying a backend -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Leaving:
    """A share that is to leave. `tried` are the pools that could not take it, with the reasons."""

    id: str
    name: str
    is_moving: bool = False
    heading: str = "its destination"
    tried: dict[str, str] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain came to: ids that left, and why others did not."""

    moved: tuple[str, ...]
    left: dict[str, str]


class Drain:
    """Moves every share off the pools of `place` (``host@backend`` or ``host@backend#pool``).

    It keeps nothing: what it does is read from the API, so another one goes on where this one was ended.
    """

    def __init__(
        self,
        session: Session,
        place: str,
        *,
        to: Sequence[str] = (),
        at_once: int = 2,
        tell: Callable[[str], None] = lambda _line: None,
        show: Callable[[str], None] = lambda _line: None,
        pause: Callable[[], None] = lambda: time.sleep(PAUSE_S),
    ) -> None:
        self._session = session
        self._place = place
        self._to = tuple(to)
        self._at_once = at_once
        self._tell = tell
        self._show = show
        self._pause = pause
        self._moved: list[str] = []
        self._left: dict[str, str] = {}

    def disable(self) -> None:
        """Let the scheduler place nothing new on the backend. A single pool cannot be taken out."""
        if "#" not in self._place:
            self._session.request("PUT", "services/disable", body={"host": self._place, "binary": "manila-share"})

    def shares(self) -> list[Leaving]:
        """The shares that live there, with those that are on their way already."""
        found = self._session.get("share_instances")["share_instances"]
        mine = [item for item in found if self._is_here(str(item["host"])) and item["status"] != "migrating_to"]
        leaving = []
        for item in mine:
            try:
                share = self._session.get(f"shares/{item['share_id']}")["share"]
            except NotFound:
                continue
            if share["host"] == item["host"]:
                leaving.append(Leaving(share["id"], share["name"] or share["id"], share["status"] == "migrating"))
            else:
                self._left[share["id"]] = f"{share['name'] or share['id']}: a replica of it is here; delete that"
        return leaving

    def run(self) -> Drained:
        """Move them all, some at a time; returns when each has left or cannot."""
        waiting = self.shares()
        moving = [share for share in waiting if share.is_moving]
        waiting = [share for share in waiting if not share.is_moving]
        while waiting or moving:
            while waiting and len(moving) < self._at_once:
                share = waiting.pop(0)
                if self._begin(share):
                    moving.append(share)
            moving = [share for share in moving if self._goes_on(share)]
            if moving:
                self._show("; ".join(f"{share.name}: {share.shown}" for share in moving))
                self._pause()
        return Drained(tuple(self._moved), dict(self._left))

    def _is_here(self, host: str) -> bool:
        return host == self._place if "#" in self._place else host.partition("#")[0] == self._place

    def _begin(self, share: Leaving) -> bool:
        """Start it towards the first pool that takes it; False when there is none."""
        for pool in self._pools(share):
            try:
                act(self._session, share.id, Wanted().body(pool))
            except REFUSED as fault:
                share.tried[pool] = fault.message
                if not isinstance(fault, NotFound):
                    break  # it is the share that cannot, wherever to
                continue
            self._tell(f"{share.name}: to {pool}")
            share.is_moving, share.heading = True, pool
            return True
        reasons = "; ".join(f"{pool}: {reason}" for pool, reason in share.tried.items())
        self._give_up(share, reasons or "no other pool fits its type")
        return False

    def _pools(self, share: Leaving) -> Iterator[str]:
        """Where it could go, the emptiest first; what was tried is left out."""
        found = self._session.get(f"shares/{share.id}")["share"]
        query = {"share_type": found["share_type"]} if found.get("share_type") else {}
        pools = self._session.get("scheduler-stats/pools/detail", **query)["pools"]
        pools.sort(key=lambda pool: -_number(pool["capabilities"].get("free_capacity_gb")))
        names = [str(pool["name"]) for pool in pools if not self._is_here(str(pool["name"]))]
        if self._to:
            names = [name for name in names if name in self._to or name.partition("#")[0] in self._to]
        yield from [name for name in names if name not in share.tried][: MOST_TRIES - len(share.tried)]

    def _goes_on(self, share: Leaving) -> bool:
        """One look: complete it when its time has come; False when it is over for this share."""
        try:
            found = progress(self._session, share.id)
        except REFUSED as fault:
            self._give_up(share, fault.message)
            return False
        state = found["task_state"]
        share.shown = told(found)
        if state in PHASE1_DONE:
            self._complete(share)
            return True
        if state == "migration_success":
            self._moved.append(share.id)
            self._tell(f"{share.name}: moved")
            return False
        if state in ENDED:
            return self._try_elsewhere(share, found)
        return True

    def _complete(self, share: Leaving) -> None:
        try:
            act(self._session, share.id, {"migration_complete": None})
        except Invalid:
            return  # somebody else was faster: the next look tells

    def _try_elsewhere(self, share: Leaving, found: Document) -> bool:
        destination = str((found.get("details") or {}).get("destination") or share.heading)
        share.tried[destination] = why(self._session, share.id, found)
        if found["task_state"] == "migration_cancelled" or len(share.tried) >= MOST_TRIES:
            self._give_up(share, f"{destination}: {share.tried[destination]}")
            return False
        if self._session.get(f"shares/{share.id}")["share"]["status"] == "migrating":
            share.tried.pop(destination)
            return True  # what was made there is still being taken away
        return self._begin(share)

    def _give_up(self, share: Leaving, reason: str) -> None:
        self._left[share.id] = f"{share.name}: {reason}"
        self._tell(f"{share.name}: stays: {reason}")


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0


__all__ = ["Drain", "Drained", "Leaving", "Wanted", "act", "await_state", "progress", "told", "why"]
