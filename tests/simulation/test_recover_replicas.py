"""``penstock recover`` of a replicated share, from what two hosts say: which copy is the share, in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.doctor.examination import examine
from penstock.doctor.findings import Kind
from penstock.domain.shares import AccessRulesStatus
from penstock.recovery.rebuilding import Rebuilt
from penstock.recovery.recover import recover, reigns_of
from penstock.share.manager import ShareManager
from penstock.share_site import ShareSite, share_site_of
from penstock.store import access, replicas
from penstock.store.database import Database
from penstock.store.schema import metadata, snapshot_instances
from tests.contract.replica_sites import Replicated
from tests.simulation.replica_sites import SimulatedSites
from tests.simulation.zfs_host import OPENZFS

MIB = 2**20


@pytest.fixture
def share() -> Replicated:
    """Active on ``a``, in sync on ``b``, with one access rule."""
    share = Replicated(SimulatedSites(OPENZFS))
    share.create("a")
    share.sites.host("a").write(str(share.dataset("a")), MIB)  # type: ignore[attr-defined]
    share.add("b")
    assert share.sync("b") == "in_sync"
    return share


class Lost:
    """An empty database, and the sites of both backends over it."""

    def __init__(self, share: Replicated, folder: Path) -> None:
        self.database = Database("sqlite://")
        metadata.create_all(self.database.engine)
        self.sites: dict[str, ShareSite] = {}
        for name in ("a", "b"):
            driver = share.driver(name)
            manager = ShareManager(
                driver,
                name,
                configuration=driver.configuration,
                database=self.database,
                clock=driver.clock,
                host=f"host@{name}",
            )
            self.sites[name] = share_site_of(manager, folder)

    def recover(self, *order: str) -> list[Rebuilt]:
        """As the command does: all active copies, then their replicas."""
        reigns = reigns_of(self.sites.values())
        return [
            recover(self.sites[name], merge=merge, dry_run=False, with_identity=False, reigns=reigns)
            for merge in (False, True)
            for name in order
        ]

    def states(self, share: Replicated) -> dict[str, tuple[str, int]]:
        share_id = share.models["a"].share_id
        with self.database.read() as tx:
            found = [one.instance for one in replicas.of_share(tx, share_id)]
        return {str(one.host): (str(one.replica_state), one.epoch) for one in found}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_active_copy_is_the_share_whoever_is_asked_first(
    share: Replicated, tmp_path: Path, order: tuple[str, str]
) -> None:
    lost = Lost(share, tmp_path)
    lost.recover(*order)
    assert lost.states(share) == {"host@a#tank": ("active", 1), "host@b#tank": ("out_of_sync", 1)}
    with lost.database.read() as tx:
        on_b = replicas.on(tx, "host@b")[0]
        assert on_b.id == share.models["b"].id
        assert (on_b.cast_rules_to_readonly, on_b.access_rules_status) == (True, AccessRulesStatus.SYNCING)
        assert on_b.synced_at is not None
        assert [rule.access_to for rule in access.of_instance(tx, on_b.id)] == ["10.0.0.1"]
    assert all(again.is_empty for again in lost.recover(*order))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_after_a_promotion_the_later_reign_is_the_share(
    share: Replicated, tmp_path: Path, order: tuple[str, str]
) -> None:
    share.sites.away.add("a")  # it dies, and comes back as it was: active, it thinks
    share.promote("b")
    share.sites.away.clear()
    lost = Lost(share, tmp_path)
    lost.recover(*order)
    assert lost.states(share) == {"host@a#tank": ("out_of_sync", 1), "host@b#tank": ("active", 2)}


def test_a_replica_alone_is_not_taken_for_the_share(share: Replicated, tmp_path: Path) -> None:
    lost = Lost(share, tmp_path)
    rebuilt = recover(lost.sites["b"], merge=False, dry_run=False, with_identity=False)
    assert rebuilt.is_empty
    assert "is a replica of share" in rebuilt.left_out[0]


def test_the_doctor_knows_a_snapshot_wherever_a_replica_has_it(share: Replicated, tmp_path: Path) -> None:
    taken = share.take_snapshot()["b"]
    assert share.sync("b") == "in_sync"
    lost = Lost(share, tmp_path)
    lost.recover("a", "b")
    its_row = snapshot_instances.c.share_instance_id == taken["share_instance_id"]
    with lost.database.begin() as tx:  # a recovery gives it an id of its own, which the next sync marks it with
        tx.execute(snapshot_instances.update().where(its_row).values(id=taken["id"]))
    for site in lost.sites.values():
        assert Kind.SNAPSHOT_ORPHAN not in {finding.kind for finding in examine(site).findings}
