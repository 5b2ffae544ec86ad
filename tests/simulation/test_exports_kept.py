"""A host that lost its exports gets them back while the daemon runs, and nobody gets in who should not."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import metrics
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share
from penstock.store import access, instances, shares
from tests.factories import NOW
from tests.simulation.nfs_server import CONFIGURED, SERVED
from tests.simulation.storage_bench import StorageBench


@pytest.fixture
def bench(tmp_path: Path) -> StorageBench:
    return StorageBench(tmp_path)


def let_in(bench: StorageBench, share: Share) -> list[str]:
    export = bench.nfs.served().get("/" + bench.dataset(share))
    return [rule.client for rule in export.clients] if export else []


def lose(bench: StorageBench, *names: str) -> None:
    for name in names:
        bench.host.state.files.pop(name, None)


def restored() -> float:
    return metrics.REGISTRY.get_sample_value("penstock_exports_restored_total", {"backend": "host@zfs"}) or 0.0


def test_what_was_lost_comes_back_and_is_counted(bench: StorageBench) -> None:
    open_to_one, open_to_nobody = bench.share(), bench.share()
    bench.allow(open_to_one, "10.0.0.1")
    bench.site.manager.restore_exports()
    before = restored()
    for names in ((CONFIGURED, SERVED), (CONFIGURED,), (SERVED,)):
        lose(bench, *names)
        bench.site.manager.restore_exports()
        assert let_in(bench, open_to_one) == ["10.0.0.1"]
        assert set(bench.nfs.all()) == {"/" + bench.dataset(open_to_one)}
    assert restored() - before == 3
    assert let_in(bench, open_to_nobody) == []


def test_a_look_costs_the_same_however_many_shares_there_are(bench: StorageBench) -> None:
    counts: list[int] = []
    for _ in range(2):
        for number in range(3):
            bench.allow(bench.share(), f"10.0.0.{number}")
        before = bench.host.commands_run
        bench.site.manager.restore_exports()
        counts.append(bench.host.commands_run - before)
    assert counts[0] == counts[1] <= 3


def test_a_share_whose_rules_are_being_changed_is_left_to_its_operation(bench: StorageBench) -> None:
    share = bench.share()
    rule = bench.allow(share, "10.0.0.1")
    with bench.database.begin() as tx:
        access.set_states(
            tx, share.instance.id, now=NOW, source=[AccessState.ACTIVE], target=AccessState.QUEUED_TO_DENY,
            rule_ids=[rule.id],
        )  # fmt: skip
        instances.update_instance(tx, share.instance.id, now=NOW, access_rules_status=AccessRulesStatus.SYNCING)
    lose(bench, CONFIGURED, SERVED)
    bench.site.manager.restore_exports()
    assert let_in(bench, share) == []


def test_a_replica_that_is_not_active_stays_shut(bench: StorageBench) -> None:
    """It may have been the active one a moment ago, and its dataset still have the rules."""
    share = bench.share()
    bench.allow(share, "10.0.0.1")
    with bench.database.begin() as tx:
        instances.update_instance(tx, share.instance.id, now=NOW, replica_state=ReplicaState.OUT_OF_SYNC)
    lose(bench, CONFIGURED, SERVED)
    bench.site.manager.restore_exports()
    assert bench.nfs.all() == {}


def test_a_deletion_that_begins_after_the_look_is_not_undone(
    bench: StorageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look finds the share's export missing; before anything is put back, the share is deleted."""
    share = bench.share()
    bench.allow(share, "10.0.0.1")
    lose(bench, CONFIGURED, SERVED)
    put_back = bench.nfs.put_back

    def delete_first(choose) -> None:  # type: ignore[no-untyped-def]
        found = bench.row(share)
        with bench.database.begin() as tx:
            shares.move(tx, found.instance, Event.DELETE, now=NOW)
        put_back(choose)

    monkeypatch.setattr(bench.nfs, "put_back", delete_first)
    bench.site.manager.restore_exports()
    assert bench.nfs.all() == {}


def test_a_dataset_that_is_not_mounted_is_not_exported(bench: StorageBench) -> None:
    share = bench.share()
    bench.allow(share, "10.0.0.1")
    lose(bench, CONFIGURED, SERVED)
    assert bench.host.run(["zfs", "unmount", bench.dataset(share)], timeout_s=9).exit_code == 0
    bench.site.manager.restore_exports()
    assert bench.nfs.all() == {}
