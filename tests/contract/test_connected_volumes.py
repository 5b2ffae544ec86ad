"""Volumes that a machine is connected to without saying that it uses them: ``available``, and not free all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Fault, Invalid
from penstock.services.volumes import (
    attachments,
    connections,
    creation,
    lifecycle,
    snapshots,
    transfers,
    volumes,
)
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.connections import Use
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.services.volumes.transfers import NewTransfer
from penstock.store import attachments as attachment_rows
from penstock.store import volumes as volume_rows
from tests.volume_plane import CONNECTOR, OWNER, VolumePlane

TAKER = OWNER.__class__("u2", "p2", ("member",))
OTHER = {"initiator": "iqn.1994-05.com.redhat:two", "host": "two", "ip": "10.0.0.2"}
Act = Callable[[VolumePlane, Volume], object]


@pytest.fixture
def site(tmp_path: Path) -> VolumePlane:
    return VolumePlane(tmp_path)


def made(site: VolumePlane, **wanted: object) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(**{"size_gib": 2, **wanted}))  # type: ignore[arg-type]
    site.work()
    return volumes.get(site.plane, OWNER, volume.id)


def offer(site: VolumePlane, volume: Volume) -> object:
    return transfers.create(site.plane, OWNER, NewTransfer(volume.id))


def revert(site: VolumePlane, volume: Volume) -> object:
    site.clock.sleep(1)  # of two snapshots of one moment neither would be the latest
    taken = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    return lifecycle.revert(site.plane, OWNER, volume.id, taken.id)


def reserve(site: VolumePlane, volume: Volume) -> object:
    return connections.reserve(site.plane, OWNER, volume.id)


def attach(site: VolumePlane, volume: Volume) -> object:
    return attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", OTHER))


@pytest.mark.parametrize("act", [offer, revert, reserve, attach])
def test_what_it_is_refused_until_the_connection_ends(site: VolumePlane, act: Act) -> None:
    volume = made(site)
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE
    with pytest.raises(Invalid, match="connect"):
        act(site, volume)
    assert site.storage.volumes[f"volume-{volume.id}"].initiators == [CONNECTOR["initiator"]]
    connections.terminate_connection(site.plane, OWNER, volume.id, CONNECTOR)
    site.work()
    act(site, volume)


def test_whoever_connected_may_go_on_to_use_it(site: VolumePlane) -> None:
    volume = made(site)
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    connections.attach(site.plane, OWNER, volume.id, Use(instance_uuid="vm"))
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.IN_USE


def test_a_volume_for_several_takes_another_beside_it(site: VolumePlane) -> None:
    site.add_type("shared", {"multiattach": "<is> True"})
    volume = made(site, volume_type="shared")
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    attach(site, volume)
    assert len(site.storage.volumes[f"volume-{volume.id}"].initiators) == 2


def test_a_volume_given_away_is_opened_by_nothing_its_old_owner_knows(site: VolumePlane) -> None:
    volume = made(site)
    with site.database.begin() as tx:
        volume_rows.update_volume(tx, volume.id, now=site.clock.utc(), provider_auth="CHAP user secret-of-p1")
    offered, key = transfers.create(site.plane, OWNER, NewTransfer(volume.id))
    transfers.accept(site.plane, TAKER, offered.id, key)
    site.work()
    taken = volumes.get(site.plane, TAKER, volume.id)
    assert (taken.status, taken.project_id, taken.provider_auth) == (VolumeStatus.AVAILABLE, "p2", None)


def test_an_offer_is_not_taken_while_somebody_is_connected(site: VolumePlane) -> None:
    volume = made(site)
    offered, key = transfers.create(site.plane, OWNER, NewTransfer(volume.id))
    row = attachments.new_attachment(
        site.plane, volume, attachments.AttachStatus.DETACHED, attachments.checked_mode(volume, None)
    )
    with site.database.begin() as tx:  # as before such volumes were not offered
        attachment_rows.insert_attachment(tx, row)
        attachment_rows.update_attachment(tx, row.id, now=site.clock.utc(), connector=CONNECTOR)
    with pytest.raises(Fault, match="connections"):
        transfers.accept(site.plane, TAKER, offered.id, key)
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AWAITING_TRANSFER
