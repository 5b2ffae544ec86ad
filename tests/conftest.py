"""Real machines and databases for the tiers that need them: started when first asked for, one set per test worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from lab import hosts as namespace_hosts
from lab.hosts import Lab
from lab.kernel import machines as kernel_machines
from lab.kernel.machines import KernelLab
from penstock.host.runner import Host
from tests.cluster import newest_binaries, postgres_cluster
from tests.places import Place, take_place
from tests.product.sites import with_pool

# A busy machine is no defect: no example of a property has a time limit.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands configure the log of their process, which is ours, and may have it say nothing from then on."""
    configured = structlog.get_config()
    yield
    structlog.configure(**configured)


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Names and addresses that no other worker or run has."""
    place = take_place()
    yield place
    place.release()


@pytest.fixture(scope="session")
def lab_space(place: Place) -> Iterator[Lab]:
    """A namespace lab with nothing in it yet; `up` adds hosts and clients."""
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(place.tag, place.memory / "hosts", place.network_prefix)
    lab.down()  # what a crashed run left here
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def lab(lab_space: Lab) -> Lab:
    """Hosts h1 and h2 (zfs-fuse pool tank, NFS-Ganesha, sshd) and clients c1 and c2."""
    return lab_space.up(2, 2)


@pytest.fixture(scope="session")
def lab_host(lab: Lab) -> Host:
    """Host h1."""
    return lab.host("h1")


@pytest.fixture(scope="session")
def lab_clients(lab_space: Lab) -> dict[str, Host]:
    """c1 and c2: machines that only have an address."""
    lab_space.up(0, 2)
    return {name: lab_space.client(name) for name in ("c1", "c2")}


@pytest.fixture(scope="session")
def kernel_lab(place: Place) -> Iterator[KernelLab]:
    """User-mode Linux machines with OpenZFS, on the same bridge as `lab_clients`; none booted yet."""
    reason = kernel_machines.missing()
    if reason:
        pytest.skip(reason)
    lab = KernelLab(place.tag, place.memory / "kernel", place.network_prefix)
    lab.down()  # what a crashed run left here
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def kernel_host(kernel_lab: KernelLab) -> Host:
    """Machine k1 with pool tank on /dev/ubdb and the kernel NFS server."""
    kernel_lab.up("k1")
    return with_pool(kernel_lab.host("k1"))


@pytest.fixture(scope="session")
def kernel_hosts(kernel_lab: KernelLab, kernel_host: Host) -> tuple[Host, Host]:
    """Machines k1 and k2, each with a pool tank; root of either may log in to the other."""
    kernel_lab.up("k1", "k2")
    return kernel_host, with_pool(kernel_lab.host("k2"))


@pytest.fixture(scope="session")
def lab_ssh_hosts(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """Hosts h1 and h2 by ssh; root of either may log in to the other."""
    hosts = (lab.ssh_host("h1"), lab.ssh_host("h2"))
    yield hosts
    for host in hosts:
        host.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty PostgreSQL database of this worker."""
    binaries = newest_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server under /usr/lib/postgresql (script/setup --system installs it)")
    with postgres_cluster(binaries) as url:
        yield url
