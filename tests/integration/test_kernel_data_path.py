"""A daemon on a machine whose kernel attaches volumes: images and backups through os-brick, by iSCSI and by NFS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openstack
import pytest
from keystoneauth1 import session
from keystoneauth1.identity import v3

from lab.initiator import Initiator
from lab.kernel.daemon import MachineDaemon
from lab.kernel.machines import KernelLab
from lab.network import await_true
from penstock.host.runner import Host
from penstock.images.sidecar import id_of
from tests.integration import test_volumes, test_volumes_on_nfs
from tests.integration.test_volumes import MIB, BySdk, until
from tests.places import Place
from tests.product.running import QUICKLY
from tests.product.sites import over_ssh
from tests.product.volume_sites import VolumeSite

pytestmark = pytest.mark.kernel
ROOT = "tank/attached"
SECRET = "by-the-accounts-file"
LARGE_IMAGE = "import sys; file = open(sys.argv[1], 'wb'); [file.write(b'\\xa8' * 2**20) for _ in range(128)]"
SLOWLY = "volume_copy_bps_limit = 8388608"  # so that a daemon can be killed in the middle of a copy
IMAGE = "import sys; open(sys.argv[1], 'wb').write(b'\\xa7' * 2**20 + bytes(3 * 2**20))"


@pytest.fixture(scope="module")
def machine(kernel_machines: KernelLab, kernel_volume_site: VolumeSite) -> Host:
    return kernel_machines.workplace("k2")


@pytest.fixture(scope="module")
def daemon(
    machine: Host, kernel_machines: KernelLab, kernel_volume_site: VolumeSite, place: Place
) -> Iterator[MachineDaemon]:
    site = kernel_volume_site
    for filesystem in (ROOT, f"{ROOT}/blocks", f"{ROOT}/shares"):
        site.make(filesystem)
    shares = over_ssh(site.address, site.key_path, site.known_hosts_path, f"{ROOT}/shares")
    blocks = (test_volumes.DRIVER, f"zfs_zpool_list = {ROOT}/blocks", *site.zfs_lines, "use_chap_auth = True")
    files = (test_volumes_on_nfs.DRIVER, "nas_user = admin", f"nas_password = {SECRET}", "nas_timeout = 240")
    own = ("volume_data_path = kernel", SLOWLY)
    address = kernel_machines.address("k2")
    options = (f"my_ip = {address}", *QUICKLY, "[identity]", f"admin_password = {SECRET}")
    work = place.directory / "in-a-machine"
    (work / "state").mkdir(parents=True)
    (work / "state" / "admin-password").write_text(SECRET)
    backends = {"files": shares, "blocks": (*blocks, *own), "nfs": (*files, *own)}
    daemon = MachineDaemon(machine, work, backends, address=address, options=options)
    daemon.up()
    yield daemon
    daemon.down()


@pytest.fixture(scope="module")
def login(daemon: MachineDaemon) -> session.Session:
    names = {"project_name": "admin", "user_domain_name": "Default", "project_domain_name": "Default"}
    return session.Session(auth=v3.Password(auth_url=f"{daemon.url}/v3", username="admin", password=SECRET, **names))


def held(asker: BySdk, user: Initiator, volume: str, *patterns: tuple[int, int]) -> bool:
    """Whether the volume has these bytes at these offsets, as a machine that it is attached to sees it."""
    attachment, info = asker.attach(volume, user.connector)
    found = all(user.holds(info, pattern, offset, MIB) for pattern, offset in patterns)
    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    return found


@pytest.mark.parametrize("backend", ["blocks", "nfs"])
def test_images_and_backups_by_the_kernel(
    backend: str, machine: Host, daemon: MachineDaemon, login: session.Session, kernel_volume_site: VolumeSite
) -> None:
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    asker, user = BySdk(login), kernel_volume_site.stranger
    state = daemon.config.parent / "state"
    machine.run(["mkdir", "-p", f"{state}/images"], timeout_s=60)
    made = machine.run(["python3", "-c", IMAGE, f"{state}/images/system.raw"], timeout_s=60)
    assert made.exit_code == 0, made
    have_type(api, backend)

    volume = api.create_volume(size=1, image_id=id_of("system.raw"), volume_type=backend).id
    until(lambda: asker.show(volume))
    assert held(asker, user, volume, (0xA7, 0), (0, MIB))
    image = api.upload_volume_to_image(volume, "copy", disk_format="qcow2", container_format="bare")["image_id"]
    until(lambda: asker.show(volume))
    assert machine.run(["test", "-s", f"{state}/images/{image}.qcow2"], timeout_s=60).exit_code == 0

    backup = api.create_backup(volume_id=volume, name="by the kernel").id
    until(lambda: api.get_backup(backup))
    restored = api.create_volume(size=1, volume_type=backend).id
    until(lambda: asker.show(restored))
    api.restore_backup(backup, volume_id=restored)
    until(lambda: api.get_backup(backup))
    until(lambda: asker.show(restored))
    assert held(asker, user, restored, (0xA7, 0), (0, MIB))

    api.delete_backup(backup)
    for made_volume in (volume, restored):
        asker.delete(made_volume)
        until(lambda made_volume=made_volume: asker.show(made_volume), "deleted")
    assert nothing_is_attached(machine)
    left: Any = kernel_volume_site.datasets(ROOT)
    assert left == [ROOT, f"{ROOT}/blocks", f"{ROOT}/shares"]


@pytest.mark.parametrize("is_gone", [False, True], ids=["image-there", "image-gone"])
@pytest.mark.parametrize("backend", ["blocks", "nfs"])
def test_a_daemon_killed_while_it_has_a_volume_attached(
    backend: str,
    is_gone: bool,
    machine: Host,
    daemon: MachineDaemon,
    login: session.Session,
    kernel_volume_site: VolumeSite,
) -> None:
    """The next one takes up what it was about, or ends it; in both ways nothing stays attached."""
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    asker, user = BySdk(login), kernel_volume_site.stranger
    folder = f"{daemon.config.parent}/state/images"
    path = f"{folder}/large.raw"
    machine.run(["mkdir", "-p", folder], timeout_s=60)
    made = machine.run(["python3", "-c", LARGE_IMAGE, path], timeout_s=600)
    assert made.exit_code == 0, made
    have_type(api, backend)
    volume = api.create_volume(size=1, image_id=id_of("large.raw"), volume_type=backend).id
    await_true("an attached volume", lambda: not nothing_is_attached(machine), timeout_s=300)
    daemon.kill()
    assert not nothing_is_attached(machine)
    if is_gone:
        machine.run(["rm", path], timeout_s=60)
    daemon.up()
    if is_gone:
        until_status(lambda: asker.show(volume), "error")
    else:
        until(lambda: asker.show(volume))
        assert held(asker, user, volume, (0xA8, 0), (0xA8, 127 * MIB), (0, 128 * MIB))
    await_true("the end of what was attached", lambda: nothing_is_attached(machine), timeout_s=120)
    asker.delete(volume)
    until(lambda: asker.show(volume), "deleted")
    assert kernel_volume_site.datasets(ROOT) == [ROOT, f"{ROOT}/blocks", f"{ROOT}/shares"]


def until_status(look: Callable[[], Any], status: str) -> None:
    """An error is what is waited for."""
    await_true(status, lambda: look().status == status, timeout_s=300)


def have_type(api: Any, backend: str) -> None:
    if not any(found.name == backend for found in api.types()):
        api.create_type(name=backend, extra_specs={"volume_backend_name": backend})


def nothing_is_attached(machine: Host) -> bool:
    """No iSCSI session, and no mount of a share."""
    script = "ls /sys/class/iscsi_session; grep ' nfs4\\? ' /proc/mounts; true"
    return machine.run(["sh", "-c", script], timeout_s=60).stdout.strip() == ""
