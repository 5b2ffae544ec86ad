"""A database that is lost is rebuilt from the pools."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.access import AccessLevel
from penstock.domain.lifecycle import Event
from penstock.errors import Conflict
from penstock.operations.exclusive import exclusive
from penstock.recovery.recover import recover
from penstock.store import identity, shares, snapshots, types
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from tests.simulation.storage_bench import StorageBench
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def bench(request: Any, tmp_path: Path) -> StorageBench:
    return StorageBench(tmp_path, flavour=request.param)


def recovered(bench: StorageBench, **options: Any) -> Any:
    return recover(bench.site, **{"merge": False, "dry_run": False, "with_identity": True, **options})


def furnished(bench: StorageBench) -> dict[str, Any]:
    one = bench.share(name="weekly räports", size_gib=3)
    bench.allow(one, "10.0.0.1")
    bench.allow(one, "10.1.0.0/16", access_level=AccessLevel.RO, metadata={"squash": "no_root_squash"})
    snapshot = bench.snapshot(one)
    bench.share(name="clone", size_gib=4, snapshot_id=snapshot.id)
    bench.share(name=None)
    return bench.rows()


def test_the_rows_are_what_they_were(bench: StorageBench) -> None:
    before = furnished(bench)
    bench.lose_database()
    rebuilt = recovered(bench)
    assert (len(rebuilt.shares), len(rebuilt.snapshots), rebuilt.left_out) == (3, 1, ())
    assert bench.rows() == before
    assert bench.findings() == []


def test_a_share_in_the_recycle_bin_is_there_again_and_a_restored_one_is_not(bench: StorageBench) -> None:
    binned, restored = bench.share(name="binned"), bench.share(name="restored")
    due = bench.clock.utc() + timedelta(days=7)
    for share, is_in_bin in ((binned, True), (restored, True), (restored, False)):
        with bench.database.begin() as tx:
            shares.update_share(
                tx,
                share.id,
                now=bench.clock.utc(),
                is_soft_deleted=is_in_bin,
                scheduled_to_be_deleted_at=due if is_in_bin else None,
            )
        for _ in range(2):
            bench.site.manager.remember_soft_deletion(bench.site.context, share.instance.id)
    before = bench.rows()
    bench.lose_database()
    assert recovered(bench).left_out == ()
    assert bench.rows() == before
    assert (bench.row(binned).is_soft_deleted, bench.row(binned).scheduled_to_be_deleted_at) == (True, due)
    assert bench.row(restored).is_soft_deleted is False


def test_the_type_comes_back_under_its_name_and_id(bench: StorageBench) -> None:
    furnished(bench)
    bench.lose_database()
    recovered(bench)
    with bench.database.read() as tx:
        (found,) = types.list_types(tx)
    assert (found.id, found.name, found.extra_specs) == (bench.type.id, "gold", bench.type.extra_specs)


def test_owners_are_made_and_users_cannot_log_in(bench: StorageBench) -> None:
    furnished(bench)
    bench.lose_database()
    recovered(bench)
    with bench.database.read() as tx:
        assert [project.id for project in identity.list_projects(tx)] == ["p1"]
        (user,) = identity.list_users(tx)
        assert (user.id, user.enabled) == ("u1", False)
        assert identity.password_hash_of(tx, "u1") is None


def test_it_is_safe_to_repeat(bench: StorageBench) -> None:
    before = furnished(bench)
    bench.lose_database()
    recovered(bench)
    assert recovered(bench).is_empty
    assert bench.rows() == before


def test_a_dry_run_changes_nothing(bench: StorageBench) -> None:
    furnished(bench)
    bench.lose_database()
    assert len(recovered(bench, dry_run=True).shares) == 3
    assert bench.rows()["shares"] == {}


def test_it_refuses_a_database_with_shares_unless_merging(bench: StorageBench) -> None:
    furnished(bench)
    lone = bench.share(name="lone")
    before = bench.rows()
    with bench.database.begin() as tx:
        shares.delete_share(tx, lone.id)
    with pytest.raises(Conflict, match="--merge"):
        recovered(bench)
    rebuilt = recovered(bench, merge=True)
    assert [item.share.id for item in rebuilt.shares] == [lone.id]
    assert bench.rows() == before


def test_it_refuses_beside_a_daemon(bench: StorageBench) -> None:
    furnished(bench)
    bench.lose_database()
    with exclusive(bench.database, bench.folder, "host@zfs"), pytest.raises(Conflict, match="serves backend"):
        recovered(bench)


def test_what_is_not_marked_is_left_alone(bench: StorageBench) -> None:
    one = bench.share()
    bench.host.run(["zfs", "create", "tank/somebodys"], timeout_s=9)
    bench.host.filesystem(bench.dataset(one)).local.pop("penstock:project_id")
    bench.lose_database()
    rebuilt = recovered(bench)
    assert rebuilt.shares == ()
    assert rebuilt.left_out == (f"{bench.dataset(one)} does not say whose it is",)


def test_a_clone_of_a_deleted_snapshot_remembers_it(bench: StorageBench) -> None:
    one = bench.share()
    snapshot = bench.snapshot(one)
    clone = bench.share(snapshot_id=snapshot.id)
    with bench.database.begin() as tx:
        snapshots.move(tx, snapshot.instance, Event.DELETE, now=bench.clock.utc())
    bench.site.manager.delete_snapshot(bench.site.context, snapshot.id)
    bench.lose_database()
    recovered(bench)
    assert bench.row(clone).snapshot_id == snapshot.id
    assert bench.rows()["snapshots"] == {}


def test_the_size_is_the_limit_in_force(bench: StorageBench) -> None:
    one = bench.share(size_gib=2)
    bench.host.run(["zfs", "set", f"refquota={5 * GIB // 2}", bench.dataset(one)], timeout_s=9)
    other = bench.share(size_gib=4)
    bench.host.run(["zfs", "set", "refquota=none", bench.dataset(other)], timeout_s=9)
    bench.lose_database()
    recovered(bench)
    assert (bench.row(one).size_gib, bench.row(other).size_gib) == (3, 4)
