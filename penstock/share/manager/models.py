"""From our rows to the frozen values that drivers are handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.domain.access import AccessLevel, AccessRule
from penstock.domain.shares import ExportLocation, Share
from penstock.domain.snapshots import Snapshot
from penstock.domain.types import ShareType
from penstock.errors import NotFound
from penstock.share.manager.backend import Backend
from penstock.share.models import AccessModel, ExportLocationModel, ShareModel, SnapshotModel
from penstock.store import instances, shares, types
from penstock.store.database import Transaction


def share_models(tx: Transaction, backend: Backend, found: Sequence[Share]) -> list[ShareModel]:
    """Models of these shares' instances, in a handful of queries however many there are."""
    locations = instances.locations_of_instances(tx, [share.instance.id for share in found])
    by_id = {share_type.id: share_type for share_type in types.list_types(tx)}
    return [
        _share_model(
            backend,
            share,
            locations.get(share.instance.id, []),
            None if share.share_type_id is None else by_id.get(share.share_type_id),
        )
        for share in found
    ]


def share_model(tx: Transaction, backend: Backend, share: Share) -> ShareModel:
    """The model of one share's instance."""
    share_type = None if share.share_type_id is None else types.get(tx, share.share_type_id)
    locations = instances.export_locations_of(tx, share.instance.id)
    return _share_model(backend, share, locations, share_type)


def snapshot_model(
    tx: Transaction, backend: Backend, snapshot: Snapshot, *, share: Share | None = None
) -> SnapshotModel:
    """The model of a snapshot instance with the share instance it is of, `share` for who has read it already.

    Raises NotFound when that is gone.
    """
    share = share or shares.get_by_instance(tx, snapshot.instance.share_instance_id)
    if share is None:
        raise NotFound(f"The share of snapshot {snapshot.id} does not exist any more.")
    parent = share_model(tx, backend, share)
    instance = snapshot.instance
    return SnapshotModel(
        id=instance.id,
        snapshot_id=snapshot.id,
        share_id=snapshot.share_id,
        share_instance_id=instance.share_instance_id,
        name=backend.snapshot_name_template % instance.id,
        share_name=parent.name,
        display_name=snapshot.name,
        status=instance.status.value,
        progress=instance.progress,
        size=snapshot.size_gib,
        share_size=snapshot.share_size_gib,
        share_proto=snapshot.share_protocol,
        project_id=snapshot.project_id,
        user_id=snapshot.user_id,
        provider_location=instance.provider_location,
        share=parent,
        metadata=dict(snapshot.metadata),
        created_at=snapshot.created_at,
        updated_at=snapshot.updated_at,
    )


def access_models(share: Share, rules: Sequence[AccessRule]) -> list[AccessModel]:
    """Models of rules as they concern the share's instance; all read-only where the instance casts them so."""
    models = [
        AccessModel(
            id=rule.id,
            access_id=rule.id,
            share_id=rule.share_id,
            share_instance_id=share.instance.id,
            access_type=rule.access_type.value,
            access_to=rule.access_to,
            access_level=rule.access_level.value,
            access_key=rule.access_key,
            state=rule.state.value,
            metadata=dict(rule.metadata),
        )
        for rule in rules
    ]
    if share.instance.cast_rules_to_readonly:
        return [replace(model, access_level=AccessLevel.RO.value) for model in models]
    return models


def _share_model(
    backend: Backend, share: Share, locations: Sequence[ExportLocation], share_type: ShareType | None
) -> ShareModel:
    instance = share.instance
    return ShareModel(
        id=instance.id,
        share_id=share.id,
        name=backend.share_name_template % instance.id,
        display_name=share.name,
        size=share.size_gib,
        share_proto=share.protocol,
        project_id=share.project_id,
        user_id=share.user_id,
        host=instance.host or "",
        status=instance.status.value,
        share_type_id=share.share_type_id,
        share_type_name=share_type.name if share_type else None,
        extra_specs=dict(share_type.extra_specs) if share_type else {},
        metadata=dict(share.metadata),
        snapshot_id=share.snapshot_id,
        is_public=share.is_public,
        snapshot_support=share.snapshot_support,
        create_share_from_snapshot_support=share.create_share_from_snapshot_support,
        revert_to_snapshot_support=share.revert_to_snapshot_support,
        mount_snapshot_support=share.mount_snapshot_support,
        replication_type=share.replication_type,
        replica_state=None if instance.replica_state is None else instance.replica_state.value,
        epoch=instance.epoch,
        access_rules_status=instance.access_rules_status.value,
        availability_zone=instance.availability_zone,
        share_network_id=instance.share_network_id,
        share_server_id=instance.share_server_id,
        share_group_id=share.share_group_id,
        mount_point_name=share.mount_point_name,
        provider_location=instance.provider_location,
        progress=instance.progress,
        created_at=instance.created_at,
        updated_at=instance.updated_at,
        export_locations=tuple(
            ExportLocationModel(location.path, location.is_admin_only, location.preferred, dict(location.metadata))
            for location in locations
        ),
    )
