"""Migration between two appliances by replication: its requests, and a crash between any two of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.appliance import replication
from penstock.appliance.trouble import Rule, Wire
from penstock.errors import Fault
from penstock.units import GIB, MIB
from penstock.volume.drivers.zfssa.connection import Connections
from penstock.volume.drivers.zfssa.zfssaiscsi import ZFSSAISCSIDriver
from penstock.volume.errors import VolumeIsBusy, VolumeMigrationFailed
from tests.contract.appliance_boxes import (
    Box,
    connect_boxes,
    connector,
    listening,
    make_driver,
    set_up,
    simulated_box,
    volume,
)

REPLICATION_IP = "10.0.0.2"
ONE = volume(1, host="host@source#tank")


@dataclass
class Pair:
    source: Box
    target: Box
    folder: Path

    def driver(self, box: Box, **options: str) -> ZFSSAISCSIDriver:
        # both backends in one configuration, as in one process: the target's port is in its own section
        other = self.target if box is self.source else self.source
        section = f"\n[{other.name}]\nzfssa_rest_port = {other.port}\nsan_login = cinder\nsan_password = a password\n"
        found = make_driver(box, self.folder, more=section, backends=f"{box.name}, {other.name}", **options)
        return set_up(found)

    def destination(self) -> dict[str, Any]:
        driver = self.driver(self.target, zfssa_replication_ip=REPLICATION_IP)
        return {"host": "host@target#tank", "capabilities": driver.get_volume_stats(refresh=True)}

    def begin(self) -> ZFSSAISCSIDriver:
        """A volume with data at the source."""
        driver = self.driver(self.source)
        driver.create_volume(ONE)
        self.source.host.write(f"tank/appliance/volumes/{ONE.name}", MIB)
        return driver

    def content(self, box: Box) -> object:
        return box.host.content(f"tank/appliance/volumes/{ONE.name}")

    def leftovers(self) -> list[str]:
        """What a migration makes and must not leave."""
        found = [f"source action {key}" for key in self.source.site.records.all(replication.ACTION)]
        found += [f"target source {row}" for row in replication.sources(self.target.site)]
        for box in (self.source, self.target):
            tree = box.site.zfs.tree(box.site.root("tank"), ["type"], kinds=("filesystem", "snapshot"))
            usual = {"volumes", "os-cinder-cache", ".settings", ".packages"}
            found += [name for name in tree if name.count("/") == 2 and name.rpartition("/")[2] not in usual]
            found += [name for name in tree if "@" in name]
            found += [name for name in tree if "/.packages/" in name]
        return found


@pytest.fixture(params=["openzfs", "zfs-fuse"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        boxes = [simulated_box(name, tmp_path, request.param) for name in ("source", "target")]
        connect_boxes(boxes[0], boxes[1], f"{REPLICATION_IP}:216")
        yield Pair(*(stack.enter_context(listening(box, tmp_path)) for box in boxes), tmp_path)


def check_migrated(pair: Pair, content: object) -> None:
    assert not pair.source.site.zfs.exists(pair.source.site.lun("tank", "volumes", ONE.name))
    assert pair.content(pair.target) == content
    assert pair.leftovers() == []
    there = pair.driver(pair.target)
    found = there._volumes.find(ONE.name)
    assert (found.size_bytes, found.is_managed, found.groups) == (GIB, True, ())
    assert there.initialize_connection(ONE, connector())["data"]["target_lun"] == 1


def test_a_migration_takes_18_requests_and_the_polls(pair: Pair) -> None:
    driver, destination = pair.begin(), pair.destination()
    content = pair.content(pair.source)
    for box in (pair.source, pair.target):
        box.requests.clear()
    assert driver.migrate_volume(None, ONE, destination) == (True, None)
    requests = [*pair.source.requests, *pair.target.requests]
    assert len([words for words in requests if not words.startswith("GET /api/storage/v1/replication/actions/")]) == 18
    check_migrated(pair, content)


@pytest.mark.parametrize("change", [
    {"vendor_name": "Other"}, {"storage_protocol": "FC"}, {"location_info": None}, {"location_info": "a:b:c"},
    {"location_info": "127.0.0.1::tank:volumes:other-grp:10.0.0.2"},
    {"location_info": "127.0.0.1::tank:volumes:tgt-grp:"},
    {"location_info": "127.0.0.1::tank:volumes:tgt-grp:10.9.9.9"},
])  # fmt: skip
def test_what_is_left_to_the_generic_way(pair: Pair, change: dict[str, Any]) -> None:
    driver, destination = pair.begin(), pair.destination()
    destination = {**destination, "capabilities": {**destination["capabilities"], **change}}
    assert driver.migrate_volume(None, ONE, destination) == (False, None)
    assert pair.leftovers() == []
    assert pair.content(pair.source)


def test_a_volume_in_use_is_left_to_the_generic_way(pair: Pair) -> None:
    driver, destination = pair.begin(), pair.destination()
    in_use = ONE.updated({"status": "in-use"})
    assert driver.migrate_volume(None, in_use, destination) == (False, None)


class Killed(BaseException):
    """The process of the driver is no more."""


@pytest.mark.parametrize("pair", ["openzfs"], indirect=True)
@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("place", range(20))
def test_a_crash_between_any_two_requests(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, place: int, takes_effect: bool
) -> None:
    driver, destination = pair.begin(), pair.destination()
    content = pair.content(pair.source)
    sent = Connections.send
    counted = 0

    def send(self: Connections, *words: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted > place + takes_effect:
            raise Killed
        answer = sent(self, *words)
        if counted > place:
            raise Killed
        return answer

    monkeypatch.setattr(Connections, "send", send)
    try:
        driver.migrate_volume(None, ONE, destination)
    except Killed:
        pass
    finally:
        monkeypatch.setattr(Connections, "send", sent)
    assert pair.driver(pair.source).migrate_volume(None, ONE, destination) == (True, None)
    check_migrated(pair, content)


@pytest.mark.parametrize("rule", [
    Rule("PUT .*/replication$", status=403), Rule("POST .*actions", status=403), Rule("PUT .*sendupdate", status=403),
    Rule("GET .*actions/", status=404), Rule("DELETE .*actions/", status=403), Rule("GET .*sources", status=403),
    Rule("PUT .*sever", status=403), Rule("PUT .*filesystems/volume-[^/]*$", status=403),
    Rule("DELETE .*projects/[^/]*$", status=403), Rule("PUT .*sever", wire=Wire.DROP, takes_effect=True),
    Rule("POST .*actions", wire=Wire.GARBAGE), Rule("POST .*actions", wire=Wire.DROP, takes_effect=True),
    Rule("PUT .*filesystems/volume-[^/]*$", wire=Wire.DROP, takes_effect=True),
], ids=str)  # fmt: skip
def test_a_step_that_fails_is_undone_and_the_next_try_goes_through(pair: Pair, rule: Rule) -> None:
    driver, destination = pair.begin(), pair.destination()
    content = pair.content(pair.source)
    for box in (pair.source, pair.target):
        box.trouble.add(rule)
    with pytest.raises(Fault):
        driver.migrate_volume(None, ONE, destination)
    assert pair.content(pair.source) == content
    for box in (pair.source, pair.target):
        box.trouble.clear()
    assert driver.migrate_volume(None, ONE, destination) == (True, None)
    check_migrated(pair, content)


def test_a_full_target_fails_truthfully(tmp_path: Path) -> None:
    with ExitStack() as stack:
        boxes = [simulated_box("source", tmp_path), simulated_box("target", tmp_path, size=16 * MIB)]
        connect_boxes(boxes[0], boxes[1], f"{REPLICATION_IP}:216")
        pair = Pair(*(stack.enter_context(listening(box, tmp_path)) for box in boxes), tmp_path)
        driver, destination = pair.begin(), pair.destination()
        pair.source.host.write(f"tank/appliance/volumes/{ONE.name}", 32 * MIB)
        content = pair.content(pair.source)
        with pytest.raises(VolumeMigrationFailed, match="ended in failed"):
            driver.migrate_volume(None, ONE, destination)
        assert pair.content(pair.source) == content


def test_a_volume_with_clones_stays_and_no_copy_of_it(pair: Pair) -> None:
    driver, destination = pair.begin(), pair.destination()
    driver.create_cloned_volume(volume(2), ONE)
    with pytest.raises(VolumeIsBusy):
        driver.migrate_volume(None, ONE, destination)
    assert pair.content(pair.source)
    assert not pair.target.site.zfs.exists(pair.target.site.lun("tank", "volumes", ONE.name))
    assert [name for name in pair.leftovers() if "tmp-snapshot" not in name] == []


def test_a_source_that_may_be_gone_never_costs_the_copy(pair: Pair) -> None:
    driver, destination = pair.begin(), pair.destination()
    content = pair.content(pair.source)
    pair.source.trouble.add(Rule(f"DELETE .*/luns/{ONE.name}$", wire=Wire.DROP, takes_effect=True))
    pair.source.trouble.add(Rule(f"DELETE .*/luns/{ONE.name}$", status=503, times=None))
    with pytest.raises(Fault):
        driver.migrate_volume(None, ONE, destination)
    pair.source.trouble.clear()
    assert pair.content(pair.target) == content
    assert driver.migrate_volume(None, ONE, destination) == (True, None)
    check_migrated(pair, content)


def test_a_lun_of_the_name_at_the_target_that_is_not_ours_stays(pair: Pair) -> None:
    driver, destination = pair.begin(), pair.destination()
    there = pair.driver(pair.target)
    there.create_volume(ONE)
    there.initialize_connection(ONE, connector())
    with pytest.raises(Fault, match="not the rest of a migration"):
        driver.migrate_volume(None, ONE, destination)
    assert pair.content(pair.source)
    assert there._volumes.find(ONE.name).groups


def test_an_appliance_restarted_while_it_sends_says_that_it_failed(pair: Pair) -> None:
    driver = pair.begin()
    action = driver.zfssa.create_replication_action("tank", "volumes", ONE.name, "target", "tank")
    row = pair.source.site.records.get(replication.ACTION, action)
    assert row is not None
    pair.source.site.records.put(replication.ACTION, action, {**row, "state": replication.SENDING})
    found = driver.zfssa.replication_action(action)
    assert (found.state, found.last_result) == ("idle", "failed")
