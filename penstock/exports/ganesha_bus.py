"""Talks to a running NFS-Ganesha over D-Bus: on this machine by a kept connection, elsewhere by `dbus-send`.

Interface: org.ganesha.nfsd.exportmgr of Ganesha 4.3 (src/support/export_mgr.c). By `dbus-send` a call takes about 4 ms
locally.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from penstock.errors import BackendFault, Fault, NotFound, Unavailable
from penstock.exports.bus_text import Values, read_answer
from penstock.exports.ganesha_files import blocks_of
from penstock.exports.model import Export, Squash
from penstock.host.message_bus import BusCall, BusHost, MessageBus
from penstock.host.runner import Host

SERVICE, OBJECT, INTERFACE = "org.ganesha.nfsd", "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportmgr"
TIMEOUT_S = 60.0
ONE_CALL_S = 0.1  # allowed to each call of a batch; it takes 4 ms on an idle machine
MEANING: tuple[tuple[re.Pattern[str], type[Fault]], ...] = (
    (re.compile(r"Export id not found"), NotFound),
    (re.compile(r"org\.freedesktop\.DBus\.Error\.(ServiceUnknown|NoReply|NameHasNoOwner)"), Unavailable),
    (re.compile(r"Failed to open connection to .* message bus"), Unavailable),
)
UPDATED = re.compile(r"(\d+) exports updated")
TYPES = {str: ("s", "string"), int: ("q", "uint16")}  # all that we ever send

# Bits of the options word of a client (src/include/export_mgr.h, EXPORT_OPTION_*)
SQUASH_BITS = {0: Squash.NO_ROOT_SQUASH, 2: Squash.ROOT_SQUASH, 4: Squash.ALL_SQUASH}
ACCESS_BITS = {0x1E0: True, 0x0A0: False}  # read, write, and both for metadata: writable or not
OPTIONS_AT = 7  # after address family, two bytes, kind, anonymous uid and gid, and expiry; which are set follows


@dataclass(frozen=True, slots=True)
class Served:
    """What a running Ganesha says about one export; `rules` in its order, networks with prefix length."""

    path: str
    rules: tuple[tuple[str, bool | None, Squash | None], ...]


def served_by(export: Export) -> Served:
    """What `shown` answers when `export` is in force."""
    rules = ((block, rule.writable, rule.squash) for rule in export.clients for block in blocks_of(rule))
    return Served(export.path, tuple(rules))


@dataclass(frozen=True, slots=True)
class GaneshaBus:
    """One Ganesha, on `host`."""

    host: Host

    def update(self, file: str, expression: str, expected: int) -> None:
        """Add or change the `expected` exports that `expression` selects in `file`. Safe to repeat.

        Another process may have added some to the file meanwhile. Raises BackendFault when Ganesha took fewer, with its
        reason; Unavailable.
        """
        answer = self._call("UpdateExport", file, expression)
        told = " ".join(value for value in answer if isinstance(value, str))
        found = UPDATED.search(told)
        if not found or int(found[1]) < expected:
            raise BackendFault(f"Ganesha on {self.host.name} did not take {file}: {told or answer}")

    def remove(self, export_id: int) -> None:
        """Stop serving; fine when it is not served. Raises Unavailable, BackendFault."""
        try:
            self._call("RemoveExport", export_id)
        except NotFound:
            return

    def shown(self, export_id: int) -> Served | None:
        """The export in force under this number, None when there is none. Raises Unavailable, BackendFault."""
        try:
            return shown_in(self._call("DisplayExport", export_id))
        except NotFound:
            return None

    def all_shown(self, export_ids: Collection[int]) -> dict[int, Served]:
        """Those of the exports that are in force; elsewhere in one command. Raises Unavailable, BackendFault."""
        if self._kept is not None:
            shown = {export_id: self.shown(export_id) for export_id in export_ids}
            return {export_id: served for export_id, served in shown.items() if served is not None}
        if not export_ids:
            return {}
        done = self.host.run(
            ("xargs", "-n", "1", *_argv("DisplayExport")),
            timeout_s=TIMEOUT_S + ONE_CALL_S * len(export_ids),
            stdin="".join(f"uint16:{export_id}\n" for export_id in export_ids),
        )
        for line in done.stderr.splitlines():
            if not MEANING[0][0].search(line):
                raise _fault(line)(f"Ganesha on {self.host.name}, DisplayExport: {line}")
        answers = (read_answer(f"method return {answer}") for answer in done.stdout.split("method return ") if answer)
        return {_number(answer): shown_in(answer) for answer in answers}

    def served_paths(self) -> dict[int, str]:
        """Every export in force, also those of others. Raises Unavailable, BackendFault."""
        return listed_in(self._call("ShowExports"))

    @property
    def _kept(self) -> MessageBus | None:
        return self.host.bus if isinstance(self.host, BusHost) else None

    def _call(self, method: str, *arguments: str | int) -> Values:
        bus = self._kept
        if bus is None:
            return self._sent(method, *arguments)
        signature = "".join(TYPES[type(argument)][0] for argument in arguments)
        call = BusCall(SERVICE, OBJECT, INTERFACE, method, signature, arguments)
        answer = bus.call(call, timeout_s=TIMEOUT_S)
        if answer.error is not None:
            raise self._refused(method, arguments, answer.error)
        return answer.values

    def _sent(self, method: str, *arguments: str | int) -> Values:
        words = (f"{TYPES[type(argument)][1]}:{argument}" for argument in arguments)
        done = self.host.run((*_argv(method), *words), timeout_s=TIMEOUT_S + 5)
        if done.exit_code != 0:
            raise self._refused(method, arguments, done.stderr.strip())
        return read_answer(done.stdout)

    def _refused(self, method: str, arguments: tuple[str | int, ...], message: str) -> Fault:
        return _fault(message)(f"Ganesha on {self.host.name}, {method} {' '.join(map(str, arguments))}: {message}")


def _argv(method: str) -> tuple[str, ...]:
    return (
        "dbus-send",
        "--system",
        "--print-reply",
        f"--reply-timeout={int(TIMEOUT_S * 1000)}",
        f"--dest={SERVICE}",
        OBJECT,
        f"{INTERFACE}.{method}",
    )


def _fault(message: str) -> type[Fault]:
    return next((fault for text, fault in MEANING if text.search(message)), BackendFault)


def _number(answer: Values) -> int:
    if not answer or not isinstance(answer[0], int):
        raise BackendFault(f"DisplayExport gives no number: {answer!r}")
    return answer[0]


def listed_in(answer: Values) -> dict[int, str]:
    """The answer of ShowExports: a time, and for each export its number, its path, and more. Raises BackendFault."""
    match answer:
        case (_, [*exports]):
            return dict(map(_listed, exports))
    raise BackendFault(f"ShowExports gives no list: {answer!r}")


def _listed(export: Any) -> tuple[int, str]:
    match export:
        case (int(export_id), str(path), *_):
            return export_id, path
    raise BackendFault(f"ShowExports gives no path for {export!r}")


def shown_in(answer: Values) -> Served:
    """The answer of DisplayExport: number, path, pseudo path, tag, the clients. Raises BackendFault."""
    match answer:
        case (int(), str(path), str(), str(), [*clients]):
            return Served(path, tuple(map(_client, clients)))
    raise BackendFault(f"DisplayExport gives no export: {answer!r}")


def _client(client: Any) -> tuple[str, bool | None, Squash | None]:
    match client:
        case (str(block), *numbers) if len(numbers) > OPTIONS_AT and isinstance(numbers[OPTIONS_AT], int):
            options = numbers[OPTIONS_AT]
            return block, ACCESS_BITS.get(options & 0x1E0), SQUASH_BITS.get(options & 0x7)
    raise BackendFault(f"DisplayExport gives a client we cannot read: {client!r}")
