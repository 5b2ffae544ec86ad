"""NFS-Ganesha's configuration as text: EXPORT blocks, and the index file that a restarted Ganesha reads.

Source: ganesha-export-config(8), ganesha-config(8), version 4.3. Its parser keeps every word of one load in one
list that it searches from the start, so blocks say no more than they must, and one word where two would do.

The anonymous user is the kernel server's: Ganesha's own, 4294967294, becomes 60001 on zfs-fuse, so that a squashed user
could not change the file it just made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from penstock.errors import BackendFault, Invalid, Unsupported
from penstock.exports.model import ClientRule, Export, Squash, normal_client

HEADER = re.compile(r"# penstock instance=(?P<instance_id>\S+)")
OPENING = re.compile(
    r'EXPORT \{ Export_Id = (?P<export_id>\d+); Path = "(?P<path>[^"]+)"; Pseudo = "(?P=path)"; Access_Type = NONE; '
    r"Protocols = 3, 4; Transports = TCP; SecType = sys; Anonymous_Uid = 65534; Anonymous_Gid = 65534; "
    r"FSAL \{ Name = VFS; \}"
)
CLIENT = re.compile(
    r" CLIENT \{ Clients = (?P<blocks>[^;]+); Access_Type = (?P<level>RW|RO); Squash = (?P<squash>\w+); \}"
)
CLOSING = "}"
# The blocks of one file that one UpdateExport is about: all of them, since all of ours say this.
EVERY_BLOCK = "EXPORT(Access_Type=NONE)"


@dataclass(frozen=True, slots=True)
class Numbered:
    """An export with the number Ganesha knows it by, which file handles of NFSv3 clients carry."""

    export_id: int
    export: Export


def render(exports: Iterable[Numbered]) -> str:
    """The text of one file of EXPORT blocks. Most specific clients first: Ganesha takes the first that matches."""
    lines: list[str] = []
    for numbered in sorted(exports, key=lambda numbered: numbered.export.path):
        path = numbered.export.path
        lines += [
            f"# penstock instance={numbered.export.instance_id}",
            f'EXPORT {{ Export_Id = {numbered.export_id}; Path = "{path}"; Pseudo = "{path}"; Access_Type = NONE; '
            "Protocols = 3, 4; Transports = TCP; SecType = sys; Anonymous_Uid = 65534; Anonymous_Gid = 65534; "
            "FSAL { Name = VFS; }",
            *map(_client, numbered.export.clients),
            CLOSING,
        ]
    return "".join(f"{line}\n" for line in lines)


def check_clients(export: Export) -> None:
    """Raises Unsupported for what Ganesha 4.3 cannot read: its grammar ends at two digits of prefix length."""
    for rule in export.clients:
        if 100 <= rule.network.prefixlen < 128:
            raise Unsupported(
                f"NFS-Ganesha cannot serve the network {rule.client}: give a prefix up to 99, or addresses"
            )


def _client(rule: ClientRule) -> str:
    blocks = ", ".join(block.removesuffix("/128") for block in rule.blocks)
    level = "RW" if rule.writable else "RO"
    return f" CLIENT {{ Clients = {blocks}; Access_Type = {level}; Squash = {rule.squash}; }}"


def parse(text: str) -> dict[str, Numbered]:
    """The exports of our files, by path. Raises BackendFault on a line that `render` does not write."""
    try:
        return _parse(text)
    except Invalid as err:
        raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {err}") from err


def _parse(text: str) -> dict[str, Numbered]:
    exports: dict[str, Numbered] = {}
    lines = iter(text.splitlines())
    for line in lines:
        header = HEADER.fullmatch(line)
        opening = OPENING.fullmatch(next(lines, ""))
        if not header or not opening:
            raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {line!r}")
        rules: list[ClientRule] = []
        while (inner := next(lines, CLOSING)) != CLOSING:
            rules.append(_parse_client(inner))
        export = Export(opening["path"], header["instance_id"], tuple(rules))
        exports[export.path] = Numbered(int(opening["export_id"]), export)
    return exports


def _parse_client(line: str) -> ClientRule:
    found = CLIENT.fullmatch(line)
    if not found or found["squash"] not in set(Squash):
        raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {line!r}")
    first, *rest = found["blocks"].split(", ")
    client = re.sub("/1$", "/0", first) if rest else first
    return ClientRule(normal_client(client), found["level"] == "RW", Squash(found["squash"]))


def render_index(files: Iterable[str]) -> str:
    """The one file that ganesha.conf includes."""
    return "".join(f'%include "{file}"\n' for file in sorted(files))
