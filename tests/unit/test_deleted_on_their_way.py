"""Snapshots that came with a sync and were deleted at the source before anybody marked them at the target."""

from __future__ import annotations

import pytest

from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.options import read_settings
from penstock.share.drivers.zfsonlinux.replica_set import Line, Taken
from penstock.share.drivers.zfsonlinux.syncing import deleted_on_their_way
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.names import Dataset
from tests.driver_values import a_configuration

ID = "0139e05a_f256_43dc_bc2b_90c4ba7f055d"
USERS = f"manila_share_snapshot_{ID}"
SYNC = f"tmp_snapshot_for_replication_{ID}_20260101T000739_7d5ee58d"


def a_line(name: str, guid: int, kind: Kind | None) -> Line:
    return Line(Dataset("tank/a"), (Taken(SnapshotPoint(1, name, guid), kind, None, frozenset()),), 0)


@pytest.mark.parametrize(
    ("name", "kind", "guid_at_source", "goes"),
    [
        pytest.param(USERS, None, 2, True, id="a-users"),
        pytest.param(SYNC, None, 2, True, id="a-syncs"),
        pytest.param(USERS, None, 1, False, id="still-there"),
        pytest.param(USERS, Kind.SNAPSHOT, 2, False, id="marked"),
        pytest.param("nightly", None, 2, False, id="somebody-elses"),
        pytest.param(f"{USERS}.of.another", None, 2, False, id="renamed-for-somebody"),
        pytest.param("manila_share_snapshot_of_the_week", None, 2, False, id="only-begins-like-ours"),
    ],
)
def test_what_goes(name: str, kind: Kind | None, guid_at_source: int, goes: bool) -> None:
    settings = read_settings(a_configuration())
    here, there = a_line(name, 1, kind), a_line(name, guid_at_source, Kind.SNAPSHOT)
    assert [taken.point.name for taken in deleted_on_their_way(here, there, [settings])] == [name] * goes
