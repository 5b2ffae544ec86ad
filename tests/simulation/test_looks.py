"""Actors of a life look again only when something was written."""

from __future__ import annotations

from datetime import datetime

from penstock.store import backends
from tests.databases import in_memory
from tests.simulation.looks import Looks, looked

NOW = datetime(2026, 1, 1, 12, 30)


def test_a_look_is_repeated_only_when_something_was_written() -> None:
    database, looks, memory = in_memory(), [], Looks()

    def look(tx: object) -> list[object]:
        looks.append(1)
        return list(backends.list_services(tx))  # type: ignore[arg-type]

    for host in ("one", "one", "two"):
        with database.begin() as tx:
            backends.heartbeat(tx, binary="b", host=host, zone="z", ready=True, now=NOW)
        for _ in range(3):
            assert host in {one.host for one in looked(database, memory, "services", look)}
    assert len(looks) == 3
