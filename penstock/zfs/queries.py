"""Asking for properties: of one target, of several, of a tree; each one command."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import BackendFault
from penstock.zfs.commands import Commands
from penstock.zfs.faults import fault_of, has_failed, said
from penstock.zfs.names import Dataset, Target, check_property
from penstock.zfs.properties import GET_COLUMNS, Properties, parse_get

TARGETS_PER_GET = 500  # over ssh the whole command is one argument, which Linux limits to 128 KiB
_NO_SUCH_TARGET = "dataset does not exist"


def get(commands: Commands, target: Target, names: Sequence[str]) -> Properties:
    """See `Zfs.get`."""
    found = parse_get(commands.zfs(*_words(names), str(target)))
    if list(found) != [str(target)]:
        raise BackendFault(f"zfs get {target} answered for {', '.join(found) or 'nothing'}")
    return found[str(target)]


def get_many(commands: Commands, targets: Sequence[Target], names: Sequence[str]) -> dict[str, Properties]:
    """See `Zfs.get_many`."""
    found: dict[str, Properties] = {}
    for start in range(0, len(targets), TARGETS_PER_GET):
        some = [str(target) for target in targets[start : start + TARGETS_PER_GET]]
        done = commands.complete("zfs", *_words(names), *some)
        # zfs answers for those that exist and fails; any other complaint is a failure of the whole
        if has_failed(done) and not all(_NO_SUCH_TARGET in line for line in said(done).splitlines() or [""]):
            raise fault_of(done)
        found |= parse_get(done.stdout)
    return found


def tree(
    commands: Commands, root: Dataset, names: Sequence[str], kinds: Sequence[str], depth: int | None
) -> dict[str, Properties]:
    """See `Zfs.tree`."""
    reach = ["-r"] if depth is None else ["-d", str(depth)]
    if commands.flavour.get_by_kind:
        return parse_get(commands.zfs(*_words(names, *reach, "-t", ",".join(kinds)), str(root)))
    found = parse_get(commands.zfs(*_words(names, *reach), str(root)))
    kind_of = {True: "snapshot", False: "filesystem"}  # a ZFS without `-t` has no zvols
    return {name: properties for name, properties in found.items() if kind_of["@" in name] in kinds}


def _words(names: Sequence[str], *options: str) -> list[str]:
    for name in names:
        check_property(name)
    return ["get", "-Hp", *options, "-o", GET_COLUMNS, ",".join(names)]
