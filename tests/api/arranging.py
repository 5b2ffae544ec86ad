"""What tests of shares arrange: a share type, shares that a backend has finished, and the calls it was given."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.shares import AccessRulesStatus
from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.store import access, instances, shares, snapshots, types
from penstock.store.schema import operations
from tests.api.conftest import Client

ALL_SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
}


def add_type(plane: ControlPlane, name: str = "gold", *, is_public: bool = True, **specs: str) -> str:
    """A share type that allows everything, with these extra specs too."""
    found = {**ALL_SPECS, **{key.replace("__", ":"): value for key, value in specs.items()}}
    made = ShareType(ShareTypeId(new_id()), name, None, is_public, plane.clock.utc(), None, found)
    with plane.database.begin() as tx:
        types.insert_type(tx, made)
    return made.id


def calls(plane: ControlPlane) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Backend, resource key, method and arguments of everything enqueued, in order."""
    with plane.database.read() as tx:
        rows = tx.execute(select(operations).order_by(operations.c.sequence))
        return [(row.backend, row.resource_key, row.method, row.arguments) for row in rows]


def methods(plane: ControlPlane) -> list[str]:
    """The methods enqueued, in order."""
    return [method for _, _, method, _ in calls(plane)]


def finish_share(plane: ControlPlane, share_id: str, event: Event = Event.DONE, **values: Any) -> None:
    """What a backend does at the end of an operation on a share; export locations included."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        share = shares.get(tx, share_id)
        assert share is not None
        shares.move(tx, share.instance, event, now=now)
        if values:
            shares.update_share(tx, share_id, now=now, **values)
        locations = [
            {"path": f"10.0.0.5:/tank/{share_id}", "preferred": True},
            {"path": f"10.9.9.9:/tank/{share_id}", "is_admin_only": True},
        ]
        instances.put_export_locations(tx, share.instance.id, locations, now=now)
        instances.update_instance(tx, share.instance.id, now=now, launched_at=now, progress="100%")


def finish_snapshot(plane: ControlPlane, snapshot_id: str, event: Event = Event.DONE) -> None:
    """What a backend does at the end of an operation on a snapshot."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        assert snapshot is not None
        snapshots.move(tx, snapshot.instance, event, now=now)
        snapshots.update_instance(tx, snapshot.instance.id, now=now, provider_location=f"tank@{snapshot_id}")


def finish_rules(plane: ControlPlane, share_id: str, state: AccessState = AccessState.ACTIVE) -> None:
    """What a backend does at the end of an update of the rules."""
    now = plane.clock.utc()
    overall = AccessRulesStatus.ERROR if state is AccessState.ERROR else AccessRulesStatus.ACTIVE
    with plane.database.begin() as tx:
        for instance in instances.of_share(tx, share_id):
            access.set_states(tx, instance.id, now=now, source=[AccessState.QUEUED_TO_APPLY], target=state)
            denied = [rule.id for rule in access.of_instance(tx, instance.id) if rule.state == "queued_to_deny"]
            access.forget_on_instance(tx, instance.id, denied)
            instances.update_instance(tx, instance.id, now=now, access_rules_status=overall)


def make_share(plane: ControlPlane, client: Client, **wanted: Any) -> dict[str, Any]:
    """An available share of 2 GiB of the type ``gold``."""
    fields = {"share_proto": "NFS", "size": 2, "share_type": "gold", **wanted}
    answer = client.at("2.75").post("shares", {"share": fields})
    assert answer.status_code == 200, answer.text
    share_id = answer.json()["share"]["id"]
    finish_share(plane, share_id)
    shown: dict[str, Any] = client.at("2.75").get(f"shares/{share_id}").json()["share"]
    return shown


def make_snapshot(plane: ControlPlane, client: Client, share_id: str, **wanted: Any) -> dict[str, Any]:
    """An available snapshot."""
    answer = client.post("snapshots", {"snapshot": {"share_id": share_id, **wanted}})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()["snapshot"]
    finish_snapshot(plane, made["id"])
    return made


def act(client: Client, share_id: str, action: str, arguments: Any = None) -> Any:
    """``POST shares/{id}/action``"""
    return client.post(f"shares/{share_id}/action", {action: arguments})


def message(answer: Any) -> str:
    """The sentence of a fault."""
    (fault,) = answer.json().values()
    return str(fault["message"])
