"""The resource ``extensions``: what was optional once, for clients that ask before they use it."""

from __future__ import annotations

from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import NotFound

routes = Routes()

# alias → name and description, of those published extensions whose resources are served
EXTENSIONS = {
    "OS-SCH-HNT": ("SchedulerHints", "Pass arbitrary key/value pairs to the scheduler."),
    "backups": ("Backups", "Backups of volumes."),
    "capabilities": ("Capabilities", "What a backend can do."),
    "encryption": ("VolumeTypeEncryption", "How volumes of a type are encrypted."),
    "os-admin-actions": ("AdminActions", "Reset, force delete, force detach and migrate."),
    "os-availability-zone": ("AvailabilityZones", "The availability zones."),
    "os-extended-services": ("ExtendedServices", "Services with the reason why they are disabled."),
    "os-extended-snapshot-attributes": ("ExtendedSnapshotAttributes", "Snapshots with their project and progress."),
    "os-hosts": ("Hosts", "Hosts of volume services."),
    "os-quota-class-sets": ("QuotaClasses", "Limits of quota classes."),
    "os-quota-sets": ("Quotas", "Limits of projects."),
    "os-services": ("Services", "Volume services."),
    "os-snapshot-actions": ("SnapshotActions", "Status updates of snapshots."),
    "os-snapshot-manage": ("SnapshotManage", "Bring existing snapshots under management."),
    "os-types-extra-specs": ("TypesExtraSpecs", "Extra specs of volume types."),
    "os-types-manage": ("TypesManage", "Volume types."),
    "os-used-limits": ("UsedLimits", "Limits with what is used of them."),
    "os-vol-host-attr": ("VolumeHostAttribute", "Volumes with their host."),
    "os-vol-image-meta": ("VolumeImageMetadata", "Volumes with the metadata of their image."),
    "os-vol-mig-status-attr": ("VolumeMigStatusAttribute", "Volumes with the status of their migration."),
    "os-vol-tenant-attr": ("VolumeTenantAttribute", "Volumes with their project."),
    "os-volume-actions": ("VolumeActions", "Attach, detach, extend and more."),
    "os-volume-encryption-metadata": ("VolumeEncryptionMetadata", "How a volume is encrypted."),
    "os-volume-manage": ("VolumeManage", "Bring existing volumes under management."),
    "os-volume-transfer": ("VolumeTransfer", "Give volumes to other projects."),
    "os-volume-type-access": ("VolumeTypeAccess", "Private volume types."),
    "os-volume-unmanage": ("VolumeUnmanage", "Let volumes go without deleting them."),
    "qos-specs": ("Qos_specs_manage", "QoS specs."),
    "scheduler-stats": ("Scheduler_stats", "What pools reported."),
}
UPDATED = "2017-01-01T00:00:00+00:00"


@routes.get("extensions")
def index(_request: ApiRequest) -> Answer:
    """All of them."""
    return Answer({"extensions": [_view(alias) for alias in EXTENSIONS]})


@routes.get("extensions/{alias}")
def show(request: ApiRequest) -> Answer:
    """One of them."""
    alias = request.params["alias"]
    if alias not in EXTENSIONS:
        raise NotFound(f"There is no extension '{alias[:64]}'.")
    return Answer({"extension": _view(alias)})


def _view(alias: str) -> dict[str, object]:
    name, description = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "links": [], "updated": UPDATED}
