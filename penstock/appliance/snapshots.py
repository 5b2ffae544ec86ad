"""Snapshots of LUNs, and clones of them."""

from __future__ import annotations

from typing import Any

from penstock.appliance import finding, luns, presenting
from penstock.appliance.faults import Exists, Missing, UnknownArgument
from penstock.appliance.lineage import Lineage
from penstock.appliance.lun_values import BLOCK, GUID, PROTECTED, TARGET_GROUP
from penstock.appliance.names import KIND, object_name
from penstock.appliance.projects import find_project, native_properties
from penstock.appliance.requests import Arguments
from penstock.appliance.site import LUN, Site
from penstock.zfs.names import Dataset, SnapshotName

SNAPSHOT = "snapshot"
HIDDEN = "."  # snapshots of our own, for replication, begin so


def _find(site: Site, dataset: Dataset, name: str) -> SnapshotName:
    snapshot = dataset.snapshot(object_name(name, "snapshot"))
    if not site.zfs.exists(snapshot):
        raise Missing(f"there is no snapshot {name} of {dataset.name}")
    return snapshot


def _view(snapshot: SnapshotName, clones: int, created: str) -> dict[str, Any]:
    return {"name": snapshot.name, "numclones": clones, "creation": created, "isauto": False}


def view(site: Site, pool: str, dataset: Dataset, name: str) -> dict[str, Any]:
    """``snapshot``. Raises Missing."""
    snapshot = _find(site, dataset, name)
    created = site.zfs.get(snapshot, ["creation"])["creation"].value
    return _view(snapshot, Lineage.below(site.zfs, site.root(pool)).count(snapshot), created)


def listing(site: Site, pool: str, dataset: Dataset) -> list[dict[str, Any]]:
    """``snapshots``. Raises Missing (the LUN)."""
    finding.find(site, dataset)
    lineage = Lineage.below(site.zfs, site.root(pool))
    found = site.zfs.tree(dataset, ["creation"], kinds=("snapshot",), depth=1)
    names = {dataset.snapshot(path.partition("@")[2]): each["creation"].value for path, each in found.items()}
    return [
        _view(snapshot, lineage.count(snapshot), created)
        for snapshot, created in names.items()
        if not snapshot.name.startswith(HIDDEN)
    ]


def create(site: Site, pool: str, dataset: Dataset, arguments: Arguments) -> dict[str, Any]:
    """Raises Missing (the LUN), Exists."""
    name = object_name(arguments.text("name"), "snapshot")
    arguments.end()
    with site.changing:
        lun = finding.find(site, dataset)
        snapshot = dataset.snapshot(name)
        if site.zfs.exists(snapshot):
            raise Exists(f"there is a snapshot {name} of {dataset.name} already")
        # the size as it is now: what is inherited would be the LUN's whenever it is asked
        own = {} if site.zfs.flavour.has_zvols else {site.medium.size_property: str(lun.size_bytes)}
        site.zfs.snapshot([snapshot], {KIND: SNAPSHOT, **own})
    return view(site, pool, dataset, name)


def destroy(site: Site, pool: str, dataset: Dataset, name: str) -> None:
    """With everything cloned of it. Raises Missing, Denied when a clone is protected."""
    with site.changing:
        snapshot = _find(site, dataset, name)
        luns.cascade(site, pool, Lineage.below(site.zfs, site.root(pool)).of_snapshot(snapshot))
        site.zfs.destroy_snapshots(dataset, [name], deferred=False)


def clone(site: Site, pool: str, dataset: Dataset, name: str, arguments: Arguments) -> dict[str, Any]:
    """A new LUN that starts as the snapshot. Raises Missing (snapshot, project), Exists, UnknownArgument."""
    if "volblocksize" in arguments:
        raise UnknownArgument("volblocksize: a clone has the block size of its origin")
    parent = dataset.parent
    project = arguments.optional_text("project") or (parent.name if parent else "")
    target = find_project(site, pool, project).child(object_name(arguments.text("share"), "LUN"))
    is_sparse = arguments.flag("sparse") or False
    own = {
        KIND: LUN,
        GUID: luns.new_guid(),
        PROTECTED: "true" if arguments.flag("nodestroy") else "false",
        **native_properties(site, arguments),
        **luns.custom_properties(site, arguments),
    }
    groups = luns.presented_groups(site, arguments)
    arguments.end()
    with site.changing:
        lun = finding.find(site, dataset)
        snapshot = _find(site, dataset, name)
        if site.zfs.exists(target):
            raise Exists(f"there is {target.name} in {project} already")
        if groups:
            presenting.check_masks(site, target, lun.target_group, groups)
        reserved = 0 if is_sparse else site.medium.size_bytes(site.zfs.get(snapshot, [site.medium.size_property]))
        inherited = {BLOCK: str(lun.block_bytes), TARGET_GROUP: lun.target_group}
        site.medium.clone(snapshot, target, {**inherited, **own}, reserved=reserved)
        if groups:
            presenting.present(site, finding.find(site, target), groups)
    return luns.view(site, pool, finding.find(site, target))
