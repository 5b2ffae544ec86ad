"""What a creation that was cut off left: destroyed alone, and no hindrance where nobody can tell what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.zfs.faults import HasChildren
from penstock.zfs.names import Dataset
from tests.contract.share_backends import CONTEXT
from tests.contract.test_unmarked import FLAVOURS, Shares, cut_volume, empty, snapped
from tests.contract.test_zfs_volume_steps import World
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import SimulatedHost


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def shares(request: Any) -> Shares:
    return Shares(request.param)


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def world(request: Any, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


class Meanwhile:
    """Somebody does something before the first ``zfs destroy``."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if words[:2] == ("zfs", "destroy"):
            host.hooks = None
            self.call()
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


@pytest.mark.parametrize("is_for_the_doctor", [False, True], ids=["deleted", "discarded"])
def test_what_somebody_takes_of_it_at_the_last_moment_stays(shares: Shares, is_for_the_doctor: bool) -> None:
    share = shares.new(is_clone=False)
    dataset = shares.cut(share)
    driver = shares.backend.restarted()
    shares.host.hooks = Meanwhile(lambda: snapped(shares, dataset))
    with pytest.raises(HasChildren):
        driver.discard(str(dataset)) if is_for_the_doctor else driver.delete_share(CONTEXT, share)
    assert len(shares.backend.zfs.tree(dataset, ["type"], kinds=("filesystem", "snapshot"))) == 2
    driver.delete_share(CONTEXT, share)


class Refused:
    """The host refuses one command."""

    def __init__(self, words: str, stderr: str) -> None:
        self.words = words
        self.stderr = stderr

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        return Answer(1, "", self.stderr) if " ".join(words).startswith(self.words) else None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


@pytest.mark.parametrize(
    "stderr",
    ["cannot mount: encryption key not loaded\n", "cannot mount: no mountpoint set\n", "cannot mount: who knows\n"],
)
def test_a_share_is_deleted_also_when_nobody_can_tell_what_is_in_its_place(shares: Shares, stderr: str) -> None:
    share = shares.new(is_clone=False)
    dataset = shares.cut(share)
    shares.backend.zfs.unmount(dataset)
    driver = shares.backend.restarted()
    shares.host.hooks = Refused("zfs mount", "cannot mount: I/O error\n")
    with pytest.raises(Unavailable):  # that may pass
        driver.delete_share(CONTEXT, share)
    shares.host.hooks = Refused("zfs mount", stderr)
    driver.delete_share(CONTEXT, share)
    assert shares.backend.zfs.exists(dataset)


def test_a_snapshot_that_somebody_takes_of_it_at_the_last_moment_stays(world: World) -> None:
    volume, make = empty(world)
    dataset = cut_volume(world, volume, make, 0)
    zfs = world.driver.storage.zfs
    for delete in (lambda: world.driver.delete_volume(volume), lambda: world.driver.discard(dataset)):
        world.host.hooks = Meanwhile(lambda: zfs.snapshot([Dataset(dataset).snapshot("theirs")], {}))
        with pytest.raises(HasChildren):
            delete()
        assert zfs.exists(Dataset(dataset).snapshot("theirs"))
        zfs.destroy_snapshots(Dataset(dataset), ["theirs"], deferred=False)
