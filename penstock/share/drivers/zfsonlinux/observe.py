"""What is there: a share's dataset or a snapshot as ZFS tells, each by one exact ``zfs get``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.errors import NotFound
from penstock.share.drivers.zfsonlinux import stored_text
from penstock.share.drivers.zfsonlinux.access import StoredRule, load_rules
from penstock.share.drivers.zfsonlinux.identity import (
    DELETION,
    ID,
    KIND,
    REPLICA_MARKS,
    RULES,
    SHARE_MARKS,
    SNAPSHOT_MARKS,
    Kind,
    ReplicaMarks,
    ShareIdentity,
    SnapshotIdentity,
    kind_of,
    owner_id,
)
from penstock.share.replication import Role
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, Property, bytes_of, local_value
from penstock.zfs.reigns import OF

SPACE = ("refquota", "quota", "refreservation", "referenced")
STATE = ("mounted", "mountpoint", "origin", "compression", "dedup", "readonly", "canmount")
SHARE_NAMES = (*SHARE_MARKS, *REPLICA_MARKS, OF, RULES, DELETION, *SPACE, *STATE)
NO_MARKS = ReplicaMarks()
SNAPSHOT_NAMES = (*SNAPSHOT_MARKS, "referenced", "creation")


@dataclass(frozen=True, slots=True)
class SeenShare:
    """A dataset. `identity` is None unless it is a share of ours; sizes in bytes, 0 for none set.

    `of` is the replica that something beside a share belongs to. `is_readonly` is what is stored (zfs-fuse shows the
    opposite of what is mounted, as ``temporary``). `mountpoint` is None when it has none that we could export. `rules`
    are the wanted access rules written on it; None when there are none, or not whole. `unread_rules` names further
    properties that hold the rest of them. `deletion` is what is written on a share in the recycle bin: its time, None
    on every other.
    """

    dataset: Dataset
    kind: Kind | None = None
    owner_id: str | None = None
    identity: ShareIdentity | None = None
    refquota_bytes: int = 0
    quota_bytes: int = 0
    refreservation_bytes: int = 0
    referenced_bytes: int = 0
    mountpoint: str | None = None
    is_mounted: bool = True
    origin: SnapshotName | None = None
    compression: str = "off"
    dedup: str = "off"
    rules: tuple[StoredRule, ...] | None = None
    rules_marks: tuple[tuple[str, str], ...] = ()
    unread_rules: tuple[str, ...] = ()
    deletion: str | None = None
    marks: ReplicaMarks = NO_MARKS
    of: str | None = None
    is_readonly: bool = False
    is_boot_safe: bool = False
    has_own_mountpoint: bool = False

    @property
    def role(self) -> Role:
        """What it is in a set of replicas; what is in none is active."""
        return self.marks.role or Role.ACTIVE

    @property
    def epoch(self) -> int:
        """Of which reign its data is."""
        return self.identity.epoch if self.identity is not None else 0

    def belongs_to(self, instance_id: str) -> bool:
        """Is it the share instance's?"""
        return self.kind is Kind.SHARE and self.owner_id == instance_id


@dataclass(frozen=True, slots=True)
class SeenSnapshot:
    """A snapshot. `identity` is None unless it is one of ours."""

    snapshot: SnapshotName
    kind: Kind | None
    owner_id: str | None
    identity: SnapshotIdentity | None
    referenced_bytes: int
    created_s: int


def observe_share(zfs: Zfs, dataset: Dataset) -> SeenShare | None:
    """The dataset as it is now, None when there is none. One command, one more for very many access rules."""
    try:
        return _whole(zfs, dataset, zfs.get(dataset, SHARE_NAMES))
    except NotFound:
        return None


def observe_tree(zfs: Zfs, root: Dataset, kinds: Sequence[str] = ("filesystem",)) -> dict[Dataset, SeenShare]:
    """`root` and all filesystems below it, in one command, two if there are very long access lists. Raises NotFound."""
    found = {Dataset(name): properties for name, properties in zfs.tree(root, SHARE_NAMES, kinds=kinds).items()}
    seen = {dataset: seen_share(dataset, properties) for dataset, properties in found.items()}
    longer = [dataset for dataset, share in seen.items() if share.unread_rules]
    if longer:
        names = sorted({name for dataset in longer for name in seen[dataset].unread_rules})
        rest = zfs.get_many(longer, names)
        for dataset in longer:
            seen[dataset] = seen_share(dataset, {**found[dataset], **rest.get(str(dataset), {})})
    return seen


def observe_snapshot(zfs: Zfs, snapshot: SnapshotName) -> SeenSnapshot | None:
    """The snapshot as it is now, None when there is none."""
    try:
        return seen_snapshot(snapshot, zfs.get(snapshot, SNAPSHOT_NAMES))
    except NotFound:
        return None


def is_share_of(zfs: Zfs, dataset: Dataset, instance_id: str) -> bool:
    """Is it there and the share instance's? One command."""
    found = zfs.get_many([dataset], (ID, KIND)).get(str(dataset), {})
    return (kind_of(found), owner_id(found)) == (Kind.SHARE, instance_id)


def is_snapshot_of(zfs: Zfs, snapshot: SnapshotName, instance_id: str, snapshot_instance_id: str) -> bool:
    """Is it there and ours, on the dataset of that share instance? One command."""
    found = zfs.get_many([snapshot.dataset, snapshot], (ID, KIND))
    marks = [
        (kind_of(found[name]), owner_id(found[name]))
        for name in map(str, (snapshot.dataset, snapshot))
        if name in found
    ]
    return marks == [(Kind.SHARE, instance_id), (Kind.SNAPSHOT, snapshot_instance_id)]


def observe_snapshots(zfs: Zfs, dataset: Dataset) -> list[SeenSnapshot]:
    """All snapshots of exactly this dataset, in the order ZFS lists them. Raises NotFound."""
    found = zfs.tree(dataset, SNAPSHOT_NAMES, kinds=("snapshot",), depth=1)
    snapshots = [(parse_target(name), properties) for name, properties in found.items()]
    return [
        seen_snapshot(target, properties)
        for target, properties in snapshots
        if isinstance(target, SnapshotName) and target.dataset == dataset
    ]


def seen_snapshot(snapshot: SnapshotName, properties: Mapping[str, Property]) -> SeenSnapshot:
    """From what `SNAPSHOT_NAMES` answered."""
    return SeenSnapshot(
        snapshot=snapshot,
        kind=kind_of(properties),
        owner_id=owner_id(properties),
        identity=SnapshotIdentity.read(properties),
        referenced_bytes=bytes_of(properties, "referenced"),
        created_s=bytes_of(properties, "creation"),
    )


def seen_share(dataset: Dataset, properties: Mapping[str, Property]) -> SeenShare:
    """From what `SHARE_NAMES` answered, and the parts of the rules if they were asked for."""
    parts = stored_text.further_names(RULES, properties)
    text = stored_text.join(RULES, properties)
    mountpoint = properties["mountpoint"].value
    return SeenShare(
        dataset=dataset,
        kind=kind_of(properties),
        owner_id=owner_id(properties),
        identity=ShareIdentity.read(properties),
        refquota_bytes=bytes_of(properties, "refquota"),
        quota_bytes=bytes_of(properties, "quota"),
        refreservation_bytes=bytes_of(properties, "refreservation"),
        referenced_bytes=bytes_of(properties, "referenced"),
        mountpoint=mountpoint if mountpoint.startswith("/") else None,
        is_mounted=properties["mounted"].value == "yes",
        origin=_origin(properties["origin"]),
        compression=properties["compression"].value,
        dedup=properties["dedup"].value,
        rules=load_rules(text) if text is not None else None,
        rules_marks=_rules_marks(properties, parts),
        unread_rules=tuple(name for name in parts if name not in properties),
        deletion=local_value(properties, DELETION),
        marks=ReplicaMarks.read(properties),
        of=local_value(properties, OF),
        is_readonly=(properties["readonly"].value == "on") != (properties["readonly"].source == "temporary"),
        is_boot_safe=properties["canmount"].value == "noauto",
        has_own_mountpoint=properties["mountpoint"].is_local,
    )


def _whole(zfs: Zfs, dataset: Dataset, properties: Properties) -> SeenShare:
    seen = seen_share(dataset, properties)
    if not seen.unread_rules:
        return seen
    return seen_share(dataset, {**properties, **zfs.get(dataset, seen.unread_rules)})


def _rules_marks(properties: Mapping[str, Property], parts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    values = ((name, local_value(properties, name)) for name in (*parts, RULES))
    return tuple((name, value) for name, value in values if value is not None)


def _origin(found: Property) -> SnapshotName | None:
    target = parse_target(found.value) if found.value not in ("-", "") else None
    return target if isinstance(target, SnapshotName) else None


def find_owner(zfs: Zfs, root: Dataset, instance_id: str) -> Dataset | None:
    """The dataset at or below `root` that bears the instance's id; None when there is none.

    Lists the whole tree: only for shares that are not where their name says. Raises NotFound.
    """
    for name, properties in zfs.tree(root, (ID,)).items():
        if owner_id(properties) == instance_id:
            return Dataset(name)
    return None
