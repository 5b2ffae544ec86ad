"""A replicated volume whose storage host dies: failed over, used, brought back and failed back, on two hosts with
zfs-fuse and tgt, or with OpenZFS, zvols and LIO, by python-cinderclient, with what its client reads at each step.
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
from penstock.ids import new_id
from penstock.volume.drivers.zfs.links import FOLDER
from tests import waiting
from tests.places import Place
from tests.product.running import PORTS, QUICKLY, password
from tests.product.volume_pairs import Side, VolumePair, kernel_volume_pair, namespace_volume_pair
from tests.volume_states import until as until_status

DRIVER = "volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver"
ROOT = "tank/replicated"
TYPES = {
    "replicated": {"replication_enabled": "<is> True"},
    "thick": {"replication_enabled": "<is> True", "thin_provisioning": "<is> False"},
}
MIB, GIB = 2**20, 2**30
WAIT_S = 600.0  # user-mode Linux takes its time
RPO_S = 20  # what a busy machine keeps to, too


@pytest.fixture(scope="module")
def namespace_pair(place: Place) -> Iterator[VolumePair]:
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}o", place.memory / "o", f"10.184.{place.number}", pool_mib=3072)
    lab.down()  # what a crashed run left here
    try:
        yield namespace_volume_pair(lab)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def kernel_pair(request: Any) -> VolumePair:
    """k3 loses its power: k1 and k2 are others' as well."""
    machines, clients = (request.getfixturevalue(name) for name in ("kernel_machines", "spacious_lab"))
    return kernel_volume_pair(machines, clients, "k3", "k2")


@pytest.fixture(
    scope="module",
    params=[pytest.param("namespace", marks=pytest.mark.lab), pytest.param("kernel", marks=pytest.mark.kernel)],
)
def pair(request: Any) -> VolumePair:
    found: VolumePair = request.getfixturevalue(f"{request.param}_pair")
    found.make(ROOT)
    return found


@pytest.fixture(scope="module")
def daemon(pair: VolumePair, place: Place) -> Iterator[LabDaemon]:
    device = {
        "backend_id": "far",
        "zfs_service_ip": pair.far.address,
        "zfs_zpool_list": ROOT,
        "target_ip_address": pair.far.address,
    }
    section = (
        DRIVER,
        f"zfs_zpool_list = {ROOT}",
        "zfs_use_ssh = True",
        f"zfs_service_ip = {pair.home.address}",
        "zfs_ssh_username = root",
        f"zfs_ssh_private_key_path = {pair.key_path}",
        f"zfs_ssh_known_hosts_file = {pair.known_hosts_path}",
        "zfs_command_timeout = 20",
        "ssh_conn_timeout = 5",
        f"target_ip_address = {pair.home.address}",
        *pair.target_lines,
        "use_chap_auth = True",
        "volume_data_path = userspace",
        f"zfs_volume_replication_rpo_seconds = {RPO_S}",
        "replication_device = " + ",".join(f"{key}:{value}" for key, value in device.items()),
    )
    options = (f"my_ip = {pair.here}", *QUICKLY)
    work = place.directory / f"failover-{pair.name}"
    daemon = LabDaemon(work, {"blocks": section}, port=PORTS + 700 + place.number, options=options)
    try:
        daemon.start()
        until(daemon.is_ready, bool)  # a busy machine takes its time
        yield daemon
    finally:
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
    return waiting.until(look, is_so, timeout_s=WAIT_S, pause_s=0.1)


def fail_over(api: Any, to: str) -> None:
    (service,) = api.services.list(binary="cinder-volume")
    api.services.failover_host(service.host, to)
    wanted = "enabled" if to == "default" else "failed-over"
    until(
        lambda: api.services.list(binary="cinder-volume")[0],
        lambda found: found.replication_status == wanted and found.state == "up",
    )


def synced_after(side: Side, volume: str, moment: float) -> None:
    """Wait until the copy on that host is of a later time (by this machine's clock, which all share)."""
    dataset = f"{ROOT}/volume-{volume}"
    argv = ["zfs", "get", "-H", "-o", "value", "penstock:synced_at", dataset]
    wanted = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))

    def synced_at() -> str:
        return side.host.run(argv, timeout_s=60).stdout.strip()

    until(synced_at, lambda found: found not in ("", "-") and found > wanted)


def portal(api: Any, attachment: str) -> dict[str, Any]:
    return dict(api.attachments.show(attachment).connection_info)


def served_by(api: Any, attachment: str, side: Side) -> dict[str, Any]:
    """The connection, once it leads there."""
    found = until(lambda: portal(api, attachment), lambda info: info["target_portal"].startswith(f"{side.address}:"))
    return dict(found)


def reserved_bytes(side: Side, dataset: str) -> int:
    """What is set aside for it, whatever is written."""
    argv = ["zfs", "get", "-Hp", "-o", "value", "refreservation", dataset]
    done = side.host.run(argv, timeout_s=60)
    assert done.exit_code == 0, done
    return int(done.stdout)


def test_the_whole_cycle(pair: VolumePair, daemon: LabDaemon, api: Any) -> None:
    go_through(pair, api, "replicated")


@pytest.mark.parametrize("pair", [pytest.param("kernel", marks=pytest.mark.kernel)], indirect=True)
def test_the_whole_cycle_of_a_thick_volume(pair: VolumePair, daemon: LabDaemon, api: Any) -> None:
    """Its space is set aside on both sides all the time, and never for what was set aside of it."""
    go_through(pair, api, "thick")


def go_through(pair: VolumePair, api: Any, type_: str) -> None:
    user, home, far = pair.user, pair.home, pair.far
    api.volume_types.create(type_).set_keys(TYPES[type_])
    volume = api.volumes.create(1, volume_type=type_).id
    dataset = f"{ROOT}/volume-{volume}"

    def is_kept_free() -> bool:
        return all((reserved_bytes(side, dataset) >= GIB) == (type_ == "thick") for side in (home, far))

    until_status(lambda: api.volumes.get(volume), wait_s=WAIT_S)
    made = api.attachments.create(volume, {}, new_id())["id"]
    info = dict(api.attachments.update(made, user.connector).connection_info)
    api.attachments.complete(made)
    assert info["target_portal"].startswith(f"{home.address}:")
    user.write(info, 0xA1, 0, 4 * MIB)
    until(lambda: api.volumes.get(volume), lambda found: found.replication_status == "enabled")
    assert is_kept_free()

    # planned, while its client writes until the end: nothing is lost
    user.write(info, 0xA2, 4 * MIB, 4 * MIB)
    fail_over(api, "far")
    assert not user.is_let_in(info)
    info = served_by(api, made, far)
    assert user.holds(info, 0xA1, 0, 4 * MIB)
    assert user.holds(info, 0xA2, 4 * MIB, 4 * MIB)
    assert api.volumes.get(volume).replication_status == "failed-over"
    assert is_kept_free()
    user.write(info, 0xA3, 8 * MIB, MIB)
    fail_over(api, "default")
    info = served_by(api, made, home)
    assert user.holds(info, 0xA3, 8 * MIB, MIB)

    # its host loses power, with what was not copied yet
    user.write(info, 0xB1, 0, MIB)
    synced_after(far, volume, time.time() + 1)
    served = home.target_files()
    user.write(info, 0xB2, 16 * MIB, MIB)
    home.cut_power()
    fail_over(api, "far")
    info = served_by(api, made, far)
    assert user.holds(info, 0xB1, 0, MIB)
    assert user.holds(info, 0xA2, 4 * MIB, 4 * MIB)
    told = [message.user_message for message in api.messages.list() if message.resource_uuid == volume]
    assert any("What was written after" in text for text in told), told
    is_lost = not user.holds(info, 0xB2, 16 * MIB, MIB)  # a busy machine may have copied it in time
    user.write(info, 0xB3, 24 * MIB, MIB)

    # it comes back, and its target server with the files it had: nobody gets anything of it
    home.boot()
    until(lambda: home.host.run(["zfs", "list", ROOT], timeout_s=60).exit_code, lambda code: code == 0)
    old_way = {**info, "target_portal": f"{home.address}:3260"}
    assert not user.is_let_in(old_way)
    home.serve(served)
    assert FOLDER in served
    assert not user.is_let_in(old_way)
    moment = time.time() + 1
    synced_after(home, volume, moment)
    aside = [name for name in home.datasets(ROOT) if name.startswith(f"{dataset}_diverged_") and "@" not in name]
    assert len(aside) == 1 if pair.keeps_all and is_lost else len(aside) <= 1
    assert is_kept_free()
    assert [reserved_bytes(home, name) for name in aside] == [0] * len(aside)

    # and fails back
    fail_over(api, "default")
    info = served_by(api, made, home)
    assert user.holds(info, 0xB1, 0, MIB)
    assert user.holds(info, 0xB3, 24 * MIB, MIB)
    api.attachments.delete(made)
    until_status(lambda: api.volumes.get(volume), wait_s=WAIT_S)
    api.volumes.delete(volume)
    until(lambda: [one.id for one in api.volumes.list()], lambda found: volume not in found)
    for side in (home, far):
        left = [one for one in side.datasets(ROOT) if "_diverged_" not in one]
        assert left == [], left
