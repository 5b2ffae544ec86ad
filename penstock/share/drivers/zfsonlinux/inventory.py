"""Everything of ours on the host, read from ZFS and the NFS server: what doctor and recovery work from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from penstock.domain.access import AccessLevel, AccessType
from penstock.errors import Conflict
from penstock.exports.model import ClientRule, Export, Squash
from penstock.ids import (
    AccessRuleId,
    InstanceId,
    ProjectId,
    ShareId,
    ShareTypeId,
    SnapshotId,
    SnapshotInstanceId,
    UserId,
)
from penstock.share.drivers.zfsonlinux import lineage, spec, unmarked
from penstock.share.drivers.zfsonlinux.access import SQUASH, StoredRule, as_read_only, understand
from penstock.share.drivers.zfsonlinux.exporting import export_locations
from penstock.share.drivers.zfsonlinux.identity import KIND, PREFIX, Kind, kind_of
from penstock.share.drivers.zfsonlinux.observe import SHARE_NAMES, SNAPSHOT_NAMES, SeenShare, seen_share, seen_snapshot
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.steps import SetProperties, carry_out
from penstock.share.drivers.zfsonlinux.storage import Storage
from penstock.share.inventory import (
    Client,
    FoundExport,
    FoundRule,
    FoundShare,
    FoundSnapshot,
    Inventory,
    Leftover,
    SetAside,
    Tombstone,
)
from penstock.share.models import AccessModel, ExportLocationModel, ShareModel
from penstock.share.replication import Role
from penstock.units import bytes_to_gib_ceil
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, bytes_of, local_value

CREATION, USED = "creation", "used"
HOLDS = "userrefs"  # how many, on a snapshot
Tree = dict[str, Properties]


def take_inventory(storage: Storage, settings: Settings) -> Inventory:
    """Two ZFS commands per pool, three where access lists are very long. Raises NotFound when a pool is missing."""
    shares: list[FoundShare] = []
    snapshots: list[FoundSnapshot] = []
    tombstones: list[Tombstone] = []
    set_aside: list[SetAside] = []
    leftovers: list[Leftover] = []
    rehearsals: set[str] = set()
    for pool, root in settings.roots.items():
        datasets = _datasets(storage.zfs, root)
        held = (HOLDS,) if storage.flavour.can_hold else ()
        taken = storage.zfs.tree(root, (*SNAPSHOT_NAMES, *held), kinds=("snapshot",))
        shares += _shares(pool, datasets, settings)
        aside = {name for name, found in datasets.items() if kind_of(found) is Kind.DIVERGED}
        deleted = {name for name, found in datasets.items() if kind_of(found) is Kind.TOMBSTONE}
        set_aside += [_set_aside(pool, name, datasets[name]) for name in sorted(aside)]
        rehearsals |= {found["mountpoint"].value for found in datasets.values() if kind_of(found) is Kind.REHEARSAL}
        # what was set aside keeps its snapshots, which are nobody's any more; so does what was deleted and is needed
        snapshots += _snapshots(
            pool, {name: found for name, found in taken.items() if name.partition("@")[0] not in aside | deleted}
        )
        tombstones += _tombstones(pool, datasets, taken)
        leftovers += unmarked.unmarked(pool, root, datasets, settings)
    return Inventory(
        pools=tuple(settings.roots),
        shares=tuple(shares),
        snapshots=tuple(snapshots),
        tombstones=tuple(tombstones),
        exports=tuple(
            export for export in _exports(storage.nfs.all(), storage.nfs.in_force()) if export.path not in rehearsals
        ),
        set_aside=tuple(set_aside),
        leftovers=tuple(leftovers),
    )


def clients_of(share: ShareModel, rules: Sequence[AccessModel], settings: Settings) -> tuple[Client, ...]:
    """See `HasInventory`."""
    understood = understand(rules, spec.squash_of(share, settings.squash))
    if share["replica_state"] not in (None, Role.ACTIVE):
        understood = as_read_only(understood)
    return _clients(rule.client_rule for rule in understood.rules)


def write_identity(zfs: Zfs, share: ShareModel, seen: SeenShare) -> None:
    """See `HasInventory`. The epoch stays what it was."""
    if not seen.belongs_to(share["id"]):
        raise Conflict(f"{seen.dataset} is not share instance {share['id']}'s any more")
    wanted = spec.share_identity(share, share["size"]).properties(Kind.SHARE)
    kept = {f"{PREFIX}epoch", KIND}
    carry_out((SetProperties(seen.dataset, tuple((n, v) for n, v in wanted.items() if n not in kept)),), zfs)


def sweep(storage: Storage, settings: Settings) -> None:
    """See `HasInventory`. ZFS itself refuses to destroy what something depends on."""
    for root in settings.roots.values():
        for name, properties in storage.zfs.tree(root, (KIND,)).items():
            if kind_of(properties) is Kind.TOMBSTONE:
                lineage.sweep(storage.zfs, [SeenShare(Dataset(name), Kind.TOMBSTONE)])
        for name, properties in storage.zfs.tree(root, (KIND,), kinds=("snapshot",)).items():
            target = parse_target(name)
            if isinstance(target, SnapshotName) and kind_of(properties) is Kind.TOMBSTONE:
                storage.zfs.destroy_snapshots(target.dataset, [target.name], deferred=True)


# --- reading --------------------------------------------------------------------------------------------------------


def _datasets(zfs: Zfs, root: Dataset) -> Tree:
    """All filesystems from `root` down, with all parts of their access lists."""
    found = zfs.tree(root, (*SHARE_NAMES, CREATION, USED))
    unread = {name: seen_share(Dataset(name), properties).unread_rules for name, properties in found.items()}
    longer = [name for name, parts in unread.items() if parts]
    if longer:
        names = sorted({part for name in longer for part in unread[name]})
        rest = zfs.get_many([Dataset(name) for name in longer], names)
        found = {name: {**properties, **rest.get(name, {})} for name, properties in found.items()}
    return found


def _shares(pool: str, datasets: Tree, settings: Settings) -> Iterator[FoundShare]:
    for name, properties in datasets.items():
        seen = seen_share(Dataset(name), properties)
        if seen.identity is not None:
            yield _share(pool, seen, bytes_of(properties, CREATION), settings)


def _share(pool: str, seen: SeenShare, created_s: int, settings: Settings) -> FoundShare:
    identity = seen.identity
    assert identity is not None  # noqa: S101 - the caller's condition
    default_name = settings.dataset_prefix + identity.id.replace("-", "_")
    is_default = seen.dataset == settings.roots[pool].child(default_name)
    locations = export_locations(seen.mountpoint, settings) if seen.mountpoint is not None else []
    return FoundShare(
        id=InstanceId(identity.id),
        share_id=ShareId(identity.share_id),
        location=str(seen.dataset),
        pool=pool,
        project_id=ProjectId(identity.project_id),
        user_id=UserId(identity.user_id),
        protocol=identity.protocol,
        name=identity.name,
        type_id=ShareTypeId(identity.type_id) if identity.type_id else None,
        type_name=identity.type_name,
        size_gib=bytes_to_gib_ceil(seen.refquota_bytes) if seen.refquota_bytes else identity.size_gib,
        limit_bytes=seen.refquota_bytes,
        path=seen.mountpoint,
        provider_location=None if is_default else str(seen.dataset),
        source_snapshot=None if seen.origin is None else str(seen.origin),
        created_at=_time(created_s),
        rules=_rules(seen, settings),
        export_locations=tuple(ExportLocationModel(**location) for location in locations),
        is_soft_deleted=seen.deletion is not None,
        deletion_due=_due(seen.deletion),
        role=seen.marks.role,
        epoch=identity.epoch,
        synced_at=seen.marks.synced_at,
    )


def _rules(seen: SeenShare, settings: Settings) -> tuple[FoundRule, ...] | None:
    """The rules written on the dataset; never written is none, half written is not known."""
    if seen.rules is None:
        return None if seen.rules_marks else ()
    return tuple(_rule(rule, settings.squash) for rule in seen.rules)


def _rule(rule: StoredRule, default: Squash) -> FoundRule:
    return FoundRule(
        id=AccessRuleId(rule.id),
        access_type=AccessType.IP,
        access_to=rule.client,
        access_level=AccessLevel(rule.level),
        metadata=() if rule.squash is default else ((SQUASH, rule.squash.value),),
    )


def _snapshots(pool: str, taken: Tree) -> Iterator[FoundSnapshot]:
    for name, properties in taken.items():
        target = parse_target(name)
        if not isinstance(target, SnapshotName):
            continue
        seen = seen_snapshot(target, properties)
        if seen.identity is not None:
            yield FoundSnapshot(
                id=SnapshotInstanceId(seen.identity.id),
                snapshot_id=SnapshotId(seen.identity.snapshot_id),
                instance_id=InstanceId(seen.identity.instance_id),
                share_id=ShareId(seen.identity.share_id),
                location=name,
                pool=pool,
                project_id=ProjectId(seen.identity.project_id),
                user_id=UserId(seen.identity.user_id),
                name=seen.identity.name,
                size_gib=seen.identity.size_gib,
                created_at=_time(seen.created_s),
            )


def _tombstones(pool: str, datasets: Tree, taken: Tree) -> Iterator[Tombstone]:
    """What is needed is known from the origins below the root, and from holds; a clone elsewhere is ZFS' to protect."""
    origins = {properties["origin"].value for properties in datasets.values()}
    held = {name for name, properties in taken.items() if HOLDS in properties and properties[HOLDS].value != "0"}
    needed = origins | held
    for name, properties in datasets.items():
        if kind_of(properties) is Kind.TOMBSTONE:
            yield Tombstone(name, pool, any(snapshot.startswith(f"{name}@") for snapshot in needed))
    for name, properties in taken.items():
        if kind_of(properties) is Kind.TOMBSTONE:
            snapshot_id = local_value(properties, f"{PREFIX}snapshot_id")
            yield Tombstone(name, pool, name in needed, SnapshotId(snapshot_id) if snapshot_id else None)


def _set_aside(pool: str, name: str, properties: Properties) -> SetAside:
    of = seen_share(Dataset(name), properties).of
    return SetAside(name, pool, InstanceId(of or ""), bytes_of(properties, USED))


def _exports(configured: Mapping[str, Export], in_force: set[str]) -> Iterator[FoundExport]:
    for path, export in sorted(configured.items()):
        yield FoundExport(path, InstanceId(export.instance_id), _clients(export.clients), path in in_force)


def _clients(rules: Iterable[ClientRule]) -> tuple[Client, ...]:
    return tuple(
        sorted(Client(rule.client, f"{'rw' if rule.writable else 'ro'},{rule.squash.value}") for rule in rules)
    )


def _due(text: str | None) -> datetime | None:
    """The time written on a share in the recycle bin; one that cannot be read is unknown, and then it stays there."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _time(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds else None
