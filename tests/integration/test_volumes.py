"""The whole life of a volume on real storage, by the field's own clients: its data go through real iSCSI."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

import openstack
import pytest
from cinderclient import client as cinder
from keystoneauth1 import session
from keystoneauth1.identity import v3

from lab.daemon import LabDaemon
from lab.initiator import Initiator
from penstock.ids import new_id
from tests.places import Place
from tests.product.running import PORTS, QUICKLY, password
from tests.product.volume_sites import VolumeSite
from tests.volume_states import until

DRIVER = "volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver"
ROOT = "tank/blocks"
MIB, GIB = 2**20, 2**30
WAIT_S = 300.0  # user-mode Linux takes its time
COPY_S = 1200.0  # for a GiB by way of this machine, where the backend cannot do without


@pytest.fixture(scope="module")
def daemon(volume_site: VolumeSite, place: Place) -> Iterator[LabDaemon]:
    volume_site.make(ROOT)
    section = (
        DRIVER,
        f"zfs_zpool_list = {ROOT}",
        *volume_site.zfs_lines,
        "use_chap_auth = True",
        "volume_data_path = userspace",
    )
    options = (f"my_ip = {volume_site.here}", "default_volume_type = plain", *QUICKLY)
    work = place.directory / f"volumes-{volume_site.name}"
    daemon = LabDaemon(work, {"blocks": section}, port=PORTS + 500 + place.number, options=options)
    daemon.up()
    yield daemon
    daemon.down()


@pytest.fixture(scope="module")
def login(daemon: LabDaemon) -> session.Session:
    auth = v3.Password(
        auth_url=f"{daemon.url}/v3",
        username="admin",
        password=password(daemon.config.parent),
        project_name="admin",
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return session.Session(auth=auth)


class Asker(Protocol):
    """A way to ask. What is asked is not waited for."""

    def volume(self, size: int, **source: str) -> str: ...
    def show(self, volume: str) -> Any: ...
    def attach(self, volume: str, connector: dict[str, Any]) -> tuple[str, dict[str, Any]]: ...
    def detach(self, attachment: str) -> None: ...
    def snapshot(self, volume: str) -> str: ...
    def show_snapshot(self, snapshot: str) -> Any: ...
    def extend(self, volume: str, size: int) -> None: ...
    def revert(self, volume: str, snapshot: str) -> None: ...
    def delete(self, volume: str) -> None: ...
    def delete_snapshot(self, snapshot: str) -> None: ...


class BySdk:
    """openstacksdk."""

    def __init__(self, login: session.Session) -> None:
        self._api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage

    def volume(self, size: int, **source: str) -> str:
        return str(self._api.create_volume(size=size, name="by-sdk", **source).id)

    def show(self, volume: str) -> Any:
        return self._api.get_volume(volume)

    def attach(self, volume: str, connector: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        attachment = self._api.create_attachment(volume, connector={}, instance=None)
        attachment = self._api.update_attachment(attachment, connector=connector)
        self._api.complete_attachment(attachment)
        return str(attachment.id), dict(attachment.connection_info)

    def detach(self, attachment: str) -> None:
        self._api.delete_attachment(attachment)

    def snapshot(self, volume: str) -> str:
        return str(self._api.create_snapshot(volume_id=volume, force=True).id)

    def show_snapshot(self, snapshot: str) -> Any:
        return self._api.get_snapshot(snapshot)

    def extend(self, volume: str, size: int) -> None:
        self._api.extend_volume(volume, size)

    def revert(self, volume: str, snapshot: str) -> None:
        self._api.revert_volume_to_snapshot(volume, snapshot)

    def delete(self, volume: str) -> None:
        self._api.delete_volume(volume)

    def delete_snapshot(self, snapshot: str) -> None:
        self._api.delete_snapshot(snapshot)


class ByCinder:
    """python-cinderclient."""

    def __init__(self, login: session.Session) -> None:
        self._api = cinder.Client("3.71", session=login)

    def volume(self, size: int, **source: str) -> str:
        names = {"source_volume_id": "source_volid"}
        return str(
            self._api.volumes.create(size, **{names.get(name, name): value for name, value in source.items()}).id
        )

    def show(self, volume: str) -> Any:
        return self._api.volumes.get(volume)

    def attach(self, volume: str, connector: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        made = self._api.attachments.create(volume, {}, new_id())
        connected = self._api.attachments.update(made["id"], connector)
        self._api.attachments.complete(made["id"])
        return made["id"], dict(connected.connection_info)

    def detach(self, attachment: str) -> None:
        self._api.attachments.delete(attachment)

    def snapshot(self, volume: str) -> str:
        return str(self._api.volume_snapshots.create(volume, force=True).id)

    def show_snapshot(self, snapshot: str) -> Any:
        return self._api.volume_snapshots.get(snapshot)

    def extend(self, volume: str, size: int) -> None:
        self._api.volumes.extend(volume, size)

    def revert(self, volume: str, snapshot: str) -> None:
        self._api.volumes.revert_to_snapshot(self.show(volume), self.show_snapshot(snapshot))

    def delete(self, volume: str) -> None:
        self._api.volumes.delete(volume)

    def delete_snapshot(self, snapshot: str) -> None:
        self._api.volume_snapshots.delete(snapshot)


@pytest.fixture(params=[BySdk, ByCinder])
def asker(request: Any, login: session.Session) -> Asker:
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    if not any(found.name == "plain" for found in api.types()):
        api.create_type(name="plain")
    asker: Asker = request.param(login)
    return asker


def live(asker: Asker, user: Initiator, stranger: Initiator) -> None:
    """The whole life of a volume, its snapshots, clones and attachments; nothing of it is left."""
    volume = asker.volume(1)
    until(lambda: asker.show(volume))
    attachment, info = asker.attach(volume, user.connector)
    until(lambda: asker.show(volume), "in-use")
    assert user.size_bytes(info) == GIB
    user.write(info, 0xA1, 0, MIB)
    assert user.is_let_in(info)
    assert not stranger.is_let_in(info)
    if "auth_password" in info:
        assert not user.is_let_in({**info, "auth_password": "not-the-password"})

    snapshot = asker.snapshot(volume)
    until(lambda: asker.show_snapshot(snapshot))
    user.write(info, 0xA2, 0, MIB)
    asker.extend(volume, 2)
    assert until(lambda: asker.show(volume), "in-use").size == 2
    assert user.size_bytes(info) == 2 * GIB
    assert user.holds(info, 0xA2, 0, MIB)
    user.write(info, 0xA3, 2 * GIB - MIB, MIB)

    copy = asker.volume(2, snapshot_id=snapshot)
    clone = asker.volume(2, source_volume_id=volume)
    for made, pattern in ((copy, 0xA1), (clone, 0xA2)):
        until(lambda made=made: asker.show(made))
        own, seen = asker.attach(made, user.connector)
        assert user.holds(seen, pattern, 0, MIB)
        user.release(seen)
        asker.detach(own)
        until(lambda made=made: asker.show(made))

    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    assert not user.is_let_in(info)
    asker.delete_snapshot(snapshot)  # though the copy lives on it
    until(lambda: asker.show_snapshot(snapshot), "deleted")
    revert(asker, user, clone, 0xA2)
    for made in (volume, copy, clone):  # the first while the others are its clones
        asker.delete(made)
        until(lambda made=made: asker.show(made), "deleted")


def revert(asker: Asker, user: Initiator, volume: str, pattern: int) -> None:
    """The volume, which nobody uses and which begins with the pattern, is written to and put back to a snapshot."""
    snapshot = asker.snapshot(volume)
    until(lambda: asker.show_snapshot(snapshot))
    attachment, info = asker.attach(volume, user.connector)
    user.write(info, 0xA4, 0, MIB)
    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    asker.revert(volume, snapshot)
    until(lambda: asker.show(volume), wait_s=COPY_S)
    attachment, info = asker.attach(volume, user.connector)
    assert user.holds(info, pattern, 0, MIB)
    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    asker.delete_snapshot(snapshot)
    until(lambda: asker.show_snapshot(snapshot), "deleted")


def test_a_short_life(volume_site: VolumeSite, login: session.Session) -> None:
    """The shortest proof of a storage host and a machine that uses it."""
    asker, user = BySdk(login), volume_site.user
    volume = asker.volume(1)
    until(lambda: asker.show(volume))
    attachment, info = asker.attach(volume, user.connector)
    user.write(info, 0xC1, 0, MIB)
    asker.extend(volume, 2)
    until(lambda: asker.show(volume), "in-use")
    assert user.size_bytes(info) == 2 * GIB
    assert user.holds(info, 0xC1, 0, MIB)
    user.release(info)
    assert not volume_site.stranger.is_let_in(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    asker.delete(volume)
    until(lambda: asker.show(volume), "deleted")
    assert volume_site.datasets(ROOT) == [ROOT]
    assert volume_site.targets().strip() == ""


def test_the_life_of_a_volume(volume_site: VolumeSite, asker: Asker) -> None:
    live(asker, volume_site.user, volume_site.stranger)
    assert volume_site.datasets(ROOT) == [ROOT]
    assert volume_site.targets().strip() == ""


def test_a_target_daemon_that_died_serves_again(
    volume_site: VolumeSite, daemon: LabDaemon, login: session.Session
) -> None:
    asker, user = BySdk(login), volume_site.user
    volume = asker.volume(1)
    until(lambda: asker.show(volume))
    attachment, info = asker.attach(volume, user.connector)
    user.write(info, 0xB1, 0, MIB)
    user.release(info)
    assert user.is_let_in(info)
    daemon.down()
    volume_site.lose_targets()
    assert not user.is_let_in(info)
    daemon.up()
    deadline = time.monotonic() + WAIT_S
    while not user.is_let_in(info):
        assert time.monotonic() < deadline
    assert user.holds(info, 0xB1, 0, MIB)
    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    asker.delete(volume)
    until(lambda: asker.show(volume), "deleted")
