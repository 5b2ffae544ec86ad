"""Three backends in memory that replicate to each other, watched for two copies that accept writes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

from penstock.clock import ManualClock
from penstock.errors import Unavailable, UnknownResult
from penstock.units import GIB
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Replicated, Site, Sites
from tests.simulation.nfs_server import SimulatedNfs, chmod
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork


class SimulatedSites(Sites):
    """Backends a, b and c, with one clock."""

    def __init__(self, flavour: Flavour, size: int = 8 * GIB) -> None:
        self.clock = ManualClock()
        self.network = SimulatedNetwork()
        sites = {}
        for name in "abc":
            host = SimulatedHost(name, flavour=flavour, clock=self.clock, pools={"tank": size})
            host.programs["chmod"] = chmod
            sites[name] = Site(name, host, SimulatedNfs(host), Dataset("tank"), self.clock)
        super().__init__(sites, self.network)
        self.restart()

    def host(self, name: str) -> SimulatedHost:
        host = self.all[name].host
        assert isinstance(host, SimulatedHost)
        return host

    def hook(self, hooks: Any) -> None:
        hook_all(self, hooks)

    def saved(self) -> dict[str, Any]:
        return {name: self.host(name).saved() for name in self.all}

    def back_to(self, states: dict[str, Any]) -> None:
        for name, state in states.items():
            self.host(name).use(copy.deepcopy(state))
        self.hook(None)
        self.away.clear()
        self.restart()

    def reboot(self, name: str) -> None:
        """The host's power is cut: what ZFS and exports do at boot by themselves is all that is served."""
        self.host(name).reboot()


class SimulatedShare(Replicated):
    """A replicated share on them, with its clients. `is_split`: an active one was cut off and goes on serving."""

    is_split: bool = False

    def site(self, name: str) -> SimulatedHost:
        sites = self.sites
        assert isinstance(sites, SimulatedSites)
        return sites.host(name)

    def write(self, name: str, size: int = 2**20) -> None:
        """A client writes. OSError when it is refused."""
        self.site(name).write(str(self.dataset(name)), size)

    def content(self, name: str) -> Any:
        return self.site(name).content(str(self.dataset(name)))

    def writable(self) -> list[str]:
        """The copies that accept writes of clients: mounted, not read-only, exported for writing."""
        found = []
        for name in self.models:
            host = self.site(name)
            filesystem = host.state.filesystems.get(str(self.dataset(name)))
            if filesystem is None or not filesystem.is_mounted or filesystem.local.get("readonly") == "on":
                continue
            nfs = self.sites.all[name].nfs
            assert isinstance(nfs, SimulatedNfs)
            export = nfs.served().get(f"/{self.dataset(name)}")
            if export is not None and any(client.writable for client in export.clients):
                found.append(name)
        return found

    def check_writers(self, after: object) -> None:
        """At most one of those that answer accepts writes, and no two of one reign."""
        writers = self.writable()
        epochs = [self.site(n).filesystem(str(self.dataset(n))).local.get("penstock:epoch") for n in writers]
        assert len(epochs) == len(set(epochs)), f"{writers} accept writes in reign {epochs} after {after}"
        if not self.is_split:
            assert len(writers) <= 1, f"{writers} accept writes after {after}"

    def check_boot(self, after: object) -> None:
        """Were the power to fail now, no server would serve a directory where nothing is mounted."""
        for name, site in self.sites.all.items():
            assert isinstance(site.nfs, SimulatedNfs)
            filesystems = self.site(name).state.filesystems
            unmounted = {f"/{path}" for path, found in filesystems.items() if found.local.get("canmount") == "noauto"}
            assert not unmounted & site.nfs.served_at_boot(), f"on {name} after {after}"

    def holds(self, name: str) -> int:
        """Holds on the host, on whatever."""
        return sum(len(s.holds) for f in self.site(name).state.filesystems.values() for s in f.snapshots.values())


class Crash(Exception):
    """The process died here; not a fault, so nothing catches it."""


class Watching:
    """Counts actions on all hosts, makes trouble at one of them, and looks after each whether two accept writes."""

    KINDS = ("crash before", "crash after", "timeout before", "timeout after", "refused")

    def __init__(self, share: SimulatedShare, at: int = -1, kind: str = "") -> None:
        self.share = share
        self.at = at
        self.kind = kind
        self.count = 0
        self.struck = ""

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.count += 1
        if self.count - 1 != self.at:
            return None
        self.struck = f"{host.name}: {' '.join(words)}"
        if self.kind == "crash before":
            raise Crash(self.struck)
        if self.kind == "timeout before":
            raise UnknownResult(self.struck)
        if self.kind == "refused" and words[0].endswith("_file"):
            raise Unavailable(self.struck)
        return Answer(1, "", "cannot do it: I/O error\n") if self.kind == "refused" else None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        self.share.check_writers(words)
        self.share.check_boot(words)
        if self.count - 1 == self.at:
            if self.kind == "crash after":
                raise Crash(self.struck)
            if self.kind == "timeout after":
                raise UnknownResult(self.struck)
        return None


# commands that keep others of their kind waiting where the daemon cannot bear two: nobody gets in between
SERIAL = frozenset({"clone", "create", "destroy", "mount", "promote", "rename", "rollback", "unmount"})


class InTheMidst:
    """Makes `call` before one of the actions that it counts; those that begin with one of `serial` are not."""

    def __init__(self, sites: Sites, at: int, call: Callable[[], object], serial: frozenset[str] = SERIAL) -> None:
        self.sites = sites
        self.at = at
        self.call = call
        self.serial = serial
        self.count = 0
        self.struck = ""

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self.serial & set(words[1:2]):
            return None
        self.count += 1
        if self.count - 1 == self.at:
            self.struck = f"{host.name}: {' '.join(words)}"
            hook_all(self.sites, None)
            self.call()
            hook_all(self.sites, self)
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


class DiesAt:
    """The process dies before a command on that host which begins with `words`, once one with `after` in it has run."""

    def __init__(self, host: str, words: str, *, after: str) -> None:
        self.host = host
        self.words = words
        self.after_words = after
        self.is_armed = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self.is_armed and host.name == self.host and " ".join(words).startswith(self.words):
            raise Crash(" ".join(words))
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        self.is_armed |= host.name == self.host and self.after_words in " ".join(words)
        return None


class Refuses:
    """One host refuses a command."""

    def __init__(self, host: str, word: str) -> None:
        self.host = host
        self.word = word

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        is_it = host.name == self.host and self.word in words
        return Answer(1, "", "cannot set property for 'tank': out of space\n") if is_it else None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


class Overtaken:
    """While the first command after the fence of `dataset` hangs, and then fails, another process makes the same call.

    That one dies just after it has made its copy on host b writable.
    """

    def __init__(self, sites: Sites, host: str, dataset: Dataset, call: Callable[[], object]) -> None:
        self.sites = sites
        self.host = host
        self.dataset = dataset
        self.call = call
        self.is_done = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        is_flush = words[:2] == ("zpool", "sync") or "penstock:flush" in words
        if self.is_done or host.name != self.host or not is_flush:
            return None
        if host.filesystem(str(self.dataset)).local.get("penstock:role") != "demoted":
            return None
        self.is_done = True
        hook_all(self.sites, DiesAt("b", "z", after="readonly=off"))
        with contextlib.suppress(Crash):
            self.call()
        hook_all(self.sites, self)
        return Answer(1, "", "cannot do it: I/O error\n")

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


def hook_all(sites: Sites, hooks: Any) -> None:
    """Let `hooks` see what every host does."""
    for site in sites.all.values():
        assert isinstance(site.host, SimulatedHost)
        site.host.hooks = hooks
