"""LUNs: made, read, listed, changed, renamed, moved and destroyed with what depends on them."""

from __future__ import annotations

import secrets
from typing import Any

from penstock.appliance import lun_values, presenting
from penstock.appliance.faults import Denied, Exists, InvalidArgument
from penstock.appliance.finding import below, find
from penstock.appliance.lineage import Lineage
from penstock.appliance.lun_values import (
    BLOCK,
    DEFAULT_GROUP,
    GUID,
    MASK_ALL,
    PROTECTED,
    TARGET_GROUP,
    Lun,
)
from penstock.appliance.media import UNFINISHED
from penstock.appliance.names import KIND, WIRE_CUSTOM, object_name
from penstock.appliance.projects import custom_kinds, find_project, native_properties
from penstock.appliance.requests import Arguments
from penstock.appliance.san_records import group_names
from penstock.appliance.site import LUN, Site
from penstock.appliance.sizes import block_size, volume_size
from penstock.zfs.names import Dataset
from penstock.zfs.properties import local_value

GUID_PREFIX = "600144F0"  # NAA 6, as appliances number theirs


def new_guid() -> str:
    """A number for a LUN that no other has."""
    return GUID_PREFIX + secrets.token_hex(12).upper()


def view(site: Site, pool: str, lun: Lun) -> dict[str, Any]:
    """``lun``."""
    return lun_values.view(lun, pool, as_scalars=site.scalar_presentation)


def listing(site: Site, pool: str, project: str) -> list[dict[str, Any]]:
    """``luns``. Raises Missing."""
    dataset = find_project(site, pool, project)
    return [view(site, pool, lun) for lun in below(site, dataset, depth=1)]


def create(site: Site, pool: str, project: str, arguments: Arguments) -> dict[str, Any]:
    """Raises Exists, Missing (the project), OverLimit, InvalidArgument, UnknownArgument."""
    find_project(site, pool, project)
    name = object_name(arguments.text("name"), "LUN")
    dataset = site.lun(pool, project, name)
    size_bytes = volume_size(arguments.take("volsize"))
    block_bytes = block_size(arguments.take("volblocksize") or 8192)
    is_sparse = arguments.flag("sparse") or False
    properties = {
        KIND: LUN,
        GUID: new_guid(),
        BLOCK: str(block_bytes),
        TARGET_GROUP: arguments.optional_text("targetgroup") or DEFAULT_GROUP,
        PROTECTED: "true" if arguments.flag("nodestroy") else "false",
        **native_properties(site, arguments),
        **custom_properties(site, arguments),
    }
    groups = presented_groups(site, arguments)
    arguments.end()
    with site.changing:
        if groups:
            presenting.check_masks(site, dataset, properties[TARGET_GROUP], groups)
        _clear_unfinished(site, dataset)
        site.medium.create(dataset, properties, size_bytes=size_bytes, block_bytes=block_bytes, is_sparse=is_sparse)
        if groups:
            presenting.present(site, find(site, dataset), groups)
    return view(site, pool, find(site, dataset))


def _clear_unfinished(site: Site, dataset: Dataset) -> None:
    """What a crash left is destroyed; raises Exists for anything else."""
    found = site.zfs.get_many([dataset], [KIND]).get(str(dataset))
    if found is None:
        return
    if local_value(found, KIND) != UNFINISHED:
        raise Exists(f"there is {dataset.name} already")
    site.zfs.destroy(dataset, recursive=True)


def custom_properties(site: Site, arguments: Arguments) -> dict[str, str]:
    """The ``custom:`` arguments as properties. Raises UnknownArgument, InvalidArgument."""
    kinds = custom_kinds(site)
    names = [name for name in arguments.names() if name.startswith(WIRE_CUSTOM)]
    return dict(lun_values.custom_property(name, arguments.take(name), kinds) for name in names)


def presented_groups(site: Site, arguments: Arguments) -> tuple[str, ...] | None:
    """``initiatorgroup``: None when it is not there, nobody for the mask of all. Raises InvalidArgument."""
    if "initiatorgroup" not in arguments:
        return None
    wanted = arguments.texts("initiatorgroup")
    if site.scalar_presentation and len(wanted) > 1:
        raise InvalidArgument("initiatorgroup: this firmware shows a LUN to one group only")
    known = group_names(site)
    for name in wanted:
        if name not in known:
            raise InvalidArgument(f"initiatorgroup: there is no group {name!r:.80}")
    return tuple(name for name in wanted if name != MASK_ALL)


def change(site: Site, pool: str, dataset: Dataset, arguments: Arguments) -> dict[str, Any]:
    """Any of: size, name, project, protection, properties, who sees it. Raises Missing and what each may raise."""
    target = dataset
    name, project = arguments.optional_text("name"), arguments.optional_text("project")
    if name is not None:
        target = (target.parent or target).child(object_name(name, "LUN"))
    if project is not None:
        target = find_project(site, pool, project).child(target.name)
    size = arguments.take("volsize")
    size_bytes = None if size is None else volume_size(size)
    is_protected = arguments.flag("nodestroy")
    target_group = arguments.optional_text("targetgroup")
    properties = {**native_properties(site, arguments), **custom_properties(site, arguments)}
    if is_protected is not None:
        properties[PROTECTED] = "true" if is_protected else "false"
    if target_group is not None:
        properties[TARGET_GROUP] = target_group
    groups = presented_groups(site, arguments)
    arguments.end()
    with site.changing:
        lun = find(site, dataset)
        _check_masks(site, lun, target_group, groups)
        if size_bytes is not None:
            _resize(site, lun, size_bytes)
        if properties:
            site.zfs.set(dataset, properties)
        if target != dataset:
            lun = _rename(site, lun, target)
        if groups is not None:
            presenting.present(site, lun, groups)
        elif lun.groups and (size_bytes is not None or target_group is not None or target != dataset):
            presenting.refresh(site)
    return view(site, pool, find(site, target))


def _check_masks(site: Site, lun: Lun, target_group: str | None, groups: tuple[str, ...] | None) -> None:
    if target_group is not None or groups is not None:
        shown_to = lun.groups if groups is None else groups
        presenting.check_masks(site, lun.dataset, target_group or lun.target_group, shown_to)


def _resize(site: Site, lun: Lun, size_bytes: int) -> None:
    if size_bytes < lun.size_bytes:
        raise InvalidArgument("volsize: a LUN is not made smaller, that would cut off data")
    site.medium.grow(lun.dataset, size_bytes, is_sparse=lun.is_sparse)


def _rename(site: Site, lun: Lun, target: Dataset) -> Lun:
    """Its properties come along. What is shown is hidden meanwhile, for the target server has it open."""
    if site.zfs.exists(target):
        raise Exists(f"there is {target.name} in {target.parent} already")
    if lun.groups:
        presenting.refresh(site, without=frozenset({lun.dataset}))
    site.zfs.rename(lun.dataset, target)
    return find(site, target)


def destroy(site: Site, pool: str, dataset: Dataset) -> None:
    """With its snapshots and everything cloned of them. Raises Missing, Denied when any of that is protected."""
    with site.changing:
        find(site, dataset)
        lineage = Lineage.below(site.zfs, site.root(pool))
        cascade(site, pool, lineage.of_dataset(dataset))


def cascade(site: Site, pool: str, doomed: list[Dataset]) -> None:
    """Destroy these, the last first; hidden before. Raises Denied when one is protected, or is no LUN."""
    luns = {lun.dataset: lun for lun in below(site, site.root(pool), depth=None)}
    for dataset in doomed:
        found = luns.get(dataset)
        if found is None:
            raise Denied(f"{dataset} depends on it, and is no LUN")
        if found.is_protected:
            raise Denied(f"{dataset.name} is protected (nodestroy)")
    if any(luns[dataset].groups for dataset in doomed):
        presenting.refresh(site, without=frozenset(doomed))
    for dataset in reversed(doomed):
        site.zfs.destroy(dataset, recursive=True)


def destroy_all(site: Site, pool: str, project: Dataset) -> None:
    """Every LUN of a project. Raises Denied when one is protected."""
    for lun in below(site, project, depth=1):
        if site.zfs.exists(lun.dataset):  # it may have gone with the one it was cloned of
            cascade(site, pool, Lineage.below(site.zfs, site.root(pool)).of_dataset(lun.dataset))
