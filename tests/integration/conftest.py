"""The running product on real hosts: namespaces with zfs-fuse and NFS-Ganesha, and the kernel lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import hosts as namespace_hosts
from lab.hosts import Lab
from lab.kernel.machines import KernelLab
from lab.kernel.machines import missing as kernel_machines_missing
from tests.places import Place
from tests.product.running import PORTS, Product, running
from tests.product.sites import NESTED, SECOND_POOL, Site, kernel_site, namespace_site
from tests.product.user import User
from tests.product.volume_sites import VolumeSite, kernel_volumes, namespace_volumes

POOL_MIB = 6144


@pytest.fixture(scope="session")
def spacious_lab(place: Place) -> Iterator[Lab]:
    """A namespace lab beside the others, with room for shares that hold more than a GiB; nothing in it yet."""
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}i", place.memory / "i", f"10.180.{place.number}", pool_mib=POOL_MIB)
    lab.down()  # what a crashed run left here
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def namespaces(spacious_lab: Lab) -> Site:
    return namespace_site(spacious_lab)


@pytest.fixture(scope="session")
def kernel_machines(place: Place) -> Iterator[KernelLab]:
    """User-mode Linux machines on the bridge of `spacious_lab`; none booted yet."""
    reason = kernel_machines_missing()
    if reason:
        pytest.skip(reason)
    machines = KernelLab(f"{place.tag}i", place.directory / "ik", f"10.180.{place.number}", disk_mib=POOL_MIB)
    machines.down()  # what a crashed run left here
    yield machines
    machines.down()


@pytest.fixture(scope="session")
def kernel(spacious_lab: Lab, kernel_machines: KernelLab) -> Site:
    return kernel_site(kernel_machines, spacious_lab)


@pytest.fixture(
    scope="session",
    params=[pytest.param("namespaces", marks=pytest.mark.lab), pytest.param("kernel", marks=pytest.mark.kernel)],
)
def site(request: Any) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture(
    scope="session",
    params=[pytest.param("namespaces", marks=pytest.mark.lab), pytest.param("kernel", marks=pytest.mark.kernel)],
)
def volume_site(request: Any, spacious_lab: Lab) -> VolumeSite:
    """Where volumes are; its datasets are for whoever asks to make."""
    if request.param == "kernel":
        found: VolumeSite = request.getfixturevalue("kernel_volume_site")
        return found
    return namespace_volumes(spacious_lab)


@pytest.fixture(scope="session")
def kernel_volume_site(spacious_lab: Lab, kernel_machines: KernelLab) -> VolumeSite:
    return kernel_volumes(kernel_machines, spacious_lab)


@pytest.fixture(scope="session")
def whole_product(site: Site, place: Place) -> Iterator[Product]:
    """One daemon for all tests of a site. After all of them the doctor finds nothing."""
    with running(site, place.directory / f"daemon-{site.name}", PORTS + place.number) as product:
        yield product
        product.told("doctor")


@pytest.fixture
def product(whole_product: Product) -> Iterator[Product]:
    """The running product; after a test it deletes its shares, and then nothing of them is left on the first host."""
    yield whole_product
    whole_product.user.delete_all()
    datasets = whole_product.site.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", NESTED, SECOND_POOL)
    assert set(datasets.split()) == {NESTED, SECOND_POOL}


@pytest.fixture
def user(product: Product) -> User:
    return product.user
