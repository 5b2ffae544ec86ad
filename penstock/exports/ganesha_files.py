"""NFS-Ganesha's configuration as text: EXPORT blocks, and the index file that a restarted Ganesha reads.

Source: ganesha-export-config(8), ganesha-config(8), version 4.3. What its start costs is decided by the words and how
they are spelled: see `ganesha_words`. Every option that matters is said, since an EXPORT_DEFAULTS block of the operator
would decide it otherwise.

The anonymous user is the kernel server's: Ganesha's own, 4294967294, becomes 60001 on zfs-fuse, so that a squashed user
could not change the file it just made.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from penstock.errors import BackendFault, Invalid, Unsupported
from penstock.exports.ganesha_words import quoted, respelled
from penstock.exports.model import ClientRule, Export, Squash, normal_client
from penstock.exports.shards import COUNT, shard_of

HEADER = re.compile(r"# penstock instance=(?P<instance_id>\S+?)(?P<later> mounted=later)?")
OPENING = (
    "EXPORT { Export_Id = %s; Path = %s; Pseudo = %s; Access_Type = NONE; Protocols = NFSv3, NFSv4; Transports = TCP; "
    "SecType = sys; Anonymous_Uid = 0xfffe; Anonymous_Gid = 0xfffe; FSAL { Name = VFS; }"
)
CLIENT = " CLIENT { Clients = %s; Access_Type = %s; Squash = %s; }"
PATH = r'(?P<%s>"[^"]+"|[^";]+)'
OPENED = re.compile(
    rf"EXPORT {{ Export_Id = (?P<export_id>\d+); Path = {PATH % 'path'}; Pseudo = {PATH % 'pseudo'}; "
    r"Access_Type = NONE; Protocols = (NFSv3, NFSv4|3, 4); Transports = TCP; SecType = sys; "
    r"Anonymous_Uid = (0xfffe|65534); Anonymous_Gid = (0xfffe|65534); FSAL { Name = VFS; }",  # or as we once wrote it
    re.IGNORECASE,
)
ALLOWED = re.compile(
    r" CLIENT { Clients = (?P<blocks>[^;]+); Access_Type = (?P<level>RW|RO); Squash = (?P<squash>\w+); }",
    re.IGNORECASE,
)
CLOSING = "}"
MOST_ADDRESSES = 256  # of a network that is said as addresses
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
        export = numbered.export
        shard, path = shard_of(export.path), quoted(export.path)
        lines += [
            f"# penstock instance={export.instance_id}{'' if export.is_mounted_at_boot else ' mounted=later'}",
            _spelled(OPENING, shard) % (numbered.export_id, path, path),
            *(_client(rule, shard) for rule in export.clients),
            CLOSING,
        ]
    return "".join(f"{line}\n" for line in lines)


@cache
def _spelled(template: str, shard: int) -> str:
    return respelled(template, shard, COUNT)


def check_clients(export: Export) -> None:
    """Raises Unsupported for what Ganesha 4.3 cannot read: see `blocks_of`."""
    for rule in export.clients:
        blocks_of(rule)


def blocks_of(rule: ClientRule) -> tuple[str, ...]:
    """The rule's addresses as networks that Ganesha 4.3 reads, with prefix lengths, as it shows them.

    Its grammar ends at two digits of prefix length (src/config_parsing/conf_lex.l). So networks of IPv6 with up to 256
    addresses are those addresses. Its wildcards could say more, but it compares them with names from DNS, too. Raises
    Unsupported for those between.
    """
    network = rule.network
    if not 100 <= network.prefixlen < 128:
        return rule.blocks
    if network.num_addresses <= MOST_ADDRESSES:
        return tuple(f"{address}/128" for address in network)
    raise Unsupported(
        f"NFS-Ganesha cannot serve the network {rule.client}: give a prefix up to 99 or from 120 on, or addresses"
    )


def _client(rule: ClientRule, shard: int) -> str:
    blocks = ", ".join(block.removesuffix("/128") for block in blocks_of(rule))
    words = _spelled(f"{'RW' if rule.writable else 'RO'} {rule.squash}", shard).split(" ")
    return _spelled(CLIENT, shard) % (blocks, *words)


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
        opening = OPENED.fullmatch(next(lines, ""))
        if not header or not opening or opening["path"] != opening["pseudo"]:
            raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {line!r}")
        rules: list[ClientRule] = []
        while (inner := next(lines, CLOSING)) != CLOSING:
            rules.append(_parse_client(inner))
        path, is_mounted_at_boot = opening["path"].strip('"'), header["later"] is None
        export = Export(path, header["instance_id"], tuple(rules), is_mounted_at_boot)
        if is_mounted_at_boot or path not in exports:  # in both kinds of files: a restarted server reads the one
            exports[path] = Numbered(int(opening["export_id"]), export)
    return exports


def _parse_client(line: str) -> ClientRule:
    found = ALLOWED.fullmatch(line)
    if not found or found["squash"].lower() not in set(Squash):
        raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {line!r}")
    networks = [ClientRule(normal_client(block), writable=False).network for block in found["blocks"].split(", ")]
    is_mixed = len({network.version for network in networks}) > 1
    client, *others = networks if is_mixed else ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
    if others:
        raise BackendFault(f"a Ganesha export file of ours was changed by somebody else: {line!r}")
    return ClientRule(normal_client(str(client)), found["level"].upper() == "RW", Squash(found["squash"].lower()))


def render_index(files: Iterable[str]) -> str:
    """The one file that ganesha.conf includes."""
    return "".join(f'%include "{file}"\n' for file in sorted(files))
