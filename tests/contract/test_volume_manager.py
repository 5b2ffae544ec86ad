"""Services, queue, manager and dummy driver together: the life of a volume, and what goes wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.domain.attachments import AttachStatus
from penstock.domain.quotas import Usage
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Fault, Invalid, NotFound, QuotaExceeded, Unavailable
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import attachments, connections, creation, lifecycle, quotas, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.connections import Use
from penstock.services.volumes.creation import NewVolume, VolumeHints
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store.keyset import KeysetPage
from penstock.volume.data_path import attached
from penstock.volume.errors import InvalidConnectorException, VolumeIsBusy, VolumeNotFound
from tests.volume_plane import ADMIN, CONFIG, CONNECTOR, OWNER, VolumePlane

OTHER = {"initiator": "iqn.1994-05.com.redhat:two", "host": "two", "ip": "10.0.0.2"}


@pytest.fixture
def site(tmp_path: Path) -> VolumePlane:
    return VolumePlane(tmp_path, retry=RetryPolicy(give_up_after_s=60))


def made(site: VolumePlane, **wanted: object) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(**{"size_gib": 2, **wanted}))  # type: ignore[arg-type]
    site.work()
    return shown(site, volume.id)


def shown(site: VolumePlane, volume_id: str) -> Volume:
    return volumes.get(site.plane, OWNER, volume_id)


def texts(site: VolumePlane) -> list[str]:
    return [one.text for one in messages.list_about_volumes(site.plane, OWNER, KeysetPage(), {}, {})]


def failing(site: VolumePlane, step: str, fault: Exception) -> None:
    def before(at: str) -> None:
        if at == step:
            raise fault

    site.storage.before = before


def fair(site: VolumePlane) -> None:
    site.storage.before = lambda _step: None


def test_a_volume_lives_from_create_to_delete(site: VolumePlane) -> None:
    volume = made(site, name="one", metadata={"a": "b"})
    assert (volume.status, volume.host, volume.metadata) == (VolumeStatus.AVAILABLE, "host@dummy#pool", {"a": "b"})
    assert volume.launched_at is not None
    lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
    assert shown(site, volume.id).status is VolumeStatus.EXTENDING
    site.work()
    assert (shown(site, volume.id).size_gib, shown(site, volume.id).size_target_gib) == (5, None)
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    with pytest.raises(NotFound):
        shown(site, volume.id)
    assert site.storage.volumes == {}


def test_copies_hold_what_their_source_held(site: VolumePlane) -> None:
    volume = made(site)
    site.driver.write(site.manager.records.volume(volume.id), "x")
    taken = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    site.driver.write(site.manager.records.volume(volume.id), "y")
    from_snapshot = made(site, size_gib=None, snapshot_id=taken.id)
    clone = made(site, size_gib=3, source_volid=volume.id)
    kept = {one.owner: one.written for one in site.storage.volumes.values()}
    assert kept[from_snapshot.id] == ["x"]
    assert kept[clone.id] == ["x", "y"]
    assert (from_snapshot.size_gib, clone.size_gib) == (2, 3)
    lifecycle.revert(site.plane, OWNER, volume.id, taken.id)
    site.work()
    assert site.storage.volumes[f"volume-{volume.id}"].written == ["x"]
    assert snapshots.get(site.plane, OWNER, taken.id).status is VolumeSnapshotStatus.AVAILABLE


def test_a_volume_with_snapshots_goes_only_with_cascade(site: VolumePlane) -> None:
    volume = made(site)
    snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    with pytest.raises(Invalid, match="1 snapshots"):
        lifecycle.delete(site.plane, OWNER, volume.id)
    lifecycle.delete(site.plane, OWNER, volume.id, cascade=True)
    site.work()
    assert site.storage.volumes == {}
    assert quotas.show(site.plane, "p1")["snapshots"].usage == Usage(0)


def test_an_attachment_is_reserved_connected_completed_and_ended(site: VolumePlane) -> None:
    volume = made(site)
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, instance_uuid="vm"))
    assert shown(site, volume.id).status is VolumeStatus.RESERVED
    with pytest.raises(Invalid, match="'reserved'"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, instance_uuid="other"))
    connected = attachments.update(site.plane, OWNER, attachment.id, CONNECTOR)
    assert connected.connection_info is not None
    assert connected.connection_info["target_iqn"].endswith(volume.id)
    assert connected.connection_info["driver_volume_type"] == "iscsi"
    assert connected.connection_info["access_mode"] == "rw"
    assert shown(site, volume.id).status is VolumeStatus.ATTACHING
    attachments.complete(site.plane, OWNER, attachment.id)
    seen = shown(site, volume.id)
    assert (seen.status, seen.attach_status) == (VolumeStatus.IN_USE, AttachStatus.ATTACHED)
    with pytest.raises(Invalid, match="attached"):
        lifecycle.delete(site.plane, OWNER, volume.id)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == [CONNECTOR["initiator"]]
    assert attachments.delete(site.plane, OWNER, attachment.id) == []
    assert shown(site, volume.id).status is VolumeStatus.AVAILABLE
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (False, [])


def test_only_a_type_that_says_so_lets_two_attach(site: VolumePlane) -> None:
    site.add_type("shared", {"multiattach": "<is> True"})
    volume = made(site, volume_type="shared")
    first = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm1", CONNECTOR))
    second = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm2", OTHER))
    attachments.complete(site.plane, OWNER, first.id)
    attachments.complete(site.plane, OWNER, second.id)
    attachments.delete(site.plane, OWNER, first.id)
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (True, [OTHER["initiator"]])
    assert shown(site, volume.id).status is VolumeStatus.IN_USE
    attachments.delete(site.plane, OWNER, second.id)
    assert not site.storage.volumes[f"volume-{volume.id}"].is_exported


def test_two_of_one_host_keep_its_connection_until_the_last_ends(site: VolumePlane) -> None:
    site.add_type("shared", {"multiattach": "<is> True"})
    volume = made(site, volume_type="shared")
    first = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm1", CONNECTOR))
    second = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm2", CONNECTOR))
    attachments.delete(site.plane, OWNER, first.id)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == [CONNECTOR["initiator"]]
    attachments.delete(site.plane, OWNER, second.id)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == []


def test_an_instance_that_moves_is_attached_twice(site: VolumePlane) -> None:
    volume = made(site)
    old = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    attachments.complete(site.plane, OWNER, old.id)
    new = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", OTHER))
    with pytest.raises(Invalid, match="already"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", OTHER))
    attachments.complete(site.plane, OWNER, new.id)
    attachments.delete(site.plane, OWNER, old.id)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == [OTHER["initiator"]]


def test_a_connection_that_fails_is_an_error_of_the_attachment_and_can_be_ended(site: VolumePlane) -> None:
    volume = made(site)
    failing(site, "connect", BackendFault("the target daemon said no"))
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm"))
    with pytest.raises(BackendFault, match="said no"):
        attachments.update(site.plane, OWNER, attachment.id, CONNECTOR)
    assert attachments.get(site.plane, OWNER, attachment.id).status is AttachStatus.ERROR_ATTACHING
    assert shown(site, volume.id).status is VolumeStatus.RESERVED
    fair(site)
    attachments.delete(site.plane, OWNER, attachment.id)
    assert shown(site, volume.id).status is VolumeStatus.AVAILABLE
    assert not site.storage.volumes[f"volume-{volume.id}"].is_exported


def test_a_backend_that_is_away_is_waited_for_and_an_end_overtakes_it(site: VolumePlane) -> None:
    volume = made(site)
    failing(site, "connect", Unavailable("away"))
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm"))
    with pytest.raises(Unavailable, match="goes on"):
        attachments.update(site.plane, OWNER, attachment.id, CONNECTOR)
    assert attachments.get(site.plane, OWNER, attachment.id).status is AttachStatus.ATTACHING
    fair(site)
    with pytest.raises(Unavailable):
        attachments.delete(site.plane, OWNER, attachment.id)  # the connect has its turn first, a second later
    site.clock.sleep(2)
    site.work()
    with pytest.raises(NotFound):
        attachments.get(site.plane, OWNER, attachment.id)
    assert shown(site, volume.id).status is VolumeStatus.AVAILABLE


def test_a_connector_that_lacks_something_is_the_clients_error(site: VolumePlane) -> None:
    volume = made(site)
    with pytest.raises(Invalid, match="initiator"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", {"host": "one"}))
    seen = shown(site, volume.id)
    assert (seen.status, seen.attachments) == (VolumeStatus.AVAILABLE, ())
    reserved = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm"))
    with pytest.raises(Invalid, match="initiator"):
        attachments.update(site.plane, OWNER, reserved.id, {"host": "one"})
    kept = attachments.get(site.plane, OWNER, reserved.id)
    assert (kept.status, kept.connector, kept.attached_host) == (AttachStatus.RESERVED, None, None)
    attachments.update(site.plane, OWNER, reserved.id, CONNECTOR)
    assert attachments.delete(site.plane, OWNER, reserved.id) == []


def test_a_connector_that_is_refused_only_while_it_is_connected_leaves_everything_as_it_was(site: VolumePlane) -> None:
    volume = made(site)
    failing(site, "connect", InvalidConnectorException("The initiator is in no group."))
    with pytest.raises(Invalid, match="no group"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    with pytest.raises(Invalid, match="no group"):
        connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    seen = shown(site, volume.id)
    assert (seen.status, seen.attachments) == (VolumeStatus.AVAILABLE, ())
    assert not site.storage.volumes[f"volume-{volume.id}"].is_exported
    reserved = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm"))
    with pytest.raises(Invalid, match="no group"):
        attachments.update(site.plane, OWNER, reserved.id, CONNECTOR)
    kept = attachments.get(site.plane, OWNER, reserved.id)
    assert (kept.status, kept.connector, kept.attached_host) == (AttachStatus.RESERVED, None, None)
    assert not site.storage.volumes[f"volume-{volume.id}"].is_exported


def test_a_refused_connector_whose_traces_cannot_be_taken_away_is_known(site: VolumePlane) -> None:
    volume = made(site)

    def before(at: str) -> None:
        if at == "connect":
            raise InvalidConnectorException("The initiator is in no group.")
        if at == "disconnect":
            raise BackendFault("the target daemon said no")

    site.storage.before = before
    with pytest.raises(Invalid, match="no group"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    (left,) = shown(site, volume.id).attachments
    assert (left.status, left.connector) == (AttachStatus.ERROR_ATTACHING, CONNECTOR)
    fair(site)
    attachments.delete(site.plane, OWNER, left.id)
    assert not site.storage.volumes[f"volume-{volume.id}"].is_exported


@pytest.mark.parametrize("connector", [{"host": "x"}, {"host": CONNECTOR["host"]}, {"host": "one", "initiator": ""}])
def test_a_connector_that_lacks_something_touches_nothing_beside_a_live_attachment(
    site: VolumePlane, connector: dict[str, str]
) -> None:
    volume = made(site)
    live = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    attachments.complete(site.plane, OWNER, live.id)
    steps: list[str] = []
    site.storage.before = steps.append
    if connector["host"] == "x":
        with pytest.raises(Invalid, match="initiator"):
            connections.initialize_connection(site.plane, OWNER, volume.id, connector)
    else:  # it is known who that is
        connections.initialize_connection(site.plane, OWNER, volume.id, connector)
    assert not [step for step in steps if step.startswith(("disconnect", "remove"))]
    connections.terminate_connection(site.plane, OWNER, volume.id, {"host": "x"})
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (True, [CONNECTOR["initiator"]])
    (kept,) = shown(site, volume.id).attachments
    assert (kept.id, (kept.connector or {}).get("initiator")) == (live.id, CONNECTOR["initiator"])
    attachments.delete(site.plane, OWNER, live.id)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == []


def test_the_older_actions_use_the_same_rows(site: VolumePlane) -> None:
    volume = made(site)
    connections.reserve(site.plane, OWNER, volume.id)
    assert shown(site, volume.id).status is VolumeStatus.ATTACHING
    info = connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    assert info["driver_volume_type"] == "iscsi"
    assert info["data"]["target_lun"] == 1
    connections.attach(site.plane, OWNER, volume.id, Use(instance_uuid="vm", mountpoint="/dev/vdb"))
    seen = shown(site, volume.id)
    assert (seen.status, len(seen.attachments)) == (VolumeStatus.IN_USE, 1)
    assert seen.admin_metadata["attached_mode"] == "rw"
    connections.begin_detaching(site.plane, OWNER, volume.id)
    assert shown(site, volume.id).status is VolumeStatus.DETACHING
    connections.roll_detaching(site.plane, OWNER, volume.id)
    connections.begin_detaching(site.plane, OWNER, volume.id)
    connections.terminate_connection(site.plane, OWNER, volume.id, CONNECTOR)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == []
    connections.detach(site.plane, OWNER, volume.id, None)
    assert (shown(site, volume.id).status, shown(site, volume.id).attachments) == (VolumeStatus.AVAILABLE, ())


def test_a_connection_of_nobody_goes_with_its_volume(site: VolumePlane) -> None:
    volume = made(site)
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    assert shown(site, volume.id).status is VolumeStatus.AVAILABLE
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    assert site.storage.volumes == {}


def test_what_depends_on_a_volume_keeps_it_and_its_owner_is_told(site: VolumePlane) -> None:
    volume = made(site)
    failing(site, "delete", VolumeIsBusy(volume_name="it"))
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    assert shown(site, volume.id).status is VolumeStatus.AVAILABLE
    assert any("needed by something else" in text for text in texts(site))


@pytest.mark.parametrize("step", ["delete", "disconnect", "remove export"])
def test_only_a_volume_that_is_gone_itself_is_forgotten(site: VolumePlane, step: str) -> None:
    volume = made(site)
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    failing(site, step, NotFound("the snapshot that a clone took over is gone"))
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    if step == "delete":
        assert shown(site, volume.id).status is VolumeStatus.ERROR_DELETING
        assert f"volume-{volume.id}" in site.storage.volumes
        failing(site, step, VolumeNotFound("somebody took it away"))
        lifecycle.delete(site.plane, OWNER, volume.id)
        site.work()
    else:
        assert site.storage.volumes == {}
    with pytest.raises(NotFound):
        shown(site, volume.id)


def test_quotas_hold_for_the_project_and_for_the_type(site: VolumePlane) -> None:
    site.add_type("fast", {})
    quotas.update(site.plane, "p1", {"gigabytes": 10, "volumes_fast": 1})
    made(site, volume_type="fast")
    with pytest.raises(QuotaExceeded, match="type 'fast'"):
        made(site, volume_type="fast")
    with pytest.raises(QuotaExceeded, match="gigabytes"):
        made(site, size_gib=9)
    lines = quotas.show(site.plane, "p1")
    assert (lines["gigabytes"].usage, lines["gigabytes_fast"].usage) == (Usage(2), Usage(2))
    assert (lines["volumes_fast"].limit, lines["gigabytes_fast"].limit) == (1, -1)


def test_nobody_to_take_it_is_an_error_with_reasons(site: VolumePlane) -> None:
    site.add_type("ssd", {"volume_backend_name": "ssd"})
    volume = made(site, volume_type="ssd")
    assert (volume.status, volume.host) == (VolumeStatus.ERROR, None)
    assert any("volume_backend_name" in text for text in texts(site))
    lifecycle.delete(site.plane, OWNER, volume.id)
    with pytest.raises(NotFound):
        shown(site, volume.id)


def test_hints_name_pools(site: VolumePlane) -> None:
    first = made(site)
    near = made(site, hints=VolumeHints(same_host=(first.id,)))
    far = made(site, hints=VolumeHints(different_host=(first.id,)))
    assert (near.status, far.status) == (VolumeStatus.AVAILABLE, VolumeStatus.ERROR)


def test_a_read_only_volume_is_attached_to_be_read(site: VolumePlane) -> None:
    volume = made(site)
    volumes.set_readonly(site.plane, OWNER, volume.id, readonly=True)
    with pytest.raises(Invalid, match="read-only"):
        attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR, mode="rw"))
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    assert attachment.connection_info is not None
    assert attachment.connection_info["access_mode"] == "ro"


def test_exports_of_connected_volumes_are_made_anew_at_start(site: VolumePlane) -> None:
    volume = made(site)
    attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    site.storage.forget_exports()
    site.restart()
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (True, [CONNECTOR["initiator"]])


def test_a_connected_volume_that_is_gone_is_an_error_at_start(site: VolumePlane) -> None:
    volume = made(site)
    attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    site.storage.volumes.clear()
    site.restart()
    assert shown(site, volume.id).status is VolumeStatus.ERROR


def test_what_nothing_can_detach_keeps_no_backend_from_serving(tmp_path: Path) -> None:
    site = VolumePlane(tmp_path, config=CONFIG.replace("host = host", f"host = host\nstate_path = {tmp_path}"))
    settings = site.driver.configuration
    folder = Path(settings.conf.state_path, "attached", settings.config_group)
    attached.note(folder, "gone", {"driver_volume_type": "unknown to os-brick", "data": {}})
    site.restart()
    assert made(site).status is VolumeStatus.AVAILABLE
    assert len(attached.left(folder)) == 1


def test_what_lies_stranded_at_start_ends_in_error(site: VolumePlane) -> None:
    volume = made(site)
    lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="creating"))
    site.restart()
    assert shown(site, volume.id).status is VolumeStatus.ERROR


def test_a_volume_of_another_project_does_not_exist(site: VolumePlane) -> None:
    volume = made(site)
    stranger = OWNER.__class__("u2", "p2", ("member",))
    for act in (volumes.get, lifecycle.delete):
        with pytest.raises(NotFound):
            act(site.plane, stranger, volume.id)  # type: ignore[operator]
    with pytest.raises(Fault):
        attachments.create(site.plane, stranger, NewAttachment(volume.id, "vm"))


def test_an_export_made_again_lets_nobody_in_whose_attachment_ended_meanwhile(site: VolumePlane) -> None:
    volume = made(site)
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, instance_uuid="vm"))
    attachments.update(site.plane, OWNER, attachment.id, CONNECTOR)
    attachments.complete(site.plane, OWNER, attachment.id)
    failing(site, "ensure export", Unavailable("away"))
    site.restart()
    fair(site)
    asked: list[str] = []
    site.storage.before = asked.append
    site.manager.export_again(ADMIN)
    assert asked == []  # its turn comes among the volume's operations
    attachments.delete(site.plane, OWNER, attachment.id)
    site.work()
    site.manager.export_again(ADMIN)
    site.work()
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (False, [])


def test_an_export_that_could_not_be_made_at_start_is_made_later(site: VolumePlane) -> None:
    volume = made(site)
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, instance_uuid="vm"))
    attachments.update(site.plane, OWNER, attachment.id, CONNECTOR)
    record = site.storage.volumes[f"volume-{volume.id}"]
    record.is_exported, record.initiators = False, []
    failing(site, "ensure export", Unavailable("away"))
    site.restart()
    for _ in range(2):
        site.manager.export_again(ADMIN)
        site.work()
        assert not site.storage.volumes[f"volume-{volume.id}"].is_exported
    fair(site)
    site.manager.export_again(ADMIN)
    site.work()
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.is_exported, record.initiators) == (True, [CONNECTOR["initiator"]])
