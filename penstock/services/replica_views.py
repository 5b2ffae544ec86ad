"""Replicas as they are shown: each with its lag and the objective it is measured against, and its export locations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.context import RequestContext
from penstock.domain.replication import lag_s, objective_s
from penstock.domain.shares import ExportLocation, Share, ShareInstance
from penstock.errors import NotFound
from penstock.ids import ShareTypeId
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import owns, visible_share
from penstock.store import instances, share_metadata, shares, types
from penstock.store.database import Transaction

__all__ = ["SeenReplica", "get", "list_replicas", "locations", "own_replica", "seen"]


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """A replica, how many seconds it lags (None: nothing to measure), and how many it may."""

    instance: ShareInstance
    lag_s: int | None
    objective_s: int


def list_replicas(
    plane: ControlPlane,
    context: RequestContext,
    *,
    share_id: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[SeenReplica]:
    """The replicas of a share, or of all the caller's shares (an administrator's: of all), oldest first.

    A share that is not replicated has none. Raises NotFound for a share that is not the caller's to see.
    """
    with plane.database.read() as tx:
        if share_id is not None:
            found = instances.of_share(tx, visible_share(tx, context, share_id).id)
        else:
            found = instances.replicas_of_project(tx, None if context.is_admin else context.project_id)
        wanted = [instance for instance in found if instance.is_replica][offset:]
        return _seen(tx, plane, wanted[:limit])


def get(plane: ControlPlane, context: RequestContext, replica_id: str) -> SeenReplica:
    """One replica. Raises NotFound."""
    with plane.database.read() as tx:
        return seen(tx, plane, own_replica(tx, context, replica_id))


def locations(
    plane: ControlPlane, context: RequestContext, replica_id: str
) -> tuple[ShareInstance, list[ExportLocation]]:
    """The replica and where it can be mounted; administrators see locations for administrators too. Raises NotFound."""
    with plane.database.read() as tx:
        instance = own_replica(tx, context, replica_id).instance
        found = instances.export_locations_of(tx, instance.id)
        return instance, [location for location in found if context.is_admin or not location.is_admin_only]


def own_replica(tx: Transaction, context: RequestContext, replica_id: str) -> Share:
    """The share with that replica as its instance. Raises NotFound, also for those of other projects."""
    share = shares.get_by_instance(tx, replica_id)
    if share is None or not share.instance.is_replica or not owns(context, share.project_id):
        raise NotFound(f"There is no share replica {replica_id}.")
    return share


def seen(tx: Transaction, plane: ControlPlane, share: Share) -> SeenReplica:
    """The share's instance as it is shown."""
    return _seen(tx, plane, [share.instance])[0]


def _seen(tx: Transaction, plane: ControlPlane, found: Sequence[ShareInstance]) -> list[SeenReplica]:
    now, default_s = plane.clock.utc(), int(plane.conf.replica_state_update_interval)
    notes = share_metadata.of_shares(tx, sorted({instance.share_id for instance in found}))
    specs = {share_type.id: share_type.extra_specs for share_type in types.list_types(tx)} if found else {}
    return [
        SeenReplica(
            instance,
            lag_s(instance, now),
            objective_s(notes.get(instance.share_id, {}), _specs(specs, instance), default_s),
        )
        for instance in found
    ]


def _specs(by_type: Mapping[ShareTypeId, dict[str, str]], instance: ShareInstance) -> dict[str, str]:
    return {} if instance.share_type_id is None else by_type.get(instance.share_type_id, {})
