"""A storage host loses power and comes back, and nothing of ours runs: nobody writes into a directory where nothing is
mounted, however the host's servers start. The kernel's server and NFS-Ganesha, with the filesystems they serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.hosts import Lab
from penstock.exports.model import ClientRule, Export, Squash
from penstock.exports.nfs import NfsServer
from penstock.exports.nfs_ganesha import GaneshaNfs
from penstock.exports.nfs_kernel import KernelNfs
from penstock.host.runner import Host
from tests.product.nfs_clients import LibnfsClient
from tests.product.sites import with_pool

PLAIN, OURS = "tank/plain", "tank/ours"  # one that ZFS mounts at boot, one that only we mount


@pytest.fixture(
    params=[pytest.param("namespaces", marks=pytest.mark.lab), pytest.param("kernel", marks=pytest.mark.kernel)]
)
def site(request: Any, lab_space: Lab) -> tuple[Callable[[], Host], str, NfsServer, Callable[[], None], LibnfsClient]:
    """Host (again after a boot), its address, its server, what cuts its power and starts it, a client."""
    lab_space.up(0, 1)
    client = LibnfsClient(lab_space.client("c1"), lab_space.address("c1"))
    if request.param == "kernel":
        machines = request.getfixturevalue("kernel_lab").up("k1")
        with_pool(machines.host("k1"))

        def boot_machine() -> None:
            machines.kill("k1")
            machines.up("k1")

        return lambda: machines.host("k1"), machines.address("k1"), KernelNfs(machines.host("k1")), boot_machine, client
    lab_space.up(1, 1)

    def boot() -> None:
        lab_space.kill("h1")
        lab_space.start("h1")

    host = lab_space.host("h1")
    return lambda: host, lab_space.address("h1"), GaneshaNfs(host), boot, client


def test_nobody_writes_below(
    site: tuple[Callable[[], Host], str, NfsServer, Callable[[], None], LibnfsClient],
) -> None:
    host, address, server, boot, client = site
    server.verify()
    rule = ClientRule(client.address, writable=True, squash=Squash.NO_ROOT_SQUASH)  # whom no mode of files stops
    for dataset, canmount in ((PLAIN, "on"), (OURS, "noauto")):
        ran(host(), "zfs", "create", "-o", f"canmount={canmount}", dataset)
    ran(host(), "zfs", "mount", OURS)
    exports = [Export(f"/{name}", name.rpartition("/")[2], (rule,), name == PLAIN) for name in (PLAIN, OURS)]
    server.put(exports)
    plain, ours = (f"{address}:/{name}" for name in (PLAIN, OURS))
    for location in (plain, ours):
        assert client.write(location, "before", "kept")
    ran(host(), "sync")

    boot()
    assert client.may(plain) == "rw"  # nobody of us is needed for that
    assert not client.write(ours, "lost", "x")
    assert not client.can_list(ours)
    assert ran(host(), "find", f"/{OURS}") == f"/{OURS}"

    ran(host(), "zfs", "mount", OURS)
    type(server)(host()).put(exports)
    assert client.may(ours) == "rw"
    assert client.read(ours, "before") == "kept"
    type(server)(host()).remove([export.path for export in exports])


def ran(host: Host, *argv: str) -> str:
    done = host.run(argv, timeout_s=60)
    assert done.exit_code == 0, done
    return done.stdout.strip()
