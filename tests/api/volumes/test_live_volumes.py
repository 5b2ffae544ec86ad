"""Volumes by the field's own clients, against a listening server with two dummy backends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cinderclient.exceptions
import openstack
import pytest
from cinderclient import api_versions
from cinderclient import client as cinder
from keystoneauth1 import session
from keystoneauth1.identity import v3

from penstock.daemon import Daemon
from penstock.domain.volume_types import VolumeType
from penstock.ids import VolumeTypeId, new_id
from penstock.store import volume_types
from tests.api.live import PASSWORD, running_server
from tests.volume_states import until

CONFIGURATION = """
[DEFAULT]
host = host
state_path = {folder}
enabled_backends = alpha,beta
default_volume_type = plain
[database]
connection = sqlite:///{folder}/penstock.sqlite
[alpha]
volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver
volume_backend_name = alpha
[beta]
volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver
volume_backend_name = beta
"""
CONNECTOR = {
    "initiator": "iqn.1993-08.org.debian:01:abc",
    "ip": "192.0.2.9",
    "host": "compute1",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
    "do_local_attach": False,
}
WAIT_S = 20.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("volumes")

    def arrange(daemon: Daemon) -> None:
        with daemon.database.begin() as tx:
            for name, specs in (("plain", {}), ("shared", {"multiattach": "<is> True"})):
                now = daemon.clock.utc()
                made = VolumeType(VolumeTypeId(new_id()), name, None, True, None, now, None, specs)
                volume_types.insert_type(tx, made)

    with running_server(folder, CONFIGURATION.format(folder=folder), arrange) as found:
        yield found


def login(url: str, name: str = "admin", password: str = PASSWORD, project: str = "admin") -> session.Session:
    auth = v3.Password(
        auth_url=f"{url}/v3",
        username=name,
        password=password,
        project_name=project,
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return session.Session(auth=auth)


@pytest.fixture(scope="module")
def cloud(url: str) -> Any:
    return openstack.connection.Connection(
        session=login(url, "ann", "secret", "one"), region_name="RegionOne"
    ).block_storage


@pytest.fixture(scope="module")
def operator(url: str) -> Any:
    return openstack.connection.Connection(session=login(url), region_name="RegionOne").block_storage


@pytest.fixture(scope="module")
def user(url: str) -> Any:
    return cinder.Client("3.71", session=login(url, "ann", "secret", "one"))


@pytest.fixture(scope="module")
def admin(url: str) -> Any:
    return cinder.Client("3.71", session=login(url))


def test_discovery(url: str, cloud: Any) -> None:
    newest = api_versions.APIVersion("3.71")
    assert cinder.get_server_version(f"{url}/volume/v3") == (api_versions.APIVersion("3.0"), newest)
    data = cloud.get_endpoint_data()
    assert (data.url, data.max_microversion) == (f"{url}/volume/v3/", (3, 71))


def test_the_life_of_a_volume_by_openstacksdk(cloud: Any) -> None:
    volume = cloud.create_volume(size=1, name="home", metadata={"a": "b"})
    volume = until(lambda: cloud.get_volume(volume.id))
    assert (volume.name, volume.size, volume.volume_type, volume.is_bootable) == ("home", 1, "plain", False)
    assert [item.id for item in cloud.volumes()] == [volume.id]
    assert [item.id for item in cloud.volumes(details=False, name="home")] == [volume.id]
    attachment = cloud.create_attachment(volume, connector={}, instance=None)
    assert until(lambda: cloud.get_volume(volume.id), "reserved")
    attachment = cloud.update_attachment(attachment, connector=CONNECTOR)
    assert attachment.connection_info["driver_volume_type"] == "iscsi"
    cloud.complete_attachment(attachment)
    used = until(lambda: cloud.get_volume(volume.id), "in-use")
    assert [item["attachment_id"] for item in used.attachments] == [attachment.id]
    assert [item.id for item in cloud.attachments()] == [attachment.id]
    snapshot = cloud.create_snapshot(volume_id=volume.id, name="mon", force=True)
    until(lambda: cloud.get_snapshot(snapshot.id))
    cloud.delete_attachment(attachment)
    until(lambda: cloud.get_volume(volume.id))
    cloud.extend_volume(volume, 3)
    assert until(lambda: cloud.get_volume(volume.id)).size == 3
    copy = cloud.create_volume(size=2, snapshot_id=snapshot.id, name="copy")
    clone = cloud.create_volume(size=3, source_volume_id=volume.id)
    for made in (copy, clone):
        until(lambda made=made: cloud.get_volume(made.id))
        cloud.delete_volume(made)
        until(lambda made=made: cloud.get_volume(made.id), "deleted")
    cloud.set_volume_metadata(volume, k="v")
    assert cloud.get_volume_metadata(volume).metadata == {"a": "b", "k": "v"}
    cloud.delete_volume_metadata(volume, keys=["k"])
    cloud.set_volume_bootable_status(volume, True)
    cloud.set_volume_readonly(volume, True)
    cloud.set_volume_image_metadata(volume, os="linux")
    shown = cloud.get_volume(volume.id)
    assert (shown.is_bootable, shown.metadata, shown.volume_image_metadata) == (
        True,
        {"a": "b", "readonly": "True"},
        {"os": "linux"},
    )
    assert cloud.summary(all_projects=False).total_count == 1
    cloud.delete_snapshot(snapshot)
    until(lambda: cloud.get_snapshot(snapshot.id), "deleted")
    cloud.delete_volume(volume)
    until(lambda: cloud.get_volume(volume.id), "deleted")


def test_the_life_of_a_volume_by_cinderclient(user: Any) -> None:
    volume = user.volumes.create(size=1, name="work", description="of ann", metadata={"a": "b"})
    volume = until(lambda: user.volumes.get(volume.id))
    user.volumes.reserve(volume)
    info = user.volumes.initialize_connection(volume, CONNECTOR)
    assert (info["driver_volume_type"], info["data"]["target_lun"]) == ("iscsi", info["data"]["target_lun"])
    user.volumes.attach(volume, None, "/dev/vdb", host_name="compute1")
    assert until(lambda: user.volumes.get(volume.id), "in-use").attachments[0]["device"] == "/dev/vdb"
    user.volumes.begin_detaching(volume)
    user.volumes.terminate_connection(volume, CONNECTOR)
    user.volumes.detach(volume)
    until(lambda: user.volumes.get(volume.id))
    made = user.attachments.create(volume.id, {}, new_id(), mode="ro")
    connected = user.attachments.update(made["id"], CONNECTOR)
    assert connected.connection_info["access_mode"] == "ro"
    user.attachments.complete(made["id"])
    assert user.attachments.show(made["id"]).status == "attached"
    assert [item.id for item in user.attachments.list()] == [made["id"]]
    user.attachments.delete(made["id"])
    until(lambda: user.volumes.get(volume.id))
    first = user.volume_snapshots.create(volume.id, name="mon")
    until(lambda: user.volume_snapshots.get(first.id))
    user.volumes.revert_to_snapshot(volume, first)
    until(lambda: user.volumes.get(volume.id))
    user.volumes.update(volume, name="other")
    user.volumes.set_metadata(volume, {"k": "v"})
    user.volumes.delete_metadata(volume, ["k"])
    user.volumes.extend(volume, 2)
    assert until(lambda: user.volumes.get(volume.id)).name == "other"
    assert [item.id for item in user.volumes.list(search_opts={"name": "other"})] == [volume.id]
    assert user.volumes.list(search_opts={"name~": "othe"}, sort="name:asc", limit=1)
    assert user.volumes.summary(False)["volume-summary"]["total_size"] == 2
    user.volumes.delete(volume, cascade=True)
    until(lambda: user.volumes.get(volume.id), "deleted")
    with pytest.raises(cinderclient.exceptions.BadRequest):
        user.volumes.create(size=0)
    with pytest.raises(cinderclient.exceptions.NotFound):
        user.volumes.get("none")


def test_several_attachments(user: Any) -> None:
    volume = user.volumes.create(size=1, volume_type="shared")
    until(lambda: user.volumes.get(volume.id))
    assert user.volumes.get(volume.id).multiattach is True
    ids = []
    for number in range(2):
        made = user.attachments.create(volume.id, {}, new_id())
        user.attachments.update(made["id"], {**CONNECTOR, "host": f"c{number}", "initiator": f"iqn.2000-01.x:{number}"})
        user.attachments.complete(made["id"])
        ids.append(made["id"])
    assert len(user.volumes.get(volume.id).attachments) == 2
    for attachment_id in ids:
        user.attachments.delete(attachment_id)
    user.volumes.delete(volume)
    until(lambda: user.volumes.get(volume.id), "deleted")


def test_transfers(user: Any, admin: Any) -> None:
    volume = user.volumes.create(size=1)
    until(lambda: user.volumes.get(volume.id))
    offered = user.transfers.create(volume.id, name="gift")
    assert [item.id for item in user.transfers.list()] == [offered.id]
    admin.transfers.accept(offered.id, offered.auth_key)
    with pytest.raises(cinderclient.exceptions.NotFound):
        user.volumes.get(volume.id)
    assert admin.volumes.get(volume.id).status == "available"
    admin.volumes.force_delete(volume)
    until(lambda: admin.volumes.get(volume.id), "deleted")


def test_taking_over_and_letting_go(admin: Any, operator: Any) -> None:
    volume = admin.volumes.create(size=1, name="lost")
    until(lambda: admin.volumes.get(volume.id))
    snapshot = admin.volume_snapshots.create(volume.id)
    until(lambda: admin.volume_snapshots.get(snapshot.id))
    host = getattr(admin.volumes.get(volume.id), "os-vol-host-attr:host")
    admin.volume_snapshots.unmanage(snapshot)
    until(lambda: admin.volume_snapshots.get(snapshot.id), "deleted")
    name = f"snapshot-{snapshot.id}"
    back = admin.volume_snapshots.manage(volume.id, {"source-name": name})
    until(lambda: admin.volume_snapshots.get(back.id))
    admin.volume_snapshots.delete(back)
    until(lambda: admin.volume_snapshots.get(back.id), "deleted")
    admin.volumes.unmanage(volume)
    until(lambda: admin.volumes.get(volume.id), "deleted")
    (found,) = (
        item
        for item in admin.volumes.list_manageable(host, detailed=True)
        if item.reference["source-name"] == f"volume-{volume.id}"
    )
    assert (found.size, found.safe_to_manage) == (1, True)
    taken = operator.manage_volume(host=host, ref={"source-name": f"volume-{volume.id}"}, name="found")
    assert until(lambda: admin.volumes.get(taken.id)).size == 1
    admin.volumes.delete(taken.id)
    until(lambda: admin.volumes.get(taken.id), "deleted")


def test_other_types_and_places(admin: Any) -> None:
    on_beta = admin.volume_types.create("on-beta")
    on_beta.set_keys({"volume_backend_name": "beta"})
    on_alpha = admin.volume_types.create("on-alpha")
    on_alpha.set_keys({"volume_backend_name": "alpha"})
    volume = admin.volumes.create(size=1, volume_type="on-alpha")
    until(lambda: admin.volumes.get(volume.id))
    admin.volumes.retype(volume, "plain", "never")
    assert until(lambda: admin.volumes.get(volume.id)).volume_type == "plain"
    assert getattr(admin.volumes.get(volume.id), "os-vol-host-attr:host") == "host@alpha#pool"
    with pytest.raises(cinderclient.exceptions.BadRequest):
        admin.volumes.retype(volume, "plain", "never")
    with pytest.raises(cinderclient.exceptions.BadRequest):
        admin.volumes.migrate_volume(volume, "host@alpha#pool", False, False)
    with pytest.raises(cinderclient.exceptions.NotFound):
        admin.volumes.migrate_volume(volume, "host@gone#pool", False, False)
    admin.volumes.delete(volume)
    until(lambda: admin.volumes.get(volume.id), "deleted")
    admin.volume_types.delete(on_beta)
    admin.volume_types.delete(on_alpha)


def test_administration_by_cinderclient(admin: Any, user: Any) -> None:
    made = admin.volume_types.create("gold", "fast", is_public=False)
    made.set_keys({"volume_backend_name": "beta"})
    assert admin.volume_types.get(made.id).get_keys() == {"volume_backend_name": "beta"}
    project_id = user.client.session.get_project_id()
    admin.volume_type_access.add_project_access(made, project_id)
    assert [item.project_id for item in admin.volume_type_access.list(made)] == [project_id]
    assert "gold" in {item.name for item in user.volume_types.list()}
    assert admin.default_types.create("gold", project_id).volume_type_id == made.id
    assert user.volume_types.default().name == "gold"
    admin.default_types.delete(project_id)
    qos = admin.qos_specs.create("slow", {"consumer": "front-end", "read_iops_sec": "9"})
    admin.qos_specs.associate(qos, made.id)
    assert [item.name for item in admin.qos_specs.get_associations(qos)] == ["gold"]
    admin.qos_specs.disassociate_all(qos)
    admin.qos_specs.delete(qos)
    encryption = admin.volume_encryption_types.create(made, {"provider": "luks", "control_location": "front-end"})
    assert admin.volume_encryption_types.get(made.id).provider == "luks"
    admin.volume_encryption_types.delete(made)
    assert encryption.volume_type_id == made.id
    admin.volume_types.delete(made)
    assert admin.quotas.update(project_id, volumes=9).volumes == 9
    assert admin.quotas.get(project_id, usage=True).volumes["limit"] == 9
    assert admin.quota_classes.get("default").volumes == 10
    assert {item.name: item.value for item in user.limits.get().absolute}["maxTotalVolumes"] == 9
    assert {item.host for item in admin.services.list()} == {"host@alpha", "host@beta"}
    assert admin.services.disable("host@beta", "cinder-volume").status == "disabled"
    admin.services.enable("host@beta", "cinder-volume")
    assert [item.zoneName for item in user.availability_zones.list()] == ["nova"]
    pools = admin.pools.list(detailed=True)
    assert {item.name for item in pools} == {"host@alpha#pool", "host@beta#pool"}
    assert admin.capabilities.get("host@alpha").volume_backend_name == "alpha"
    assert user.messages.list() == []
    assert {item.resource for item in user.resource_filters.list()} >= {"volume", "snapshot"}


def test_administration_by_openstacksdk(operator: Any, cloud: Any) -> None:
    made = operator.create_type(name="silver", description="slow")
    operator.update_type(made, description="slower")
    operator.update_type_extra_specs(made, volume_backend_name="alpha")
    assert operator.get_type(made.id).extra_specs == {"volume_backend_name": "alpha"}
    encryption = operator.create_type_encryption(made, provider="luks", control_location="front-end", key_size=256)
    assert operator.get_type_encryption(made.id).key_size == 256
    operator.delete_type_encryption(encryption)
    project_id = cloud.get_project_id()
    assert operator.get_quota_set(project_id, usage=True).usage["volumes"] == 0
    operator.update_quota_set(project_id, volumes=8)
    assert cloud.get_limits().absolute.max_total_volumes == 8
    operator.revert_quota_set(project_id)
    assert {item.host for item in operator.services()} == {"host@alpha", "host@beta"}
    assert {item.name for item in operator.backend_pools()} == {"host@alpha#pool", "host@beta#pool"}
    assert operator.get_capabilities("host@alpha").vendor_name
    assert [item.name for item in cloud.availability_zones()] == ["nova"]
    assert "os-hosts" in {item.alias for item in cloud.extensions()}
    assert {item.resource for item in cloud.resource_filters()} >= {"volume"}
    operator.delete_type(made)


def test_the_openstack_command(url: str) -> None:
    environment = {
        **os.environ,
        "OS_AUTH_URL": f"{url}/v3",
        "OS_USERNAME": "ann",
        "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": "one",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": "RegionOne",
    }

    def run(*words: str) -> Any:
        argv = [str(Path(sys.executable).with_name("openstack")), "volume", *words]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "json" in words else None

    made = run("create", "--size", "1", "--property", "a=b", "cli", "-f", "json")
    assert (made["name"], made["size"], made["type"]) == ("cli", 1, "plain")
    assert [item["Name"] for item in run("list", "-f", "json")] == ["cli"]
    run("set", "--description", "by hand", "--size", "2", "cli")
    assert run("show", "cli", "-f", "json")["description"] == "by hand"
    run("snapshot", "create", "--volume", "cli", "mon")
    assert [item["Name"] for item in run("snapshot", "list", "-f", "json")] == ["mon"]
    run("snapshot", "delete", "mon")
    assert {item["Name"] for item in run("type", "list", "-f", "json")} >= {"plain", "shared"}
