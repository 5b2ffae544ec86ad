"""Shares that leave a backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.client.draining import Leaving, Look, Stage
from penstock.client.migrations import ENDED, PHASE1_DONE, Wanted, act, progress, told, why
from penstock.client.session import Session
from penstock.errors import Fault, Invalid, NotFound


class ShareMover:
    """`client.draining.Mover` of shares."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def disable(self, backend: str) -> None:
        self._session.request("PUT", "services/disable", body={"host": backend, "binary": "manila-share"})

    def held(self, is_here: Callable[[str], bool]) -> tuple[list[Leaving], dict[str, str]]:
        found = self._session.get("share_instances")["share_instances"]
        leaving, left = [], {}
        for item in (one for one in found if is_here(str(one["host"])) and one["status"] != "migrating_to"):
            try:
                share = self._session.get(f"shares/{item['share_id']}")["share"]
            except NotFound:
                continue
            name = share["name"] or share["id"]
            if share["host"] == item["host"]:
                leaving.append(Leaving(share["id"], name, share["status"] == "migrating"))
            else:
                left[share["id"]] = f"{name}: a replica of it is here; delete that"
        return leaving, left

    def pools(self, leaving: Leaving) -> Sequence[dict[str, Any]]:
        found = self._session.get(f"shares/{leaving.id}")["share"]
        query = {"share_type": found["share_type"]} if found.get("share_type") else {}
        return list(self._session.get("scheduler-stats/pools/detail", **query)["pools"])

    def start(self, leaving: Leaving, pool: str) -> None:
        act(self._session, leaving.id, Wanted().body(pool))

    def is_hopeless(self, fault: Fault) -> bool:
        return not isinstance(fault, NotFound)

    def look(self, leaving: Leaving) -> Look:
        """Completes it when its time has come."""
        found = progress(self._session, leaving.id)
        state, shown = found["task_state"], told(found)
        if state in PHASE1_DONE:
            self._complete(leaving)
        if state == "migration_success":
            return Look(Stage.MOVED, shown)
        if state not in ENDED:
            return Look(Stage.GOING, shown)
        destination = (found.get("details") or {}).get("destination")
        reason = why(self._session, leaving.id, found)
        if state == "migration_cancelled":
            return Look(Stage.STOPPED, shown, destination, reason)
        if self._session.get(f"shares/{leaving.id}")["share"]["status"] == "migrating":
            return Look(Stage.GOING, shown)  # what was made there is still being taken away
        return Look(Stage.FAILED, shown, destination, reason)

    def besides(self, is_here: Callable[[str], bool]) -> Sequence[str]:  # noqa: ARG002 - there is nothing such
        return ()

    def _complete(self, leaving: Leaving) -> None:
        try:
            act(self._session, leaving.id, {"migration_complete": None})
        except Invalid:
            return  # somebody else was faster: the next look tells
