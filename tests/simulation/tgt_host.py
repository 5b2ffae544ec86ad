"""tgtd that exists only in a simulated host's files: what `exports.tgt_agent` says to it, and who may log in.

All state is in the host's files, so that whoever copies or rolls those back has copied the daemon too. It holds what
tests/contract/test_iscsi_exports.py finds out about the real one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from penstock.exports import target_agent, tgt_agent, tgt_plan
from penstock.exports.iscsi_agent import LOADER
from penstock.exports.iscsi_tgt import RECORD
from penstock.exports.tgt_agent import (
    ACCOUNT,
    BIND,
    CONNECTION,
    DELETE,
    NEW,
    PORTAL,
    SHOW,
    STAT,
    TARGET,
    UNBIND,
    UPDATE,
)
from tests.simulation.zfs_host import SimulatedHost

STATE = "/proc/simulated/tgtd"
EMPTY: dict[str, Any] = {"targets": {}, "accounts": {}, "portals": ["0.0.0.0:3260", "[::]:3260"]}
NO_TARGET, NO_LUN, EXISTS, NO_USER, INVALID = 4, 5, 9, 12, 22

Answer = tuple[int, str, str]


class SimulatedTgt(tgt_agent.Daemon, target_agent.Files):
    """`tgt_agent.Daemon` and `tgt_agent.Files` on a simulated host; `sizes` says how big a backing path is."""

    def __init__(self, host: SimulatedHost, sizes: Callable[[str], int | None]) -> None:
        self._host = host
        target_agent.Files.__init__(self)
        self.size_of = sizes  # type: ignore[method-assign]
        self._server = tgt_agent.Tgt(self, self, RECORD)
        self.boot()
        host.programs["python3"] = self._python3
        host.programs["tgtadm"] = lambda _args, _stdin: (0, "1.0.85\n", "")
        host.programs["sh"] = lambda _args, _stdin: (0, "", "")  # command -v

    # --- the machine --------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start tgtd as its service does: what files say is served."""
        self._keep(EMPTY)
        self.forget()
        for text in self.all(tgt_agent_directory()).values():
            wanted = target_agent.target_of(text)
            if wanted["initiators"]:
                with contextlib.suppress(target_agent.Fault):  # what it would serve is not there
                    tgt_agent.Tgt(self, self, "/run/nothing").enforce({wanted["iqn"]: wanted})
        self._host.state.files.pop("/run/nothing", None)

    def stop(self) -> None:
        """Nobody answers, nobody is served."""
        self._host.state.files.pop(STATE, None)

    def login(
        self, iqn: str, initiator: str, address: str, chap: tuple[str, str] | None = None
    ) -> dict[int, int] | None:
        """Sizes in bytes by LUN that the initiator gets to see, None when it is refused."""
        targets = [one for one in self._targets().values() if one["name"] == iqn]
        if not targets:
            return None
        target = targets[0]
        networks = [one for one in target["acl"] if "address" in tgt_plan.entry(one)]
        place = ipaddress.ip_address(address)
        is_from = any(one == "ALL" or place in ipaddress.ip_network(one) for one in networks)
        if not is_from and initiator not in target["acl"]:
            return None
        accounts = self._state()["accounts"]
        if target["incoming"] and (chap is None or chap[0] not in target["incoming"] or accounts[chap[0]] != chap[1]):
            return None
        return {int(number): lun["size"] for number, lun in target["luns"].items()}

    def log_in(self, iqn: str, initiator: str, address: str) -> None:
        """Somebody stays logged in."""
        state = self._state()
        target = next(one for one in state["targets"].values() if one["name"] == iqn)
        target["sessions"].append([len(target["sessions"]) + 1, initiator, address])
        self._keep(state)

    # --- tgt_agent.Daemon ---------------------------------------------------------------------------------------------

    def call(
        self, mode: int, op: int, tid: int = -1, lun: int = 0, sid: int = 0, cid: int = 0, outgoing: int = 0,
        force: int = 0, params: str = "",
    ) -> tuple[int, str]:  # fmt: skip
        state = self._state()
        words = dict(
            one.partition("=")[::2]
            for one in params.replace("targetOps ", "").replace("portalOps ", "").split(",")
            if one
        )
        target = state["targets"].get(str(tid))
        if op in (SHOW, STAT):
            return 0, self._told(state, mode, op)
        if mode == ACCOUNT:
            error = self._account(state, target, op, words, outgoing)
        elif mode == PORTAL:
            error = 0
            state["portals"].append(words["portal"])
        elif (mode, op) == (TARGET, NEW):
            error = self._new_target(state, tid, words["targetname"])
        elif target is None:
            error = NO_TARGET
        else:
            error = self._change(state, target, (mode, op), tid, lun, sid, words)
        self._keep(state)
        return error, ""

    def _told(self, state: dict[str, Any], mode: int, op: int) -> str:
        if op == STAT:
            return "tgt lun sid\n"
        return _shown(state["targets"]) if mode == TARGET else "".join(f"Portal: {p},1\n" for p in state["portals"])

    def _change(
        self, state: dict[str, Any], target: dict[str, Any], what: tuple[int, int], tid: int, lun: int, sid: int,
        words: dict[str, str],
    ) -> int:  # fmt: skip
        mode, op = what
        if what == (TARGET, DELETE):
            del state["targets"][str(tid)]
        elif mode == TARGET:
            return _bound(target["acl"], op, next(iter(words.values())))
        elif mode == CONNECTION:
            target["sessions"] = [one for one in target["sessions"] if one[0] != sid]
        else:
            return self._device(target, op, lun, words)
        return 0

    def _new_target(self, state: dict[str, Any], tid: int, name: str) -> int:
        if str(tid) in state["targets"] or any(one["name"] == name for one in state["targets"].values()):
            return EXISTS
        empty: dict[str, Any] = {"luns": {}, "incoming": [], "outgoing": [], "acl": [], "sessions": []}
        state["targets"][str(tid)] = {"name": name, **empty}
        return 0

    def _account(
        self, state: dict[str, Any], target: dict[str, Any] | None, op: int, words: dict[str, str], outgoing: int
    ) -> int:
        user = words["user"]
        if op == NEW:
            if user in state["accounts"]:
                return EXISTS
            state["accounts"][user] = words["password"]
            return 0
        if op == DELETE:
            state["accounts"].pop(user, None)
            for one in state["targets"].values():
                for way in ("incoming", "outgoing"):
                    one[way] = [name for name in one[way] if name != user]
            return 0
        if target is None or user not in state["accounts"]:
            return NO_USER
        return _bound(target["outgoing" if outgoing else "incoming"], op, user)

    def _device(self, target: dict[str, Any], op: int, lun: int, words: dict[str, str]) -> int:
        luns = target["luns"]
        if op == NEW:
            size = self.size_of(words["path"])
            if str(lun) in luns or size is None or lun == 0:
                return INVALID
            serial = f"beaf{lun}"
            luns[str(lun)] = {
                "path": words["path"], "block": int(words["blocksize"]), "size": size, "sn": serial, "id": serial,
            }  # fmt: skip
            return 0
        if str(lun) not in luns:
            return NO_LUN
        if op == DELETE:
            del luns[str(lun)]
        elif op == UPDATE:
            found = luns[str(lun)]
            found["sn"] = words.get("scsi_sn", found["sn"])
            found["id"] = words.get("scsi_id", found["id"])
            if "path" in words:
                found["size"] = self.size_of(words["path"])
        return 0

    # --- tgt_agent.Files ----------------------------------------------------------------------------------------------

    def read(self, path: str) -> str | None:
        return self._host.state.files.get(path)

    def replace(self, path: str, text: str | None) -> None:
        if text is None:
            self._host.state.files.pop(path, None)
        else:
            self._host.state.files[path] = text

    @contextlib.contextmanager
    def saved(self, texts: dict[str, str], same: list[str]) -> Iterator[None]:
        self._host.state.files.update(texts)
        yield

    def all(self, directory: str) -> dict[str, str]:
        start = f"{directory}/penstock-"
        return {path: text for path, text in self._host.state.files.items() if path.startswith(start)}

    @contextlib.contextmanager
    def lock(self, directory: str) -> Iterator[None]:
        yield

    # --- how ----------------------------------------------------------------------------------------------------------

    def _python3(self, args: Sequence[str], stdin: str) -> Answer:
        assert list(args) == ["-I", "-S", "-c", LOADER], args
        opening, line = stdin.splitlines()
        assert [name for name, _ in json.loads(opening)["modules"]] == [
            "target_agent",
            "tgt_shown",
            "tgt_plan",
            "tgt_agent",
        ]
        request = json.loads(line)
        try:
            found = target_agent.answer(request, self._server, self)
        except target_agent.Fault as fault:
            found = {"fault": fault.kind, "message": fault.message}
        return 0, json.dumps(found), ""

    def _state(self) -> dict[str, Any]:
        text = self._host.state.files.get(STATE)
        if text is None:
            raise tgt_agent.Fault("down", "tgtd does not answer")
        found: dict[str, Any] = json.loads(text)
        return found

    def _targets(self) -> dict[str, Any]:
        found: dict[str, Any] = self._state()["targets"]
        return found

    def _keep(self, state: dict[str, Any]) -> None:
        self._host.state.files[STATE] = json.dumps(state)


def tgt_agent_directory() -> str:
    return "/etc/tgt/conf.d"


def _bound(names: list[str], op: int, name: str) -> int:
    if op == BIND:
        if name in names:
            return EXISTS
        names.append(name)
    elif op == UNBIND and name in names:
        names.remove(name)
    return 0


def _shown(targets: dict[str, Any]) -> str:
    lines = []
    for tid, target in targets.items():
        lines += [f"Target {tid}: {target['name']}", "    System information:", "        Driver: iscsi"]
        lines += ["    I_T nexus information:"]
        for sid, initiator, address in target["sessions"]:
            lines += [f"        I_T nexus: {sid}", f"            Initiator: {initiator} alias: none"]
            lines += ["            Connection: 0", f"                IP Address: {address}"]
        lines += ["    LUN information:", "        LUN: 0", "            Type: controller"]
        for number, lun in target["luns"].items():
            lines += [f"        LUN: {number}", "            Type: disk", f"            SCSI ID: {lun['id']}"]
            lines += [f"            SCSI SN: {lun['sn']}"]
            lines += [f"            Size: {round(lun['size'] / 1e6)} MB, Block size: {lun['block']}"]
            lines += [f"            Backing store path: {lun['path']}"]
        lines += ["    Account information:"]
        lines += [f"        {user}" for user in target["incoming"]]
        lines += [f"        {user} (outgoing)" for user in target["outgoing"]]
        lines += ["    ACL information:", *(f"        {entry}" for entry in target["acl"])]
    return "".join(f"{line}\n" for line in lines)
