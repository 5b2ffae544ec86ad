"""Brings a tgtd to what is wanted, and says what it serves. This file runs on the storage host: see `target_agent`.

It speaks to tgtd what tgtadm speaks (tgt 1.0.85 usr/tgtadm.h: the structures have been the same since 1.0.2x), since
that keeps secrets out of every argv, and a hundred changes are one command.
"""

import contextlib
import hashlib
import ipaddress
import json
import re
import socket
import struct
import time
import typing

from penstock.exports import target_agent
from penstock.exports.target_agent import Fault

ROUNDS = 5  # each is lost to somebody who changed the daemon meanwhile
IDLE_TIMEOUT_S = 5.0
NOBODY = "255.255.255.255"  # tgt-admin 1.0.85 opens a target without an address to all the world, whatever names it has
MEGABYTE = 10**6  # what tgtd tells sizes in
LAYOUT = "@II64sIiQQIIIIII"  # struct tgtadm_req
TARGET, DEVICE, PORTAL, CONNECTION, ACCOUNT = 1, 2, 3, 6, 7
NEW, DELETE, SHOW, BIND, UNBIND, UPDATE, STAT = range(7)

if typing.TYPE_CHECKING:
    Step = dict[str, typing.Any]
    Seen = dict[str, typing.Any]
    Wanted = dict[str, typing.Any]


# --- what is to be done: pure -----------------------------------------------------------------------------------------


def parse(text):  # type: (str) -> dict[str, Seen]
    """What ``tgtadm --mode target --op show`` prints, by target name."""
    found = {}  # type: dict[str, Seen]
    target, part = {}, ""  # type: Seen, str
    for line in text.replace("\0", "").splitlines():
        words = line.strip()
        if line.startswith("Target "):
            number, _, name = words[len("Target ") :].partition(": ")
            found[name] = target = unseen(int(number))
        elif line.startswith("    ") and not line.startswith("     "):
            part = words
        elif words and part in PARTS:
            PARTS[part](target, words)
    for target in found.values():
        target["luns"] = {number: lun for number, lun in target["luns"].items() if lun.get("Type") != "controller"}
    return found


def unseen(tid):  # type: (int) -> Seen
    """A target that has nothing yet."""
    return {"tid": tid, "luns": {}, "incoming": [], "outgoing": [], "acl": [], "sessions": []}


def parse_nexus(target, words):  # type: (Seen, str) -> None
    key, _, value = words.partition(": ")
    if key == "I_T nexus":
        target["sessions"].append({"sid": int(value), "initiator": "", "connections": []})
    elif key == "Initiator":
        target["sessions"][-1]["initiator"] = value.partition(" alias:")[0]
    elif key == "Connection":
        target["sessions"][-1]["connections"].append({"cid": int(value), "address": ""})
    elif key == "IP Address":
        target["sessions"][-1]["connections"][-1]["address"] = value


def parse_lun(target, words):  # type: (Seen, str) -> None
    key, _, value = words.partition(": ")
    if key == "LUN":
        target["luns"][int(value)] = {}
        return
    lun = target["luns"][max(target["luns"])]  # they come in their order
    if key == "Size":
        size, _, block = value.partition(", Block size: ")
        lun["megabytes"], lun["block_size"] = int(size.split()[0]), int(block)
    else:
        lun[key] = value


def parse_account(target, words):  # type: (Seen, str) -> None
    user, is_outgoing, _ = words.partition(" (outgoing)")
    target["outgoing" if is_outgoing else "incoming"].append(user)


def parse_acl(target, words):  # type: (Seen, str) -> None
    if words != NOBODY:
        target["acl"].append(words)


PARTS = {
    "I_T nexus information:": parse_nexus,
    "LUN information:": parse_lun,
    "Account information:": parse_account,
    "ACL information:": parse_acl,
}


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


def plan(wanted, seen, record, sizes):
    # type: (dict[str, typing.Optional[Wanted]], dict[str, Seen], dict[str, str], dict[str, typing.Optional[int]]) -> list[Step]
    """Steps from what is `seen` to what is `wanted` (None: absent); empty when it is so.

    `record` is what secrets we gave accounts, as digests; `sizes` the bytes of backing paths, None when they are not
    there. Everything that admits comes after everything that restricts.
    """
    steps = []  # type: list[Step]
    tids = {one["tid"] for one in seen.values()}
    used = {user for name, one in seen.items() if name not in wanted for user in one["incoming"] + one["outgoing"]}
    kept = set(used)
    for name in sorted(wanted):
        want = wanted[name]
        have = seen.get(name)
        if want is None:
            if have is not None:
                steps.append({"do": "remove target", "tid": have["tid"]})
            continue
        if have is None:
            tid = next(number for number in range(1, len(tids) + 2) if number not in tids)
            tids.add(tid)
            steps.append({"do": "add target", "tid": tid, "name": name})
            have = unseen(tid)
        for pairs in accounts(want).values():
            kept.update(user for user, _ in pairs)
        steps += plan_luns(name, want, have, sizes)
        steps += plan_access(name, want, have, record, seen, used)
    present = {user for one in seen.values() for user in one["incoming"] + one["outgoing"]}
    gone = {user for user in record if user not in kept and user in present}
    steps += [{"do": "forget account", "user": user} for user in sorted(gone)]
    return steps


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


def plan_access(name, want, have, record, seen, used):
    # type: (str, Wanted, Seen, dict[str, str], dict[str, Seen], set[str]) -> list[Step]
    tid, bound, allowed = have["tid"], have["acl"], wanted_acl(want)
    binding, unbinding = [], []  # type: list[Step], list[Step]
    everywhere = {user for one in seen.values() for user in one["incoming"] + one["outgoing"]}
    for direction, pairs in sorted(accounts(want).items()):
        for user, secret in pairs:
            is_known = user in everywhere and record.get(user) == secret_digest(user, secret)
            if not is_known and user in used:
                text = "{}: the CHAP user name {} has another secret in another target of this tgtd"
                raise Fault("conflict", text.format(name, user))
            if not is_known:
                binding.append({"do": "make account", "user": user, "secret": secret})
            if not is_known or user not in have[direction]:
                binding.append({"do": "bind account", "tid": tid, "user": user, "direction": direction})
        gone = sorted(set(have[direction]) - {user for user, _ in pairs})
        unbinding += [{"do": "unbind account", "tid": tid, "user": user, "direction": direction} for user in gone]
    steps = []  # type: list[Step]
    if any(step["do"] == "make account" for step in binding):
        # until it is bound again the target would ask for no secret at all
        steps += [{"do": "refuse", "tid": tid, "entry": entry(one)} for one in bound]
        bound = []
    steps += binding
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
    have = {line.partition(": ")[2].partition(",")[0] for line in listening.replace("\0", "").splitlines()}
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


# --- how it is done ---------------------------------------------------------------------------------------------------


class Daemon:
    """tgtd's own socket: one connection for each request."""

    def __init__(self, path):  # type: (str) -> None
        self._path = path

    def call(self, mode, op, tid=-1, lun=0, sid=0, cid=0, outgoing=0, force=0, params=""):
        # type: (int, int, int, int, int, int, int, int, str) -> tuple[int, str]
        """tgtd's error number (0 is none) and text."""
        body = params.encode() + b"\0" if params else b""
        size = struct.calcsize(LAYOUT) + len(body)
        head = struct.pack(LAYOUT, mode, op, b"iscsi", size, tid, sid, lun, cid, 0, 0, outgoing, 0, force)
        answer = b""
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
                line.settimeout(20)
                line.connect(self._path)
                line.sendall(head + body)
                while True:
                    more = line.recv(1 << 20)
                    if not more:
                        break
                    answer += more
        except OSError as err:
            raise Fault("down", f"tgtd does not answer at {self._path}: {err}") from err
        if len(answer) < 8:
            raise Fault("backend", "tgtd closed the connection without an answer")
        return struct.unpack("@I", answer[:4])[0], answer[8:].decode(errors="replace")


def carry_out(step, daemon, record):  # type: (Step, Daemon, dict[str, str]) -> int
    """tgtd's error number, 0 for none."""
    do = step["do"]
    if do in ("make account", "forget account"):
        return settle_account(step, daemon, record)
    tid, lun = step["tid"], step.get("lun", 0)
    if do == "reopen lun":
        await_idle(daemon, tid, lun)
    calls = {
        "add target": (TARGET, NEW, "targetname={name}"),
        "remove target": (TARGET, DELETE, ""),
        "add lun": (DEVICE, NEW, "path={path},blocksize={block}"),
        "name lun": (DEVICE, UPDATE, "targetOps scsi_sn={serial},scsi_id={serial},"),
        "remove lun": (DEVICE, DELETE, ""),
        # one request, so tgtd takes no command between; it has no way to see a file's new size without opening it
        "reopen lun": (DEVICE, UPDATE, "targetOps online=0,path={path},online=1,"),
        "allow": (TARGET, BIND, "{entry}"),
        "refuse": (TARGET, UNBIND, "{entry}"),
        "bind account": (ACCOUNT, BIND, "user={user}"),
        "unbind account": (ACCOUNT, UNBIND, "user={user}"),
        "log out": (CONNECTION, DELETE, ""),
        "add portal": (PORTAL, NEW, "portalOps portal={portal},"),
    }
    mode, op, params = calls[do]
    return daemon.call(
        mode,
        op,
        tid,
        lun,
        sid=step.get("sid", 0),
        cid=step.get("cid", 0),
        outgoing=int(step.get("direction") == "outgoing"),
        force=int(do == "remove target"),
        params=params.format(**step),
    )[0]


def settle_account(step, daemon, record):  # type: (Step, Daemon, dict[str, str]) -> int
    """Make it anew with this secret, or delete it; both unbind it everywhere."""
    user, secret = step["user"], step.get("secret")
    record.pop(user, None)
    error = daemon.call(ACCOUNT, DELETE, params="user=" + user)[0]
    if secret is None:
        return error
    record[user] = secret_digest(user, secret)
    return daemon.call(ACCOUNT, NEW, params=f"user={user},password={secret}")[0]


def await_idle(daemon, tid, lun):  # type: (Daemon, int, int) -> None
    """Until the LUN has nothing to do; what is written while its file is opened anew would fail."""
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while not is_idle(daemon.call(TARGET, STAT, tid)[1], lun):
        if time.monotonic() > deadline:
            raise Fault("unavailable", f"LUN {lun} is written to all the time, so tgtd cannot be shown its new size")
        time.sleep(0.001)


def is_idle(text, lun):  # type: (str, int) -> bool
    """``tgt lun sid rd_subm(bytes,cmds) rd_done wr_subm wr_done errs``: what was begun has ended."""
    for line in text.replace("\0", "").splitlines()[1:]:
        numbers = [int(word) for word in re.findall(r"\d+", line)]
        if numbers[1] == lun and (numbers[3:5] != numbers[5:7] or numbers[7:9] != numbers[9:11]):
            return False
    return True


class Tgt(target_agent.Server):
    """See `target_agent.Server`. `record` is a file that a reboot forgets, as it does tgtd's accounts."""

    def __init__(self, daemon, files, record):  # type: (Daemon, target_agent.Files, str) -> None
        self._daemon = daemon
        self._files = files
        self._record = record

    def observed(self):  # type: () -> dict[str, Seen]
        error, text = self._daemon.call(TARGET, SHOW)
        if error:
            raise Fault("backend", f"tgtd cannot show its targets: error {error}")
        return parse(text)

    def enforce(self, wanted):  # type: (dict[str, typing.Optional[Wanted]]) -> list[str]
        record = json.loads(self._files.read(self._record) or "{}")
        before = dict(record)
        changed = set()  # type: set[str]
        trouble = ""
        sizes = {lun["path"]: self._files.size_of(lun["path"]) for one in wanted.values() if one for lun in one["luns"]}
        for _ in range(ROUNDS):
            seen = self.observed()
            listening = self._daemon.call(PORTAL, SHOW)[1]
            steps = plan_portals(wanted.values(), listening) + plan(wanted, seen, record, sizes)
            if not steps:
                return sorted(changed)
            tids = {one["tid"]: name for name, one in seen.items()}
            tids.update({step["tid"]: step["name"] for step in steps if step["do"] == "add target"})
            changed |= {tids[step["tid"]] for step in steps if step.get("tid") in tids}
            trouble = self._carry_out(steps, record)
            if record != before:
                self._files.replace(self._record, json.dumps(record))
                before = dict(record)
        raise Fault("backend", trouble or f"tgtd does not become what it should be: {json.dumps(steps[0])}")

    def _carry_out(self, steps, record):  # type: (list[Step], dict[str, str]) -> str
        """What tgtd said to the step that it refused; the rest is planned again."""
        for step in steps:
            error = carry_out(step, self._daemon, record)
            if error:
                shown = {key: value for key, value in step.items() if key != "secret"}
                return f"tgtd answers error {error} to {json.dumps(shown)}"
        return ""


def main(settings):  # type: (dict[str, str]) -> None
    """``{"socket": path, "record": path}``."""
    daemon = Daemon(settings["socket"])
    target_agent.serve(lambda files: Tgt(daemon, files, settings["record"]))
