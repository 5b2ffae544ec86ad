"""What the kernel's iSCSI target (LIO) must be told, by configfs, and what ``saveconfig.json`` then says: pure.

This file runs on the storage host, and here: see `target_agent`. Steps are ``("mkdir", path)``, ``("rmdir", path)``,
``("write", path, text)``, ``("link", to, path)``, ``("unlink", path)`` (the one link in that directory), and
``("discards", path)`` (UNMAP where the device can); paths are relative to ``/sys/kernel/config/target``.
"""

import json
import re
import typing

PREFIX = "penstock-"  # of our backstores' names; the rest is the LUN's serial number
LINK = "penstock"
EVERYWHERE = ["0.0.0.0", 3260]  # noqa: S104 - a target without portals is served at every address: see `iscsi`
NO_SECRET = "NULL"  # noqa: S105 - what LIO takes for none
UNSEEN = {
    "luns": {},
    "acls": {},
    "portals": [],
    "attributes": {},
    "auth": {},
    "enabled": False,
}  # type: dict[str, typing.Any]

if typing.TYPE_CHECKING:
    Step = tuple[str, ...]
    Seen = dict[str, typing.Any]
    Wanted = dict[str, typing.Any]


def secrets(wanted, initiator):  # type: (Wanted, typing.Optional[dict[str, typing.Any]]) -> dict[str, str]
    """Files of an ``auth`` directory for an initiator (None: nobody)."""
    user, secret = (initiator["chap"] if initiator else None) or (NO_SECRET, NO_SECRET)
    own, own_secret = (wanted["mutual"] if initiator else None) or (NO_SECRET, NO_SECRET)
    return {"userid": user, "password": secret, "userid_mutual": own, "password_mutual": own_secret}


def attributes(wanted):  # type: (Wanted) -> dict[str, str]
    """Files of the portal group's ``attrib`` directory."""
    anybody = any(one["name"] == "*" for one in wanted["initiators"])
    has_chap = any(one["chap"] for one in wanted["initiators"])
    return {
        "authentication": str(int(has_chap)),
        "generate_node_acls": str(int(anybody)),
        "cache_dynamic_acls": str(int(anybody)),  # LIO insists
        "demo_mode_write_protect": "0",
    }


def named(wanted):  # type: (Wanted) -> dict[str, dict[str, typing.Any]]
    """Initiators that have an access list of their own."""
    return {one["name"]: one for one in wanted["initiators"] if one["name"] != "*"}


def anybody(wanted):  # type: (Wanted) -> typing.Optional[dict[str, typing.Any]]
    return next((one for one in wanted["initiators"] if one["name"] == "*"), None)


def mapped(wanted, initiator):  # type: (Wanted, dict[str, typing.Any]) -> list[int]
    """Numbers of the LUNs that the initiator sees."""
    numbers = [lun["number"] for lun in wanted["luns"]]
    return numbers if initiator["luns"] is None else [one for one in numbers if one in initiator["luns"]]


def portals(wanted):  # type: (Wanted) -> list[str]
    """Names of the ``np`` directories."""
    found = wanted["portals"] or [EVERYWHERE]
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in found]


def size_told(info):  # type: (str) -> int
    """Bytes of a backstore of a file by its ``info``, 0 when it tells none (it also tells a ``SectorSize``)."""
    found = re.search(r"\bSize: (\d+)", info)
    return int(found.group(1)) if found else 0


def plan_new_store(path, lun, size, is_device):  # type: (str, dict[str, typing.Any], int, bool) -> list[Step]
    """A backstore for that device or file, as `path`."""
    what = (
        "udev_path={}".format(lun["path"]) if is_device else "fd_dev_name={},fd_dev_size={}".format(lun["path"], size)
    )
    return [
        ("mkdir", path),
        ("write", f"{path}/control", what),
        ("write", f"{path}/udev_path", lun["path"]),
        ("write", f"{path}/wwn/vpd_unit_serial", lun["serial"]),
        ("write", f"{path}/enable", "1"),
        ("write", f"{path}/attrib/block_size", str(lun["block_size"])),
        ("discards", path),
    ]


def plan(name, wanted, seen):  # type: (str, Wanted, typing.Optional[Seen]) -> list[Step]
    """Steps for a target whose backstores are there (``lun["store"]`` is where); what admits comes last."""
    top = f"iscsi/{name}/tpgt_1"
    if seen and seen["attributes"].get("generate_node_acls") == "1" and not anybody(wanted):
        # LIO keeps the access lists it made for who came, and shows them to nobody
        return plan_removal(name, seen) + plan(name, wanted, None)
    have = seen or dict(UNSEEN)
    steps = [] if seen else [("mkdir", f"iscsi/{name}"), ("mkdir", top)]  # type: list[Step]
    stores = {lun["number"]: lun["store"] for lun in wanted["luns"]}
    gone = [number for number, store in have["luns"].items() if stores.get(number) != store]
    steps += plan_refusals(top, wanted, have, gone)
    steps += [step for number in sorted(gone) for step in unlinked(f"{top}/lun/lun_{number}")]
    steps += plan_files(f"{top}/auth", secrets(wanted, anybody(wanted)), have["auth"])
    steps += plan_files(f"{top}/attrib", attributes(wanted), have["attributes"])
    for number, store in sorted(stores.items()):
        if have["luns"].get(number) != store:
            steps += [("mkdir", f"{top}/lun/lun_{number}"), ("link", store, f"{top}/lun/lun_{number}/{LINK}")]
    for initiator, one in sorted(named(wanted).items()):
        steps += plan_initiator(top, wanted, one, have["acls"].get(initiator), gone)
    steps += [("mkdir", f"{top}/np/{one}") for one in portals(wanted) if one not in have["portals"]]
    steps += [("rmdir", f"{top}/np/{one}") for one in have["portals"] if one not in portals(wanted)]
    return steps if have["enabled"] else [*steps, ("write", f"{top}/enable", "1")]


def plan_refusals(top, wanted, have, gone):  # type: (str, Wanted, Seen, list[int]) -> list[Step]
    """Access lists that are too many or show too much; the kernel ends the sessions of a list that goes."""
    steps, mine = [], named(wanted)  # type: list[Step], dict[str, dict[str, typing.Any]]
    for initiator, acl in sorted(have["acls"].items()):
        keep = set(mapped(wanted, mine[initiator]) if initiator in mine else ()) - set(gone)
        for number in sorted(set(acl["luns"]) - keep):
            steps += unlinked(f"{top}/acls/{initiator}/lun_{number}")
        if initiator not in mine:
            steps.append(("rmdir", f"{top}/acls/{initiator}"))
    return steps


def unlinked(path):  # type: (str) -> list[Step]
    return [("unlink", path), ("rmdir", path)]


def plan_initiator(top, wanted, initiator, acl, gone):
    # type: (str, Wanted, dict[str, typing.Any], typing.Optional[Seen], list[int]) -> list[Step]
    path = f"{top}/acls/{initiator['name']}"
    steps = [] if acl else [("mkdir", path)]  # type: list[Step]
    have = acl or {"auth": {}, "luns": []}
    steps += plan_files(f"{path}/auth", secrets(wanted, initiator), have["auth"])
    for number in mapped(wanted, initiator):
        if number not in have["luns"] or number in gone:
            steps += [
                ("mkdir", f"{path}/lun_{number}"),
                ("link", f"{top}/lun/lun_{number}", f"{path}/lun_{number}/{LINK}"),
            ]
    return steps


def plan_files(directory, wanted, have):  # type: (str, dict[str, str], dict[str, str]) -> list[Step]
    return [("write", f"{directory}/{name}", text) for name, text in wanted.items() if have.get(name) != text]


def plan_removal(name, seen):  # type: (str, Seen) -> list[Step]
    """Everything of the target; LIO wants the leaves first. Sessions end with their access lists."""
    top = f"iscsi/{name}/tpgt_1"
    steps = [("write", f"{top}/enable", "0")] if seen["enabled"] else []  # type: list[Step]
    for initiator, acl in sorted(seen["acls"].items()):
        for number in sorted(acl["luns"]):
            steps += unlinked(f"{top}/acls/{initiator}/lun_{number}")
        steps.append(("rmdir", f"{top}/acls/{initiator}"))
    steps += [step for number in sorted(seen["luns"]) for step in unlinked(f"{top}/lun/lun_{number}")]
    steps += [("rmdir", f"{top}/np/{portal}") for portal in seen["portals"]]
    return [*steps, ("rmdir", top), ("rmdir", f"iscsi/{name}")]


def saved(text, wanted, stores):
    # type: (typing.Optional[str], dict[str, typing.Optional[Wanted]], dict[str, dict[str, typing.Any]]) -> str
    """``saveconfig.json`` with these targets so, and what only they used gone; the rest as it is."""
    whole = json.loads(text or "{}")
    for key in ("storage_objects", "targets", "fabric_modules"):
        whole.setdefault(key, [])
    whole["targets"] = [one for one in whole["targets"] if one.get("wwn") not in wanted]
    whole["targets"] += [saved_target(one) for one in wanted.values() if one]
    used = {
        lun["storage_object"].rpartition("/")[2]
        for one in whole["targets"]
        for tpg in one["tpgs"]
        for lun in tpg["luns"]
    }
    mine = {lun["name"]: lun for one in wanted.values() if one for lun in one["luns"]}
    kept = [
        one
        for one in whole["storage_objects"]
        if one["name"] not in mine and (one["name"] in used or not one["name"].startswith(PREFIX))
    ]
    whole["storage_objects"] = kept + [saved_store(name, lun, stores[name]) for name, lun in sorted(mine.items())]
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def saved_store(name, lun, store):  # type: (str, dict[str, typing.Any], dict[str, typing.Any]) -> dict[str, typing.Any]
    found = {"name": name, "dev": lun["path"], "wwn": lun["serial"], "attributes": store["attributes"], "alua_tpgs": []}
    if store["is_device"]:
        return dict(found, plugin="block", readonly=False, write_back=False)
    return dict(found, plugin="fileio", size=store["size"], write_back=False, aio=False)


def saved_target(wanted):  # type: (Wanted) -> dict[str, typing.Any]
    luns = [
        {"index": lun["number"], "storage_object": f"/backstores/{lun['plugin']}/{lun['name']}", "alias": LINK}
        for lun in wanted["luns"]
    ]
    acls = []
    for name, one in sorted(named(wanted).items()):
        maps = [{"index": n, "tpg_lun": n, "write_protect": False, "alias": LINK} for n in mapped(wanted, one)]
        acls.append(dict({"node_wwn": name, "attributes": {}, "mapped_luns": maps}, **saved_chap(secrets(wanted, one))))
    tpg = {
        "tag": 1,
        "enable": True,
        "attributes": {name: int(value) for name, value in attributes(wanted).items()},
        "parameters": {},
        "luns": luns,
        "node_acls": acls,
        "portals": [
            {"ip_address": address, "port": port, "iser": False, "offload": False}
            for address, port in (wanted["portals"] or [EVERYWHERE])
        ],
    }
    return {
        "fabric": "iscsi",
        "wwn": wanted["iqn"],
        "tpgs": [dict(tpg, **saved_chap(secrets(wanted, anybody(wanted))))],
    }


def saved_chap(auth):  # type: (dict[str, str]) -> dict[str, str]
    names = {
        "userid": "chap_userid",
        "password": "chap_password",
        "userid_mutual": "chap_mutual_userid",
        "password_mutual": "chap_mutual_password",
    }
    return {names[key]: value for key, value in auth.items() if value != NO_SECRET}
