"""An iSCSI target server by a program on its host (`target_agent`, and the server's own): the part that stays here.

The program is kept running there between two changes (`host.kept_program`), since its start and imports would be most
of a change's time; secrets reach it by its stdin alone.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from penstock.errors import BackendFault, Conflict, Fault, Invalid, Unavailable, Unsupported
from penstock.exports import target_agent
from penstock.exports.iscsi import IscsiTarget, Observed, OtherSecret, Session, target_from_json, target_to_json
from penstock.host.files import digest
from penstock.host.kept_program import Program, ask
from penstock.host.runner import Host

LOADER = """import json,sys,types
program=json.loads(sys.stdin.readline())
for name in ("penstock","penstock.exports"): sys.modules[name]=types.ModuleType(name)
for name,source in program["modules"]:
    module=sys.modules["penstock.exports."+name]=types.ModuleType(name)
    setattr(sys.modules["penstock.exports"],name,module)
    exec(compile(source,name,"exec"),module.__dict__)
module.main(program["settings"])
"""
TIMEOUT_S = 60.0
LIMIT_S = 62
"""After which the program there ends itself: we give up first."""
TRIES = 30
KINDS: Mapping[str, type[Fault]] = {
    "down": Unavailable,
    "unavailable": Unavailable,
    "conflict": Conflict,
    "unsupported": Unsupported,
    "backend": BackendFault,
}

log = structlog.get_logger(__name__)


class AgentExports(ABC):
    """`exports.iscsi.IscsiExports` over a host where we are root (its prefix); a subclass knows one server."""

    def __init__(
        self, host: Host, modules: tuple[ModuleType, ...], directory: str, settings: Mapping[str, str], *, start: str
    ) -> None:
        """`modules` are the server's program (the last has `main`), `start` says how to start a server that is down."""
        self._host = host
        self._program = program(modules, settings)
        self._start = start
        self._directory = directory

    @abstractmethod
    def check(self, target: IscsiTarget) -> None:
        """Raises Unsupported for what this server cannot do."""

    @abstractmethod
    def render(self, target: IscsiTarget) -> str:
        """Lines of the target's file after the first, which is ours."""

    @abstractmethod
    def is_served(self, target: IscsiTarget, seen: Mapping[str, Any] | None) -> bool:
        """Whether what the server's program saw is this target, as far as the server tells."""

    @abstractmethod
    def verify(self) -> None:
        """See IscsiExports."""

    def apply(self, targets: Sequence[IscsiTarget], *, remove: Sequence[str] = ()) -> None:
        """See IscsiExports."""
        if targets or remove:
            self._change({target.iqn: target for target in targets} | dict.fromkeys(remove), {})

    def edit(self, iqn: str, change: Callable[[IscsiTarget | None], IscsiTarget | None]) -> IscsiTarget | None:
        """See IscsiExports."""
        for _ in range(TRIES):
            text = self._read(iqn)
            wanted = change(None if text is None else self._parse(text))
            if text is None and wanted is None:
                return None
            if not self._change({iqn: wanted}, {iqn: digest(text)}):
                return wanted
        raise Unavailable(f"somebody else changes {self._file(iqn)} on {self._host.name} all the time")

    def add(self, target: IscsiTarget) -> bool:
        """See IscsiExports."""
        return not self._change({target.iqn: target}, {target.iqn: digest(None)})

    def discard(self, target: IscsiTarget) -> bool:
        """See IscsiExports."""
        return not self._change({target.iqn: None}, {target.iqn: digest(self._text(target))})

    def get(self, iqn: str) -> IscsiTarget | None:
        """See IscsiExports."""
        text = self._read(iqn)
        return None if text is None else self._parse(text)

    def observe(self) -> Observed:
        """See IscsiExports."""
        answer = self._ask(["observe"], observe=True)
        seen: dict[str, Any] = answer["seen"]
        configured = {target.iqn: target for target in map(self._parse, answer["texts"].values())}
        return Observed(
            configured,
            frozenset(name for name, target in configured.items() if self.is_served(target, seen.get(name))),
            frozenset(seen) - configured.keys(),
            tuple(sorted(_sessions(seen))),
        )

    def sessions(self, iqn: str) -> tuple[Session, ...]:
        """See IscsiExports."""
        return tuple(session for session in self.observe().sessions if session.iqn == iqn)

    def put_back(self) -> frozenset[str]:
        """See IscsiExports."""
        answer = self._ask(["put back"], put_back=True)
        for iqn, why in answer["left_out"].items():
            log.warning("iscsi.left_out", target=iqn, why=why)
        return frozenset(answer["changed"])

    def _file(self, iqn: str) -> str:
        return f"{self._directory}/penstock-{iqn}.conf"

    def _change(self, wanted: Mapping[str, IscsiTarget | None], expected: Mapping[str, str]) -> bool:
        """False when a file is no longer what it should be, and nothing was done."""
        for target in wanted.values():
            if target is not None:
                self.check(target)
        write = {
            self._file(iqn): [expected.get(iqn), None if target is None else self._text(target)]
            for iqn, target in wanted.items()
        }
        gone = [iqn for iqn, target in wanted.items() if target is None]
        words = [f"{'remove' if target is None else 'change'} {iqn}" for iqn, target in wanted.items()]
        answer = self._ask(words, write=write, remove=gone)
        if answer.get("left_out"):
            raise OtherSecret("; ".join(f"{iqn}: {why}" for iqn, why in sorted(answer["left_out"].items())))
        return "overtaken" in answer

    def _read(self, iqn: str) -> str | None:
        text: str | None = self._ask([f"read {iqn}"], read=self._file(iqn))["text"]
        return text

    def _ask(self, told: Sequence[str], **request: Any) -> dict[str, Any]:
        """`told` is what the audit says of it."""
        whole = {
            "directory": self._directory,
            "write": {},
            "remove": [],
            "put_back": False,
            "observe": False,
            "read": None,
            "limit_s": LIMIT_S,
            **request,
        }
        done = ask(self._host, self._program, json.dumps(whole), timeout_s=TIMEOUT_S, told=told)
        if done.exit_code != 0:
            raise BackendFault(
                f"the iSCSI targets of {self._host.name} could not be changed: {done.stderr.strip()[-500:]}"
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        if "fault" in answer:
            hint = f"; {self._start}" if answer["fault"] == "down" else ""
            raise KINDS[answer["fault"]](f"{self._host.name}: {answer['message']}{hint}")
        return answer

    def _text(self, target: IscsiTarget) -> str:
        return f"{target_agent.MARK}{json.dumps(target_to_json(target), sort_keys=True)}\n{self.render(target)}"

    def _parse(self, text: str) -> IscsiTarget:
        """Raises BackendFault: a guess would be put in force."""
        first = text.partition("\n")[0]
        if not first.startswith(target_agent.MARK):
            raise BackendFault(f"a file in {self._directory} has our name and not our beginning {target_agent.MARK!r}")
        try:
            return target_from_json(json.loads(first.removeprefix(target_agent.MARK)))
        except (Invalid, KeyError, TypeError, ValueError) as err:
            raise BackendFault(f"a file in {self._directory} cannot be read: {type(err).__name__}") from err


def program(modules: tuple[ModuleType, ...], settings: Mapping[str, str]) -> Program:
    """What runs on the host: `modules` by their sources, the last of which has `main`, which gets the `settings`."""
    opening = {"modules": _sources(modules), "settings": dict(settings)}
    name = modules[-1].__name__.rpartition(".")[2]
    return Program(name, ("python3", "-I", "-S", "-c", LOADER), json.dumps(opening))


@cache
def _sources(modules: tuple[ModuleType, ...]) -> list[list[str]]:
    sent = (target_agent, *modules)
    return [[one.__name__.rpartition(".")[2], Path(str(one.__file__)).read_text(encoding="utf-8")] for one in sent]


def _sessions(seen: Mapping[str, Any]) -> Iterable[Session]:
    for iqn, target in seen.items():
        for session in target["sessions"]:
            for connection in session["connections"]:
                yield Session(iqn, session["initiator"], re.sub(r"[\[\]]", "", connection["address"]))
