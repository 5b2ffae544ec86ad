"""tgtd, the iSCSI target in user space: a file for each target, which tgt-admin reads when tgtd starts, and its socket.

A change is one command on the host however many targets (see `tgt_agent`); no secret is in any argv, and the files are
readable by root only. tgtd restarted by its service reads our files by itself (``tgt-admin -e``); where somebody
restarts it otherwise, `put_back` does.

What tgt cannot do: LUN 0 (its controller), LUNs that only some initiators of a target see, portals of one target. A
file that grew is opened anew in a moment without commands, since tgtd looks at sizes only then; a LUN that is written
to without a pause for 5 s cannot be resized (Unavailable).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import BackendFault, Conflict, Fault, Invalid, Unavailable, Unsupported
from penstock.exports import tgt_agent
from penstock.exports.iscsi import ANYBODY, IscsiTarget, Observed, Session, target_from_json, target_to_json
from penstock.host.files import digest
from penstock.host.runner import Host

DIRECTORY = "/etc/tgt/conf.d"
RECORD = "/run/penstock-tgt-accounts.json"
SOCKET = "/var/run/tgtd/socket.0"
PROGRAM = Path(tgt_agent.__file__).read_text(encoding="utf-8")
LOADER = (
    "import json,sys; request=json.load(sys.stdin); names={'__name__': 'agent'}; "
    "exec(compile(request['program'],'agent','exec'),names); names['main'](request)"
)
OLDEST = (1, 0, 84)
"""Before it names alone let nobody in."""
TIMEOUT_S = 60.0
TRIES = 30
START = "start it with: systemctl enable --now tgt"
KINDS: Mapping[str, type[Fault]] = {
    "down": Unavailable,
    "unavailable": Unavailable,
    "conflict": Conflict,
    "backend": BackendFault,
}


@dataclass(frozen=True, slots=True)
class TgtIscsi:
    """`exports.iscsi.IscsiExports` by the tgtd of `host`, as root there (its prefix). `socket` is for a second tgtd."""

    host: Host
    socket: str = SOCKET
    directory: str = DIRECTORY

    def apply(self, targets: Sequence[IscsiTarget], *, remove: Sequence[str] = ()) -> None:
        """See IscsiExports. One command."""
        if targets or remove:
            self._change({target.iqn: target for target in targets} | dict.fromkeys(remove), {})

    def edit(self, iqn: str, change: Callable[[IscsiTarget | None], IscsiTarget | None]) -> IscsiTarget | None:
        """See IscsiExports. Two commands."""
        for _ in range(TRIES):
            text = self.host.read_file(self._file(iqn))
            wanted = change(None if text is None else _parse(text))
            if not self._change({iqn: wanted}, {iqn: digest(text)}):
                return wanted
        raise Unavailable(f"somebody else changes {self._file(iqn)} on {self.host.name} all the time")

    def get(self, iqn: str) -> IscsiTarget | None:
        """See IscsiExports."""
        text = self.host.read_file(self._file(iqn))
        return None if text is None else _parse(text)

    def observe(self) -> Observed:
        """See IscsiExports. One command."""
        answer = self._ask(observe=True)
        seen: dict[str, Any] = answer["seen"]
        configured = {target.iqn: target for target in map(_parse, answer["texts"].values())}
        return Observed(
            configured,
            frozenset(name for name, target in configured.items() if _is_served(target, seen.get(name))),
            frozenset(seen) - configured.keys(),
            tuple(sorted(_sessions(seen))),
        )

    def sessions(self, iqn: str) -> tuple[Session, ...]:
        """See IscsiExports. One command."""
        return tuple(session for session in self.observe().sessions if session.iqn == iqn)

    def put_back(self) -> frozenset[str]:
        """See IscsiExports. One command."""
        return frozenset(self._ask(put_back=True)["changed"])

    def verify(self) -> None:
        """See IscsiExports."""
        for program, package in (("tgtd", "tgt"), ("python3", "python3")):
            if self.host.run(["sh", "-c", 'command -v -- "$1"', "sh", program], timeout_s=TIMEOUT_S).exit_code != 0:
                raise Unsupported(f"{self.host.name} has no {program}; install it with: apt install {package}")
        said = self.host.run(["tgtadm", "--version"], timeout_s=TIMEOUT_S).stdout.strip()
        if tuple(int(number) for number in re.findall(r"\d+", said)[:3]) < OLDEST:
            raise Unsupported(f"tgt on {self.host.name} is {said}; it must be 1.0.84 or newer")
        self._ask(observe=True)

    def _file(self, iqn: str) -> str:
        return f"{self.directory}/penstock-{iqn}.conf"

    def _change(self, wanted: Mapping[str, IscsiTarget | None], expected: Mapping[str, str]) -> bool:
        """False when a file is no longer what it should be, and nothing was done."""
        for target in wanted.values():
            if target is not None:
                check(target)
        write = {
            self._file(iqn): [expected.get(iqn), None if target is None else render(target)]
            for iqn, target in wanted.items()
        }
        gone = [iqn for iqn, target in wanted.items() if target is None]
        return "overtaken" in self._ask(write=write, remove=gone)

    def _ask(self, **request: Any) -> dict[str, Any]:
        whole = {
            "program": PROGRAM,
            "directory": self.directory,
            "record": RECORD,
            "socket": self.socket,
            "write": {},
            "remove": [],
            "put_back": False,
            **request,
        }
        done = self.host.run(["python3", "-I", "-c", LOADER], timeout_s=TIMEOUT_S, stdin=json.dumps(whole))
        if done.exit_code != 0:
            raise BackendFault(f"tgtd of {self.host.name} could not be changed: {done.stderr.strip()[-500:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        if "fault" in answer:
            hint = f"; {START}" if answer["fault"] == "down" else ""
            raise KINDS[answer["fault"]](f"{self.host.name}: {answer['message']}{hint}")
        return answer


def check(target: IscsiTarget) -> None:
    """Raises Unsupported for what tgt cannot do."""
    if any(lun.number == 0 for lun in target.luns):
        raise Unsupported(f"{target.iqn}: LUN 0 of a tgt target is its controller; take another number")
    numbers = tuple(lun.number for lun in target.luns)
    if any(one.luns not in (None, numbers) for one in target.initiators):
        raise Unsupported(f"{target.iqn}: tgt shows every LUN of a target to all its initiators")


def render(target: IscsiTarget) -> str:
    """A file for tgt-admin; its first line is the target for us. A target for nobody is not served after a restart."""
    lines = [f"{tgt_agent.MARK}{json.dumps(target_to_json(target), sort_keys=True)}"]
    if target.initiators:
        lines += [f"<target {target.iqn}>", "    driver iscsi", *_body(target), "</target>"]
    return "".join(f"{line}\n" for line in lines)


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
    for allowed in tgt_agent.wanted_acl(target_to_json(target)):
        yield f"    {tgt_agent.entry(allowed).replace('=', ' ')}"
    if ANYBODY not in target.names:
        yield f"    initiator-address {tgt_agent.NOBODY}"


def _parse(text: str) -> IscsiTarget:
    """Raises BackendFault: a guess would be put in force."""
    first = text.partition("\n")[0]
    if not first.startswith(tgt_agent.MARK):
        raise BackendFault(f"a file under {DIRECTORY} is named as ours and does not begin with {tgt_agent.MARK!r}")
    try:
        return target_from_json(json.loads(first.removeprefix(tgt_agent.MARK)))
    except (Invalid, KeyError, TypeError, ValueError) as err:
        raise BackendFault(f"a file under {DIRECTORY} cannot be read: {type(err).__name__}") from err


def _is_served(target: IscsiTarget, seen: Mapping[str, Any] | None) -> bool:
    """Whether tgtd has it so, as far as it tells (it does not tell secrets)."""
    if seen is None:
        return not target.initiators
    accounts = tgt_agent.accounts(target_to_json(target))
    luns = {int(number): one for number, one in seen["luns"].items()}
    return (
        sorted(seen["acl"]) == sorted(tgt_agent.wanted_acl(target_to_json(target)))
        and all(sorted(user for user, _ in pairs) == sorted(seen[way]) for way, pairs in accounts.items())
        and luns.keys() == {lun.number for lun in target.luns}
        and all(
            (luns[lun.number]["Backing store path"], luns[lun.number]["SCSI SN"], luns[lun.number]["block_size"])
            == (lun.path, lun.serial, lun.block_size)
            for lun in target.luns
        )
    )


def _sessions(seen: Mapping[str, Any]) -> Iterable[Session]:
    for iqn, target in seen.items():
        for session in target["sessions"]:
            for connection in session["connections"]:
                yield Session(iqn, session["initiator"], re.sub(r"[\[\]]", "", connection["address"]))
