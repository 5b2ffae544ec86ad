"""Everything of ours on the host, read from ZFS and the iSCSI target server: what doctor and recovery work from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from penstock.errors import Conflict, NotFound
from penstock.exports.iscsi import Initiator, IscsiTarget
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId
from penstock.volume.drivers.zfs import lineage, unmarked
from penstock.volume.drivers.zfs.connecting import ConnectionMethods, iqn_of
from penstock.volume.drivers.zfs.identity import (
    EVERY_MARK,
    SNAPSHOT_MARKS,
    VOLUME_MARKS,
    Kind,
    SnapshotIdentity,
    VolumeIdentity,
    id_of,
    kind_of,
    marks_of_snapshot,
    marks_of_volume,
)
from penstock.volume.drivers.zfs.links import FOLDER
from penstock.volume.interface.values import Context, Updates
from penstock.volume.inventory import (
    FoundExport,
    FoundVolume,
    FoundVolumeSnapshot,
    Leftover,
    VolumeClient,
    VolumeInventory,
    VolumeSetAside,
    VolumeTombstone,
    WantedExport,
)
from penstock.volume.models import VolumeModel
from penstock.zfs.faults import Busy, HasClones
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, bytes_of, local_value
from penstock.zfs.reigns import OF

CREATION, ORIGIN = "creation", "origin"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
UUID_LENGTH = 36
Tree = dict[str, Properties]

log = structlog.get_logger(__name__)


class InventoryMethods(ConnectionMethods):
    """`penstock.volume.inventory.HasVolumeInventory` of ZFS hosts."""

    def inventory(self) -> VolumeInventory:
        """One ZFS command per pool, one for the sizes of files, one for the targets."""
        trees = {pool: self._tree(root) for pool, root in self.settings.roots.items()}
        sizes = self.storage.medium.sizes(
            {
                name: found
                for tree in trees.values()
                for name, found in tree.items()
                if kind_of(found) is Kind.VOLUME and found["type"].value == self.storage.medium.type
            }
        )
        known = {id_of(found) for tree in trees.values() for found in tree.values() if kind_of(found) is Kind.VOLUME}
        targets, in_force = self._targets(known - {None})
        volumes = [
            self._found(pool, name, found, sizes.get(name, 0), targets)
            for pool, tree in trees.items()
            for name, found in tree.items()
            if "@" not in name and kind_of(found) is Kind.VOLUME and id_of(found) is not None
        ]
        paths = {self.storage.medium.path(Dataset(volume.location)): volume.id for volume in volumes}
        links = {lun.path for target in targets for lun in target.luns if lun.path.startswith(FOLDER)}
        paths |= {link: volume.id for link in links for volume in volumes if link.endswith(volume.id)}
        return VolumeInventory(
            pools=tuple(self.settings.roots),
            volumes=tuple(volumes),
            snapshots=tuple(found for pool, tree in trees.items() for found in _snapshots(pool, tree)),
            exports=tuple(_export(target, paths, is_in_force=target.iqn in in_force) for target in targets),
            leftovers=tuple(
                Leftover(name, pool, VolumeId(id_of(found) or ""))
                for pool, tree in trees.items()
                for name, found in tree.items()
                if kind_of(found) is Kind.ARRIVING
            )
            + tuple(
                Leftover(name, pool, volume_id, is_copy=False)
                for pool, tree in trees.items()
                for name, volume_id in unmarked.unmarked(self.settings.roots[pool], tree)
            ),
            set_aside=tuple(
                VolumeSetAside(name, pool, VolumeId(local_value(found, OF) or ""))
                for pool, tree in trees.items()
                for name, found in tree.items()
                if "@" not in name and kind_of(found) is Kind.DIVERGED
            ),
            tombstones=tuple(found for pool, tree in trees.items() for found in _tombstones(pool, tree)),
        )

    def wanted_export(self, volume: VolumeModel) -> WantedExport:
        """See `HasVolumeInventory`."""
        return WantedExport(self._iqn(volume), tuple(sorted(map(_client, self._attached(volume)))))

    def settle_export(self, context: Context, volume: VolumeModel) -> None:
        """See `HasVolumeInventory`."""
        initiators = self._attached(volume)
        if not initiators:
            self._unexport(volume)
            return
        dataset, _ = self.finder.existing(volume)
        lun = self._lun(volume, self.storage.medium.path(dataset))
        self.storage.exports.edit(self._iqn(volume), lambda _: self._target(volume, lun, initiators))

    def write_identity(self, volume: VolumeModel) -> None:
        """See `HasVolumeInventory`. Marks of what it no longer is go."""
        dataset, _ = self.finder.existing(volume)
        wanted = marks_of_volume(volume)
        found = self.storage.zfs.get(dataset, VOLUME_MARKS)
        changed = {name: value for name, value in wanted.items() if local_value(found, name) != value}
        changed.pop(KIND, None)  # it is what it was found by
        if changed:
            self.storage.zfs.set(dataset, changed)
        for name in VOLUME_MARKS:
            if name not in wanted and local_value(found, name) is not None:
                self.storage.zfs.inherit(dataset, name)

    def accept_transfer(self, context: Context, volume: VolumeModel, new_user: str, new_project: str) -> Updates | None:
        """Write whose it is now, on the volume and on the snapshots that went with it."""
        found = self.finder.volume(volume)
        if found is None:
            return None
        self.write_identity(volume.updated({"user_id": new_user, "project_id": new_project}))
        taken = self.storage.zfs.tree(found[0], (*SNAPSHOT_MARKS, KIND), kinds=("snapshot",), depth=1)
        for name, seen in taken.items():
            wanted = self._marks_of_taken(seen)
            if any(local_value(seen, mark) != value for mark, value in wanted.items()):
                self.storage.zfs.set(parse_target(name), wanted)
        return None

    def _marks_of_taken(self, seen: Properties) -> dict[str, str]:
        snapshot_id = id_of(seen)
        if kind_of(seen) is not Kind.SNAPSHOT or snapshot_id is None:
            return {}
        try:
            return marks_of_snapshot(self.db.snapshot(snapshot_id))
        except NotFound:
            return {}

    def stop_exporting(self, names: Sequence[str]) -> None:
        """See `HasVolumeInventory`."""
        self.storage.exports.apply([], remove=list(names))

    def discard(self, location: str) -> None:
        """See `HasVolumeInventory`: a copy on its way, or what a creation left before it came to its marks."""
        dataset = Dataset(location)
        found = self.storage.zfs.get_many([dataset], (KIND,)).get(location)
        if found is None:
            return
        if kind_of(found) is None:
            unmarked.discard(self.storage.zfs, dataset)
            return
        if kind_of(found) is not Kind.ARRIVING:
            raise Conflict(f"{location} is no copy on its way any more.")
        lineage.destroy_volume(self.storage.zfs, dataset)

    def sweep(self, locations: Sequence[str]) -> None:
        """See `HasVolumeInventory`. ZFS itself refuses to destroy what something depends on."""
        targets = [parse_target(location) for location in locations]
        found = self.storage.zfs.get_many(targets, (KIND,))
        for target in targets:
            if str(target) not in found or kind_of(found[str(target)]) is not Kind.TOMBSTONE:
                continue
            try:
                if isinstance(target, SnapshotName):
                    self.storage.zfs.destroy_snapshots(target.dataset, [target.name], deferred=True)
                else:
                    self.storage.zfs.destroy(target, recursive=True)
            except (NotFound, HasClones, Busy):
                continue

    # --- how ----------------------------------------------------------------------------------------------------------

    def _tree(self, root: Dataset) -> Tree:
        names = (*EVERY_MARK, OF, *self.storage.medium.asked, ORIGIN, CREATION)
        found = self.storage.zfs.tree(root, names, kinds=("filesystem", "volume", "snapshot"))
        return {name: each for name, each in found.items() if name != str(root)}

    def _targets(self, known: set[str | None]) -> tuple[list[IscsiTarget], frozenset[str]]:
        """Those that lead below our roots, or by a link to one of our volumes (`known`), and the names of those in
        force: other backends may use the same host."""
        observed = self.storage.exports.observe()
        below = tuple(self.storage.medium.directory(root) for root in self.settings.roots.values())
        ours = [
            target
            for name, target in sorted(observed.configured.items())
            if name.startswith(self.settings.target_prefix)
            and any(lun.path.startswith(below) or _is_link_to(lun.path, known) for lun in target.luns)
        ]
        return ours, observed.in_force

    def _unexport_ours(self, volume: VolumeModel, *, is_link_ours: bool) -> None:
        """Take the volume's target away, unless it leads to what is not below our roots: another backend of the same
        host gives its targets the same names. A link's path does not tell whose it is."""
        target = self.storage.exports.get(self._iqn(volume))
        if target is None:
            return
        below = tuple(self.storage.medium.directory(root) for root in self.settings.roots.values())
        paths = [lun.path for lun in target.luns]
        if paths and all(path.startswith(below) or (is_link_ours and path.startswith(FOLDER)) for path in paths):
            self.storage.exports.apply([], remove=[target.iqn])
        else:
            log.warning("volume.target_of_another_left", volume=volume.id, target=target.iqn)

    def _attached(self, volume: VolumeModel) -> list[Initiator]:
        names = {str(one.connector["initiator"]) for one in volume.volume_attachment if one.connector.get("initiator")}
        return [self._initiator(volume, name) for name in sorted(names)]

    def _found(
        self, pool: str, name: str, properties: Properties, size_bytes: int, targets: Sequence[IscsiTarget]
    ) -> FoundVolume:
        marks = VolumeIdentity.read_marks(properties)
        volume_id = marks["volume_id"] or marks["id"] or ""
        target = next((one for one in targets if any(lun.serial == volume_id for lun in one.luns)), None)
        iqn = iqn_of(Dataset(name).name, self.settings)  # where there is none: as a volume of that name is told
        origin = properties[ORIGIN].value
        return FoundVolume(
            id=VolumeId(marks["id"] or ""),
            volume_id=VolumeId(volume_id),
            location=name,
            pool=pool,
            size_bytes=size_bytes,
            project_id=ProjectId(marks["project_id"] or "") or None,
            user_id=UserId(marks["user_id"] or "") or None,
            name=marks["name"],
            type_id=VolumeTypeId(marks["type_id"] or "") or None,
            type_name=marks["type_name"],
            source_snapshot=None if origin in ("", "-") else origin,
            created_at=_time(properties),
            provider_location=self._location_of(iqn if target is None else target.iqn),
            auth=None if target is None else _auth(target),
            is_temporary=marks["temporary"] is not None,
        )


def _is_link_to(path: str, known: set[str | None]) -> bool:
    """A link is called as the volume is, whose name ends in its id."""
    return path.startswith(FOLDER) and path[-UUID_LENGTH:] in known


def _snapshots(pool: str, tree: Tree) -> Iterator[FoundVolumeSnapshot]:
    for name, properties in tree.items():
        if "@" not in name or kind_of(properties) is not Kind.SNAPSHOT:
            continue
        parent = name.partition("@")[0]
        above = tree.get(parent, {})
        if kind_of(above) is Kind.DIVERGED:
            continue  # set aside with all that it has, for whoever looks through that
        marks = SnapshotIdentity.read_marks(properties)
        # taken together with others it is marked afterwards, and known by its name until then
        by_name = UUID.search(name)
        snapshot_id = marks["id"] or (by_name[0] if by_name else name)
        of = VolumeIdentity.read_marks(above)
        yield FoundVolumeSnapshot(
            id=VolumeSnapshotId(snapshot_id),
            volume_id=VolumeId(marks["volume_id"] or of["volume_id"] or of["id"] or ""),
            parent=parent,
            location=name,
            pool=pool,
            size_gib=_whole(marks["size_gib"] or of["size_gib"]),
            project_id=ProjectId(marks["project_id"] or of["project_id"] or "") or None,
            user_id=UserId(marks["user_id"] or of["user_id"] or "") or None,
            name=marks["name"],
            group_snapshot_id=marks["group_snapshot_id"],
            created_at=_time(properties),
        )


def _whole(text: str | None) -> int:
    """A number that somebody may have changed by hand; 0 when it is none."""
    return int(text) if text is not None and text.isdecimal() else 0


def _tombstones(pool: str, tree: Tree) -> Iterator[VolumeTombstone]:
    """What is needed is known from the origins below the root; a clone elsewhere is ZFS' to protect."""
    origins = {found[ORIGIN].value for name, found in tree.items() if "@" not in name}
    for name, properties in tree.items():
        if kind_of(properties) is Kind.TOMBSTONE:
            is_needed = name in origins if "@" in name else any(one.startswith(f"{name}@") for one in origins)
            yield VolumeTombstone(name, pool, is_needed, id_of(properties))


def _export(target: IscsiTarget, paths: Mapping[str, VolumeId], *, is_in_force: bool) -> FoundExport:
    (lun,) = target.luns[:1]
    clients = tuple(sorted(map(_client, target.initiators)))
    return FoundExport(target.iqn, lun.serial, paths.get(lun.path), clients, is_in_force)


def _client(initiator: Initiator) -> VolumeClient:
    if initiator.chap is None:
        return VolumeClient(initiator.name)
    proof = hashlib.sha256(initiator.chap.secret.encode()).hexdigest()
    return VolumeClient(initiator.name, initiator.chap.username, proof)


def _auth(target: IscsiTarget) -> str | None:
    chap = next((one.chap for one in target.initiators if one.chap is not None), None)
    return None if chap is None else f"CHAP {chap.username} {chap.secret}"


def _time(properties: Properties) -> datetime | None:
    seconds = bytes_of(properties, CREATION)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds else None
