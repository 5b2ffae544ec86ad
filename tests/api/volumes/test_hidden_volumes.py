"""What the product makes for operations of its own (copies, clones, cached images) is not for its users."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.services.control_plane import ControlPlane
from penstock.store import volumes
from penstock.volume.manager.temporary import MIGRATION_OF, temporary
from tests.api.conftest import Client
from tests.api.volumes.arranging import act, add_volume_type, make_volume


@pytest.fixture(autouse=True)
def type_id(plane: ControlPlane, vbackend: PoolRef) -> str:
    return add_volume_type(plane)


@pytest.fixture
def target(plane: ControlPlane, vmember: Client) -> str:
    """The volume that a user's volume is copied to."""
    home = make_volume(plane, vmember)
    with plane.database.begin() as tx:
        volume = volumes.get(tx, home["id"])
        assert volume is not None
        made = temporary(volume, now=plane.clock.utc(), notes={MIGRATION_OF: volume.id})
        volumes.insert_volume(tx, made)
        volumes.move(tx, made, VolumeEvent.DONE, now=plane.clock.utc())
    return made.id


def test_nobody_but_administrators_sees_it(vmember: Client, vother: Client, vadmin: Client, target: str) -> None:
    for client in (vmember, vother):
        assert client.get(f"volumes/{target}").status_code == 404
        for path in ("volumes", "volumes/detail"):
            assert client.get(path, consumes_quota="false").json()["volumes"] == []
            assert target not in [one["id"] for one in client.get(path).json()["volumes"]]
    assert len(vmember.get("volumes").json()["volumes"]) == 1
    assert vadmin.get(f"volumes/{target}").json()["volume"]["id"] == target
    found = vadmin.get("volumes", all_tenants="1", consumes_quota="false").json()["volumes"]
    assert [one["id"] for one in found] == [target]


CHANGES: list[tuple[str, Any]] = [
    ("os-attach", {"instance_uuid": "5" * 32, "mountpoint": "/dev/vdb"}),
    ("os-reserve", None),
    ("os-extend", {"new_size": 9}),
    ("os-volume_upload_image", {"image_name": "x"}),
    ("os-set_bootable", {"bootable": True}),
    ("os-initialize_connection", {"connector": {"initiator": "iqn.1994-05.com.redhat:one", "host": "one"}}),
]


@pytest.mark.parametrize("who", ["vmember", "vadmin"])
def test_nobody_changes_it(request: pytest.FixtureRequest, plane: ControlPlane, target: str, who: str) -> None:
    client: Client = request.getfixturevalue(who)
    for action, arguments in CHANGES:
        assert act(client, target, action, arguments).status_code == 404, action
    assert client.delete(f"volumes/{target}").status_code == 404
    assert client.put(f"volumes/{target}", {"volume": {"name": "mine"}}).status_code == 404
    assert client.post("volumes", {"volume": {"source_volid": target}}).status_code == 404
    assert client.post("snapshots", {"snapshot": {"volume_id": target}}).status_code == 404
    assert client.post("backups", {"backup": {"volume_id": target}}).status_code == 404
    assert client.post("attachments", {"attachment": {"volume_uuid": target}}).status_code in (400, 404)
    with plane.database.read() as tx:
        volume = volumes.get(tx, target)
    assert volume is not None
    assert (volume.status, volume.attachments) == ("available", ())
