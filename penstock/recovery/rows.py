"""The rows of one share or snapshot, from what its storage says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from penstock.domain.access import AccessRule, AccessState
from penstock.domain.new_shares import share_with
from penstock.domain.replication import TYPE_SPEC, ReplicationType
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotStatus
from penstock.domain.types import ShareType
from penstock.first_start import DEFAULT_EXTRA_SPECS
from penstock.ids import ShareTypeId, SnapshotId
from penstock.share.inventory import FoundRule, FoundShare, FoundSnapshot
from penstock.share.models import ExportLocationModel


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when it is rebuilt: `host` is ``host@backend``."""

    host: str
    zone: str
    now: datetime


@dataclass(frozen=True, slots=True)
class RebuiltShare:
    """A share's rows."""

    share: Share
    rules: tuple[AccessRule, ...]
    export_locations: tuple[ExportLocationModel, ...]


def share_rows(
    found: FoundShare,
    share_type: ShareType | None,
    origins: Mapping[str, SnapshotId],
    taken: frozenset[str],
    place: Place,
) -> RebuiltShare:
    """The rows of a share, `available`. `origins` are snapshot ids by location, `taken` ids that are in use."""
    created_at = found.created_at or place.now
    specs = share_type or ShareType(ShareTypeId(""), "", None, True, created_at, None, DEFAULT_EXTRA_SPECS)
    share = share_with(
        _instance(found, specs, created_at, place),
        specs,
        name=found.name,
        description=None,
        size_gib=max(1, found.size_gib),
        project_id=found.project_id,
        user_id=found.user_id,
        protocol=found.protocol,
        replication_type=_replication_type(found, specs),
        snapshot_id=origins.get(found.source_snapshot or ""),
    )
    share = replace(share, is_soft_deleted=found.is_soft_deleted, scheduled_to_be_deleted_at=found.deletion_due)
    rules = tuple(_rule(rule, found, created_at) for rule in found.rules or () if rule.id not in taken)
    return RebuiltShare(share, rules, found.export_locations)


def _replication_type(found: FoundShare, specs: ShareType) -> str | None:
    """A copy that has a role is of a replicated share, also where its type is lost."""
    return specs.extra_specs.get(TYPE_SPEC) or (None if found.role is None else ReplicationType.READABLE)


def replica_row(found: FoundShare, active: ShareInstance, place: Place) -> ShareInstance:
    """The row of a replica of a share whose `active` replica is known: it is seen and synced by the next look."""
    return replace(
        active,
        id=found.id,
        host=f"{place.host}#{found.pool}",
        status=ShareStatus.AVAILABLE,
        replica_state=ReplicaState.OUT_OF_SYNC,
        availability_zone=place.zone,
        cast_rules_to_readonly=True,
        provider_location=found.provider_location,
        created_at=found.created_at or place.now,
        updated_at=None,
        synced_at=found.synced_at,
        lag_alarm=False,
        epoch=found.epoch,
    )


def _instance(found: FoundShare, specs: ShareType, created_at: datetime, place: Place) -> ShareInstance:
    return ShareInstance(
        id=found.id,
        share_id=found.share_id,
        host=f"{place.host}#{found.pool}",
        status=ShareStatus.AVAILABLE,
        access_rules_status=AccessRulesStatus.ACTIVE,
        replica_state=None if _replication_type(found, specs) is None else ReplicaState.ACTIVE,
        availability_zone=place.zone,
        share_network_id=None,
        share_server_id=None,
        share_type_id=specs.id or None,
        cast_rules_to_readonly=False,
        progress="100%",
        provider_location=found.provider_location,
        scheduled_at=created_at,
        launched_at=created_at,
        terminated_at=None,
        created_at=created_at,
        updated_at=None,
        epoch=found.epoch,
    )


def _rule(rule: FoundRule, found: FoundShare, created_at: datetime) -> AccessRule:
    return AccessRule(
        id=rule.id,
        share_id=found.share_id,
        access_type=rule.access_type,
        access_to=rule.access_to,
        access_level=rule.access_level,
        access_key=None,
        state=AccessState.ACTIVE,
        metadata=dict(rule.metadata),
        created_at=created_at,
        updated_at=None,
    )


def snapshot_rows(found: FoundSnapshot, parent: FoundShare, place: Place) -> Snapshot:
    """The rows of a snapshot of `parent`, `available`."""
    created_at = found.created_at or place.now
    instance = SnapshotInstance(
        id=found.id,
        snapshot_id=found.snapshot_id,
        share_instance_id=found.instance_id,
        status=SnapshotStatus.AVAILABLE,
        progress="100%",
        provider_location=found.location,
        created_at=created_at,
        updated_at=None,
    )
    size_gib = max(1, found.size_gib)
    return Snapshot(
        id=found.snapshot_id,
        share_id=found.share_id,
        name=found.name,
        description=None,
        project_id=found.project_id,
        user_id=found.user_id,
        size_gib=size_gib,
        share_size_gib=size_gib,
        share_protocol=parent.protocol,
        metadata={},
        created_at=created_at,
        updated_at=None,
        instance=instance,
    )
