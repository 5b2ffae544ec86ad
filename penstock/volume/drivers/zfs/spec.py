"""What a volume shall be: from the API's volume, its type's extra specs and the backend's settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.domain.replication import objective_s
from penstock.domain.types import parse_claim
from penstock.domain.volume_types import REPLICATION_SPEC
from penstock.errors import Invalid, Unsupported
from penstock.units import gib_to_bytes
from penstock.volume.drivers.zfs.identity import marks_of_volume
from penstock.volume.drivers.zfs.options import Settings, parse_block_size
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset, InvalidName, SnapshotName, Target, parse_target

COMPRESSION = "zfs:compression"
BLOCK_SIZE = "zfs:volblocksize"
THIN = "thin_provisioning"
PROVISIONING = "provisioning:type"  # the field's other word for it: ``thin`` or ``thick``


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume as it is wanted. `options` are native properties given at creation; `fixed` those of new zvols alone."""

    dataset: Dataset
    marks: dict[str, str]
    size_gib: int
    is_thin: bool
    options: dict[str, str]
    fixed: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """The size the user asked for."""
        return gib_to_bytes(self.size_gib)


def volume_spec(volume: VolumeModel, settings: Settings, flavour: Flavour, *, is_zvol: bool) -> VolumeSpec:
    """What a new volume shall be. Raises Invalid, Unsupported for extra specs nobody can fulfil."""
    specs = extra_specs(volume)
    return VolumeSpec(
        dataset=new_dataset(volume, settings),
        marks=marks_of_volume(volume),
        size_gib=volume.size,
        is_thin=is_thin(specs, settings),
        options=native(specs, settings, flavour),
        fixed=block_size(specs, settings) if is_zvol else {},
    )


def extra_specs(volume: VolumeModel) -> dict[str, str]:
    """Of the volume's type."""
    return volume.volume_type.extra_specs if volume.volume_type else {}


def said(specs: Mapping[str, str], name: str) -> str | None:
    """The extra spec, also when it is written with the scope of capabilities."""
    return specs.get(name, specs.get(f"capabilities:{name}"))


def is_replicated(volume: VolumeModel) -> bool:
    """Does its type want it to be replicated?"""
    return claims_replication(extra_specs(volume))


def claims_replication(specs: Mapping[str, str]) -> bool:
    """The extra spec ``replication_enabled``. Raises Invalid when it is no boolean."""
    text = said(specs, REPLICATION_SPEC)
    return text is not None and parse_claim(REPLICATION_SPEC, text)


def rpo_s(volume: VolumeModel, settings: Settings) -> int:
    """By how many seconds its replicas may lag."""
    return objective_s({}, extra_specs(volume), settings.rpo_s)


def is_thin(specs: Mapping[str, str], settings: Settings) -> bool:
    """Shall it take only what is written? Raises Invalid for extra specs that say neither."""
    text = said(specs, THIN)
    if text is not None:
        return parse_claim(THIN, text)
    kind = specs.get(PROVISIONING)
    if kind is None:
        return settings.is_thin
    if kind.strip().lower() not in ("thin", "thick"):
        raise Invalid(f"The extra spec {PROVISIONING} is '{kind}'; it can be thin or thick.")
    return kind.strip().lower() == "thin"


def stays_thin(volume: VolumeModel, settings: Settings) -> bool:
    """`is_thin` of a volume there is: a type may be given words later that say neither, and are then as if not said."""
    try:
        return is_thin(extra_specs(volume), settings)
    except Invalid:
        return settings.is_thin


def native(specs: Mapping[str, str], settings: Settings, flavour: Flavour) -> dict[str, str]:
    """Native properties that may be changed later, too."""
    value = (specs.get(COMPRESSION) or settings.compression or "").strip().lower()
    if not value:
        return {}
    if value.partition("-")[0] not in {name.partition("-")[0] for name in flavour.compressions}:
        raise Unsupported(f"{COMPRESSION}: {flavour.name} {flavour.version} has no compression '{value}'.")
    return {"compression": value}


def block_size(specs: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What a zvol keeps for life."""
    text = specs.get(BLOCK_SIZE)
    size = parse_block_size(BLOCK_SIZE, text) if text else settings.block_size
    return {"volblocksize": str(size)} if size else {}


# --- names ----------------------------------------------------------------------------------------------------------


def pool_name(host: str) -> str:
    """The pool of ``host@backend#pool``, empty when it names none."""
    return host.partition("#")[2]


def root_of(host: str, settings: Settings) -> Dataset:
    """The dataset below which volumes of that pool are made. Raises Invalid for a pool that is not this backend's."""
    try:
        return settings.roots[pool_name(host)]
    except KeyError:
        names = ", ".join(sorted(settings.roots))
        raise Invalid(f"the pool of '{host}' is not one of this backend's: {names}") from None


def pool_of(dataset: Dataset, host: str, settings: Settings) -> str | None:
    """What the backend calls the pool that a volume's dataset is in; `host` is where it is said to be.

    Where volumes are served from another place, that need not be the zpool's name, and one may stand for several.
    """
    found = [pool for pool, root in settings.roots.items() if root.pool == dataset.pool]
    return pool_name(host) if pool_name(host) in found else next(iter(found), None)


def new_dataset(volume: VolumeModel, settings: Settings) -> Dataset:
    """Where a new volume goes."""
    return root_of(volume.host, settings).child(volume.name)


def told_dataset(volume: VolumeModel, settings: Settings) -> Dataset:
    """Where the volume was last known to be: what the driver called it, if that is in one of our pools."""
    told = _told(volume.provider_id)
    if isinstance(told, Dataset) and any(told.pool == root.pool for root in settings.roots.values()):
        return told
    return new_dataset(volume, settings)


def snapshot_name(snapshot: SnapshotModel) -> str:
    """The snapshot's name within its dataset: as it is called if we took it over, else as the template says."""
    told = _told(snapshot.provider_id)
    return told.name if isinstance(told, SnapshotName) else snapshot.name


def _told(text: str | None) -> Target | None:
    try:
        return parse_target(text) if text else None
    except InvalidName:
        return None
