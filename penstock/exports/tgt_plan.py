"""What tgtd must be told, to be what is wanted: pure. This file runs on the storage host, and here: see `target_agent`.

tgtd's accounts are of the whole daemon: a user name has one secret in all targets. Who should get in with another one
is left out (`servable`), and keeps nobody else from being served.
"""

import hashlib
import ipaddress
import json
import typing

from penstock.exports import tgt_shown
from penstock.exports.target_agent import Fault

MEGABYTE = 10**6  # what tgtd tells sizes in

if typing.TYPE_CHECKING:
    Pair = tuple[str, str]
    Step = dict[str, typing.Any]
    Seen = dict[str, typing.Any]
    Wanted = dict[str, typing.Any]
    Targets = dict[str, Wanted | None]


def wanted_acl(wanted):  # type: (Wanted) -> list[str]
    """Names and addresses that are bound. tgtd (since 1.0.84) lets in whom one of them fits; none is nobody."""
    names = [one["name"] for one in wanted["initiators"]]
    return (wanted["addresses"] or ["ALL"]) if "*" in names else names


def entry(name):  # type: (str) -> str
    """What tgtd is told to bind."""
    kind = "name" if name[:4].lower() in ("iqn.", "eui.") else "address"
    return f"initiator-{kind}={name}"


def accounts(wanted):  # type: (Wanted) -> dict[str, list[tuple[str, str]]]
    """The target's accounts by direction, each once."""
    incoming = {tuple(one["chap"]) for one in wanted["initiators"] if one["chap"]}
    return {"incoming": sorted(incoming), "outgoing": [tuple(wanted["mutual"])] if wanted["mutual"] else []}


def secret_digest(user, secret):  # type: (str, str) -> str
    return hashlib.sha256(json.dumps(["penstock tgt account", user, secret]).encode()).hexdigest()


def servable(wanted, seen, record):
    # type: (Targets, dict[str, Seen], dict[str, str]) -> tuple[Targets, dict[str, str]]
    """`wanted` as far as tgtd can hold its accounts, and by target what is left out.

    A name keeps the secret it has in a target that is not `wanted`, else that it has in tgtd (`record`), else gets the
    first one. Without the secret that it should prove itself by, a target lets in nobody.
    """
    held = held_secrets(wanted, seen, record)
    served, left_out = {}, {}  # type: Targets, dict[str, str]
    for name, want in sorted(wanted.items()):
        served[name] = want
        if want is None:
            continue
        mutual = tuple(want["mutual"]) if want["mutual"] else None
        initiators = [
            one
            for one in want["initiators"]
            if is_held(one["chap"], held) and (mutual is None or is_held(mutual, held))
        ]
        if len(initiators) < len(want["initiators"]):
            pairs = [one["chap"] for one in want["initiators"]] + [mutual]
            users = sorted({pair[0] for pair in pairs if pair and not is_held(pair, held)})
            served[name] = dict(want, initiators=initiators, mutual=mutual if initiators else None)
            left_out[name] = "the CHAP user name {} has another secret in another target of this tgtd, or in this one"
            left_out[name] = left_out[name].format(", ".join(users))
    return served, left_out


def held_secrets(wanted, seen, record):  # type: (Targets, dict[str, Seen], dict[str, str]) -> dict[str, str]
    """Digests of the secrets that the names in `wanted` have from now on; one that only tgtd knows is not ours."""
    present = {user for one in seen.values() for user in one["incoming"] + one["outgoing"]}
    elsewhere = {user for name, one in seen.items() if name not in wanted for user in one["incoming"] + one["outgoing"]}
    held = {}  # type: dict[str, str]
    candidates = [
        pair for _, want in sorted(wanted.items()) if want for pairs in accounts(want).values() for pair in pairs
    ]
    for user, secret in candidates:
        digest = secret_digest(user, secret)
        if user in elsewhere:
            held[user] = record.get(user, "")
        elif user not in held or (user in present and record.get(user) == digest):
            held[user] = digest
    return held


def is_held(pair, held):  # type: (typing.Optional[typing.Sequence[str]], dict[str, str]) -> bool
    """No pair at all is held, too."""
    return not pair or held[pair[0]] == secret_digest(pair[0], pair[1])


def plan(wanted, seen, record, sizes):
    # type: (Targets, dict[str, Seen], dict[str, str], dict[str, typing.Optional[int]]) -> list[Step]
    """Steps from what is `seen` to what is `wanted` (None: absent, else `servable`); empty when it is so.

    `record` is what secrets we gave accounts, as digests; `sizes` the bytes of backing paths, None when they are not
    there. Everything that admits comes after everything that restricts.
    """
    present = {user for one in seen.values() for user in one["incoming"] + one["outgoing"]}
    pairs = {pair for want in wanted.values() if want for some in accounts(want).values() for pair in some}
    anew = {pair for pair in pairs if pair[0] not in present or record.get(pair[0]) != secret_digest(*pair)}
    removing, making, refusing, admitting = [], [], [], []  # type: list[Step], list[Step], list[Step], list[Step]
    tids = {one["tid"] for one in seen.values()}
    for name in sorted(wanted):
        want, have = wanted[name], seen.get(name)
        if want is None:
            removing += [{"do": "remove target", "tid": have["tid"]}] if have else []
            continue
        if have is None:
            tid = next(number for number in range(1, len(tids) + 2) if number not in tids)
            tids.add(tid)
            making.append({"do": "add target", "tid": tid, "name": name})
            have = tgt_shown.unseen(tid)
        making += plan_luns(name, want, have, sizes)
        mine = {user for some in accounts(want).values() for user, _ in some} | set(have["incoming"])
        if any(user in mine for user, _ in anew):
            # until it is bound again the target would ask for no secret at all
            refusing += [{"do": "refuse", "tid": have["tid"], "entry": entry(one)} for one in have["acl"]]
            have = dict(have, acl=[])
        admitting += plan_access(want, have, anew)
    secrets = [{"do": "make account", "user": user, "secret": secret} for user, secret in sorted(anew)]
    kept = {user for user, _ in pairs}
    kept |= {user for name, one in seen.items() if name not in wanted for user in one["incoming"] + one["outgoing"]}
    gone = sorted(user for user in record if user not in kept and user in present)
    forgetting = [{"do": "forget account", "user": user} for user in gone]
    return removing + making + refusing + secrets + admitting + forgetting


def plan_luns(name, want, have, sizes):
    # type: (str, Wanted, Seen, dict[str, typing.Optional[int]]) -> list[Step]
    steps, tid = [], have["tid"]  # type: list[Step], int
    wanted = {lun["number"]: lun for lun in want["luns"]}
    steps += [{"do": "remove lun", "tid": tid, "lun": number} for number in sorted(set(have["luns"]) - set(wanted))]
    for number, lun in sorted(wanted.items()):
        found = have["luns"].get(number)
        size = sizes.get(lun["path"])
        if size is None:
            raise Fault("unavailable", "{}: {} is not there".format(name, lun["path"]))
        is_same = found is not None and found["Backing store path"] == lun["path"]
        if is_same and found["block_size"] != lun["block_size"]:
            is_same = False
        if not is_same:
            if found is not None:
                steps.append({"do": "remove lun", "tid": tid, "lun": number})
            steps.append({"do": "add lun", "tid": tid, "lun": number, "path": lun["path"], "block": lun["block_size"]})
        elif abs(found["megabytes"] * MEGABYTE - size) >= MEGABYTE:
            steps.append({"do": "reopen lun", "tid": tid, "lun": number, "path": lun["path"]})
        if not is_same or found["SCSI SN"] != lun["serial"] or found["SCSI ID"] != lun["serial"]:
            steps.append({"do": "name lun", "tid": tid, "lun": number, "serial": lun["serial"]})
    return steps


def plan_access(want, have, anew):  # type: (Wanted, Seen, set[Pair]) -> list[Step]
    """Who may log in. Accounts made `anew` are bound to no target."""
    tid, bound, allowed = have["tid"], have["acl"], wanted_acl(want)
    steps, unbinding = [], []  # type: list[Step], list[Step]
    for direction, pairs in sorted(accounts(want).items()):
        lacking = [pair[0] for pair in pairs if pair in anew or pair[0] not in have[direction]]
        steps += [{"do": "bind account", "tid": tid, "user": user, "direction": direction} for user in lacking]
        gone = sorted(set(have[direction]) - {user for user, _ in pairs})
        unbinding += [{"do": "unbind account", "tid": tid, "user": user, "direction": direction} for user in gone]
    steps += [{"do": "allow", "tid": tid, "entry": entry(one)} for one in allowed if one not in bound]
    steps += [{"do": "refuse", "tid": tid, "entry": entry(one)} for one in bound if one not in allowed]
    steps += unbinding
    for session in have["sessions"]:
        if not may_stay(session, want):
            sids = [connection["cid"] for connection in session["connections"]]
            steps += [{"do": "log out", "tid": tid, "sid": session["sid"], "cid": cid} for cid in sids]
    return steps


def plan_portals(wanted, listening):  # type: (typing.Iterable[Wanted | None], str) -> list[Step]
    """Portals to be added to those that ``tgtadm --mode portal --op show`` prints."""
    have = tgt_shown.portals(listening)
    steps = []  # type: list[Step]
    for address, port in sorted({(one[0], one[1]) for want in wanted if want for one in want["portals"]}):
        portal, everywhere = ("[{}]:{}", "[::]:{}") if ":" in address else ("{}:{}", "0.0.0.0:{}")
        if not {portal.format(address, port), everywhere.format(port)} & have:
            steps.append({"do": "add portal", "tid": -1, "portal": portal.format(address, port)})
    return steps


def may_stay(session, want):  # type: (Seen, Wanted) -> bool
    names = [one["name"] for one in want["initiators"]]
    if "*" not in names and session["initiator"] not in names:
        return False
    return not want["addresses"] or all(
        is_from(connection["address"], want["addresses"]) for connection in session["connections"]
    )


def is_from(address, networks):  # type: (str, list[str]) -> bool
    place = ipaddress.ip_address(address.strip("[]"))
    return any(place in ipaddress.ip_network(network) for network in networks)
