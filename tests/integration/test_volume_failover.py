"""A replicated volume whose storage host dies: failed over, used, brought back and failed back, on two hosts with
zfs-fuse and tgt, by python-cinderclient, with what its client reads at each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cinderclient import client as cinder
from keystoneauth1 import session
from keystoneauth1.identity import v3

from lab import hosts as namespace_hosts
from lab.daemon import LabDaemon
from lab.hosts import Lab
from lab.initiator import Initiator
from penstock.ids import new_id
from penstock.volume.drivers.zfs.links import FOLDER
from tests.places import Place
from tests.product.running import PORTS, QUICKLY, password

DRIVER = "volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver"
ROOT = "tank/blocks"
HOME, FAR = "h1", "h2"
MIB = 2**20
WAIT_S = 180.0
RPO_S = 20  # what a busy machine keeps to, too

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(place: Place) -> Iterator[Lab]:
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}o", place.memory / "o", f"10.184.{place.number}", pool_mib=3072)
    lab.down()  # what a crashed run left here
    try:
        lab.up(2, 1)
        for name in (HOME, FAR):
            assert lab.host(name).run(["zfs", "create", ROOT], timeout_s=60).exit_code == 0
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def daemon(lab: Lab, place: Place) -> Iterator[LabDaemon]:
    device = {
        "backend_id": "far",
        "zfs_service_ip": lab.address(FAR),
        "zfs_zpool_list": ROOT,
        "target_ip_address": lab.address(FAR),
    }
    section = (
        DRIVER,
        f"zfs_zpool_list = {ROOT}",
        "zfs_use_ssh = True",
        f"zfs_service_ip = {lab.address(HOME)}",
        "zfs_ssh_username = root",
        f"zfs_ssh_private_key_path = {lab.key_path}",
        f"zfs_ssh_known_hosts_file = {lab.known_hosts_path}",
        "zfs_command_timeout = 20",
        "ssh_conn_timeout = 5",
        f"target_ip_address = {lab.address(HOME)}",
        "use_chap_auth = True",
        "volume_data_path = userspace",
        f"zfs_volume_replication_rpo_seconds = {RPO_S}",
        "replication_device = " + ",".join(f"{key}:{value}" for key, value in device.items()),
    )
    options = (f"my_ip = {lab.network.prefix}.1", *QUICKLY)
    daemon = LabDaemon(
        place.directory / "failover", {"blocks": section}, port=PORTS + 700 + place.number, options=options
    )
    daemon.start()
    until(daemon.is_ready, bool)  # a busy machine takes its time
    yield daemon
    daemon.down()


@pytest.fixture(scope="module")
def api(daemon: LabDaemon) -> Any:
    auth = v3.Password(
        auth_url=f"{daemon.url}/v3",
        username="admin",
        password=password(daemon.config.parent),
        project_name="admin",
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return cinder.Client("3.60", session=session.Session(auth=auth))


def until(look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """What `look` finds, once it is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so(found := look()):
        assert time.monotonic() < deadline, getattr(found, "to_dict", lambda: found)()
        time.sleep(0.1)
    return found


def fail_over(api: Any, to: str) -> None:
    (service,) = api.services.list(binary="cinder-volume")
    api.services.failover_host(service.host, to)
    wanted = "enabled" if to == "default" else "failed-over"
    until(
        lambda: api.services.list(binary="cinder-volume")[0],
        lambda found: found.replication_status == wanted and found.state == "up",
    )


def synced_after(lab: Lab, side: str, volume: str, moment: float) -> None:
    """Wait until the copy on that host is of a later time (by this machine's clock, which all share)."""
    dataset = f"{ROOT}/volume-{volume}"
    argv = ["zfs", "get", "-H", "-o", "value", "penstock:synced_at", dataset]
    wanted = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))

    def synced_at() -> str:
        return lab.host(side).run(argv, timeout_s=60).stdout.strip()

    until(synced_at, lambda found: found not in ("", "-") and found > wanted)


def portal(api: Any, attachment: str) -> dict[str, Any]:
    return dict(api.attachments.show(attachment).connection_info)


def test_the_whole_cycle(lab: Lab, daemon: LabDaemon, api: Any) -> None:
    user = Initiator(lab.client("c1"), lab.address("c1"), "iqn.2026-11.lab.c1:user")
    replicated = api.volume_types.create("replicated")
    replicated.set_keys({"replication_enabled": "<is> True"})
    volume = api.volumes.create(1, volume_type="replicated").id
    until(lambda: api.volumes.get(volume), lambda found: found.status == "available")
    made = api.attachments.create(volume, {}, new_id())["id"]
    info = dict(api.attachments.update(made, user.connector).connection_info)
    api.attachments.complete(made)
    assert info["target_portal"].startswith(lab.address(HOME))
    user.write(info, 0xA1, 0, 4 * MIB)
    until(lambda: api.volumes.get(volume), lambda found: found.replication_status == "enabled")

    # planned, while its client writes until the end: nothing is lost
    user.write(info, 0xA2, 4 * MIB, 4 * MIB)
    fail_over(api, "far")
    assert not user.is_let_in(info)
    info = until(lambda: portal(api, made), lambda found: found["target_portal"].startswith(lab.address(FAR)))
    assert user.holds(info, 0xA1, 0, 4 * MIB)
    assert user.holds(info, 0xA2, 4 * MIB, 4 * MIB)
    assert api.volumes.get(volume).replication_status == "failed-over"
    user.write(info, 0xA3, 8 * MIB, MIB)
    fail_over(api, "default")
    info = until(lambda: portal(api, made), lambda found: found["target_portal"].startswith(lab.address(HOME)))
    assert user.holds(info, 0xA3, 8 * MIB, MIB)

    # its host loses power, with what was not copied yet
    user.write(info, 0xB1, 0, MIB)
    synced_after(lab, FAR, volume, time.time() + 1)
    served = lab.host(HOME).run(["sh", "-c", "cat /etc/tgt/conf.d/penstock-*"], timeout_s=60).stdout
    user.write(info, 0xB2, 16 * MIB, MIB)
    lab.kill(HOME)
    fail_over(api, "far")
    info = until(lambda: portal(api, made), lambda found: found["target_portal"].startswith(lab.address(FAR)))
    assert user.holds(info, 0xB1, 0, MIB)
    assert user.holds(info, 0xA2, 4 * MIB, 4 * MIB)
    told = [message.user_message for message in api.messages.list() if message.resource_uuid == volume]
    assert any("What was written after" in text for text in told), told
    user.write(info, 0xB3, 24 * MIB, MIB)

    # it comes back, and its target server with the files it had: nobody gets anything of it
    lab.start(HOME)
    until(lambda: lab.host(HOME).run(["zfs", "list", ROOT], timeout_s=60).exit_code, lambda code: code == 0)
    home = lab.host(HOME)
    home.write_file("/etc/tgt/conf.d/penstock-returned.conf", served)
    home.run(["tgt-admin", "-e", "-c", "/etc/tgt/targets.conf"], timeout_s=60)
    assert FOLDER in served
    assert not user.is_let_in({**info, "target_portal": f"{lab.address(HOME)}:3260"})
    home.remove_file("/etc/tgt/conf.d/penstock-returned.conf")
    moment = time.time() + 1
    synced_after(lab, HOME, volume, moment)
    names = home.run(["zfs", "list", "-H", "-o", "name", "-r", ROOT], timeout_s=60).stdout.split()
    aside = [name for name in names if "_diverged_" in name]
    assert len(aside) <= 1  # zfs-fuse may not have had it on disk when the power failed

    # and fails back
    fail_over(api, "default")
    info = until(lambda: portal(api, made), lambda found: found["target_portal"].startswith(lab.address(HOME)))
    assert user.holds(info, 0xB1, 0, MIB)
    assert user.holds(info, 0xB3, 24 * MIB, MIB)
    api.attachments.delete(made)
    until(lambda: api.volumes.get(volume), lambda found: found.status == "available")
    api.volumes.delete(volume)
    until(lambda: [one.id for one in api.volumes.list()], lambda found: volume not in found)
    for name in (HOME, FAR):
        found = lab.host(name).run(["zfs", "list", "-H", "-o", "name", "-t", "all", "-r", ROOT], timeout_s=60)
        left = [one for one in found.stdout.split() if one != ROOT and "_diverged_" not in one]
        assert left == [], left
