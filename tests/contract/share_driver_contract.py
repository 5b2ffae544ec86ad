"""What every share driver must do, whatever it works on. Subclass it and give the three fixtures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.context import admin_context
from penstock.errors import Conflict, Fault, ManageInvalidShare, ShareShrinkingPossibleDataLoss, Unsupported
from penstock.ids import new_id
from penstock.share.driver import ShareDriver
from penstock.share.models import AccessModel, ExportLocationModel, ShareModel, SnapshotModel

CONTEXT = admin_context()


def a_share_model(pool_host: str, **changes: Any) -> ShareModel:
    """A share instance of 1 GiB that does not exist yet."""
    instance_id = new_id()
    model = ShareModel(
        id=instance_id,
        share_id=new_id(),
        name=f"share-{instance_id}",
        display_name="contract",
        size=1,
        share_proto="NFS",
        project_id="p1",
        user_id="u1",
        host=pool_host,
        status="creating",
        share_type_id=None,
    )
    return replace(model, **changes)


def a_snapshot_model(share: ShareModel, **changes: Any) -> SnapshotModel:
    """A snapshot of `share` that does not exist yet."""
    instance_id = new_id()
    model = SnapshotModel(
        id=instance_id,
        snapshot_id=new_id(),
        share_id=share.share_id,
        share_instance_id=share.id,
        name=f"share-snapshot-{instance_id}",
        share_name=share.name,
        display_name=None,
        status="creating",
        progress="0%",
        size=share.size,
        share_size=share.size,
        share_proto=share.share_proto,
        project_id=share.project_id,
        user_id=share.user_id,
        provider_location=None,
        share=share,
    )
    return replace(model, **changes)


def an_access_model(share: ShareModel, to: str = "10.0.0.1", **changes: Any) -> AccessModel:
    """A read-write rule for one address."""
    rule_id = new_id()
    model = AccessModel(
        id=rule_id,
        access_id=rule_id,
        share_id=share.share_id,
        share_instance_id=share.id,
        access_type="ip",
        access_to=to,
        access_level="rw",
        access_key=None,
        state="applying",
    )
    return replace(model, **changes)


class ShareDriverContract:
    """The subclass gives `driver` (set up), `pool_host` (``host@backend#pool``) and `fill(share, gib)`."""

    @pytest.fixture
    def share(self, driver: ShareDriver, pool_host: str) -> ShareModel:
        """A share that exists, as the manager would hand it to the driver from now on."""
        return self.made(driver, a_share_model(pool_host))

    def made(self, driver: ShareDriver, share: ShareModel) -> ShareModel:
        answer = driver.create_share(CONTEXT, share)
        return replace(share, status="available", export_locations=tuple(ExportLocationModel(**i) for i in answer))

    def taken(self, driver: ShareDriver, snapshot: SnapshotModel) -> SnapshotModel:
        answer = driver.create_snapshot(CONTEXT, snapshot) or {}
        return replace(snapshot, status="available", provider_location=answer.get("provider_location"))

    def is_served(self, driver: ShareDriver, share: ShareModel) -> bool:
        answer = (driver.ensure_shares(CONTEXT, [share]) or {}).get(share.id, {})
        return answer.get("status", "available") == "available"

    def test_create_twice_is_create_once(self, driver: ShareDriver, pool_host: str) -> None:
        share = a_share_model(pool_host)
        assert driver.create_share(CONTEXT, share) == driver.create_share(CONTEXT, share)
        assert self.is_served(driver, share)

    def test_what_is_not_ours_is_refused(self, driver: ShareDriver, share: ShareModel) -> None:
        with pytest.raises(Conflict):
            driver.create_share(CONTEXT, replace(share, id=new_id()))
        assert self.is_served(driver, share)

    def test_delete_twice(self, driver: ShareDriver, share: ShareModel) -> None:
        driver.delete_share(CONTEXT, share)
        driver.delete_share(CONTEXT, share)
        assert not self.is_served(driver, share)

    def test_delete_of_what_never_was(self, driver: ShareDriver, pool_host: str) -> None:
        driver.delete_share(CONTEXT, a_share_model(pool_host))

    def test_extend_and_shrink_can_be_repeated(self, driver: ShareDriver, share: ShareModel) -> None:
        for _ in range(2):
            driver.extend_share(share, 2)
        for _ in range(2):
            driver.shrink_share(replace(share, size=2), 1)

    def test_shrinking_below_what_is_used_is_refused(self, driver: ShareDriver, pool_host: str, fill: Any) -> None:
        share = self.made(driver, a_share_model(pool_host, size=3))
        fill(share, 2)
        with pytest.raises(ShareShrinkingPossibleDataLoss):
            driver.shrink_share(share, 1)
        driver.shrink_share(share, 3)

    def test_snapshot_twice_and_delete_twice(self, driver: ShareDriver, share: ShareModel) -> None:
        snapshot = a_snapshot_model(share)
        assert driver.create_snapshot(CONTEXT, snapshot) == driver.create_snapshot(CONTEXT, snapshot)
        driver.delete_snapshot(CONTEXT, snapshot)
        driver.delete_snapshot(CONTEXT, snapshot)

    def test_a_share_from_a_snapshot_outlives_it(self, driver: ShareDriver, share: ShareModel) -> None:
        snapshot = self.taken(driver, a_snapshot_model(share))
        copy = a_share_model(share.host, snapshot_id=snapshot.snapshot_id)
        for _ in range(2):
            driver.create_share_from_snapshot(CONTEXT, copy, snapshot, parent_share=share)
        driver.delete_snapshot(CONTEXT, snapshot)
        driver.delete_share(CONTEXT, share)
        assert self.is_served(driver, copy)

    def test_rules_are_set_as_a_whole(self, driver: ShareDriver, share: ShareModel) -> None:
        one, two = an_access_model(share), an_access_model(share, "10.0.1.0/24", access_level="ro")
        for _ in range(2):
            assert not self.refused(driver.update_access(CONTEXT, share, [one, two], [one, two], []))
        assert not self.refused(driver.update_access(CONTEXT, share, [two], [], [one]))
        assert not self.refused(driver.update_access(CONTEXT, share, [two], [], []))
        assert not self.refused(driver.update_access(CONTEXT, share, [], [], [two]))

    def test_a_rule_it_does_not_have_is_refused_alone(self, driver: ShareDriver, share: ShareModel) -> None:
        good, bad = an_access_model(share), an_access_model(share, "somebody", access_type="cephx")
        assert self.refused(driver.update_access(CONTEXT, share, [good, bad], [good, bad], [])) == {bad.access_id}
        driver.update_access(CONTEXT, share, [good], [], [bad])

    def refused(self, answer: Any) -> set[str]:
        return {access_id for access_id, update in (answer or {}).items() if update.get("state") == "error"}

    def test_let_go_and_taken_over_again(self, driver: ShareDriver, share: ShareModel) -> None:
        for _ in range(2):
            driver.unmanage(share)
        again = replace(share, id=new_id())
        for _ in range(2):
            answer = driver.manage_existing(again, {})
            assert answer["size"] == 1
        assert [item["path"] for item in answer["export_locations"]] == [share.export_locations[0].path]
        assert self.is_served(driver, again)

    def test_nothing_there_cannot_be_taken_over(self, driver: ShareDriver, share: ShareModel) -> None:
        path = f"{share.export_locations[0].path}-not"
        other = replace(share, id=new_id(), export_locations=(ExportLocationModel(path),))
        with pytest.raises(Fault):
            driver.manage_existing(other, {})

    def test_what_is_not_served_by_its_protocol_cannot_be_taken_over(
        self, driver: ShareDriver, share: ShareModel
    ) -> None:
        driver.unmanage(share)
        with pytest.raises((ManageInvalidShare, Unsupported)):
            driver.manage_existing(replace(share, id=new_id(), share_proto="INVALID_PROTOCOL"), {})
        driver.manage_existing(replace(share, id=new_id()), {})

    def test_snapshots_let_go_and_taken_over_again(self, driver: ShareDriver, share: ShareModel) -> None:
        snapshot = self.taken(driver, a_snapshot_model(share))
        for _ in range(2):
            driver.unmanage_snapshot(snapshot)
        again = replace(snapshot, id=new_id())
        for _ in range(2):
            assert driver.manage_existing_snapshot(again, {})["size"] == 1

    def test_pools_are_reported_in_usable_gib(self, driver: ShareDriver, pool_host: str) -> None:
        stats = driver.get_share_stats(refresh=True)
        pools = {pool["pool_name"]: pool for pool in stats["pools"]}
        pool = pools[pool_host.partition("#")[2]]
        assert 0 <= pool["free_capacity_gb"] <= pool["total_capacity_gb"]
        assert stats["snapshot_support"]
        assert stats["create_share_from_snapshot_support"]
        assert stats["driver_handles_share_servers"] is False
