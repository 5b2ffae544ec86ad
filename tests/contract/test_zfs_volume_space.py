"""The ZFS volume driver keeps space free as a volume's type asks, and placement knows which pools do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Invalid
from penstock.scheduler.capabilities import unmet
from penstock.scheduler.placement import is_thin
from penstock.scheduler.requirements import Requirements
from penstock.volume.drivers.zfs.spec import PROVISIONING
from penstock.volume.manager.periodic import pools_in
from penstock.volume.models import VolumeTypeModel
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.test_zfs_volume_steps import World
from tests.contract.volume_sides import FAR, HOME, REPLICATED, Sides
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


@pytest.mark.parametrize("specs", [{PROVISIONING: "deduplicated"}, {"replication_rpo_seconds": "soon"}])
def test_words_of_one_type_that_nobody_understands_hinder_no_other_volume(
    tmp_path: Path, specs: dict[str, str]
) -> None:
    """Extra specs may be given to a type that has volumes: neither their copies nor a failover may end for that."""
    sides = Sides(OPENZFS, tmp_path)
    one, two = sides.made(), sides.made()
    sides.replicate()
    odd = VolumeTypeModel(id="odd", name="odd", extra_specs={**REPLICATED.extra_specs, PROVISIONING: "deduplicated"})
    sides.volumes[one.id] = dataclasses.replace(sides.volumes[one.id], volume_type=odd)
    sides.write(two, HOME)
    sides.replicate()
    assert sides.content(two, FAR) == sides.content(two, HOME)
    sides.cut_power(HOME)
    sides.fail_over(FAR)
    assert sides.content(two, FAR)


def test_a_volume_whose_type_says_neither_thin_nor_thick_is_not_made(world: World) -> None:
    kind = VolumeTypeModel("t", "t", extra_specs={PROVISIONING: "deduplicated"})
    with pytest.raises(Invalid, match="thin or thick"):
        world.made(world.new(volume_type=kind, volume_type_id="t"))
