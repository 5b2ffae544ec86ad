"""Both sides of ZFS volumes were dead in turn, and only the older one is back: its data are served when somebody says
so, and what that loses is told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from penstock.cli.main import main
from penstock.domain.volumes import VolumeStatus
from penstock.store.database import Database
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.reigns import ACCEPTED
from tests.contract.test_volume_failover_on_zfs import CONFIG, Site, attached
from tests.contract.test_zfs_volume_failover_faults import AfterAnActivation
from tests.contract.volume_sides import FAR, HOME, PLAIN, Machines, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


def _older_is_back(sides: Sides) -> tuple[VolumeModel, datetime]:
    """The volume, and when the other side went on with it."""
    volume = sides.attached(sides.made())
    sides.made(PLAIN)
    sides.replicate()
    sides.replicate()
    sides.clock.advance(5)
    sides.write(volume, HOME)
    sides.cut_power(HOME)
    went_on_at = sides.clock.utc()
    sides.fail_over(FAR)
    sides.restart(FAR)
    sides.clock.advance(100)
    sides.write(volume, FAR)
    sides.cut_power(FAR)
    sides.boot(HOME)
    sides.fail_over(HOME)
    assert "not in line" in sides.told[volume.id]["reason"]
    sides.restart(None)
    return volume, went_on_at


def _accepted(sides: Sides) -> datetime:
    (older,) = sides.driver.older_copies(list(sides.volumes.values()), HOME)
    assert sides.driver.accept_older(list(sides.volumes.values()), HOME) == [older]
    return older.since


def test_what_is_not_replicated_any_more_is_neither_listed_nor_accepted(sides: Sides) -> None:
    volume, _ = _older_is_back(sides)
    sides.later(volume, volume_type=PLAIN, volume_type_id=PLAIN.id)
    volumes = list(sides.volumes.values())
    assert sides.driver.older_copies(volumes, HOME) == sides.driver.accept_older(volumes, HOME) == []


def test_it_is_served_with_all_that_it_had(sides: Sides) -> None:
    volume, went_on_at = _older_is_back(sides)
    had = sides.content(volume, HOME)
    since = _accepted(sides)
    assert since <= went_on_at
    sides.fail_over(HOME)
    assert sides.told[volume.id]["recovery_point"] == since
    assert (sides.kind(volume, HOME), sides.content(volume, HOME)) == (Kind.VOLUME, had)
    assert ACCEPTED not in sides.hosts[HOME].filesystem(sides.place(volume, HOME)).local
    assert sides.driver.older_copies(list(sides.volumes.values()), HOME) == []


def test_what_the_later_one_had_is_kept_when_it_comes_back(sides: Sides) -> None:
    volume, _ = _older_is_back(sides)
    later = sides.content(volume, FAR)
    _accepted(sides)
    sides.fail_over(HOME)
    sides.write(volume, HOME)
    sides.boot(FAR)
    for _ in range(3):
        sides.replicate()
    assert sides.kind(volume, FAR) is Kind.REPLICA
    assert sides.content(volume, FAR) == sides.content(volume, HOME)
    assert [sides.hosts[FAR].content(name) for name in sides.aside(FAR)] == [later]


def test_a_later_one_that_is_back_before_is_what_is_served(sides: Sides) -> None:
    volume, _ = _older_is_back(sides)
    later = sides.content(volume, FAR)
    _accepted(sides)
    sides.boot(FAR)
    sides.fail_over(HOME)
    assert sides.content(volume, HOME) == later
    assert "recovery_point" not in sides.told[volume.id]
    assert ACCEPTED not in sides.hosts[HOME].filesystem(sides.place(volume, HOME)).local


def test_a_death_before_the_rows_know_leaves_it_to_be_told(sides: Sides) -> None:
    volume, _ = _older_is_back(sides)
    since = _accepted(sides)
    sides.hosts[HOME].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(HOME)
    sides.hosts[HOME].hooks = None
    sides.restart(None)
    sides.fail_over(HOME)
    assert sides.told[volume.id]["recovery_point"] == since
    assert sides.kind(volume, HOME) is Kind.VOLUME


def test_what_is_in_line_is_not_older(sides: Sides) -> None:
    sides.made()
    for _ in range(2):
        sides.replicate()
    for side in (HOME, FAR):
        assert sides.driver.accept_older(list(sides.volumes.values()), side) == []
    with pytest.raises(InvalidReplicationTarget):
        sides.driver.older_copies([], "nowhere")


def test_the_command_lists_asks_and_has_the_next_failover_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, config = f"sqlite:///{tmp_path / 'penstock.sqlite'}", tmp_path / "command.conf"
    config.write_text(
        f"{CONFIG.replace('[DEFAULT]', f'[DEFAULT]{chr(10)}state_path = {tmp_path}')}\n[database]\nconnection = {url}\n"
    )
    assert CliRunner().invoke(main, ["--config", str(config), "db", "upgrade"]).exit_code == 0
    machines = Machines(ZFS_FUSE)
    # the one thing that is not real: the storage host that the driver of the configuration reaches
    monkeypatch.setattr("penstock.volume.drivers.zfs.storage.reach.connect", lambda *_, **__: machines.hosts[HOME])
    site = Site(tmp_path, machines, Database(url))

    def run(*words: str, answer: str = "") -> Any:
        return CliRunner().invoke(
            main, ["--config", str(config), "backend", "accept-older", "dummy", *words], input=answer
        )

    volume = site.made()
    attached(site, volume)
    for _ in range(2):
        site.replicate()
    assert "Nothing on default is older" in run().output
    machines.write(volume, HOME)
    had = machines.content(volume, HOME)
    machines.cut_power(HOME)
    site.fail_over(FAR)
    machines.clock.advance(60)
    machines.write(volume, FAR)
    machines.cut_power(FAR)
    machines.boot(HOME)
    site.fail_over(HOME)
    assert site.seen(volume).status is VolumeStatus.ERROR
    refused = run(answer="n\n")
    assert (refused.exit_code, machines.place(volume, HOME) in refused.output) == (1, True)
    site.fail_over(HOME)
    assert site.seen(volume).status is VolumeStatus.ERROR
    agreed = run(answer="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert "cinder failover-host host@dummy --backend_id default" in agreed.output
    site.fail_over(HOME)
    assert site.seen(volume).status is VolumeStatus.IN_USE
    assert machines.content(volume, HOME) == had
    assert "What was written after" in site.told(volume)
    assert machines.is_served(volume, HOME, site.seen(volume).provider_auth)
    site.database.close()
