"""Volumes and snapshots in the state a test begins with; what a backend would do is written to the rows."""

from __future__ import annotations

from typing import Any

from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_types import VolumeType
from penstock.ids import VolumeTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.store import volume_snapshots, volume_types, volumes
from tests.api.conftest import Client


def add_volume_type(plane: ControlPlane, name: str = "gold", *, is_public: bool = True, **specs: str) -> str:
    """A volume type, which is the default one too."""
    plane.conf.set_override("default_volume_type", name)
    made = VolumeType(VolumeTypeId(new_id()), name, None, is_public, None, plane.clock.utc(), None, specs)
    with plane.database.begin() as tx:
        volume_types.insert_type(tx, made)
    return made.id


def finish_volume(plane: ControlPlane, volume_id: str, event: VolumeEvent = VolumeEvent.DONE, **values: Any) -> None:
    """What a backend does at the end of an operation on a volume."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        volume = volumes.get(tx, volume_id)
        assert volume is not None
        volumes.move(tx, volume, event, now=now, **values)


def finish_snapshot(plane: ControlPlane, snapshot_id: str, event: VolumeEvent = VolumeEvent.DONE) -> None:
    """What a backend does at the end of an operation on a snapshot."""
    with plane.database.begin() as tx:
        snapshot = volume_snapshots.get(tx, snapshot_id)
        assert snapshot is not None
        volume_snapshots.move(tx, snapshot, event, now=plane.clock.utc(), progress="100%")


def make_volume(plane: ControlPlane, client: Client, **wanted: Any) -> dict[str, Any]:
    """An available volume of 2 GiB."""
    answer = client.post("volumes", {"volume": {"size": 2, **wanted}})
    assert answer.status_code == 202, answer.text
    volume_id = answer.json()["volume"]["id"]
    finish_volume(plane, volume_id)
    shown: dict[str, Any] = client.get(f"volumes/{volume_id}").json()["volume"]
    return shown


def make_snapshot(plane: ControlPlane, client: Client, volume_id: str, **wanted: Any) -> dict[str, Any]:
    """An available snapshot."""
    answer = client.post("snapshots", {"snapshot": {"volume_id": volume_id, **wanted}})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()["snapshot"]
    finish_snapshot(plane, made["id"])
    return made


def act(client: Client, volume_id: str, action: str, arguments: Any = None) -> Any:
    """``POST volumes/{id}/action``"""
    return client.post(f"volumes/{volume_id}/action", {action: arguments})
