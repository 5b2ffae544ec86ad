"""Migration over HTTP, in the published forms; the backend's part is played by the rows."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.migration import TaskState
from penstock.domain.pools import PoolRef, PoolReport
from penstock.services.control_plane import ControlPlane
from penstock.store import backends, instances, operations, share_migrations, shares
from tests.api.arranging import act, add_type, make_share, make_snapshot, message
from tests.api.conftest import Client

HEADER = {"X-OpenStack-Manila-API-Experimental": "true"}
BODY = {
    "host": "store1@alpha#other",
    "preserve_metadata": True,
    "writable": True,
    "nondisruptive": False,
    "preserve_snapshots": True,
    "force_host_assisted_migration": False,
}


@pytest.fixture
def boss(admin: Client) -> Client:
    return admin.at("2.73", **HEADER)


@pytest.fixture
def pools(plane: ControlPlane, backend: PoolRef) -> None:
    with plane.database.begin() as tx:
        (report,) = backends.list_pools(tx)
        other = PoolReport(PoolRef("store1", "alpha", "other"), report.capabilities, report.reported_at)
        backends.put_pools(tx, backend.service_host, [report, other])


@pytest.fixture
def share(plane: ControlPlane, member: Client, pools: None) -> dict[str, Any]:
    add_type(plane)
    made = make_share(plane, member)
    with plane.database.begin() as tx:
        found = shares.get(tx, made["id"])
        assert found is not None
        instances.update_instance(tx, found.instance.id, now=plane.clock.utc(), host="store1@alpha#tank")
    return made


def put_task(plane: ControlPlane, share_id: str, state: TaskState, **columns: Any) -> None:
    with plane.database.begin() as tx:
        shares.update_share(tx, share_id, now=plane.clock.utc(), task_state=state)
        share_migrations.update_migration(tx, share_id, now=plane.clock.utc(), **columns)


def test_start_is_accepted_and_both_instances_are_shown(
    boss: Client, share: dict[str, Any], plane: ControlPlane
) -> None:
    assert act(boss, share["id"], "migration_start", BODY).status_code == 202
    shown = boss.get(f"shares/{share['id']}").json()["share"]
    assert (shown["status"], shown["task_state"], shown["host"]) == (
        "migrating",
        "migration_starting",
        "store1@alpha#tank",
    )
    found = boss.get("share_instances", share_id=share["id"]).json()["share_instances"]
    mine = {item["host"]: item["status"] for item in found if item["share_id"] == share["id"]}
    assert mine == {"store1@alpha#tank": "migrating", "store1@alpha#other": "migrating_to"}
    with plane.database.read() as tx:
        queued = operations.pending(tx, resource_key=f"migration:{share['id']}")
    assert [item.call.method for item in queued] == ["migration_start"]
    assert queued[0].call.arguments["dest_host"] == "store1@alpha#other"


def test_progress_has_details_since_2_59(
    boss: Client, admin: Client, share: dict[str, Any], plane: ControlPlane
) -> None:
    act(boss, share["id"], "migration_start", BODY)
    assert act(boss, share["id"], "migration_get_progress").json()["total_progress"] == 0
    put_task(plane, share["id"], TaskState.DRIVER_IN_PROGRESS, moved_bytes=500, total_bytes=1000, eta_s=7)
    answer = act(boss, share["id"], "migration_get_progress").json()
    assert answer == {
        "total_progress": 50,
        "task_state": "migration_driver_in_progress",
        "details": {"destination": "store1@alpha#other", "moved_bytes": 500, "total_bytes": 1000, "eta_seconds": 7},
    }
    old = act(admin.at("2.58", **HEADER), share["id"], "migration_get_progress").json()
    assert set(old) == {"total_progress", "task_state"}
    put_task(plane, share["id"], TaskState.DRIVER_PHASE1_DONE)
    assert act(boss, share["id"], "migration_get_progress").json()["total_progress"] == 100


def test_complete_and_cancel_in_their_time(boss: Client, share: dict[str, Any], plane: ControlPlane) -> None:
    for action in ("migration_complete", "migration_cancel", "migration_get_progress"):
        assert act(boss, share["id"], action).status_code == 400
    act(boss, share["id"], "migration_start", BODY)
    assert act(boss, share["id"], "migration_complete").status_code == 400
    put_task(plane, share["id"], TaskState.DRIVER_PHASE1_DONE)
    assert act(boss, share["id"], "migration_complete").status_code == 202
    assert act(boss, share["id"], "migration_cancel").status_code == 202
    with plane.database.read() as tx:
        queued = [item.call.method for item in operations.pending(tx, resource_key=f"migration:{share['id']}")]
    assert queued == ["migration_start", "migration_complete", "migration_cancel"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"host": "nonsense"}, 404, id="no pool's name"),
        pytest.param({"host": "store1@beta#tank"}, 404, id="unknown backend"),
        pytest.param({"new_share_type_id": "nonsense"}, 400, id="unknown type"),
        pytest.param({"new_share_network_id": "nonsense"}, 400, id="unknown network"),
        pytest.param({"writable": "perhaps"}, 400, id="no boolean"),
        pytest.param({"force_host_assisted_migration": True}, 400, id="forced, with flags only drivers keep"),
        pytest.param({"host": "store1@alpha#tank"}, 200, id="there already"),
        pytest.param({"nonsense": 1}, 400, id="unknown field"),
    ],
)
def test_what_start_says(boss: Client, share: dict[str, Any], change: dict[str, Any], status: int) -> None:
    answer = act(boss, share["id"], "migration_start", {**BODY, **change})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert boss.get(f"shares/{share['id']}").json()["share"]["task_state"] == "migration_success"


@pytest.mark.parametrize("missing", ["host", "writable", "preserve_metadata", "nondisruptive", "preserve_snapshots"])
def test_start_needs_them_all(boss: Client, share: dict[str, Any], missing: str) -> None:
    body = {key: value for key, value in BODY.items() if key != missing}
    answer = act(boss, share["id"], "migration_start", body)
    assert answer.status_code == 400
    assert missing in message(answer)


def test_snapshots_are_not_lost_by_force(
    boss: Client, member: Client, share: dict[str, Any], plane: ControlPlane
) -> None:
    make_snapshot(plane, member, share["id"])
    flags = dict.fromkeys(("writable", "preserve_metadata", "nondisruptive", "preserve_snapshots"), False)
    body = {**BODY, **flags, "force_host_assisted_migration": True}
    assert act(boss, share["id"], "migration_start", body).status_code == 409


def test_only_administrators_and_only_as_an_experiment(admin: Client, member: Client, share: dict[str, Any]) -> None:
    assert act(member.at("2.73", **HEADER), share["id"], "migration_start", BODY).status_code == 403
    assert act(admin, share["id"], "migration_start", BODY).status_code == 404
    assert act(admin.at("2.28", **HEADER), share["id"], "migration_start", BODY).status_code == 404


def test_a_migrating_share_takes_no_changes(boss: Client, member: Client, share: dict[str, Any]) -> None:
    act(boss, share["id"], "migration_start", BODY)
    assert act(member, share["id"], "extend", {"new_size": 5}).status_code == 400
    rule = {"access_type": "ip", "access_to": "10.0.0.1"}
    assert act(member, share["id"], "allow_access", rule).status_code == 400
    assert member.post("snapshots", {"snapshot": {"share_id": share["id"]}}).status_code == 400
    assert member.delete(f"shares/{share['id']}").status_code == 403
    assert act(boss, share["id"], "force_delete").status_code == 400


def test_a_type_that_fits_nowhere_ends_in_error(boss: Client, share: dict[str, Any], plane: ControlPlane) -> None:
    other = add_type(plane, "odd", vendor_name="Nobody")
    answer = act(boss, share["id"], "migration_start", {**BODY, "new_share_type_id": other})
    assert answer.status_code == 202
    shown = boss.get(f"shares/{share['id']}").json()["share"]
    assert (shown["status"], shown["task_state"]) == ("available", "migration_error")


def test_a_type_that_is_not_offered_in_the_destinations_zone_is_refused(
    boss: Client, share: dict[str, Any], plane: ControlPlane
) -> None:
    elsewhere = add_type(plane, "elsewhere", availability_zones="on the moon")
    answer = act(boss, share["id"], "migration_start", {**BODY, "new_share_type_id": elsewhere})
    assert answer.status_code == 400
    assert message(answer) == "Share type 'elsewhere' is not offered in availability zone 'nova'."
    assert boss.get(f"shares/{share['id']}").json()["share"]["task_state"] is None
