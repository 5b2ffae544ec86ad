"""Telling owners of volumes, in the request's own transaction, that no pool can take what they asked for, and why."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.volume_groups import VolumeGroup
from penstock.domain.volume_message_codes import (
    VolumeMessageAction,
    VolumeMessageDetail,
    VolumeMessageResource,
    volume_sentence,
)
from penstock.domain.volumes import Volume
from penstock.services import messages
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction

NOBODY = VolumeMessageDetail.NO_BACKEND_AVAILABLE


def tell_of_volume(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    action: VolumeMessageAction,
    reason: str,
) -> None:
    """The volume cannot be placed, or grow where it is."""
    messages.add(
        tx,
        plane,
        context,
        project_id=volume.project_id,
        resource_type=VolumeMessageResource.VOLUME,
        resource_id=volume.id,
        action=action,
        detail=NOBODY,
        text=volume_sentence(NOBODY, reason),
    )


def tell_of_group(
    tx: Transaction, plane: ControlPlane, context: RequestContext, group: VolumeGroup, reason: str
) -> None:
    """The group cannot be placed."""
    messages.add(
        tx,
        plane,
        context,
        project_id=group.project_id,
        resource_type=VolumeMessageResource.VOLUME_GROUP,
        resource_id=group.id,
        action=VolumeMessageAction.GROUP_CHANGE,
        detail=NOBODY,
        text=volume_sentence(NOBODY, reason),
    )
