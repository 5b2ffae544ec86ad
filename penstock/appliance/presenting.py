"""Which initiators see which LUNs: kept with each LUN, in force as the whole wanted set of the target server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from penstock.appliance import luns, san
from penstock.appliance.faults import OverLimit
from penstock.appliance.lun_values import DEFAULT_GROUP, NUMBER, Lun
from penstock.appliance.site import Site
from penstock.exports import iscsi
from penstock.zfs.names import Dataset

FIRST_NUMBER = 1  # 0 is the controller of some target servers

log = structlog.get_logger(__name__)


def shown(site: Site) -> list[Lun]:
    """Every LUN that somebody sees, in all pools."""
    return [lun for root in site.pools.values() for lun in luns.below(site, root, depth=None) if lun.groups]


def present(site: Site, lun: Lun, groups: tuple[str, ...]) -> None:
    """Show the LUN to exactly these groups, under one number that stays as long as anybody sees it. Safe to repeat.

    Raises OverLimit when the target has no number left, Unavailable when the target server cannot be told: then it is
    kept all the same, and the same request again puts it in force.
    """
    number = {} if lun.number is not None or not groups else {NUMBER: str(_free_number(site))}
    if groups != lun.groups or number:
        site.zfs.set(lun.dataset, {**number, **luns.groups_property(groups)})
    if not groups and lun.number is not None:
        site.zfs.inherit(lun.dataset, NUMBER)
    refresh(site)


def _free_number(site: Site) -> int:
    taken = {lun.number for lun in shown(site)}
    free = next((n for n in range(FIRST_NUMBER, iscsi.MAX_LUN + 1) if n not in taken), None)
    if free is None:
        raise OverLimit(f"{iscsi.MAX_LUN} LUNs are shown; a target has no more numbers")
    return free


def refresh(site: Site, *, without: frozenset[Dataset] = frozenset()) -> None:
    """Put in force what is kept, but for the LUNs of `without`. Safe to repeat. Raises Unavailable."""
    if site.exports is None:
        return
    visible = [lun for lun in shown(site) if lun.dataset not in without]
    site.exports.apply([_target(site, iqn, row, visible) for iqn, row in site.records.all(san.TARGET).items()])


def _target(site: Site, iqn: str, row: Mapping[str, Any], visible: Iterable[Lun]) -> iscsi.IscsiTarget:
    groups = [name for name, group in site.records.all(san.TARGET_GROUP).items() if iqn in group["targets"]]
    here = [lun for lun in visible if lun.target_group in groups and lun.number is not None]
    numbers: dict[str, set[int]] = {}
    for lun in here:
        for name in _initiators_of(site, lun, is_open=all(lun.groups == (DEFAULT_GROUP,) for lun in here)):
            numbers.setdefault(name, set()).add(lun.number or 0)
    return iscsi.IscsiTarget(
        iqn=iqn,
        luns=tuple(iscsi.Lun(lun.number or 0, lun.path, lun.guid) for lun in here),
        initiators=tuple(_initiator(site, row, name, numbers[name]) for name in sorted(numbers)),
        portals=site.portals,
    )


def _initiators_of(site: Site, lun: Lun, *, is_open: bool) -> set[str]:
    """Those of its groups. The default group is anybody where no LUN is for some only, else all that are known."""
    if is_open:
        return {iscsi.ANYBODY}
    found: set[str] = set()
    for group in lun.groups:
        names = san.members(site, group)
        found.update(site.records.all(san.INITIATOR) if names is None else names)
    return found


def _initiator(site: Site, target: Mapping[str, Any], name: str, numbers: set[int]) -> iscsi.Initiator:
    """With the target's CHAP pair when it asks for one, and none of its own: that is what its clients are told."""
    luns_seen = tuple(sorted(numbers)) if site.shows_some else None
    if target["auth"] != "chap":
        return iscsi.Initiator(name, None, luns_seen)
    own = site.records.get(san.INITIATOR, name) or {}
    pair = target if target["chapuser"] else own
    return iscsi.Initiator(name, iscsi.Chap(pair["chapuser"], site.secrets.open(pair["secret"])), luns_seen)


def put_back(site: Site) -> None:
    """What is kept, in force: at the start, and after the target server was restarted."""
    if site.exports is not None:
        refresh(site)
        changed = site.exports.put_back()
        if changed:
            log.warning("appliance.targets_put_back", targets=sorted(changed))
