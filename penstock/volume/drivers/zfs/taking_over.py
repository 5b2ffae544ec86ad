"""Bringing zvols (or filesystems with a volume's file) and snapshots that exist under management, where they lie.

A reference is ``{"source-name": "pool/dataset"}`` or, for a snapshot, ``{"source-name": "pool/dataset@snapshot"}``; of
what lies directly below a root the last part is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.units import bytes_to_gib_ceil, gib_to_bytes
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.connecting import ConnectionMethods
from penstock.volume.drivers.zfs.identity import EVERY_MARK, Kind, id_of, kind_of, marks_of_snapshot, marks_of_volume
from penstock.volume.errors import ManageExistingAlreadyManaged, ManageExistingInvalidReference
from penstock.volume.interface.values import Updates
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.zfs.marks import ID, KIND, PREFIX
from penstock.zfs.names import Dataset, InvalidName, SnapshotName, Target, parse_target
from penstock.zfs.properties import Properties, local_value

NAME = "source-name"
FOREIGN_KIND = "It belongs to another part of Penstock."
MANAGED = "already managed"

Reference = Mapping[str, Any]
Found = dict[str, Any]


class TakingOver(ConnectionMethods):
    """Manage, unmanage, and what could be managed."""

    # --- volumes ------------------------------------------------------------------------------------------------------

    def manage_existing(self, volume: VolumeModel, existing_ref: Reference) -> Updates | None:
        dataset, found = self._meant(volume, existing_ref)
        if id_of(found) != volume.name_id:
            self._refuse_owned(dataset, found)
            self.storage.zfs.set(dataset, marks_of_volume(volume))
        is_thin = found["refreservation"].value in ("none", "0", "-")
        self.storage.medium.settle(dataset, gib_to_bytes(volume.size), is_thin=is_thin)
        return {"provider_id": str(dataset)}

    def manage_existing_get_size(self, volume: VolumeModel, existing_ref: Reference) -> int:
        dataset, found = self._meant(volume, existing_ref)
        sizes = self.storage.medium.sizes({str(dataset): found})
        if str(dataset) not in sizes:
            raise ManageExistingInvalidReference(f"{dataset} has no file 'volume', so it is no volume.")
        return bytes_to_gib_ceil(sizes[str(dataset)])

    def unmanage(self, volume: VolumeModel) -> None:
        found = self.finder.volume(volume)
        if found is None:
            return
        dataset, _ = found
        self._unexport(volume)
        self._forget([dataset])

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[VolumeModel],
        marker: Reference | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[Found]:
        known = {volume.name_id: volume.id for volume in cinder_volumes}
        items: list[Found] = []
        for root in self.settings.roots.values():
            kinds = (self.storage.medium.type,)
            below = self.storage.zfs.tree(root, (*self.storage.medium.asked, ID, KIND), kinds=kinds)
            ours = {name: found for name, found in below.items() if name != str(root)}
            sizes = self.storage.medium.sizes(ours)
            items += [self._item(name, found, sizes[name], known) for name, found in ours.items() if name in sizes]
        return paged(items, marker, limit, offset, sort_keys, sort_dirs)

    def _item(self, name: str, found: Properties, size_bytes: int, known: Mapping[str, str]) -> Found:
        owner = known.get(id_of(found) or "") if kind_of(found) is Kind.VOLUME else None
        reason = MANAGED if owner else _foreign(found)
        return {
            "reference": {NAME: name},
            "size": bytes_to_gib_ceil(size_bytes),
            "safe_to_manage": reason is None,
            "reason_not_safe": reason,
            "cinder_id": owner,
            "extra_info": None,
        }

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def manage_existing_snapshot(self, snapshot: SnapshotModel, existing_ref: Reference) -> Updates | None:
        name, found = self._meant_snapshot(snapshot, existing_ref)
        if id_of(found) != snapshot.id:
            self._refuse_owned(name, found)
            self.storage.zfs.set(name, marks_of_snapshot(snapshot))
        return {"provider_id": str(name)}

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotModel, existing_ref: Reference) -> int | None:
        _, found = self._meant_snapshot(snapshot, existing_ref)
        if "volsize" in found and found["volsize"].is_set:
            return bytes_to_gib_ceil(int(found["volsize"].value))
        return snapshot.volume.size

    def unmanage_snapshot(self, snapshot: SnapshotModel) -> None:
        found = self.finder.snapshot(snapshot)
        if found is not None:
            self._forget([found])

    def get_manageable_snapshots(
        self,
        cinder_snapshots: Sequence[SnapshotModel],
        marker: Reference | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[Found]:
        known = {snapshot.id for snapshot in cinder_snapshots}
        items: list[Found] = []
        for root in self.settings.roots.values():
            kinds = ("snapshot", self.storage.medium.type)
            tree = self.storage.zfs.tree(root, (*self.storage.medium.asked, ID, KIND), kinds=kinds)
            volumes = {name: found for name, found in tree.items() if kind_of(found) is Kind.VOLUME}
            sizes = self.storage.medium.sizes(volumes)
            for name, found in tree.items():
                parent = name.partition("@")[0]
                if "@" in name and parent in sizes:
                    items.append(_snapshot_item(name, found, sizes[parent], known))
        return paged(items, marker, limit, offset, sort_keys, sort_dirs)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _meant(self, volume: VolumeModel, reference: Reference) -> tuple[Dataset, Properties]:
        target = self._target_of(reference)
        if not isinstance(target, Dataset):
            raise ManageExistingInvalidReference(f"{target} is a snapshot, not a volume.")
        root = spec.root_of(volume.host, self.settings)
        dataset = target if root.contains(target) else root.child(str(target))
        found = self.storage.zfs.get_many([dataset], (*self.storage.medium.asked, ID, KIND)).get(str(dataset))
        if found is None or dataset == root or found["type"].value != self.storage.medium.type:
            raise ManageExistingInvalidReference(f"There is no {self.storage.medium.type} {dataset} to be taken over.")
        return dataset, found

    def _meant_snapshot(self, snapshot: SnapshotModel, reference: Reference) -> tuple[SnapshotName, Properties]:
        dataset, _ = self.finder.existing(snapshot.volume)
        text = str(reference.get(NAME) or "")
        name = self._target_of({NAME: text if "@" in text else f"{dataset}@{text}"})
        found = None
        if isinstance(name, SnapshotName) and name.dataset == dataset:
            found = self.storage.zfs.get_many([name], (*self.storage.medium.asked, ID, KIND)).get(str(name))
        if found is None or not isinstance(name, SnapshotName):
            raise ManageExistingInvalidReference(f"Volume {snapshot.volume.id} has no snapshot '{text}'.")
        return name, found

    def _target_of(self, reference: Reference) -> Target:
        text = reference.get(NAME)
        if not text or not isinstance(text, str):
            raise ManageExistingInvalidReference(f"Name what is to be taken over by '{NAME}'.")
        try:
            return parse_target(text.strip("/"))
        except InvalidName as err:
            raise ManageExistingInvalidReference(str(err)) from err

    def _refuse_owned(self, target: Target, found: Properties) -> None:
        reason = _foreign(found)
        if reason is None and kind_of(found) is not None:
            reason = f"it is {id_of(found)}"
        if reason is not None:
            raise ManageExistingAlreadyManaged(f"{target} cannot be taken over: {reason}.")

    def _forget(self, targets: Iterable[Target]) -> None:
        """What is ours is so by its kind, which goes first."""
        for target in targets:
            marks = self.storage.zfs.get(target, EVERY_MARK)
            for name in sorted(EVERY_MARK, key=lambda name: name != KIND):
                if local_value(marks, name) is not None:
                    self.storage.zfs.inherit(target, name)


def _foreign(found: Properties) -> str | None:
    """Why it is not to be touched: it carries somebody's mark."""
    kind = local_value(found, KIND)
    if kind is None:
        return None
    return MANAGED if kind_of(found) is not None else f"it is a {kind} of {PREFIX.rstrip(':')}"


def _snapshot_item(name: str, found: Properties, size_bytes: int, known: set[str]) -> Found:
    owner = id_of(found) if id_of(found) in known else None
    reason = MANAGED if owner else _foreign(found)
    return {
        "reference": {NAME: name},
        "size": bytes_to_gib_ceil(size_bytes),
        "safe_to_manage": reason is None,
        "reason_not_safe": reason,
        "cinder_id": owner,
        "extra_info": None,
        "source_reference": {NAME: name.partition("@")[0]},
    }


def paged(
    items: list[Found],
    marker: Reference | None,
    limit: int,
    offset: int,
    sort_keys: Sequence[str],
    sort_dirs: Sequence[str],
) -> list[Found]:
    """`items` in the order asked for, after `marker`, from `offset` on, at most `limit`."""
    found = sorted(items, key=lambda item: str(item["reference"][NAME]))
    for key, direction in reversed(list(zip(sort_keys, sort_dirs, strict=False))):
        found.sort(
            key=lambda item: str(item[key][NAME]) if isinstance(item.get(key), Mapping) else item.get(key) or 0,
            reverse=direction == "desc",
        )
    if marker is not None:
        names = [item["reference"] for item in found]
        found = found[names.index(dict(marker)) + 1 :] if dict(marker) in names else []
    return found[offset:][:limit] if limit else found[offset:]
