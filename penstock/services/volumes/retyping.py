"""Give a volume another type, where it lies or, when the policy allows it, somewhere else."""

from __future__ import annotations

from dataclasses import replace

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import IDLE, VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_types import MULTIATTACH_SPEC, ZONES_SPEC, VolumeType
from penstock.domain.volumes import MigrationStatus, Volume
from penstock.errors import InsufficientCapacity, Invalid
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.services.volumes import calls, no_room, placement, quotas
from penstock.services.volumes.visibility import volume_to_change
from penstock.store import operations, volume_types, volumes
from penstock.store.database import Transaction

NEVER, ON_DEMAND = "never", "on-demand"


def retype(
    plane: ControlPlane, context: RequestContext, volume_id: str, new_type: str, *, migration_policy: str = NEVER
) -> None:
    """Accept another type for the volume. Where nobody can have it so, it stays as it is and its owner gets a message.

    Raises NotFound, Invalid (the same type, a policy, a state that does not allow it), QuotaExceeded.
    """
    if migration_policy not in (NEVER, ON_DEMAND):
        raise Invalid(f"'{migration_policy[:32]}' is not a migration policy; use '{NEVER}' or '{ON_DEMAND}'.")
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        wanted = choice.find(tx, context, new_type)
        _check(tx, volume, wanted)
        more = {VolumeResource.VOLUMES: 1, VolumeResource.GIGABYTES: volume.size_gib}
        quotas.check_type(tx, plane, volume.project_id, wanted.id, more)
        host, refusal = _place(tx, plane, volume, wanted, may_move=migration_policy == ON_DEMAND)
        if host is None:
            no_room.tell_of_volume(tx, plane, context, volume, VolumeMessageAction.RETYPE_VOLUME, refusal)
            return
        volumes.move(tx, volume, VolumeEvent.RETYPE, now=plane.clock.utc(), previous_status=volume.status)
        arguments = {
            "volume_id": volume.id,
            "new_type_id": wanted.id,
            "host": host,
            "migration_policy": migration_policy,
        }
        calls.enqueue(tx, plane, context, volume, "retype", arguments)


def migrate(
    plane: ControlPlane,
    context: RequestContext,
    volume_id: str,
    host: str,
    *,
    force_host_copy: bool = False,
    lock_volume: bool = False,
) -> None:
    """Accept to move the volume to the pool `host`. With `lock_volume` it is ``maintenance`` meanwhile.

    Raises NotFound (service), Invalid (attached, snapshots, in a group, on its way already, there already, no room).
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        _check_movable(tx, volume)
        pool = placement.named_pool(tx, plane, host)
        if str(pool) == volume.host:
            raise Invalid(f"Volume {volume.id} is on {pool} already.")
        if pool.service_host in _cleaning(tx, volume):
            raise Invalid(
                f"What volume {volume.id} was begun with on {pool.service_host} has to be taken away there first."
            )
        volume_type = None if volume.volume_type_id is None else volume_types.get(tx, volume.volume_type_id)
        try:
            placement.place(tx, plane, _requirements(volume, volume_type, str(pool)))
        except InsufficientCapacity as refusal:
            raise Invalid(refusal.message) from refusal
        now = plane.clock.utc()
        if lock_volume:
            volumes.move(tx, volume, VolumeEvent.MAINTAIN, now=now)
        volumes.update_volume(tx, volume.id, now=now, migration_status=MigrationStatus.STARTING)
        arguments = {"volume_id": volume.id, "host": str(pool), "force_host_copy": force_host_copy}
        calls.enqueue(tx, plane, context, volume, "migrate_volume", arguments)


def _check(tx: Transaction, volume: Volume, wanted: VolumeType) -> None:
    if volume.status not in IDLE or volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be given another type when 'available'.")
    if volume.volume_type_id == wanted.id:
        raise Invalid(f"Volume {volume.id} is of type '{wanted.name}' already.")
    if volume.group_id is not None:
        raise Invalid(f"Volume {volume.id} is in a group; take it out of that first.")
    if volume.is_attached and volume.is_multiattach is not wanted.claims(MULTIATTACH_SPEC):
        raise Invalid(f"Volume {volume.id} is attached; whether several may attach it cannot change now.")
    choice.refuse_encryption(tx, wanted)
    choice.check_size(wanted, volume.size_gib)


def _check_movable(tx: Transaction, volume: Volume) -> None:
    if volume.status not in IDLE or volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be migrated when 'available'.")
    if volume.attachments:
        raise Invalid(f"Volume {volume.id} is attached; without a compute service that would be told, it cannot move.")
    if volumes.has_snapshots(tx, volume.id):
        raise Invalid(f"Volume {volume.id} has snapshots, which stay where they are; delete them first.")
    if volume.group_id is not None:
        raise Invalid(f"Volume {volume.id} is in a group; take it out of that first.")


def _cleaning(tx: Transaction, volume: Volume) -> dict[str, str]:
    """The backends that will take away what a refused creation of the volume left there, which it must not come to:
    it would go itself. None can be added any more once it is made."""
    pending = operations.pending(tx, resource_key=f"refused:{volume.id}")
    return {operation.call.backend: "it refused it" for operation in pending}


def _place(
    tx: Transaction, plane: ControlPlane, volume: Volume, wanted: VolumeType, *, may_move: bool
) -> tuple[str | None, str]:
    """Where the volume of the new type can be: where it is, else, if it may move, where the scheduler says."""
    home = calls.placed_on(volume)
    try:
        # It has its space already: only what the pool can do is asked.
        placement.place(tx, plane, replace(_requirements(volume, wanted, home), size_gib=0))
    except InsufficientCapacity as refusal:
        reason = refusal.message
    else:
        return home, ""
    if not may_move or volume.attachments or volumes.has_snapshots(tx, volume.id):
        return None, reason
    try:
        elsewhere = replace(_requirements(volume, wanted, None), refused_by=_cleaning(tx, volume))
        return str(placement.place(tx, plane, elsewhere)), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _requirements(volume: Volume, volume_type: VolumeType | None, only_pool: str | None) -> Requirements:
    specs = {} if volume_type is None else volume_type.extra_specs
    return Requirements(
        size_gib=volume.size_gib,
        protocol=None,
        extra_specs={key: value for key, value in specs.items() if key != ZONES_SPEC},
        only_pool=only_pool,
        different_hosts=frozenset() if only_pool is not None or volume.host is None else frozenset({volume.host}),
        volume={"project_id": volume.project_id, "volume_type_id": getattr(volume_type, "id", None)},
    )
