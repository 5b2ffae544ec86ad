"""Which initiators see which LUNs: kept with each LUN, in force as the whole wanted set of the target server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from penstock.appliance import san_records
from penstock.appliance.faults import Denied, InvalidArgument, OverLimit
from penstock.appliance.finding import below
from penstock.appliance.lun_values import DEFAULT_GROUP, NUMBER, Lun, groups_property
from penstock.appliance.site import Site
from penstock.errors import Invalid, Unsupported
from penstock.exports import iscsi
from penstock.zfs.names import Dataset

FIRST_NUMBER = 1  # 0 is the controller of some target servers

log = structlog.get_logger(__name__)


def shown(site: Site) -> list[Lun]:
    """Every LUN that somebody sees, in all pools."""
    return [lun for root in site.pools.values() for lun in below(site, root, depth=None) if lun.groups]


def present(site: Site, lun: Lun, groups: tuple[str, ...]) -> None:
    """Show the LUN to exactly these groups, under one number that stays as long as anybody sees it. Safe to repeat.

    Raises OverLimit when the target has no number left, Unavailable when the target server cannot be told: then it is
    kept all the same, and the same request again puts it in force.
    """
    number = {} if lun.number is not None or not groups else {NUMBER: str(_free_number(site))}
    if groups != lun.groups or number:
        site.zfs.set(lun.dataset, {**number, **groups_property(groups)})
    if not groups and lun.number is not None:
        site.zfs.inherit(lun.dataset, NUMBER)
    refresh(site)


def check_masks(site: Site, dataset: Dataset, target_group: str, groups: tuple[str, ...]) -> None:
    """Whether the LUN of `dataset` can be shown to `groups` and nobody else, there. Raises Denied.

    A server that cannot show an initiator some LUNs of a target only would show it all of them.
    """
    row = site.records.get(san_records.TARGET_GROUP, target_group)
    if row is not None and groups and not site.may_mix:
        others = [(lun.target_group, lun.groups) for lun in shown(site) if lun.dataset != dataset]
        _check_alike(site.records.all(san_records.TARGET_GROUP), row["targets"], [*others, (target_group, groups)])


def check_target_group(site: Site, name: str, targets: list[str]) -> None:
    """The same for the LUNs of the group `name`, should it have these targets."""
    if not site.may_mix:
        rows = {**site.records.all(san_records.TARGET_GROUP), name: {"targets": targets}}
        _check_alike(rows, targets, [(lun.target_group, lun.groups) for lun in shown(site)])


def _check_alike(
    rows: Mapping[str, Mapping[str, Any]], targets: Iterable[str], visible: Iterable[tuple[str, tuple[str, ...]]]
) -> None:
    known = list(visible)
    for iqn in targets:
        here = {frozenset(groups) for of, groups in known if of in rows and iqn in rows[of]["targets"]}
        if len(here) > 1:
            raise Denied(
                f"the target {iqn} would have LUNs for different initiator groups, and this iSCSI server (tgt) shows "
                "every LUN of a target to all its initiators; take another target group, a server that masks LUNs "
                "(LIO), or [appliance] tgt_unmasked = True"
            )


def _free_number(site: Site) -> int:
    taken = {lun.number for lun in shown(site)}
    free = next((n for n in range(FIRST_NUMBER, iscsi.MAX_LUN + 1) if n not in taken), None)
    if free is None:
        raise OverLimit(f"{iscsi.MAX_LUN} LUNs are shown; a target has no more numbers")
    return free


def refresh(site: Site, *, without: frozenset[Dataset] = frozenset()) -> None:
    """Put in force what is kept, but for the LUNs of `without`. Safe to repeat. Raises Unavailable.

    What no server could hold is left out and told in the log: it keeps nobody else's LUNs from being shown or hidden.
    """
    if site.exports is None:
        return
    visible = [lun for lun in shown(site) if lun.dataset not in without]
    rows = site.records.all(san_records.TARGET)
    try:
        site.exports.apply([_target(site, iqn, row, visible) for iqn, row in rows.items() if _can_be_served(site, iqn)])
    except iscsi.OtherSecret as fault:  # kept so by another server: new ones are refused (san.py)
        log.warning("appliance.initiator_left_out", why=fault.message)


def _can_be_served(site: Site, iqn: str) -> bool:
    try:
        check_target(site, iqn)
    except InvalidArgument as fault:
        log.warning("appliance.target_left_out", target=iqn, why=fault.message)
        return False
    return True


def _target(site: Site, iqn: str, row: Mapping[str, Any], visible: Iterable[Lun]) -> iscsi.IscsiTarget:
    groups = [name for name, group in site.records.all(san_records.TARGET_GROUP).items() if iqn in group["targets"]]
    here = [lun for lun in visible if lun.target_group in groups and lun.number is not None and _lun(lun) is not None]
    if here and not site.may_mix:
        first = min(here, key=lambda lun: lun.number or 0)
        for lun in here:
            if set(lun.groups) != set(first.groups):  # kept so by another server, or while it was allowed
                log.warning(
                    "appliance.lun_not_shown", lun=str(lun.dataset), target=iqn, why="other groups, and no masks"
                )
        here = [lun for lun in here if set(lun.groups) == set(first.groups)]
    numbers: dict[str, set[int]] = {}
    for lun in here:
        for name in _initiators_of(site, lun, is_open=all(lun.groups == (DEFAULT_GROUP,) for lun in here)):
            numbers.setdefault(name, set()).add(lun.number or 0)
    allowed = [_initiator(site, row, name, numbers[name]) for name in sorted(numbers)]
    return iscsi.IscsiTarget(
        iqn=iqn,
        luns=tuple(found for found in map(_lun, here) if found is not None),
        initiators=tuple(one for one in allowed if one is not None),
        portals=site.portals,
    )


def _lun(lun: Lun) -> iscsi.Lun | None:
    try:
        return iscsi.Lun(lun.number or 0, lun.path, lun.guid)
    except Invalid as fault:
        log.warning("appliance.lun_not_shown", lun=str(lun.dataset), why=fault.message)
        return None


def _initiators_of(site: Site, lun: Lun, *, is_open: bool) -> set[str]:
    """Those of its groups. The default group is anybody where no LUN is for some only, else all that are known."""
    if is_open:
        return {iscsi.ANYBODY}
    found: set[str] = set()
    for group in lun.groups:
        names = san_records.members(site, group)
        found.update(site.records.all(san_records.INITIATOR) if names is None else names)
    return found


def _initiator(site: Site, target: Mapping[str, Any], name: str, numbers: set[int]) -> iscsi.Initiator | None:
    """None for one that cannot be let in: without a secret where the target asks for one, or no name for the server."""
    try:
        found = _with_secret(site, target, name, numbers)
        check_initiator(site, name)
    except (Invalid, InvalidArgument) as fault:
        log.warning("appliance.initiator_left_out", initiator=name, why=fault.message)
        return None
    return found


def check_initiator(site: Site, name: str) -> None:
    """Whether the iSCSI server can hold that name. Raises InvalidArgument."""
    if site.exports is None or name == iscsi.ANYBODY:
        return
    try:
        site.exports.check(iscsi.IscsiTarget("iqn.2026-11.org.penstock:any", initiators=(iscsi.Initiator(name),)))
    except Unsupported as fault:
        raise InvalidArgument(fault.message) from fault


def check_target(site: Site, iqn: str) -> None:
    """The same for the name of a target."""
    if site.exports is None:
        return
    try:
        site.exports.check(iscsi.IscsiTarget(iqn))
    except Unsupported as fault:
        raise InvalidArgument(fault.message) from fault


def _with_secret(site: Site, target: Mapping[str, Any], name: str, numbers: set[int]) -> iscsi.Initiator:
    """With the target's CHAP pair when it asks for one, and none of its own: that is what its clients are told."""
    luns_seen = tuple(sorted(numbers)) if site.shows_some else None
    if target["auth"] != "chap":
        return iscsi.Initiator(name, None, luns_seen)
    own = site.records.get(san_records.INITIATOR, name) or {}
    pair = target if target["chapuser"] else own
    if not pair.get("chapuser"):
        raise Invalid("the target asks for CHAP, and neither has a secret")
    return iscsi.Initiator(name, iscsi.Chap(pair["chapuser"], site.secrets.open(pair["secret"])), luns_seen)


def put_back(site: Site) -> None:
    """What is kept, in force: at the start, and after the target server was restarted."""
    if site.exports is not None:
        refresh(site)
        changed = site.exports.put_back()
        if changed:
            log.warning("appliance.targets_put_back", targets=sorted(changed))
