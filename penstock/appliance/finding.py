"""LUNs as they are kept, read back: one, or all below a dataset."""

from __future__ import annotations

from penstock.appliance import lun_values
from penstock.appliance.faults import Missing
from penstock.appliance.lun_values import Lun
from penstock.appliance.names import KIND
from penstock.appliance.projects import custom_kinds
from penstock.appliance.site import LUN, Site
from penstock.zfs.names import Dataset
from penstock.zfs.properties import local_value


def find(site: Site, dataset: Dataset) -> Lun:
    """Raises Missing for a dataset that is no LUN, too."""
    kinds = custom_kinds(site)
    names = lun_values.names_of(kinds, site.medium)
    found = site.zfs.get_many([dataset], names).get(str(dataset))
    if found is None or local_value(found, KIND) != LUN:
        raise Missing(f"there is no LUN {dataset.name}")
    return lun_values.read(dataset, found, kinds, site.medium)


def below(site: Site, root: Dataset, *, depth: int | None) -> list[Lun]:
    """All LUNs below a pool's or project's dataset, by name: one command."""
    kinds = custom_kinds(site)
    names = lun_values.names_of(kinds, site.medium)
    found = site.zfs.tree(root, names, kinds=("filesystem", "volume"), depth=depth)
    return [
        lun_values.read(Dataset(name), each, kinds, site.medium)
        for name, each in sorted(found.items())
        if local_value(each, KIND) == LUN
    ]
