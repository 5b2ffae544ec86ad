"""Soft deletion (2.69): into the recycle bin, out of it, or deleted for good when the time is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.domain.lifecycle import Event
from penstock.domain.pools import PoolRef
from penstock.domain.shares import ShareStatus
from penstock.services import recycle_bin
from penstock.services.control_plane import ControlPlane
from penstock.store import shares
from tests.api.arranging import act, add_type, finish_share, make_share, make_snapshot, message, methods
from tests.api.conftest import Client

WEEK_S = 604800


@pytest.fixture
def share(plane: ControlPlane, member: Client, backend: PoolRef) -> str:
    add_type(plane)
    share_id: str = make_share(plane, member)["id"]
    return share_id


def ids(client: Client, path: str = "shares", **filters: Any) -> list[str]:
    return [item["id"] for item in client.get(path, **filters).json()[path.partition("/")[0]]]


def reset(plane: ControlPlane, share_id: str, status: ShareStatus) -> None:
    with plane.database.begin() as tx:
        found = shares.get(tx, share_id)
        assert found is not None
        shares.reset_status(tx, found.instance.id, status, now=plane.clock.utc())


def test_a_share_in_the_bin_is_shown_there_and_nowhere_else(
    plane: ControlPlane, member: Client, admin: Client, share: str
) -> None:
    kept = make_share(plane, member)["id"]
    assert act(member, share, "soft_delete").status_code == 202
    for path in ("shares", "shares/detail"):
        assert ids(member, path) == ids(member, path, is_soft_deleted="false") == [kept]
        assert ids(member, path, is_soft_deleted="true") == [share]
    assert ids(member.at("2.68")) == ids(member.at("2.68"), is_soft_deleted="true") == [kept]
    assert member.get("shares", with_count="true").json()["count"] == 1
    owners = [item["share_id"] for item in admin.get("share_instances").json()["share_instances"]]
    binned = admin.get("share_instances", is_soft_deleted="true").json()["share_instances"]
    assert (owners, [item["share_id"] for item in binned]) == ([kept], [share])
    shown = member.get(f"shares/{share}").json()["share"]
    due = plane.clock.utc() + timedelta(seconds=WEEK_S)
    assert shown["is_soft_deleted"] is True
    assert shown["scheduled_to_be_deleted_at"] == due.isoformat(timespec="microseconds")
    assert shown == member.get("shares/detail", is_soft_deleted="true").json()["shares"][0]
    old = member.at("2.68").get(f"shares/{share}").json()["share"]
    assert not {"is_soft_deleted", "scheduled_to_be_deleted_at"} & set(old)


def test_the_backend_is_told_so_that_recovery_knows(plane: ControlPlane, member: Client, share: str) -> None:
    for action in ("soft_delete", "restore", "restore"):
        act(member, share, action)
    assert methods(plane)[-3:] == ["create_share_instance", "remember_soft_deletion", "remember_soft_deletion"]


def test_restore_brings_it_back_and_may_be_repeated(member: Client, share: str) -> None:
    before = member.get(f"shares/{share}").json()["share"]
    assert (before["is_soft_deleted"], before["scheduled_to_be_deleted_at"]) == (False, None)
    act(member, share, "soft_delete")
    for _ in range(2):
        assert act(member, share, "restore").status_code == 202
        assert member.get(f"shares/{share}").json()["share"] == before
    assert ids(member) == [share]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("soft_delete", None),
        ("extend", {"new_size": 3}),
        ("shrink", {"new_size": 1}),
        ("allow_access", {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}),
        ("deny_access", {"access_id": "x"}),
        ("revert", {"snapshot_id": "x"}),
        ("reset_status", {"status": "error"}),
        ("unmanage", None),
    ],
)
def test_in_the_bin_it_takes_no_changes(
    plane: ControlPlane, admin: Client, member: Client, share: str, action: str, arguments: Any
) -> None:
    act(member, share, "soft_delete")
    called = methods(plane)
    answer = act(admin, share, action, arguments)
    assert answer.status_code == 403
    assert "restore it first" in message(answer)
    assert methods(plane) == called


def test_in_the_bin_it_takes_no_snapshot_and_no_new_name(member: Client, share: str) -> None:
    act(member, share, "soft_delete")
    assert member.post("snapshots", {"snapshot": {"share_id": share}}).status_code == 403
    assert member.put(f"shares/{share}", {"share": {"display_name": "new"}}).status_code == 403


@pytest.mark.parametrize("status", [ShareStatus.EXTENDING, ShareStatus.ERROR_DELETING, ShareStatus.DELETING])
def test_only_a_share_at_rest_goes_there(plane: ControlPlane, member: Client, share: str, status: ShareStatus) -> None:
    reset(plane, share, status)
    assert act(member, share, "soft_delete").status_code == 403


def test_a_share_with_snapshots_does_not_go_there(plane: ControlPlane, member: Client, share: str) -> None:
    make_snapshot(plane, member, share)
    assert act(member, share, "soft_delete").status_code == 403


def test_it_is_for_the_owner_and_new_versions(member: Client, other: Client, reader: Client, share: str) -> None:
    for action in ("soft_delete", "restore"):
        assert act(other, share, action).status_code == 404
        assert act(reader, share, action).status_code == 403
        assert act(member, "nothing", action).status_code == 404
        assert act(member.at("2.68"), share, action).status_code == 404


def test_it_counts_against_the_quota_until_it_is_gone(plane: ControlPlane, member: Client, share: str) -> None:
    act(member, share, "soft_delete")
    assert member.get("limits").json()["limits"]["absolute"]["totalSharesUsed"] == 1


def test_when_its_time_is_over_it_is_deleted_for_good(
    plane: ControlPlane, clock: ManualClock, member: Client, share: str
) -> None:
    kept = make_share(plane, member)["id"]
    act(member, share, "soft_delete")
    clock.advance(WEEK_S - 1)
    recycle_bin.empty(plane)
    assert "delete_share_instance" not in methods(plane)
    clock.advance(2)
    for _ in range(2):
        recycle_bin.empty(plane)
    assert methods(plane).count("delete_share_instance") == 1
    assert member.get(f"shares/{share}").json()["share"]["status"] == "deleting"
    assert act(member, share, "restore").status_code == 403
    assert member.get(f"shares/{kept}").json()["share"]["status"] == "available"
    finish_share(plane, share, Event.FAILED)
    assert act(member, share, "restore").status_code == 403
    recycle_bin.empty(plane)
    assert methods(plane).count("delete_share_instance") == 2


def test_what_cannot_be_deleted_now_is_tried_again_and_holds_nothing_up(
    plane: ControlPlane, clock: ManualClock, member: Client, share: str
) -> None:
    second = make_share(plane, member)["id"]
    for share_id in (share, second):
        act(member, share_id, "soft_delete")
    reset(plane, share, ShareStatus.EXTENDING)
    clock.advance(WEEK_S)
    recycle_bin.empty(plane)
    statuses = [member.get(f"shares/{share_id}").json()["share"]["status"] for share_id in (share, second)]
    assert statuses == ["extending", "deleting"]


def test_a_snapshot_that_came_in_between_keeps_the_share(
    plane: ControlPlane, clock: ManualClock, member: Client, share: str
) -> None:
    make_snapshot(plane, member, share)
    now = plane.clock.utc()
    with plane.database.begin() as tx:  # as if both requests had been accepted at once
        shares.update_share(tx, share, now=now, is_soft_deleted=True, scheduled_to_be_deleted_at=now)
    clock.advance(1)
    recycle_bin.empty(plane)
    assert "delete_share_instance" not in methods(plane)


def test_its_owner_may_delete_it_at_once(plane: ControlPlane, member: Client, share: str) -> None:
    act(member, share, "soft_delete")
    assert member.delete(f"shares/{share}").status_code == 202
    assert methods(plane)[-1] == "delete_share_instance"
