"""The whole life of a volume on NFS: one daemon serves the shares and, on them, the volumes, through real NFS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from keystoneauth1 import session
from keystoneauth1.identity import v3

from lab.daemon import LabDaemon
from penstock.images.sidecar import id_of
from tests.integration.test_volumes import Asker, ByCinder, BySdk, live, until
from tests.places import Place
from tests.product.running import PORTS, password
from tests.product.sites import over_ssh
from tests.product.volume_sites import VolumeSite

DRIVER = "volume_driver = penstock.volume.drivers.nfs_appliance.driver.NfsApplianceDriver"
ROOT = "tank/files"
SECRET = "by-the-accounts-file"
MIB = 2**20


@pytest.fixture(scope="module")
def daemon(volume_site: VolumeSite, place: Place) -> Iterator[LabDaemon]:
    volume_site.make(ROOT)
    work = place.directory / f"nfs-volumes-{volume_site.name}"
    shares = over_ssh(volume_site.address, volume_site.key_path, volume_site.known_hosts_path, ROOT)
    volumes = (
        DRIVER,
        "nas_user = admin",
        f"nas_password = {SECRET}",
        "volume_data_path = userspace",
        "nas_timeout = 120",
    )
    options = (
        f"my_ip = {volume_site.here}",
        "default_volume_type = plain",
        "periodic_interval = 5",
        "[identity]",
        f"admin_password = {SECRET}",
        "[operations]",
        "max_retry_delay = 2",
    )
    daemon = LabDaemon(work, {"files": shares, "nfs": volumes}, port=PORTS + 600 + place.number, options=options)
    work.mkdir(parents=True)
    (work / "state").mkdir()
    (work / "state" / "admin-password").write_text(SECRET)  # what the lab's clients read
    try:
        daemon.up()
        yield daemon
    finally:
        daemon.down()


@pytest.fixture(scope="module")
def login(daemon: LabDaemon) -> session.Session:
    names = {"project_name": "admin", "user_domain_name": "Default", "project_domain_name": "Default"}
    known = password(daemon.config.parent)
    return session.Session(auth=v3.Password(auth_url=f"{daemon.url}/v3", username="admin", password=known, **names))


@pytest.fixture(params=[BySdk, ByCinder])
def asker(request: Any, login: session.Session) -> Asker:
    found: Asker = request.param(login)
    return found


def test_the_life_of_a_volume(volume_site: VolumeSite, asker: Asker) -> None:
    live(asker, volume_site.user, volume_site.stranger)
    assert volume_site.datasets(ROOT) == [ROOT]


def test_a_volume_of_an_image(volume_site: VolumeSite, daemon: LabDaemon, login: session.Session) -> None:
    """By openstacksdk, from a folder of images onto real NFS; and back into an image."""
    user = volume_site.user
    folder = Path(daemon.config.parent, "state", "images")
    folder.mkdir(exist_ok=True)
    (folder / "system.raw").write_bytes(b"\xa7" * MIB + bytes(3 * MIB))
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    volume = api.create_volume(size=1, image_id=id_of("system.raw"))
    shown = until(lambda: api.get_volume(volume.id))
    assert (shown.is_bootable, shown.volume_image_metadata["image_name"]) == (True, "system")
    asker = BySdk(login)
    attachment, info = asker.attach(volume.id, user.connector)
    assert user.holds(info, 0xA7, 0, MIB)
    assert user.holds(info, 0, MIB, MIB)
    user.release(info)
    asker.detach(attachment)
    until(lambda: api.get_volume(volume.id))
    made = api.upload_volume_to_image(volume.id, "copy", disk_format="qcow2", container_format="bare")
    until(lambda: api.get_volume(volume.id))
    assert (folder / f"{made['image_id']}.qcow2").stat().st_size >= 2**16
    again = api.create_volume(size=1, image_id=made["image_id"])
    until(lambda: api.get_volume(again.id))
    attachment, info = asker.attach(again.id, user.connector)
    assert user.holds(info, 0xA7, 0, MIB)
    user.release(info)
    asker.detach(attachment)
    for item in (volume, again):
        until(lambda item=item: api.get_volume(item.id))
        asker.delete(item.id)
        until(lambda item=item: api.get_volume(item.id), "deleted")
    assert volume_site.datasets(ROOT) == [ROOT]


def test_a_daemon_that_is_stopped_during_a_copy(
    volume_site: VolumeSite, daemon: LabDaemon, login: session.Session
) -> None:
    """The copy lets this machine out of the share by the API of the very daemon that ends."""
    folder = Path(daemon.config.parent, "state", "images")
    folder.mkdir(exist_ok=True)
    (folder / "large.raw").write_bytes(os.urandom(MIB) * 128)
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    volume = api.create_volume(size=1, image_id=id_of("large.raw"))
    until(lambda: api.get_volume(volume.id), "downloading")
    daemon.down()
    daemon.up()
    until(lambda: api.get_volume(volume.id))
    api.delete_volume(volume.id)
    until(lambda: api.get_volume(volume.id), "deleted")
    assert volume_site.datasets(ROOT) == [ROOT]
