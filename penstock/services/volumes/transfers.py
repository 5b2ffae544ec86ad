"""Give a volume to another project: an offer with a key, which whoever has it takes.

The offer and its acceptance are rows; the backend is told afterwards, so that a driver can hand over what it keeps by
owner.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volume_transfers import VolumeTransfer, hash_of
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Conflict, Forbidden, Invalid, NotFound
from penstock.ids import new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import KeysetPage
from penstock.services.visibility import owner_of, owns
from penstock.services.volume_types.types import CATALOG
from penstock.services.volumes import calls, quotas
from penstock.services.volumes.visibility import hold_volumes, own_volume, volume_to_change
from penstock.store import volume_snapshots, volume_transfers, volume_types, volumes
from penstock.store.database import Transaction

SORT_KEYS = tuple(volume_transfers.SORTABLE)
KEY_BYTES, SALT_BYTES = 16, 8


@dataclass(frozen=True, slots=True)
class NewTransfer:
    """What is offered; with `no_snapshots` its snapshots stay with their project."""

    volume_id: str
    name: str | None = None
    no_snapshots: bool = False


def create(plane: ControlPlane, context: RequestContext, wanted: NewTransfer) -> tuple[VolumeTransfer, str]:
    """Offer the volume, which is ``awaiting-transfer`` then; the key is told only now.

    Raises NotFound, Invalid (a state that does not allow it, of the volume or a snapshot; in a group; encrypted;
    somebody is connected).
    """
    key, salt = secrets.token_hex(KEY_BYTES), secrets.token_hex(SALT_BYTES)
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, wanted.volume_id)
        _check_offerable(tx, volume, no_snapshots=wanted.no_snapshots)
        now = plane.clock.utc()
        made = VolumeTransfer(
            id=new_id(),
            volume_id=volume.id,
            name=wanted.name,
            salt=salt,
            key_hash=hash_of(key, salt),
            no_snapshots=wanted.no_snapshots,
            source_project_id=volume.project_id,
            created_at=now,
        )
        volumes.move(tx, volume, VolumeEvent.TRANSFER, now=now)
        volume_transfers.insert_transfer(tx, made)
    return made, key


def get(plane: ControlPlane, context: RequestContext, transfer_id: str) -> VolumeTransfer:
    """The offer, to the project that made it. Raises NotFound."""
    with plane.database.read() as tx:
        return _own(tx, context, transfer_id)


def list_transfers(
    plane: ControlPlane,
    context: RequestContext,
    page: KeysetPage,
    *,
    name: str | None = None,
    volume_id: str | None = None,
    all_projects: bool = False,
) -> list[VolumeTransfer]:
    """One page of the caller's project's offers; of all projects' when policy let the caller say so."""
    project_id = None if all_projects else context.project_id or ""
    with plane.database.read() as tx:
        return volume_transfers.list_transfers(tx, page, project_id=project_id, name=name, volume_id=volume_id)


def accept(plane: ControlPlane, context: RequestContext, transfer_id: str, key: str) -> VolumeTransfer:
    """Take the volume into the caller's project, its snapshots with it unless they stay.

    Raises NotFound, Forbidden (another key), Invalid (its type is closed to the project, or it is connected), Conflict
    (it is offered no more), QuotaExceeded.
    """
    project_id, user_id = owner_of(context)
    with plane.database.begin() as tx:
        offered = _known(tx, transfer_id)
        hold_volumes(tx, [offered.volume_id])
        offered = _known(tx, transfer_id)
        if not offered.opens_with(key):
            raise Forbidden("This is not the key of the transfer.")
        volume = own_volume(tx, context.elevated(), offered.volume_id)
        if volume.status is not VolumeStatus.AWAITING_TRANSFER:
            raise Conflict(f"Volume {volume.id} is '{volume.status}'; it is offered no more.")
        _refuse_attachments(volume)
        snapshots = [] if offered.no_snapshots else volume_snapshots.of_volume(tx, volume.id)
        _check_taker(tx, plane, context, volume, snapshots)
        now = plane.clock.utc()
        owner = {"project_id": project_id, "user_id": user_id}
        # What its old owner's machines log in with opens it no more: the next export has a secret of its own.
        volumes.move(tx, volume, VolumeEvent.DONE, now=now, provider_auth=None, **owner)
        for snapshot in snapshots:
            volume_snapshots.update_snapshot(tx, snapshot.id, now=now, **owner)
        volume_transfers.delete_transfer(tx, offered.id)
        arguments = {"volume_id": volume.id, "new_user": user_id, "new_project": project_id}
        calls.enqueue(tx, plane, context, volume, "accept_transfer", arguments)
    return offered


def delete(plane: ControlPlane, context: RequestContext, transfer_id: str) -> None:
    """Take the offer back: the volume is as it was. Raises NotFound."""
    with plane.database.begin() as tx:
        offered = _own(tx, context, transfer_id)
        volume = volume_to_change(tx, context, offered.volume_id)
        if not volume_transfers.delete_transfer(tx, offered.id):
            raise _missing(transfer_id)
        if volume.status is VolumeStatus.AWAITING_TRANSFER:
            volumes.move(tx, volume, VolumeEvent.DONE, now=plane.clock.utc())


def _check_offerable(tx: Transaction, volume: Volume, *, no_snapshots: bool) -> None:
    if volume.status is not VolumeStatus.AVAILABLE:
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be offered when 'available'.")
    if volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is being migrated.")
    if volume.group_id is not None:
        raise Invalid(f"Volume {volume.id} is in a group; take it out of that first.")
    _refuse_attachments(volume)
    if volume.encryption_key_id is not None:
        raise Invalid(f"Volume {volume.id} is encrypted; its key cannot be given to another project.")
    calls.placed_on(volume)
    if no_snapshots:
        return
    for snapshot in volume_snapshots.of_volume(tx, volume.id):
        if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
            raise Invalid(f"Snapshot {snapshot.id} of the volume is '{snapshot.status}'; it must be 'available'.")


def _refuse_attachments(volume: Volume) -> None:
    """They are its project's, and what they connect would go on reaching the volume."""
    if volume.attachments:
        raise Invalid(f"Volume {volume.id} has attachments or connections; end them first.")


def _check_taker(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    snapshots: Sequence[VolumeSnapshot],
) -> None:
    """Has the caller's project room for it, and its type?"""
    project_id, _ = owner_of(context)
    of_type = None if volume.volume_type_id is None else volume_types.get(tx, volume.volume_type_id)
    if of_type is not None and not CATALOG.is_open(tx, context, of_type):
        raise Invalid("The volume's type is not open to this project.")
    if project_id == volume.project_id:
        return
    gib = volume.size_gib
    if not plane.conf.no_snapshot_gb_quota:
        gib += sum(snapshot.volume_size_gib for snapshot in snapshots)
    more = {VolumeResource.VOLUMES: 1, VolumeResource.GIGABYTES: gib, VolumeResource.SNAPSHOTS: len(snapshots)}
    quotas.check(tx, plane, project_id, volume.volume_type_id, more)


def _known(tx: Transaction, transfer_id: str) -> VolumeTransfer:
    found = volume_transfers.get(tx, transfer_id)
    if found is None:
        raise _missing(transfer_id)
    return found


def _own(tx: Transaction, context: RequestContext, transfer_id: str) -> VolumeTransfer:
    found = _known(tx, transfer_id)
    if not owns(context, found.source_project_id):
        raise _missing(transfer_id)
    return found


def _missing(transfer_id: str) -> NotFound:
    return NotFound(f"There is no transfer {transfer_id[:64]}.")
