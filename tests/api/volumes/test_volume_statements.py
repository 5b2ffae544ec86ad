"""What a request for a volume costs the database, counted: see `tests/api/test_statements.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.conftest import Client
from tests.api.volumes.arranging import act, add_volume_type, make_snapshot, make_volume

MOST = {
    "empty": 12,
    "from a snapshot": 13,
    "from a volume": 12,
    "a snapshot": 8,
    "extend": 14,
    "delete a snapshot": 7,
    "reserve": 5,
}


@pytest.fixture
def statements(plane: ControlPlane) -> Iterator[list[str]]:
    """What SQLite is given; in memory there is one connection."""
    seen: list[str] = []
    held: Any = plane.database.engine.raw_connection()
    held.driver_connection.set_trace_callback(seen.append)
    yield seen
    held.driver_connection.set_trace_callback(None)


@pytest.mark.parametrize(("what", "most"), MOST.items())
def test_few_statements(
    plane: ControlPlane, vmember: Client, vbackend: PoolRef, statements: list[str], what: str, most: int
) -> None:
    add_volume_type(plane)
    home = make_volume(plane, vmember)["id"]
    other = make_volume(plane, vmember)["id"]
    taken = make_snapshot(plane, vmember, home)["id"]
    statements.clear()
    match what:
        case "empty":
            answer = vmember.post("volumes", {"volume": {"size": 2}})
        case "from a snapshot":
            answer = vmember.post("volumes", {"volume": {"snapshot_id": taken}})
        case "from a volume":
            answer = vmember.post("volumes", {"volume": {"source_volid": home}})
        case "a snapshot":
            answer = vmember.post("snapshots", {"snapshot": {"volume_id": other}})
        case "extend":
            answer = act(vmember, other, "os-extend", {"new_size": 5})
        case "reserve":
            answer = vmember.post("attachments", {"attachment": {"volume_uuid": other, "instance_uuid": None}})
        case "delete a snapshot":
            answer = vmember.delete(f"snapshots/{taken}")
    assert answer.status_code in (200, 202), answer.text
    counted = [statement for statement in statements if statement not in ("COMMIT", "ROLLBACK")]
    assert len(counted) <= most, "\n".join(counted)
