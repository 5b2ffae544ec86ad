"""What is kept of initiators, targets and their groups, and who is in a group."""

from __future__ import annotations

from penstock.appliance.lun_values import DEFAULT_GROUP, MASK_ALL
from penstock.appliance.site import Site

INITIATOR, TARGET = "initiator", "target"
INITIATOR_GROUP, TARGET_GROUP = "initiator-group", "target-group"


def groups_of(site: Site) -> dict[str, list[str]]:
    """Every group with its initiators; the two that always exist among them."""
    kept = {name: list(row["initiators"]) for name, row in site.records.all(INITIATOR_GROUP).items()}
    return {DEFAULT_GROUP: [], MASK_ALL: [], **kept}


def group_names(site: Site) -> frozenset[str]:
    """What a LUN may be shown to."""
    return frozenset(groups_of(site))


def members(site: Site, group: str) -> list[str] | None:
    """The initiators of a group; None for everybody that is known."""
    return None if group == DEFAULT_GROUP else groups_of(site).get(group, [])
