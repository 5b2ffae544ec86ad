"""What a side that was away has of volumes that were deleted, or are replicated no more, goes by itself when it is
back, whichever side serves then. ZFS driver, simulated machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.doctor.findings import Kind as Finding
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Fault, Unavailable
from penstock.services.volumes import lifecycle, retyping
from penstock.store import operations
from penstock.volume.drivers.zfs.identity import Kind
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.marks import ID
from tests.contract.test_volume_failover_on_zfs import Site, attached
from tests.contract.volume_sides import FAR, HOME, Machines
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.volume_plane import ADMIN, OWNER


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def site(request: Any, tmp_path: Path) -> Site:
    return Site(tmp_path, Machines(request.param))


def _pending(site: Site) -> list[str]:
    with site.database.read() as tx:
        return [item.call.method for item in operations.pending(tx)]


def _deleted(site: Site, volume: Volume) -> None:
    lifecycle.delete(site.plane, ADMIN, volume.id)
    site.work()
    with pytest.raises(Fault):
        site.seen(volume)


def _back(site: Site) -> None:
    """The side that was away is, and the backend is failed back to it before any look at it from the other."""
    site.machines.boot(HOME)
    site.fail_over("default")
    site.settle()
    assert site.service().active_backend_id is None


@pytest.mark.parametrize("has_copy", [True, False])
def test_a_volume_deleted_while_its_own_side_was_away(site: Site, has_copy: bool) -> None:
    other = site.made()
    site.replicate()
    volume = site.made()
    attached(site, other)
    if has_copy:
        site.replicate()
    site.machines.write(volume, HOME)
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    assert (site.seen(volume).status is VolumeStatus.ERROR) is not has_copy
    _deleted(site, volume)
    assert _pending(site) == ["remove_left_copy"]
    site.settle()
    assert _pending(site) == ["remove_left_copy"]  # it waits
    _back(site)
    assert _pending(site) == []
    assert site.machines.kind(volume, HOME) is None
    assert not site.machines.is_served(volume, HOME)
    (aside,) = site.machines.aside(HOME)  # what it held when it was deleted is not thrown away
    assert volume.id in aside
    assert site.machines.kind(volume, FAR) is None
    assert site.machines.kind(other, HOME) is Kind.VOLUME
    assert not [one for one in site.findings() if one.is_drift and one.kind is not Finding.SET_ASIDE]


def test_a_volume_that_was_served_elsewhere_is_deleted_while_its_old_copy_is_away(site: Site) -> None:
    volume, other = site.made(), site.made()
    site.replicate()
    site.replicate()
    site.fail_over(FAR)
    site.replicate()
    site.machines.cut_power(HOME)
    _deleted(site, volume)
    _back(site)
    assert (site.machines.kind(volume, HOME), site.machines.aside(HOME)) == (None, [])  # a copy that was in line
    assert site.machines.kind(other, HOME) is Kind.VOLUME


def test_a_database_put_back_from_a_backup_costs_nobody_a_volume(site: Site) -> None:
    volume = site.made()
    site.replicate()
    other = site.machines.place(volume, HOME).replace("volume-", "volume-0")
    site.machines.hosts[HOME].run(["zfs", "create", "-o", "penstock:kind=volume", other], timeout_s=10)
    site.machines.hosts[HOME].run(["zfs", "set", f"{ID}=no-row-knows-it", other], timeout_s=10)
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    _deleted(site, volume)
    _back(site)
    assert other in site.machines.hosts[HOME].state.filesystems


def test_retyped_while_the_target_was_away(site: Site) -> None:
    volume = site.made()
    site.replicate()
    assert site.machines.kind(volume, FAR) is Kind.REPLICA
    site.machines.cut_off(FAR)
    retyping.retype(site.plane, OWNER, volume.id, "default")
    site.work()
    assert _pending(site) == ["remove_left_copy"]
    site.machines.hosts[FAR].is_cut_off = False
    site.settle()
    assert _pending(site) == []
    assert site.machines.kind(volume, FAR) is None
    assert site.machines.kind(volume, HOME) is Kind.VOLUME


def test_replicated_again_before_the_target_was_back(site: Site) -> None:
    volume = site.made()
    site.replicate()
    site.machines.cut_off(FAR)
    for kind in ("default", "replicated"):
        retyping.retype(site.plane, OWNER, volume.id, kind)
        site.work()
    site.machines.hosts[FAR].is_cut_off = False
    site.replicate()
    copy = site.machines.hosts[FAR].filesystem(site.machines.place(volume, FAR))
    site.settle()
    assert _pending(site) == []
    assert site.machines.hosts[FAR].filesystem(site.machines.place(volume, FAR)) is copy


def test_several_wait_for_a_side_one_after_the_other(site: Site) -> None:
    """What is away is not asked for each of them, again and again."""
    volumes = [site.made() for _ in range(3)]
    site.replicate()
    site.machines.cut_off(FAR)
    for volume in volumes:
        _deleted(site, volume)
    with site.database.read() as tx:
        waiting = operations.pending(tx)
    assert len(waiting) == 3
    assert len({item.call.resource_key for item in waiting}) == 1
    site.machines.hosts[FAR].is_cut_off = False
    site.settle()
    assert _pending(site) == []
    assert [site.machines.kind(volume, FAR) for volume in volumes] == [None] * 3


def test_a_deletion_that_ends_twice_leaves_one_copy_to_be_removed(site: Site) -> None:
    volume = site.made()
    site.replicate()
    site.machines.cut_off(FAR)
    model = site.manager.records.volume(volume.id)
    for _ in range(2):
        site.manager.driver.delete_volume(model)
    assert _pending(site) == ["remove_left_copy"]


class _Unheard:
    """What was done by `word` is not heard of any more."""

    def __init__(self, word: str) -> None:
        self.word = word

    def before(self, _: SimulatedHost, __: tuple[str, ...]) -> Answer | None:
        return None

    def after(self, _: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self.word in words:
            raise Unavailable("the line was cut")
        return answer


def test_what_was_begun_of_a_volume_that_could_not_be_made_then(site: Site) -> None:
    """Its creation was cut off, and the backend was failed over; nobody ever had it, so nothing is kept."""
    other = site.made()
    site.replicate()
    site.machines.hosts[HOME].hooks = _Unheard("create")
    volume = site.made("default")
    site.machines.hosts[HOME].hooks = None
    assert site.machines.kind(volume, HOME) is Kind.VOLUME
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    site.settle()
    assert site.seen(volume).status is VolumeStatus.ERROR
    _deleted(site, volume)
    _back(site)
    assert _pending(site) == []
    assert (site.machines.kind(volume, HOME), site.machines.aside(HOME)) == (None, [])
    assert site.machines.kind(other, HOME) is Kind.VOLUME
