"""What an initiator says of itself."""

from __future__ import annotations

import pytest

from penstock.services.control_plane import ControlPlane
from penstock.store import attachments
from tests.api.conftest import Client
from tests.api.volumes.arranging import add_volume_type, make_volume


@pytest.mark.parametrize("ip", ["0.0.0.0/0", "10.0.0.5/32", "there", "::", "fe80::1%eth0", 5])
def test_the_address_of_one_machine_or_none(plane: ControlPlane, vbackend: object, vadmin: Client, ip: object) -> None:
    add_volume_type(plane)
    volume = make_volume(plane, vadmin)
    wanted = {"volume_uuid": volume["id"], "instance_uuid": None, "connector": {"host": "there", "ip": ip}}
    for answer in (
        vadmin.post("attachments", {"attachment": wanted}),
        vadmin.post(f"volumes/{volume['id']}/action", {"os-initialize_connection": {"connector": wanted["connector"]}}),
    ):
        assert answer.status_code == 400, answer.text
        assert "'ip'" in answer.text
    with plane.database.read() as tx:
        assert attachments.of_volume(tx, volume["id"]) == []
