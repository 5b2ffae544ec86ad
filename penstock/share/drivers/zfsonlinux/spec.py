"""What a share shall be: from the API's share, its type's extra specs and the backend's settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from penstock.domain.types import parse_claim
from penstock.errors import Invalid, Unsupported
from penstock.exports.model import Squash
from penstock.share.drivers.zfsonlinux.access import parse_squash
from penstock.share.drivers.zfsonlinux.identity import ShareIdentity, SnapshotIdentity
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.models import ShareModel, SnapshotModel
from penstock.units import gib_to_bytes
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset, InvalidName, SnapshotName, Target, parse_target

PROTOCOL = "NFS"  # the one this driver serves
COMPRESSION = "zfsonlinux:compression"
INDEPENDENT_COPY = "zfsonlinux:independent_copy"
SQUASH = "zfsonlinux:squash"
DEDUPE = "dedupe"
THIN = "thin_provisioning"

Pairs = tuple[tuple[str, str], ...]


class How(StrEnum):
    """How a share gets a snapshot's data."""

    CLONE = "clone"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Source:
    """The snapshot a share starts from."""

    snapshot: SnapshotName
    how: How


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """A share as it is wanted. `options` are native properties given at creation only."""

    dataset: Dataset
    identity: ShareIdentity
    is_thick: bool = False
    options: Pairs = ()
    source: Source | None = None

    @property
    def size_bytes(self) -> int:
        """The size the user asked for."""
        return gib_to_bytes(self.identity.size_gib)

    def resized(self, size_gib: int) -> ShareSpec:
        """The same with another size."""
        return replace(self, identity=replace(self.identity, size_gib=size_gib))


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A snapshot as it is wanted."""

    snapshot: SnapshotName
    identity: SnapshotIdentity


def extra_spec(specs: Mapping[str, str], name: str) -> str | None:
    """The extra spec, also when it is written with the scope of capabilities."""
    return specs.get(name, specs.get(f"capabilities:{name}"))


def is_claimed(specs: Mapping[str, str], name: str, *, default: bool) -> bool:
    """The boolean extra spec. Raises Invalid when it is no boolean."""
    text = extra_spec(specs, name)
    return default if text is None else parse_claim(name, text)


def share_spec(
    share: ShareModel, dataset: Dataset, settings: Settings, flavour: Flavour, source: Source | None = None
) -> ShareSpec:
    """What `share` shall be at `dataset`.

    Raises Invalid, Unsupported for a protocol we do not serve and for extra specs nobody can fulfil.
    """
    if share["share_proto"].upper() != PROTOCOL:
        raise Unsupported(f"this backend serves shares by {PROTOCOL} alone, not by '{share['share_proto']}'")
    return ShareSpec(
        dataset=dataset,
        identity=share_identity(share, share["size"]),
        is_thick=is_thick(share),
        options=creation_options(share["extra_specs"], settings, flavour),
        source=source,
    )


def share_identity(share: ShareModel, size_gib: int) -> ShareIdentity:
    """What is written on the share's dataset."""
    return ShareIdentity(
        id=share["id"],
        share_id=share["share_id"],
        project_id=share["project_id"] or "",
        user_id=share["user_id"] or "",
        size_gib=size_gib,
        protocol=share["share_proto"].upper(),
        type_id=share.get("share_type_id"),
        type_name=share.get("share_type_name"),
        name=share.get("display_name"),
    )


def snapshot_identity(snapshot: SnapshotModel, size_gib: int) -> SnapshotIdentity:
    """What is written on the snapshot."""
    return SnapshotIdentity(
        id=snapshot["id"],
        snapshot_id=snapshot["snapshot_id"],
        instance_id=snapshot["share_instance_id"],
        share_id=snapshot["share_id"],
        project_id=snapshot["project_id"] or "",
        user_id=snapshot["user_id"] or "",
        size_gib=size_gib,
        name=snapshot.get("display_name"),
    )


def is_thick(share: ShareModel) -> bool:
    """Shall the share's whole size be set aside for it?"""
    return not is_claimed(share["extra_specs"], THIN, default=True)


def is_copy_wanted(share: ShareModel) -> bool:
    """Shall a share made from a snapshot share nothing with it?"""
    return is_claimed(share["extra_specs"], INDEPENDENT_COPY, default=False)


def squash_of(share: ShareModel, default: Squash) -> Squash:
    """The squash mode of rules that do not say their own."""
    text = share["extra_specs"].get(SQUASH)
    return default if text is None else parse_squash(text)


def creation_options(specs: Mapping[str, str], settings: Settings, flavour: Flavour) -> Pairs:
    """The backend's options, and over them what the type asks for; an option that is ``off`` forbids it."""
    options = dict(settings.creation_options)
    compression = specs.get(COMPRESSION)
    if compression is not None and options.get("compression") != "off":
        options["compression"] = _compression(compression.strip().lower(), flavour)
    if is_claimed(specs, DEDUPE, default=False) and options.get("dedup") != "off":
        options.setdefault("dedup", "on")
    return tuple(options.items())


def _compression(value: str, flavour: Flavour) -> str:
    if value.partition("-")[0] not in {name.partition("-")[0] for name in flavour.compressions}:
        raise Unsupported(f"{COMPRESSION}: {flavour.name} {flavour.version} has no compression '{value}'.")
    return value


# --- names ----------------------------------------------------------------------------------------------------------


def pool_name(host: str) -> str:
    """The pool of ``host@backend#pool``, empty when it names none."""
    return host.partition("#")[2]


def root_of(host: str, settings: Settings) -> Dataset:
    """The dataset below which shares of that pool are made.

    Raises Invalid for a pool this backend is not configured for; not NotFound, which would say that the share is gone.
    """
    try:
        return settings.roots[pool_name(host)]
    except KeyError:
        raise Invalid(
            f"the pool of '{host}' is not one of this backend's: {', '.join(sorted(settings.roots))}"
        ) from None


def new_dataset(share: ShareModel, settings: Settings) -> Dataset:
    """Where a new share goes: a name made only from the instance's id."""
    return root_of(share["host"], settings).child(dataset_name(share["id"], settings))


def dataset_name(instance_id: str, settings: Settings) -> str:
    """The last part of a share's dataset, unless it was taken over."""
    return settings.dataset_prefix + instance_id.replace("-", "_")


def known_dataset(share: ShareModel, settings: Settings) -> Dataset:
    """Where the share was last known to be: what the driver called it, if that is below one of our roots."""
    told = _told(share.get("provider_location"))
    if isinstance(told, Dataset) and any(root.contains(told) and root != told for root in settings.roots.values()):
        return told
    return new_dataset(share, settings)


def snapshot_name(snapshot: SnapshotModel, settings: Settings) -> str:
    """The snapshot's name within its dataset: as it is called if that is known, else made from its id.

    Of a replicated share from the id that its instances have in common: a copy may bring it to a replica that outlives
    the one it was taken of, and all that it was called by there.
    """
    told = _told(snapshot.get("provider_location"))
    if isinstance(told, SnapshotName):
        return told.name
    is_replicated = snapshot["share"]["replica_state"] is not None
    return _name_of(snapshot["snapshot_id"] if is_replicated else snapshot["id"], settings)


def snapshot_names(snapshot: SnapshotModel, settings: Settings) -> frozenset[str]:
    """All that the snapshot may be called: earlier versions made the name from the instance's id on all replicas."""
    return frozenset({snapshot_name(snapshot, settings), _name_of(snapshot["id"], settings)})


def _name_of(snapshot_id: str, settings: Settings) -> str:
    return settings.snapshot_prefix + str(snapshot_id).replace("-", "_")


def _told(location: str | None) -> Target | None:
    try:
        return parse_target(location) if location else None
    except InvalidName:
        return None
