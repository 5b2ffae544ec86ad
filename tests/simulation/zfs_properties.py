"""The properties of simulated datasets and snapshots: values, sources, checks, as real ZFS shows them with ``-Hp``."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.zfs_state import Filesystem, Partial, Snap

SIZES = ("quota", "refquota", "reservation", "refreservation")
ON_OFF = ("on", "off")
GZIPS = ("gzip", *(f"gzip-{n}" for n in range(1, 10)))
OLD_COMPRESSIONS = ("on", "off", "lzjb", "zle", *GZIPS)

DEFAULTS: dict[str, str] = {  # settable properties of filesystems
    "quota": "0",
    "refquota": "0",
    "reservation": "0",
    "refreservation": "0",
    "mountpoint": "",  # computed
    "canmount": "on",
    "readonly": "off",
    "compression": "off",
    "dedup": "off",
    "atime": "on",
    "exec": "on",
    "setuid": "on",
    "devices": "on",
    "recordsize": "131072",
    "copies": "1",
    "xattr": "on",
    "snapdir": "hidden",
    "sync": "standard",
    "sharenfs": "off",
    "sharesmb": "off",
    "aclinherit": "restricted",
    "checksum": "on",
    "logbias": "latency",
    "primarycache": "all",
    "secondarycache": "all",
}
CHOICES: dict[str, tuple[str, ...]] = {
    "canmount": ("on", "off", "noauto"),
    "readonly": ON_OFF,
    "atime": ON_OFF,
    "exec": ON_OFF,
    "setuid": ON_OFF,
    "devices": ON_OFF,
    "snapdir": ("hidden", "visible"),
    "sync": ("standard", "always", "disabled"),
    "copies": ("1", "2", "3"),
}
DEDUPS = ("on", "off", "verify", "sha256", "sha256,verify")
NOT_INHERITED = frozenset({*SIZES, "canmount"})
NEW_ONLY = frozenset(
    {
        "logicalused",
        "logicalreferenced",
        "written",
        "clones",
        "acltype",
        "snapshot_limit",
        "encryption",
        "encryptionroot",
        "keylocation",
        "keystatus",
        "receive_resume_token",
    }
)

METADATA_BYTES = 4096


def _written(filesystem: Filesystem) -> int:
    """Removing something writes too."""
    before = filesystem.last or filesystem.origin
    lost = before is not None and any(number not in filesystem.blocks for number in before.blocks)
    return filesystem.written + (METADATA_BYTES if lost else 0)


_FILESYSTEM: dict[str, Callable[[Filesystem], object]] = {
    "type": lambda _fs: "filesystem",
    "used": lambda fs: fs.used,
    "available": lambda fs: fs.available,
    "referenced": lambda fs: fs.referenced,
    "logicalused": lambda fs: fs.used,
    "logicalreferenced": lambda fs: fs.referenced,
    "usedbydataset": lambda fs: fs.live,
    "usedbysnapshots": lambda fs: fs.own - fs.live,
    "usedbyrefreservation": lambda fs: fs.unkept,
    "written": lambda fs: _written(fs),
    "creation": lambda fs: fs.created,
    "guid": lambda fs: fs.guid,
    "createtxg": lambda fs: fs.txg,
    "origin": lambda fs: fs.origin.path if fs.origin else "-",
    "mounted": lambda fs: "yes" if fs.is_mounted else "no",
    "unique": lambda fs: _written(fs),
    "encryption": lambda _fs: "off",
    "encryptionroot": lambda _fs: "-",
    "keylocation": lambda _fs: "none",
    "keystatus": lambda _fs: "-",
    "receive_resume_token": lambda fs: token_of(fs.partial) if fs.partial else "-",
}
_SNAPSHOT: dict[str, Callable[[Snap], object]] = {
    "type": lambda _snap: "snapshot",
    "used": lambda snap: snap.used,
    "referenced": lambda snap: snap.referenced,
    "logicalreferenced": lambda snap: snap.referenced,
    "written": lambda snap: snap.referenced,
    "creation": lambda snap: snap.created,
    "guid": lambda snap: snap.guid,
    "createtxg": lambda snap: snap.txg,
    "defer_destroy": lambda snap: "on" if snap.is_deferred else "off",
    "userrefs": lambda snap: len(snap.holds),
    "unique": lambda snap: snap.used,
    "encryption": lambda _snap: "off",
    "clones": lambda snap: ",".join(clone.path for clone in snap.clones) or "-",
}
READ_ONLY = frozenset(_FILESYSTEM) | frozenset(_SNAPSHOT)


def token_of(partial: Partial) -> str:
    """A resume token: of the same letters as real ones, and as telling."""
    return f"1-{partial.guid:x}-{partial.base or 0:x}-{partial.path.encode().hex()}"


def is_user(name: str) -> bool:
    return ":" in name


def is_known(name: str, *, is_old: bool) -> bool:
    """True when this ZFS has such a property."""
    return is_user(name) or ((name in DEFAULTS or name in READ_ONLY) and not (is_old and name in NEW_ONLY))


def all_names(target: Filesystem | Snap, *, is_old: bool) -> list[str]:
    """What ``all`` stands for: every native property there is, and the user properties that are set or inherited."""
    above = target if isinstance(target, Filesystem) else target.owner
    own = {} if isinstance(target, Filesystem) else {**target.local, **target.received}
    users = set(filter(is_user, own))
    while above is not None:
        users |= set(filter(is_user, (*above.local, *above.received)))
        above = above.parent
    native = [name for name in (*_FILESYSTEM, *DEFAULTS) if is_known(name, is_old=is_old)]
    return [name for name in native if shown(target, name)[0] != "-"] + sorted(users)


def shown(target: Filesystem | Snap, name: str) -> tuple[str, str]:
    """Value and source."""
    if isinstance(target, Snap):
        return _shown_of_snapshot(target, name)
    computed = _FILESYSTEM.get(name)
    if computed is not None:
        return str(computed(target)), "-"
    return _set_or_inherited(target, name)


def _set_or_inherited(target: Filesystem, name: str) -> tuple[str, str]:
    if name in target.local:
        return target.local[name], "local"
    if name in target.received:
        return target.received[name], "received"
    if name in NOT_INHERITED:
        return DEFAULTS[name], "default"
    if name not in DEFAULTS and not is_user(name):
        return "-", "-"
    return _inherited(target, name)


def _inherited(target: Filesystem, name: str) -> tuple[str, str]:
    above, suffix = target.parent, "/" + target.path.rpartition("/")[2]
    while above is not None:
        value = above.local.get(name, above.received.get(name))
        if value is not None:
            if name == "mountpoint" and value.startswith("/"):
                value = value.rstrip("/") + suffix
            return value, f"inherited from {above.path}"
        suffix = "/" + above.path.rpartition("/")[2] + suffix
        above = above.parent
    if name == "mountpoint":
        return "/" + target.path, "default"
    return (DEFAULTS[name], "default") if name in DEFAULTS else ("-", "-")


def _shown_of_snapshot(snap: Snap, name: str) -> tuple[str, str]:
    computed = _SNAPSHOT.get(name)
    if computed is not None:
        return str(computed(snap)), "-"
    if not is_user(name):
        return "-", "-"
    if name in snap.local:
        return snap.local[name], "local"
    if name in snap.received:
        return snap.received[name], "received"
    value, source = shown(snap.owner, name)
    return value, f"inherited from {snap.owner.path}" if source in ("local", "received") else source


def parse_size(text: str) -> int | None:
    """Bytes of ``10G``, ``none`` and the like; None when it is not a size."""
    if text == "none":
        return 0
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not digits.isdecimal() or unit not in ("", "K", "M", "G", "T", "P"):
        return None
    power = " KMGTP".index(unit or " ")
    return int(digits) << (10 * power)


def complaint(name: str, value: str, *, is_old: bool) -> str | None:
    """What ZFS says against setting this, None when nothing."""
    if is_user(name):
        return None if name.islower() else f"invalid property '{name}'"
    if not is_known(name, is_old=is_old):
        return f"invalid property '{name}'"
    if name not in DEFAULTS:
        return f"'{name}' is readonly"
    if name in SIZES:
        if parse_size(value) is None:
            return f"bad numeric value '{value}'"
        return "use 'none' to disable quota/refquota" if value == "0" and "quota" in name else None
    if name == "mountpoint" and value not in ("none", "legacy") and not value.startswith("/"):
        return "'mountpoint' must be an absolute path, 'none', or 'legacy'"
    choices = CHOICES.get(name) or _choices(name, is_old=is_old)
    return f"'{name}' must be one of '{' | '.join(choices)}'" if choices and value not in choices else None


def _choices(name: str, *, is_old: bool) -> tuple[str, ...]:
    if name == "compression":
        return OLD_COMPRESSIONS if is_old else (*OLD_COMPRESSIONS, "lz4", "zstd")
    if name == "xattr":
        return ON_OFF if is_old else (*ON_OFF, "sa", "dir")
    return DEDUPS if name == "dedup" else ()


def stored(name: str, value: str) -> str:
    """The value as ZFS keeps and shows it."""
    return str(parse_size(value)) if name in SIZES else value
