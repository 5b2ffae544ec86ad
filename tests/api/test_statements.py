"""What a request costs the database, counted: each statement is a tenth of a millisecond, however little it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from penstock.store.database import whole_connection
from tests.api.arranging import add_type, make_share
from tests.api.conftest import Client

MOST = {"create": 15, "snapshot": 9, "extend": 12, "allow": 10}


@pytest.fixture
def statements(plane: ControlPlane) -> Iterator[list[str]]:
    """What SQLite is given; in memory there is one connection."""
    seen: list[str] = []
    with plane.database.read() as tx:
        raw: Any = whole_connection(tx).connection.driver_connection
    raw.set_trace_callback(seen.append)
    yield seen
    raw.set_trace_callback(None)


@pytest.mark.parametrize(("what", "most"), MOST.items())
def test_few_statements(
    plane: ControlPlane, member: Client, backend: PoolRef, statements: list[str], what: str, most: int
) -> None:
    add_type(plane)
    share = make_share(plane, member)["id"]
    body: dict[str, tuple[str, dict[str, Any]]] = {
        "create": ("shares", {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold"}}),
        "snapshot": ("snapshots", {"snapshot": {"share_id": share}}),
        "extend": (f"shares/{share}/action", {"extend": {"new_size": 3}}),
        "allow": (
            f"shares/{share}/action",
            {"allow_access": {"access_type": "ip", "access_to": "10.0.0.5", "access_level": "rw"}},
        ),
    }
    statements.clear()
    answer = member.post(*body[what])
    assert answer.status_code in (200, 202), answer.text
    counted = [statement for statement in statements if statement not in ("COMMIT", "ROLLBACK")]
    assert len(counted) <= most, "\n".join(counted)
