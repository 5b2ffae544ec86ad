"""Images kept on the appliance: copied once, cloned for each volume, renewed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from penstock.appliance.trouble import Rule
from penstock.errors import Unavailable
from penstock.units import GIB
from penstock.volume.drivers.zfssa.zfssaiscsi import ZFSSAISCSIDriver
from penstock.volume.errors import ImageCopyFailure
from penstock.volume.models import VolumeModel
from tests.contract.appliance_boxes import Box, listening, make_driver, set_up, simulated_box, volume

IMAGE = {"id": "5e1c", "size": 10 * 2**20, "virtual_size": GIB - 512, "updated_at": "2026-11-21T12:00:00"}
CACHED = "os-cache-vol-5e1c"


class Copying(ZFSSAISCSIDriver):
    """The image service and the data path are others' business: here an image copied is a name written down."""

    copied: list[VolumeModel]
    fault: Exception | None = None

    def copy_image_to_volume(self, context: Any, volume: Any, image_service: Any, image_id: str, **more: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.copied.append(volume)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with listening(simulated_box("box", tmp_path), tmp_path) as found:
        yield found


@pytest.fixture
def driver(box: Box, tmp_path: Path) -> Copying:
    found = set_up(make_driver(box, tmp_path, kind=Copying))
    assert isinstance(found, Copying)
    found.copied = []
    return found


def clone(driver: Copying, number: int = 1, size: int = 1, **changed: Any) -> bool:
    return driver.clone_image(None, volume(number, size), None, {**IMAGE, **changed}, None)[1]


def cached(box: Box) -> bool:
    return box.site.zfs.exists(box.site.lun("tank", "os-cinder-cache", CACHED))


def test_an_image_is_copied_once_for_many_volumes(box: Box, driver: Copying) -> None:
    assert all(clone(driver, number, size=number) for number in (1, 2, 3))
    assert [(each.name, each.size) for each in driver.copied] == [(CACHED, 1)]
    assert driver._volumes.find(volume(3).name).size_bytes == 3 * GIB
    assert driver._volumes.find(CACHED, "os-cinder-cache").image_id == IMAGE["id"]


def test_the_same_again_is_a_clone_all_the_same(driver: Copying) -> None:
    assert clone(driver)
    assert clone(driver)
    assert len(driver.copied) == 1


def test_many_at_once_copy_once(driver: Copying) -> None:
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda number: clone(driver, number), range(1, 7)))
    assert len(driver.copied) == 1


@pytest.mark.parametrize(("virtual_size", "is_cloned"), [(GIB - 1, True), (GIB, False), (5 * GIB, False)])
def test_an_image_must_fit(driver: Copying, virtual_size: int, is_cloned: bool) -> None:
    assert clone(driver, virtual_size=virtual_size) is is_cloned


def test_without_a_cache_nothing_is_asked(box: Box, tmp_path: Path) -> None:
    driver = set_up(make_driver(box, tmp_path, kind=Copying, zfssa_enable_local_cache="False"))
    box.requests.clear()
    assert driver.clone_image(None, volume(), None, IMAGE, None) == (None, False)
    assert box.requests == []


def test_the_cached_image_goes_with_its_last_clone(box: Box, driver: Copying) -> None:
    clone(driver, 1)
    clone(driver, 2)
    driver.delete_volume(volume(1))
    assert cached(box)
    driver.delete_volume(volume(2))
    assert not cached(box)


def test_the_cached_image_goes_although_the_count_of_clones_lags(box: Box, driver: Copying) -> None:
    clone(driver, 1)
    box.trouble.clones_lag = 1
    driver.delete_volume(volume(1))
    assert not cached(box)


def test_a_changed_image_is_copied_anew_when_nobody_uses_the_old_one(box: Box, driver: Copying) -> None:
    clone(driver, 1)
    assert not clone(driver, 2, updated_at="2026-11-22T12:00:00")
    assert box.site.zfs.exists(box.site.lun("tank", "volumes", volume(1).name))
    box.trouble.add(Rule("DELETE .*os-cache-vol", status=403))  # the old one stays when its last clone goes
    driver.delete_volume(volume(1))
    assert cached(box)
    assert clone(driver, 3, updated_at="2026-11-22T12:00:00")
    assert len(driver.copied) == 2
    assert driver._volumes.find(CACHED, "os-cinder-cache").updated_at == "2026-11-22T12:00:00"


@pytest.mark.parametrize("fault", [ImageCopyFailure("full"), Unavailable("gone")])
def test_a_copy_that_fails_leaves_nothing_and_the_generic_way_open(box: Box, driver: Copying, fault: Exception) -> None:
    driver.fault = fault
    assert not clone(driver)
    assert not cached(box)
    driver.fault = None
    assert clone(driver)


def test_what_a_crash_in_the_copy_left_is_copied_anew(box: Box, driver: Copying) -> None:
    driver.fault = RuntimeError("killed")
    box.trouble.add(Rule("DELETE .*os-cache-vol", status=500, times=None))
    with pytest.raises(RuntimeError):
        clone(driver)
    box.trouble.clear()
    assert cached(box)
    driver.fault = None
    assert clone(driver)
    assert len(driver.copied) == 1


def test_a_lun_in_the_cache_project_that_is_no_image_stays(box: Box, driver: Copying) -> None:
    driver.zfssa.create_lun("tank", "os-cinder-cache", {"name": CACHED, "volsize": "1g"})
    assert not clone(driver)
    assert cached(box)


def test_a_cache_volume_is_shown_from_its_project(box: Box, driver: Copying) -> None:
    from tests.contract.appliance_boxes import IQNS, connector

    clone(driver)
    (cache_volume,) = driver.copied
    driver.initialize_connection(cache_volume, connector())
    assert list(box.exports.seen[IQNS[0]].values()) == [f"/tank/appliance/os-cinder-cache/{CACHED}/disk"]
    driver.terminate_connection(cache_volume, connector())
    assert box.exports.seen == {}
