"""Which snapshots of a replica are of no use after a sync."""

from __future__ import annotations

import pytest

from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.options import naming_of, read_settings
from penstock.zfs.bases import surplus
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.lines import Line, Taken
from penstock.zfs.names import Dataset
from tests.driver_values import a_configuration

ID = "0139e05a_f256_43dc_bc2b_90c4ba7f055d"
USERS = f"manila_share_snapshot_{ID}"
SYNC = f"tmp_snapshot_for_replication_{ID}_20260101T000739_7d5ee58d"
HERE, OTHER = 1, 2


@pytest.mark.parametrize(
    ("name", "kind", "carried", "there", "goes"),
    [
        pytest.param(USERS, None, set(), {OTHER}, True, id="a-users-deleted-on-its-way"),
        pytest.param(SYNC, None, set(), {OTHER}, True, id="a-syncs-deleted-on-its-way"),
        pytest.param(USERS, None, set(), {HERE}, False, id="a-users-still-there"),
        pytest.param(USERS, Kind.SNAPSHOT, set(), {OTHER}, False, id="marked"),
        pytest.param(SYNC, Kind.SYNC, {HERE}, {HERE}, False, id="a-base-of-somebody"),
        pytest.param(SYNC, Kind.SYNC, set(), {HERE}, True, id="not-carried-any-more"),
        pytest.param(SYNC, Kind.TOMBSTONE, set(), set(), False, id="destroyed-already"),
        pytest.param("nightly", None, set(), {OTHER}, False, id="somebody-elses"),
        pytest.param(f"{USERS}.of.another", None, set(), {OTHER}, False, id="renamed-for-somebody"),
        pytest.param("manila_share_snapshot_of_the_week", None, set(), {OTHER}, False, id="only-begins-like-ours"),
    ],
)
def test_what_is_of_no_use(name: str, kind: Kind | None, carried: set[int], there: set[int], goes: bool) -> None:
    naming = naming_of(read_settings(a_configuration()))
    here = Line(Dataset("tank/a"), (Taken(SnapshotPoint(1, name, HERE), kind, None, frozenset()),), 0)
    assert [taken.point.name for taken in surplus(here, carried, there, [naming])] == [name] * goes
