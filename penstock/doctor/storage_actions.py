"""Repairs of what no row is about, and so no operation can be queued for: done to the storage at once.

They are planned from an examination made right before (`treatment.treat`), and the driver checks the identity on the
storage again before it changes or destroys anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.domain.access import AccessState
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.share.inventory import FoundShare, FoundSnapshot
from penstock.share.manager.calls import driver_call
from penstock.share.manager.models import access_models, share_model
from penstock.share.models import ShareModel, SnapshotModel
from penstock.share_site import ShareSite
from penstock.store import access


@dataclass(frozen=True, slots=True)
class DestroyShare:
    """Destroy what lies on the storage for no row, with its snapshots and exports."""

    found: FoundShare

    def carry_out(self, site: ShareSite) -> None:
        with driver_call("delete shares"):
            site.driver.delete_share(site.context, model_of(site, self.found), share_server=None)


@dataclass(frozen=True, slots=True)
class DestroySnapshot:
    """Destroy a snapshot of `parent` that no row is about."""

    found: FoundSnapshot
    parent: FoundShare

    def carry_out(self, site: ShareSite) -> None:
        with driver_call("delete snapshots"):
            model = _snapshot_model(site, self.found, self.parent)
            site.driver.delete_snapshot(site.context, model, share_server=None)


@dataclass(frozen=True, slots=True)
class Discard:
    """Destroy what a creation that was cut off left; the driver looks that nothing was written to it."""

    location: str

    def carry_out(self, site: ShareSite) -> None:
        site.holder.discard(self.location)


@dataclass(frozen=True, slots=True)
class StopExporting:
    """Take a path away from the file server."""

    path: str

    def carry_out(self, site: ShareSite) -> None:
        site.holder.stop_exporting([self.path])


@dataclass(frozen=True, slots=True)
class CloseShare:
    """Shut out clients of a share that has no access rules."""

    share: Share

    def carry_out(self, site: ShareSite) -> None:
        with site.backend.database.read() as tx:
            model = share_model(tx, site.backend, self.share)
            rules = access.of_instance(tx, self.share.instance.id)
        active = access_models(self.share, [rule for rule in rules if rule.state is AccessState.ACTIVE])
        with driver_call("change access rules"):
            site.driver.update_access(site.context, model, active, [], [], share_server=None)


@dataclass(frozen=True, slots=True)
class WriteIdentity:
    """Write on the storage what the row says."""

    share: Share

    def carry_out(self, site: ShareSite) -> None:
        with site.backend.database.read() as tx:
            model = share_model(tx, site.backend, self.share)
        site.holder.write_identity(model)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Destroy the tombstones that nothing needs."""

    def carry_out(self, site: ShareSite) -> None:
        site.holder.sweep()


def model_of(site: ShareSite, found: FoundShare) -> ShareModel:
    """What a driver is handed for a share that only the storage knows."""
    backend = site.backend
    return ShareModel(
        id=found.id,
        share_id=found.share_id,
        name=backend.share_name_template % found.id,
        display_name=found.name,
        size=found.size_gib,
        share_proto=found.protocol,
        project_id=found.project_id,
        user_id=found.user_id,
        host=f"{backend.host}#{found.pool}",
        status=ShareStatus.DELETING.value,
        share_type_id=found.type_id,
        provider_location=found.location,
        created_at=found.created_at,
        export_locations=found.export_locations,
    )


def _snapshot_model(site: ShareSite, found: FoundSnapshot, parent: FoundShare) -> SnapshotModel:
    model = model_of(site, parent)
    return SnapshotModel(
        id=found.id,
        snapshot_id=found.snapshot_id,
        share_id=found.share_id,
        share_instance_id=found.instance_id,
        name=site.backend.snapshot_name_template % found.id,
        share_name=model.name,
        display_name=found.name,
        status=SnapshotStatus.DELETING.value,
        progress="100%",
        size=found.size_gib,
        share_size=parent.size_gib,
        share_proto=parent.protocol,
        project_id=found.project_id,
        user_id=found.user_id,
        provider_location=found.location,
        share=model,
        created_at=found.created_at,
    )
