"""The ZFS volume driver keeps space free as a volume's type asks, and placement knows which pools do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.scheduler.capabilities import unmet
from penstock.scheduler.placement import is_thin
from penstock.scheduler.requirements import Requirements
from penstock.volume.manager.periodic import pools_in
from penstock.volume.models import VolumeTypeModel
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.test_zfs_volume_steps import World
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def world(request: Any, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


@pytest.mark.parametrize(
    ("specs", "thick"),
    [
        ({"thin_provisioning": "<is> False"}, True),
        ({"thin_provisioning": "<is> True"}, False),
        ({"provisioning:type": "thick"}, True),
        ({"provisioning:type": "thin"}, False),
    ],
)
def test_a_type_that_says_how_its_space_is_kept_is_placed_and_made_so(
    world: World, specs: dict[str, str], thick: bool
) -> None:
    for pool in pools_in(world.driver.get_volume_stats(refresh=True)):
        assert unmet(specs, pool) is None
        assert is_thin(Requirements(1, None, specs), pool) is not thick
    volume = world.made(world.new(volume_type=VolumeTypeModel("t", "t", extra_specs=specs), volume_type_id="t"))
    kept = world.host.state.filesystems[f"tank/volumes/{volume.name}"].local.get("refreservation", "none")
    assert (kept not in ("none", "0")) is thick


@pytest.mark.parametrize("default", [True, False])
def test_a_type_that_does_not_say_is_placed_as_the_backend_makes_volumes(tmp_path: Path, default: bool) -> None:
    world = World(OPENZFS, tmp_path, f"zfs_volume_thin = {default}\n")
    for pool in pools_in(world.driver.get_volume_stats(refresh=True)):
        assert is_thin(Requirements(1, None), pool) is default
