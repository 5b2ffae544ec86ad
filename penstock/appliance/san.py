"""Initiators, targets and their groups, as records (protocol page, calls 12 to 23)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from penstock.appliance import presenting
from penstock.appliance.faults import Denied, Exists, InvalidArgument, Missing
from penstock.appliance.lun_values import DEFAULT_GROUP, MASK_ALL
from penstock.appliance.names import label
from penstock.appliance.requests import Arguments
from penstock.appliance.san_records import INITIATOR, INITIATOR_GROUP, TARGET, TARGET_GROUP, groups_of
from penstock.appliance.site import Site
from penstock.errors import Invalid
from penstock.exports.iscsi import Chap, check_name

IQN_PREFIX = "iqn.2026-11.org.penstock:appliance"
ALIAS = "alias="
ALWAYS = (DEFAULT_GROUP, MASK_ALL)

Row = dict[str, Any]


def _find(site: Site, kind: str, key: str) -> tuple[str, Row]:
    """By name, or by ``alias=``. Raises Missing."""
    if key.startswith(ALIAS):
        wanted = key.removeprefix(ALIAS)
        found = next(((name, row) for name, row in site.records.all(kind).items() if row["alias"] == wanted), None)
    else:
        row = site.records.get(kind, key)
        found = None if row is None else (key, row)
    if found is None:
        raise Missing(f"there is no {kind} {key!r:.240}")
    return found


def _iqn(text: str) -> str:
    try:
        check_name(text.lower())
    except Invalid as fault:
        raise InvalidArgument(fault.message) from fault
    return text


def _chap(site: Site, user: str | None, secret: str | None) -> dict[str, str]:
    """Kept sealed. Raises InvalidArgument for half a pair, or one that no target server can hold."""
    if not user and not secret:
        return {"chapuser": "", "secret": ""}
    try:
        Chap(user or "", secret or "")
    except Invalid as fault:
        raise InvalidArgument(fault.message) from fault
    return {"chapuser": user or "", "secret": site.secrets.seal(secret or "")}


def _check_pair(site: Site, chap: Mapping[str, str]) -> None:
    """tgt keeps one secret for each user name, whatever the target. Raises InvalidArgument for a second."""
    if site.exports is None or site.shows_some or not chap["chapuser"]:
        return
    secret = site.secrets.open(chap["secret"])
    for name, row in [*site.records.all(INITIATOR).items(), *site.records.all(TARGET).items()]:
        if row["chapuser"] == chap["chapuser"] and site.secrets.open(row["secret"]) != secret:
            raise InvalidArgument(
                f"the CHAP user {chap['chapuser']} has another secret for {name}, and tgt holds one only"
            )


# --- initiators -----------------------------------------------------------------------------------------------------


def _initiator_view(iqn: str, row: Mapping[str, Any]) -> Row:
    href = f"/api/san/v1/iscsi/initiators/{iqn}"
    return {"initiator": iqn, "alias": row["alias"], "chapuser": row["chapuser"], "href": href}


def initiator(site: Site, key: str) -> Row:
    """``initiator``. Raises Missing."""
    return _initiator_view(*_find(site, INITIATOR, key))


def initiators(site: Site) -> list[Row]:
    """``initiators``."""
    return [_initiator_view(iqn, row) for iqn, row in site.records.all(INITIATOR).items()]


def create_initiator(site: Site, arguments: Arguments) -> Row:
    """Raises Exists, whatever the alias it is known under; InvalidArgument for what the iSCSI server cannot hold."""
    iqn = _iqn(arguments.text("initiator"))
    alias = label(arguments.optional_text("alias") or iqn, "alias")
    chap = _chap(site, arguments.optional_text("chapuser"), arguments.optional_text("chapsecret"))
    arguments.end()
    with site.changing:
        for known, row in site.records.all(INITIATOR).items():
            if known.lower() == iqn.lower() or row["alias"] == alias:
                raise Exists(f"there is an initiator {known} with the alias {row['alias']} already")
        presenting.check_initiator(site, iqn)
        _check_pair(site, chap)
        site.records.put(INITIATOR, iqn, {"alias": alias, **chap})
        presenting.refresh(site)
    return initiator(site, iqn)


def delete_initiator(site: Site, key: str) -> None:
    """Raises Missing, Denied while it is in a group."""
    with site.changing:
        iqn, _ = _find(site, INITIATOR, key)
        for name, row in site.records.all(INITIATOR_GROUP).items():
            if iqn in row["initiators"]:
                raise Denied(f"it is in the group {name}")
        site.records.remove(INITIATOR, iqn)
        presenting.refresh(site)


# --- groups of initiators -------------------------------------------------------------------------------------------


def _group_view(name: str, found: list[str]) -> Row:
    return {"name": name, "initiators": found, "href": f"/api/san/v1/iscsi/initiator-groups/{name}"}


def initiator_group(site: Site, name: str) -> Row:
    """``group``. Raises Missing."""
    found = groups_of(site).get(name)
    if found is None:
        raise Missing(f"there is no initiator group {name!r:.240}")
    return _group_view(name, found)


def initiator_groups(site: Site) -> list[Row]:
    """``groups``."""
    return [_group_view(name, found) for name, found in groups_of(site).items()]


def create_initiator_group(site: Site, arguments: Arguments) -> Row:
    """Raises Exists, InvalidArgument (an initiator nobody knows)."""
    name = label(arguments.text("name"), "name")
    wanted = _known_initiators(site, arguments)
    arguments.end()
    with site.changing:
        if name in groups_of(site):
            raise Exists(f"there is an initiator group {name} already")
        site.records.put(INITIATOR_GROUP, name, {"initiators": wanted})
        presenting.refresh(site)
    return initiator_group(site, name)


def change_initiator_group(site: Site, name: str, arguments: Arguments) -> Row:
    """The whole list. Raises Missing, Denied (those that always exist), InvalidArgument."""
    wanted = _known_initiators(site, arguments)
    arguments.end()
    with site.changing:
        initiator_group(site, name)
        if name in ALWAYS:
            raise Denied(f"the group {name} is not changed")
        site.records.put(INITIATOR_GROUP, name, {"initiators": wanted})
        presenting.refresh(site)
    return initiator_group(site, name)


def delete_initiator_group(site: Site, name: str) -> None:
    """Raises Missing, Denied while a LUN is shown to it."""
    with site.changing:
        initiator_group(site, name)
        if name in ALWAYS:
            raise Denied(f"the group {name} always exists")
        if any(name in lun.groups for lun in presenting.shown(site)):
            raise Denied(f"LUNs are shown to the group {name}")
        site.records.remove(INITIATOR_GROUP, name)


def _known_initiators(site: Site, arguments: Arguments) -> list[str]:
    wanted = arguments.texts("initiators")
    known = site.records.all(INITIATOR)
    for iqn in wanted:
        if iqn not in known:
            raise InvalidArgument(f"there is no initiator {iqn!r:.240}")
    return wanted


# --- targets and their groups ---------------------------------------------------------------------------------------


def _target_view(iqn: str, row: Mapping[str, Any]) -> Row:
    return {
        "iqn": iqn,
        "alias": row["alias"],
        "auth": row["auth"],
        "targetchapuser": row["chapuser"],
        "interfaces": row["interfaces"],
        "href": f"/api/san/v1/iscsi/targets/{iqn}",
    }


def target(site: Site, key: str) -> Row:
    """``target``. Raises Missing."""
    return _target_view(*_find(site, TARGET, key))


def targets(site: Site) -> list[Row]:
    """``targets``."""
    return [_target_view(iqn, row) for iqn, row in site.records.all(TARGET).items()]


def create_target(site: Site, arguments: Arguments) -> Row:
    """Raises Exists (the alias), InvalidArgument."""
    alias = label(arguments.text("alias"), "alias")
    iqn = _iqn(arguments.optional_text("iqn") or f"{IQN_PREFIX}-{secrets.token_hex(8)}").lower()
    auth = arguments.optional_text("auth") or "none"
    if auth not in ("none", "chap"):
        raise InvalidArgument(f"auth: {auth!r:.40} is neither none nor chap")
    interfaces = arguments.texts("interfaces") if "interfaces" in arguments else []
    chap = _chap(site, arguments.optional_text("targetchapuser"), arguments.optional_text("targetchapsecret"))
    arguments.end()
    with site.changing:
        for known, row in site.records.all(TARGET).items():
            if known == iqn or row["alias"] == alias:
                raise Exists(f"there is a target {known} with the alias {row['alias']} already")
        presenting.check_target(site, iqn)
        _check_pair(site, chap)
        site.records.put(TARGET, iqn, {"alias": alias, "auth": auth, "interfaces": interfaces, **chap})
    return target(site, iqn)


def _target_group_view(name: str, row: Mapping[str, Any]) -> Row:
    return {"name": name, "targets": row["targets"], "href": f"/api/san/v1/iscsi/target-groups/{name}"}


def target_group(site: Site, name: str) -> Row:
    """``group``. Raises Missing."""
    return _target_group_view(*_find(site, TARGET_GROUP, name))


def target_groups(site: Site) -> list[Row]:
    """``groups``."""
    return [_target_group_view(name, row) for name, row in site.records.all(TARGET_GROUP).items()]


def write_target_group(site: Site, name: str, arguments: Arguments, *, is_new: bool) -> Row:
    """Made, or its whole list replaced. Raises Exists, Missing, InvalidArgument (a target nobody knows), Denied."""
    label(name, "name")
    wanted = arguments.texts("targets")
    arguments.end()
    known = site.records.all(TARGET)
    for iqn in wanted:
        if iqn not in known:
            raise InvalidArgument(f"there is no target {iqn!r:.240}")
    with site.changing:
        if is_new and site.records.get(TARGET_GROUP, name) is not None:
            raise Exists(f"there is a target group {name} already")
        if not is_new:
            _find(site, TARGET_GROUP, name)
        presenting.check_target_group(site, name, wanted)
        site.records.put(TARGET_GROUP, name, {"targets": wanted})
        presenting.refresh(site)
    return target_group(site, name)
