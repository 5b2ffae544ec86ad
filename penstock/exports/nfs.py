"""The one interface to an NFS server, whichever it is, and how to choose one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from penstock.exports.model import Export
from penstock.exports.nfs_ganesha import GaneshaNfs, installed
from penstock.exports.nfs_kernel import KernelNfs, nfsd_threads
from penstock.host.runner import Host


class NfsServer(Protocol):
    """An NFS server on one host. Knows only the exports it was told of here; those of others are left alone.

    Every implementation passes ``tests/contract/test_exports.py``. Callers may use one object from several threads.
    """

    def put(self, exports: Sequence[Export]) -> None:
        """Make these exports exactly so, and in force when this returns; others stay untouched.

        One batch however many: give all that change in one call. A client that lost its rule is refused at once, also
        one that is still mounted. Safe to repeat; also puts back in force what a restarted server lost. Raises
        Unavailable (server down), BackendFault, UnknownResult.
        """
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Stop serving these paths; unknown ones are fine. Safe to repeat. Raises as `put`."""
        ...

    def let_go(self, path: str) -> None:
        """Make clients that are still mounted drop what they hold open at a path that is no longer served.

        For who wants to unmount or destroy it. Safe to repeat. Raises as `put`.
        """
        ...

    def get(self, path: str) -> Export | None:
        """The export as configured, None when it is not one of ours. Raises Unavailable, BackendFault."""
        ...

    def all(self) -> dict[str, Export]:
        """Every export of ours as configured, by path. Raises Unavailable, BackendFault."""
        ...

    def in_force(self) -> set[str]:
        """Paths of ours that the server serves exactly as configured; what is in `all` and not here needs a `put`.

        Raises Unavailable when the server cannot say.
        """
        ...

    def serving(self) -> set[str]:
        """Paths of ours that the server serves, to whomever: a cheap look. Raises as `in_force`."""
        ...

    def put_back(self, choose: Callable[[], Sequence[Export]]) -> None:
        """`put` what `choose` says; from its being asked until that is in force nobody else changes exports here.

        So `choose` decides from a fresh look, and what it decides is not undone by a change it did not see. It must not
        call this object's methods that change exports. Raises as `put`.
        """
        ...

    def verify(self) -> None:
        """Raises Unsupported (not installed) or Unavailable (not running), saying how to install or start it."""
        ...


class Preference(StrEnum):
    """Which server to use; automatic is the kernel's where nfsd runs, else NFS-Ganesha where it is installed."""

    AUTOMATIC = "automatic"
    KERNEL = "kernel"
    GANESHA = "ganesha"


def choose(host: Host, preference: Preference = Preference.AUTOMATIC) -> NfsServer:
    """The server to use on `host`. Raises Unavailable.

    Looks only at what is there; `verify` says whether it can be used and, if not, what to do.
    """
    if preference is Preference.AUTOMATIC:
        preference = _found(host)
    return KernelNfs(host) if preference is Preference.KERNEL else GaneshaNfs(host)


def _found(host: Host) -> Preference:
    """A running kernel server; else Ganesha where it is installed; else the kernel's, which every Debian can have."""
    threads = nfsd_threads(host)
    if threads:
        return Preference.KERNEL
    return Preference.GANESHA if installed(host, "ganesha.nfsd") else Preference.KERNEL
