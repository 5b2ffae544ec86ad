"""What tgtd shows, taken apart: pure. This file runs on the storage host, and here: see `target_agent`."""

import re
import typing

NOBODY = "255.255.255.255"  # tgt-admin 1.0.85 opens a target without an address to all the world, whatever names it has

if typing.TYPE_CHECKING:
    Seen = dict[str, typing.Any]


def targets(text, wanted=None):  # type: (str, typing.Container[str] | None) -> dict[str, Seen]
    """What ``tgtadm --mode target --op show`` prints, by target name.

    Of targets that are not `wanted` (None is all) only the number and the accounts are read: a change is about one or
    two of hundreds.
    """
    found = {}  # type: dict[str, Seen]
    for shown in ("\n" + text.replace("\0", "")).split("\nTarget ")[1:]:
        head, _, rest = shown.partition("\n")
        number, _, name = head.strip().partition(": ")
        found[name] = target = unseen(int(number))
        if wanted is not None and name not in wanted:
            rest = "".join(rest.partition(ACCOUNTS)[1:])
        parse(target, rest)
        target["luns"] = {number: lun for number, lun in target["luns"].items() if lun.get("Type") != "controller"}
    return found


def parse(target, text):  # type: (Seen, str) -> None
    """Put into `target` what stands below its name."""
    part = ""
    for line in text.splitlines():
        words = line.strip()
        if line.startswith("    ") and not line.startswith("     "):
            part = words
        elif words and part in PARTS:
            PARTS[part](target, words)


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


ACCOUNTS = "    Account information:"
PARTS = {
    "I_T nexus information:": parse_nexus,
    "LUN information:": parse_lun,
    "Account information:": parse_account,
    "ACL information:": parse_acl,
}


def portals(text):  # type: (str) -> set[str]
    """What ``tgtadm --mode portal --op show`` prints, without portal groups."""
    return {line.partition(": ")[2].partition(",")[0] for line in text.replace("\0", "").splitlines()}


def is_idle(text, lun):  # type: (str, int) -> bool
    """``tgt lun sid rd_subm(bytes,cmds) rd_done wr_subm wr_done errs``: what was begun has ended."""
    for line in text.replace("\0", "").splitlines()[1:]:
        numbers = [int(word) for word in re.findall(r"\d+", line)]
        if numbers[1] == lun and (numbers[3:5] != numbers[5:7] or numbers[7:9] != numbers[9:11]):
            return False
    return True
