"""Where bytes are, as qemu's programs are told: a file, a device, an iSCSI LUN, a file on an NFS share."""

from __future__ import annotations

import contextlib
import functools
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.images.leftovers import own_prefix, sweep

SECRET_PREFIX = "penstock-secret-"  # noqa: S105 - how files are called


@dataclass(frozen=True, slots=True)
class BlockNode:
    """A place of bytes: qemu's `driver` for it and the driver's `options`.

    `secrets` are options whose value is a secret's id for qemu (``password-secret``) and the text for us; they are
    never part of a command line.
    """

    driver: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        told = ",".join(f"{name}={value}" for name, value in self.options.items() if name not in ("user", "key"))
        return f"{self.driver}({told})"


def file_node(path: str | Path) -> BlockNode:
    """A regular file of this machine, or a block device of it."""
    return BlockNode("host_device" if _is_device(path) else "file", {"filename": str(path)})


def iscsi_node(
    portal: str,
    target: str,
    lun: int,
    *,
    initiator: str,
    user: str | None = None,
    password: str | None = None,
    timeout_s: int = 30,
) -> BlockNode:
    """A LUN, through qemu's own initiator; `portal` is ``address:port``. The kernel is not asked."""
    options = {
        "transport": "tcp",
        "portal": portal,
        "target": target,
        "lun": str(lun),
        "initiator-name": initiator,
        "timeout": str(timeout_s),
    }
    secrets: dict[str, str] = {}
    if user:
        options["user"] = user
        secrets["password-secret"] = password or ""
    return BlockNode("iscsi", options, secrets)


def nfs_node(server: str, path: str) -> BlockNode:
    """A file on an NFS share, by NFSv3 through qemu's own client; `path` is the export's and the file's name."""
    # qemu opens a host as it is written, IPv6 without brackets.
    return BlockNode("nfs", {"server.type": "inet", "server.host": server.strip("[]"), "path": path})


@dataclass(frozen=True, slots=True)
class Described:
    """Nodes as words of a command line. `objects` go before the words that speak of the nodes."""

    objects: tuple[str, ...]
    secret_ids: Mapping[str, str]  # the node and option of a secret -> the id qemu knows it by

    def options(self, node: BlockNode, image_format: str) -> str:
        """The value for ``--image-opts``: the format is always said, never guessed by qemu."""
        words = {"driver": image_format, "file.driver": node.driver}
        words.update({f"file.{name}": value for name, value in node.options.items()})
        words.update({f"file.{name}": self.secret_ids[_key(node, name)] for name in node.secrets})
        return ",".join(f"{name}={value.replace(',', ',,')}" for name, value in words.items())


@contextlib.contextmanager
def described(*nodes: BlockNode) -> Iterator[Described]:
    """The words for `nodes`, good within the block: secrets lie in files only we can read, for that long."""
    objects: list[str] = []
    ids: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for node in nodes:
            for name, text in node.secrets.items():
                secret_id = f"secret{len(ids)}"
                ids[_key(node, name)] = secret_id
                objects += ["--object", f"secret,id={secret_id},file={stack.enter_context(_private_file(text))}"]
        yield Described(tuple(objects), ids)


def _key(node: BlockNode, name: str) -> str:
    return f"{node} {name}"


@contextlib.contextmanager
def _private_file(text: str) -> Iterator[str]:
    folder = Path(tempfile.gettempdir())
    _sweep_once(folder)
    with tempfile.NamedTemporaryFile("w", prefix=own_prefix(SECRET_PREFIX), dir=folder) as file:  # mode 0600
        file.write(text)
        file.flush()
        yield file.name


@functools.cache
def _sweep_once(folder: Path) -> None:
    """Secrets of a process that was killed, which are few: once for each start of ours is enough."""
    sweep(folder, SECRET_PREFIX)


def _is_device(path: str | Path) -> bool:
    try:
        return stat.S_ISBLK(Path(path).stat().st_mode)
    except FileNotFoundError:
        return False
