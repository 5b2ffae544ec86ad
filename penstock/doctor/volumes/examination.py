"""Look at one backend of volumes: its rows, its storage, its rows again."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.doctor.findings import Finding
from penstock.doctor.volumes.books import VolumeBooks, settled
from penstock.doctor.volumes.drift import drift
from penstock.doctor.volumes.repairs import VolumeAction, plan
from penstock.domain.operations import Operation
from penstock.domain.volumes import TEMPORARY
from penstock.store import backups, operations, volume_placement, volume_snapshots, volumes
from penstock.store.backups import BackupFilter
from penstock.volume.inventory import Aspect, VolumeInventory
from penstock.volume.manager import starting
from penstock.volume.manager.models import snapshot_model, volume_models
from penstock.volume_site import VolumeSite


@dataclass(frozen=True, slots=True)
class VolumeExamination:
    """What was seen, and what of it does not agree."""

    books: VolumeBooks
    inventory: VolumeInventory
    findings: tuple[Finding, ...]

    def repair_of(self, finding: Finding) -> VolumeAction | None:
        """What repairs it, None when only an administrator can."""
        return plan(finding, self.books, self.inventory)

    @property
    def unseen(self) -> str | None:
        """Why nobody could tell whether the volumes are there; None when somebody could."""
        return next((one.why for one in self.inventory.not_examined if one.aspect is Aspect.VOLUMES), None)


def examine_volumes(site: VolumeSite) -> VolumeExamination:
    """Compare database, storage and targets. Changes nothing; a daemon may be at work meanwhile.

    Raises NotFound and Unavailable (a pool is missing, the target server is down), and what a driver of somebody else
    raises.
    """
    before = read_books(site)
    with site.backend.database.read() as tx:
        models = volume_models(tx, site.backend, list(before.volumes.values()))
        taken = [] if site.has_inventory else [snapshot_model(tx, site.backend, s) for s in before.snapshots.values()]
    inventory = site.inventory(models, taken)
    books = settled(before, read_books(site))
    return VolumeExamination(books, inventory, drift(books, inventory))


def read_books(site: VolumeSite) -> VolumeBooks:
    """The rows as they are now, in a fixed number of queries."""
    backend = site.backend
    with backend.database.read() as tx:
        found = volumes.of_backend(tx, backend.host)
        taken = volume_snapshots.of_backend(tx, backend.host)
        kept = backups.list_backups(tx, BackupFilter(host=backend.host))
        models = volume_models(tx, backend, found)
        waiting = operations.pending(tx)
        homes = volume_placement.homes(tx)
        known: set[str] = {home.id for home in homes} | {home.name_id for home in homes}
        known |= set(volume_placement.snapshot_ids(tx))
    busy = _busy(waiting)
    awaited = busy | {f"volume:{operation.id}" for operation in waiting}
    temporary = [volume for volume in found if TEMPORARY in volume.admin_metadata]
    unneeded = frozenset(volume.id for volume in temporary if not starting.is_needed(volume, awaited))
    return VolumeBooks(
        host=backend.host,
        now=backend.now(),
        volumes={volume.id: volume for volume in found},
        snapshots={snapshot.id: snapshot for snapshot in taken},
        backups={backup.id: backup for backup in kept},
        exports={m.id: site.holder.wanted_export(m) for m in models} if site.has_inventory else {},  # type: ignore[misc]
        busy=frozenset(busy | {f"volume:{volume.id}" for volume in temporary if volume.id not in unneeded}),
        unneeded=unneeded,
        homes={home.name_id: home for home in homes},
        known=frozenset(known),
    )


def _busy(waiting: list[Operation]) -> set[str]:
    """What operations are to come for: their resource, and a backup that they read or write."""
    found = {operation.call.resource_key for operation in waiting}
    return found | {f"backup:{one}" for operation in waiting if (one := operation.call.arguments.get("backup_id"))}
