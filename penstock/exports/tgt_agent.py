"""Brings a tgtd to what is wanted, and says what it serves. This file runs on the storage host: see `target_agent`.

It speaks to tgtd what tgtadm speaks (tgt 1.0.85 usr/tgtadm.h: the structures have been the same since 1.0.2x), since
that keeps secrets out of every argv, and a hundred changes are one command.
"""

import contextlib
import json
import socket
import struct
import time
import typing

from penstock.exports import target_agent, tgt_plan, tgt_shown
from penstock.exports.target_agent import Fault

ROUNDS = 5  # each is lost to somebody who changed the daemon meanwhile
IDLE_TIMEOUT_S = 5.0
NEW_FOR_NAMES = {"add target", "add lun", "name lun", "allow"}
LAYOUT = "@II64sIiQQIIIIII"  # struct tgtadm_req
TARGET, DEVICE, PORTAL, CONNECTION, ACCOUNT = 1, 2, 3, 6, 7
NEW, DELETE, SHOW, BIND, UNBIND, UPDATE, STAT = range(7)

if typing.TYPE_CHECKING:
    Step = dict[str, typing.Any]
    Seen = dict[str, typing.Any]
    Targets = dict[str, dict[str, typing.Any] | None]


class Daemon:
    """tgtd's own socket: one connection for each request.

    `free_tid` and `listening` (portals as they are wanted) are what its process was last seen with: guesses, for who
    finds out whether they are right.
    """

    def __init__(self, path):  # type: (str) -> None
        self._path = path
        self._process = 0
        self.forget()

    def forget(self):  # type: () -> None
        self.free_tid = None  # type: typing.Optional[int]
        self.listening = set()  # type: set[tuple[typing.Any, ...]]

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
                self._meet(line)
                line.sendall(head + body)
                while True:
                    more = line.recv(1 << 20)
                    if not more:
                        break
                    answer += more
        except OSError as err:
            raise Fault("down", f"tgtd does not answer at {self._path}: {err}") from err
        if len(answer) < 8:
            raise Fault("down", "tgtd closed the connection without an answer")
        return struct.unpack("@I", answer[:4])[0], answer[8:].decode(errors="replace")

    def _meet(self, line):  # type: (socket.socket) -> None
        """Another process than the last time knows nothing of what that one was told."""
        size = struct.calcsize("3i")
        process = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
        if process != self._process:
            self._process = process
            self.forget()


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
    record[user] = tgt_plan.secret_digest(user, secret)
    return daemon.call(ACCOUNT, NEW, params=f"user={user},password={secret}")[0]


def await_idle(daemon, tid, lun):  # type: (Daemon, int, int) -> None
    """Until the LUN has nothing to do; what is written while its file is opened anew would fail."""
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while not tgt_shown.is_idle(daemon.call(TARGET, STAT, tid)[1], lun):
        if time.monotonic() > deadline:
            raise Fault("unavailable", f"LUN {lun} is written to all the time, so tgtd cannot be shown its new size")
        time.sleep(0.001)  # tgtd tells nobody when a LUN falls idle


class Tgt(target_agent.Server):
    """See `target_agent.Server`. `record` is a file that a reboot forgets, as it does tgtd's accounts."""

    def __init__(self, daemon, files, record):  # type: (Daemon, target_agent.Files, str) -> None
        self._daemon = daemon
        self._files = files
        self._record = record

    def observed(self):  # type: () -> dict[str, Seen]
        return self._seen()

    def _seen(self, wanted=None):  # type: (typing.Container[str] | None) -> dict[str, Seen]
        """Of targets that are not `wanted` only as much as a change of others has to know."""
        error, text = self._daemon.call(TARGET, SHOW)
        if error:
            raise Fault("backend", f"tgtd cannot show its targets: error {error}")
        return tgt_shown.targets(text, wanted)

    def servable(self, wanted):  # type: (Targets) -> tuple[Targets, dict[str, str]]
        if not any(want and any(tgt_plan.accounts(want).values()) for want in wanted.values()):
            return wanted, {}
        try:
            seen = self._seen(wanted)
        except Fault as fault:
            if fault.kind != "down":
                raise
            seen = {}  # nobody has a secret in it
        return tgt_plan.servable(wanted, seen, self._recorded())

    def enforce(self, wanted):  # type: (Targets) -> list[str]
        record = self._recorded()
        before = dict(record)
        changed = set()  # type: set[str]
        trouble = ""
        sizes = {lun["path"]: self._files.size_of(lun["path"]) for one in wanted.values() if one for lun in one["luns"]}
        needed = {tuple(portal) for one in wanted.values() if one for portal in one["portals"]}
        if needed <= self._daemon.listening and self._made_at_once(wanted, record, sizes):
            changed |= set(wanted)
            if self._daemon.free_tid is not None:  # else it is another tgtd by now, whose portals nobody has seen
                return sorted(changed)
        listens = not needed
        for _ in range(ROUNDS):
            seen = self._seen(wanted)
            portals = []  # type: list[Step]
            if not listens:
                portals = tgt_plan.plan_portals(wanted.values(), self._daemon.call(PORTAL, SHOW)[1])
                listens = not portals
                if listens:
                    self._daemon.listening |= needed
            steps = portals + tgt_plan.plan(wanted, seen, record, sizes)
            if not steps:
                return sorted(changed)
            tids = {one["tid"]: name for name, one in seen.items()}
            tids.update({step["tid"]: step["name"] for step in steps if step["do"] == "add target"})
            self._daemon.free_tid = max(tids, default=0) + 1
            changed |= {tids[step["tid"]] for step in steps if step.get("tid") in tids}
            trouble = self._carry_out(steps, record)
            if record != before:
                self._files.replace(self._record, json.dumps(record))
                before = dict(record)
            if not trouble and {step["do"] for step in steps} == NEW_FOR_NAMES:
                return sorted(changed)  # each was one request, and tgtd answers when it has done it
        raise Fault("backend", trouble or f"tgtd does not become what it should be: {json.dumps(shown(steps[0]))}")

    def _made_at_once(self, wanted, record, sizes):
        # type: (Targets, dict[str, str], dict[str, typing.Optional[int]]) -> bool
        """Was it made as one new target for names, under the number that is probably free?

        tgtd refuses a number, or a name, that it has: False then, and all is to be looked at. Showing all targets takes
        longer the more there are.
        """
        free = self._daemon.free_tid
        if free is None or len(wanted) != 1:
            return False
        steps = [dict(step, tid=free) for step in tgt_plan.plan(wanted, {}, record, sizes)]
        if {step["do"] for step in steps} != NEW_FOR_NAMES or self._carry_out(steps, record):
            return False
        if self._daemon.free_tid is not None:
            self._daemon.free_tid = free + 1
        return True

    def _recorded(self):  # type: () -> dict[str, str]
        return dict(json.loads(self._files.read(self._record) or "{}"))

    def _carry_out(self, steps, record):  # type: (list[Step], dict[str, str]) -> str
        """What tgtd said to the step that it refused; the rest is planned again."""
        for step in steps:
            error = carry_out(step, self._daemon, record)
            if error:
                return f"tgtd answers error {error} to {json.dumps(shown(step))}"
        return ""


def shown(step):  # type: (Step) -> Step
    """What may be told of it."""
    return {key: value for key, value in step.items() if key != "secret"}


def main(settings):  # type: (dict[str, str]) -> None
    """``{"socket": path, "record": path}``."""
    daemon = Daemon(settings["socket"])
    target_agent.serve(lambda files: Tgt(daemon, files, settings["record"]))
