"""Talks to a running NFS-Ganesha over D-Bus, by `dbus-send`: argv out, its printed answer parsed strictly.

Interface: org.ganesha.nfsd.exportmgr of Ganesha 4.3 (src/support/export_mgr.c). A call takes about 4 ms locally.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from penstock.errors import BackendFault, Fault, NotFound, Unavailable
from penstock.exports.ganesha_files import blocks_of
from penstock.exports.model import Export, Squash
from penstock.host.runner import Host

TIMEOUT_S = 60.0
ONE_CALL_S = 0.1  # allowed to each call of a batch; it takes 4 ms on an idle machine
MEANING: tuple[tuple[re.Pattern[str], type[Fault]], ...] = (
    (re.compile(r"Export id not found"), NotFound),
    (re.compile(r"org\.freedesktop\.DBus\.Error\.(ServiceUnknown|NoReply|NameHasNoOwner)"), Unavailable),
    (re.compile(r"Failed to open connection to .* message bus"), Unavailable),
)
UPDATED = re.compile(r'string "(\d+) exports updated"')
STRING = re.compile(r'\s*string "(.*)"')
NUMBER = re.compile(r"\s*uint32 (\d+)")
EXPORT_ID = re.compile(r"\s*uint16 (\d+)")

# Bits of the options word of a client (src/include/export_mgr.h, EXPORT_OPTION_*)
SQUASH_BITS = {0: Squash.NO_ROOT_SQUASH, 2: Squash.ROOT_SQUASH, 4: Squash.ALL_SQUASH}
ACCESS_BITS = {0x1E0: True, 0x0A0: False}  # read, write, and both for metadata: writable or not
OPTIONS_AT = 3  # anonymous uid, anonymous gid, expiry, options, which options are set


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
        answer = self._call("UpdateExport", f"string:{file}", f"string:{expression}")
        found = UPDATED.search(answer)
        if not found or int(found[1]) < expected:
            raise BackendFault(f"Ganesha on {self.host.name} did not take {file}: {answer.strip()}")

    def remove(self, export_id: int) -> None:
        """Stop serving; fine when it is not served. Raises Unavailable, BackendFault."""
        try:
            self._call("RemoveExport", f"uint16:{export_id}")
        except NotFound:
            return

    def shown(self, export_id: int) -> Served | None:
        """The export in force under this number, None when there is none. Raises Unavailable, BackendFault."""
        try:
            return parse_shown(self._call("DisplayExport", f"uint16:{export_id}"))
        except NotFound:
            return None

    def all_shown(self, export_ids: Collection[int]) -> dict[int, Served]:
        """Those of the exports that are in force, in one command. Raises Unavailable, BackendFault."""
        if not export_ids:
            return {}
        done = self.host.run(
            ("xargs", "-n", "1", *self._argv("DisplayExport")),
            timeout_s=TIMEOUT_S + ONE_CALL_S * len(export_ids),
            stdin="".join(f"uint16:{export_id}\n" for export_id in export_ids),
        )
        for line in done.stderr.splitlines():
            if not MEANING[0][0].search(line):
                raise _fault(line)(f"Ganesha on {self.host.name}, DisplayExport: {line}")
        answers = (answer for answer in done.stdout.split("method return ") if answer)
        return {_number(answer): parse_shown(answer) for answer in answers}

    def served_paths(self) -> dict[int, str]:
        """Every export in force, also those of others. Raises Unavailable, BackendFault."""
        return parse_list(self._call("ShowExports"))

    def _call(self, method: str, *arguments: str) -> str:
        done = self.host.run((*self._argv(method), *arguments), timeout_s=TIMEOUT_S + 5)
        if done.exit_code == 0:
            return done.stdout
        raise _fault(done.stderr)(f"Ganesha on {self.host.name}, {method} {' '.join(arguments)}: {done.stderr.strip()}")

    def _argv(self, method: str) -> tuple[str, ...]:
        return (
            "dbus-send",
            "--system",
            "--print-reply",
            f"--reply-timeout={int(TIMEOUT_S * 1000)}",
            "--dest=org.ganesha.nfsd",
            "/org/ganesha/nfsd/ExportMgr",
            f"org.ganesha.nfsd.exportmgr.{method}",
        )


def _fault(message: str) -> type[Fault]:
    return next((fault for text, fault in MEANING if text.search(message)), BackendFault)


def _number(answer: str) -> int:
    found = next(filter(None, map(EXPORT_ID.fullmatch, answer.splitlines())), None)
    if found is None:
        raise BackendFault(f"DisplayExport gives no number: {answer!r}")
    return int(found[1])


def parse_list(text: str) -> dict[int, str]:
    """The answer of ShowExports: each export is its number followed by its path. Raises BackendFault."""
    served: dict[int, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if number := EXPORT_ID.fullmatch(line):
            path = STRING.fullmatch(next(lines, ""))
            if not path:
                raise BackendFault(f"ShowExports gives no path for export {number[1]}")
            served[int(number[1])] = path[1]
    return served


def parse_shown(text: str) -> Served:
    """The answer of DisplayExport: number, path, pseudo path, tag, a structure for each client. Raises BackendFault."""
    head, *clients = text.split("struct {")
    path = next((found[1] for line in head.splitlines() if (found := STRING.fullmatch(line))), None)
    if path is None:
        raise BackendFault(f"DisplayExport gives no path: {head!r}")
    return Served(path, tuple(map(_parse_client, clients)))


def _parse_client(text: str) -> tuple[str, bool | None, Squash | None]:
    lines: Collection[str] = text.splitlines()
    blocks = [found[1] for line in lines if (found := STRING.fullmatch(line))]
    numbers = [int(found[1]) for line in lines if (found := NUMBER.fullmatch(line))]
    if len(blocks) != 1 or len(numbers) <= OPTIONS_AT:
        raise BackendFault(f"DisplayExport gives a client we cannot read: {text!r}")
    options = numbers[OPTIONS_AT]
    return blocks[0], ACCESS_BITS.get(options & 0x1E0), SQUASH_BITS.get(options & 0x7)
