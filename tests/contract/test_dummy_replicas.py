"""Two dummy backends of one domain: what the share manager relies on in a driver with replicas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.errors import Cancelled, Unavailable
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.drivers.dummy_records import DummyStorage
from penstock.share.models import ShareModel
from penstock.share.replication import (
    PROMOTION,
    UNWATCHED,
    HasReplicaReports,
    Promotion,
    PromotionKind,
    Role,
    Watch,
)
from tests.contract.share_driver_contract import CONTEXT, a_share_model, a_snapshot_model


class Pair:
    """A share on `east` with a replica on `west`."""

    def __init__(self, folder: Path) -> None:
        path = folder / "penstock.conf"
        sections = "".join(f"[{name}]\nreplication_domain = d\n" for name in ("east", "west"))
        path.write_text(sections)
        conf = load([path])
        self.storage = DummyStorage()
        self.east, self.west = (
            DummyDriver(configuration=BackendConfiguration(conf, name), storage=self.storage)
            for name in ("east", "west")
        )
        self.active = a_share_model("h@east#pool", replica_state="active", replication_type="readable")
        self.replica = replace(a_share_model("h@west#pool"), share_id=self.active.share_id, replica_state="out_of_sync")
        self.away: set[str] = set()
        self.storage.before = self._before
        self.east.create_share(CONTEXT, self.active)
        self.west.create_replica(CONTEXT, self.both, self.replica, [], [])

    @property
    def both(self) -> list[ShareModel]:
        return [self.active, self.replica]

    def sync(self, watch: Watch = UNWATCHED) -> str:
        return self.west.update_replica_state(CONTEXT, self.both, self.replica, [], [], watch=watch)

    def promote(self) -> Promotion:
        answer = self.west.promote_replica(CONTEXT, self.both, replace(self.replica, epoch=2), [])
        found = next(item[PROMOTION] for item in answer if item["id"] == self.replica.id)
        assert isinstance(found, Promotion)
        return found

    def written(self, section: str) -> list[str]:
        return [text for record in self.storage.of(section).values() for text in record.written]

    def _before(self, section: str, what: str) -> None:
        if section in self.away or what.removeprefix("copy from ") in self.away:
            raise Unavailable(f"{section} is away")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    return Pair(tmp_path)


def test_what_was_made_before_its_host_was_away_is_served_by_a_repeated_creation(pair: Pair) -> None:
    """No row says yet that it is to be served, so `ensure_shares` passes it over."""
    pair.storage.reboot("east")
    with pytest.raises(OSError, match="read-only"):
        pair.east.write(pair.active, "one")
    pair.east.create_share(CONTEXT, pair.active)
    pair.east.write(pair.active, "one")


@pytest.mark.parametrize("replica_state", [None, "active"])
def test_what_its_host_forgot_is_served_again_when_it_is_ensured(pair: Pair, replica_state: str | None) -> None:
    pair.storage.reboot("east")
    pair.east.ensure_shares(CONTEXT, [replace(pair.active, replica_state=replica_state)])
    pair.east.write(pair.active, "one")


def test_a_sync_brings_what_was_written_and_its_snapshots(pair: Pair) -> None:
    pair.east.write(pair.active, "one")
    taken = a_snapshot_model(pair.active)
    its = replace(taken, id="other", share_instance_id=pair.replica.id, share=pair.replica)
    pair.east.create_replicated_snapshot(CONTEXT, pair.both, [taken, its])
    assert pair.west.update_replicated_snapshot(CONTEXT, pair.both, pair.replica, [taken, its], its) is None
    assert pair.sync() == "in_sync"
    assert pair.written("west") == ["one"]
    answer = pair.west.update_replicated_snapshot(CONTEXT, pair.both, pair.replica, [taken, its], its)
    assert answer is not None
    assert answer["status"] == "available"


def test_a_replica_takes_no_writes(pair: Pair) -> None:
    with pytest.raises(OSError, match="read-only"):
        pair.west.write(pair.replica, "no")


def test_a_sync_can_be_stopped(pair: Pair) -> None:
    pair.east.write(pair.active, "one")
    with pytest.raises(Cancelled):
        pair.sync(Watch(should_stop=lambda: True))
    assert pair.written("west") == []


def test_a_planned_promotion_loses_nothing_and_fences(pair: Pair) -> None:
    pair.sync()
    pair.east.write(pair.active, "late")
    assert pair.promote() == Promotion(PromotionKind.PLANNED, 2)
    assert pair.promote() == Promotion(PromotionKind.PLANNED, 2), "the same call again"
    assert pair.written("west") == ["late"]
    with pytest.raises(OSError, match="read-only"):
        pair.east.write(pair.active, "to the old one")
    pair.west.write(pair.replica, "to the new one")


def test_an_unplanned_promotion_says_what_is_missing_and_the_old_one_is_fenced_when_seen(pair: Pair) -> None:
    pair.sync()
    pair.east.write(pair.active, "lost")
    pair.away = {"east"}
    promotion = pair.promote()
    assert promotion.kind is PromotionKind.UNPLANNED
    assert promotion.recovery_point is not None
    pair.away = set()
    old = replace(pair.active, replica_state="out_of_sync")
    new = replace(pair.replica, replica_state="active")
    assert pair.east.replica_reports([old], {old.share_id: [old, new]})[old.id].role is Role.ACTIVE
    assert pair.east.update_replica_state(CONTEXT, [old, new], old, [], []) == "in_sync"
    report = pair.east.replica_reports([old], {old.share_id: [old, new]})[old.id]
    assert (report.role, report.epoch, report.is_source_changed) == (Role.REPLICA, 2, False)
    assert "lost" in report.diverged[0]


def test_a_look_at_an_unchanged_source_is_as_good_as_a_sync(pair: Pair) -> None:
    pair.sync()
    assert isinstance(pair.west, HasReplicaReports)
    lists = {pair.active.share_id: pair.both}
    first = pair.west.replica_reports([pair.replica], lists)[pair.replica.id]
    again = pair.west.replica_reports([pair.replica], lists)[pair.replica.id]
    assert first.is_source_changed is False
    assert first.synced_at is not None
    assert again.synced_at is not None
    assert again.synced_at > first.synced_at
    pair.east.write(pair.active, "x")
    assert pair.west.replica_reports([pair.replica], lists)[pair.replica.id].is_source_changed


def test_backends_of_one_configuration_and_domain_find_each_other(tmp_path: Path) -> None:
    path = tmp_path / "penstock.conf"
    path.write_text("[east]\nreplication_domain = d\n[west]\nreplication_domain = d\n")
    conf = load([path])
    east, west = (DummyDriver(configuration=BackendConfiguration(conf, name)) for name in ("east", "west"))
    active = a_share_model("h@east#pool", replica_state="active")
    replica = replace(a_share_model("h@west#pool"), share_id=active.share_id)
    east.create_share(CONTEXT, active)
    west.create_replica(CONTEXT, [active, replica], replica, [], [])
    assert west.update_replica_state(CONTEXT, [active, replica], replica, [], []) == "in_sync"
