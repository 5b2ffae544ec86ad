"""tgtd, the iSCSI target in user space: a file for each target, which tgt-admin reads when tgtd starts, and its socket.

A change is one command on the host however many targets (see `tgt_agent`); no secret is in any argv, and the files are
readable by root only. tgtd restarted by its service reads our files by itself (``tgt-admin -e``); where somebody
restarts it otherwise, `put_back` does.

What tgt cannot do: LUN 0 (its controller), LUNs that only some initiators of a target see, portals of one target. A
file that grew is opened anew in a moment without commands, since tgtd looks at sizes only then; a LUN that is written
to without a pause for 5 s cannot be resized (Unavailable).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.errors import Unsupported
from penstock.exports import tgt_agent, tgt_plan, tgt_shown
from penstock.exports.iscsi import ANYBODY, IscsiTarget, target_to_json
from penstock.exports.iscsi_agent import TIMEOUT_S, AgentExports
from penstock.host.runner import Host

DIRECTORY = "/etc/tgt/conf.d"
RECORD = "/run/penstock-tgt-accounts.json"
SOCKET = "/var/run/tgtd/socket.0"
OLDEST = (1, 0, 84)
"""Before it names alone let nobody in."""


class TgtIscsi(AgentExports):
    """`exports.iscsi.IscsiExports` by the tgtd of `host`, as root there (its prefix). `socket` is for a second tgtd."""

    def __init__(self, host: Host, socket: str = SOCKET, directory: str = DIRECTORY) -> None:
        settings = {"socket": socket, "record": RECORD}
        super().__init__(
            host,
            (tgt_shown, tgt_plan, tgt_agent),
            directory,
            settings,
            start="start it with: systemctl enable --now tgt",
        )

    def check(self, target: IscsiTarget) -> None:
        """See AgentExports."""
        if any(lun.number == 0 for lun in target.luns):
            raise Unsupported(f"{target.iqn}: LUN 0 of a tgt target is its controller; take another number")
        numbers = tuple(lun.number for lun in target.luns)
        if any(one.luns not in (None, numbers) for one in target.initiators):
            raise Unsupported(f"{target.iqn}: tgt shows every LUN of a target to all its initiators")

    def render(self, target: IscsiTarget) -> str:
        """What tgt-admin reads. A target for nobody is not served after a restart."""
        if not target.initiators:
            return ""
        lines = [f"<target {target.iqn}>", "    driver iscsi", *_body(target), "</target>"]
        return "".join(f"{line}\n" for line in lines)

    def is_served(self, target: IscsiTarget, seen: Mapping[str, Any] | None) -> bool:
        """See AgentExports. tgtd does not tell secrets."""
        if seen is None:
            return not target.initiators
        accounts = tgt_plan.accounts(target_to_json(target))
        luns = {int(number): one for number, one in seen["luns"].items()}
        return (
            sorted(seen["acl"]) == sorted(tgt_plan.wanted_acl(target_to_json(target)))
            and all(sorted(user for user, _ in pairs) == sorted(seen[way]) for way, pairs in accounts.items())
            and luns.keys() == {lun.number for lun in target.luns}
            and all(
                (luns[lun.number]["Backing store path"], luns[lun.number]["SCSI SN"], luns[lun.number]["block_size"])
                == (lun.path, lun.serial, lun.block_size)
                for lun in target.luns
            )
        )

    def verify(self) -> None:
        """See IscsiExports."""
        for program, package in (("tgtd", "tgt"), ("python3", "python3")):
            if self._host.run(["sh", "-c", 'command -v -- "$1"', "sh", program], timeout_s=TIMEOUT_S).exit_code != 0:
                raise Unsupported(f"{self._host.name} has no {program}; install it with: apt install {package}")
        said = self._host.run(["tgtadm", "--version"], timeout_s=TIMEOUT_S).stdout.strip()
        if tuple(int(number) for number in re.findall(r"\d+", said)[:3]) < OLDEST:
            raise Unsupported(f"tgt on {self._host.name} is {said}; it must be 1.0.84 or newer")
        self._ask(["observe"], observe=True)


def _body(target: IscsiTarget) -> Iterable[str]:
    for lun in target.luns:
        yield f"    <backing-store {lun.path}>"
        yield f"        lun {lun.number}"
        yield f"        block-size {lun.block_size}"
        yield f"        scsi_id {lun.serial}"
        yield f"        scsi_sn {lun.serial}"
        yield "        allow-in-use yes"
        yield "    </backing-store>"
    for chap in sorted({one.chap for one in target.initiators if one.chap}, key=lambda chap: chap.username):
        yield f"    incominguser {chap.username} {chap.secret}"
    if target.mutual:
        yield f"    outgoinguser {target.mutual.username} {target.mutual.secret}"
    for allowed in tgt_plan.wanted_acl(target_to_json(target)):
        yield f"    {tgt_plan.entry(allowed).replace('=', ' ')}"
    if ANYBODY not in target.names:
        yield f"    initiator-address {tgt_shown.NOBODY}"
