"""The published helpers of the ZFS driver: running zfs, and exporting datasets. The module's name is the seed's."""

from __future__ import annotations

import abc
import functools
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from penstock.clock import Clock, SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.errors import BackendFault, Fault, Invalid, NotFound, Unavailable, UnknownResult
from penstock.exports.model import Export, Squash
from penstock.host.executor import backend_fault, executor_on
from penstock.host.runner import Completed, Host
from penstock.share.driver import ExecuteMixin as PublishedExecuteMixin
from penstock.share.drivers.zfsonlinux.access import understand
from penstock.share.drivers.zfsonlinux.exporting import export_locations, exports_to_put
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.options import Settings, read_settings, zfsonlinux_opts
from penstock.share.drivers.zfsonlinux.storage import Storage, open_storage
from penstock.share.locks import NamedLocks
from penstock.share.models import AccessModel
from penstock.zfs.faults import fault_of
from penstock.zfs.names import Dataset, check_property
from penstock.zfs.properties import parse_get
from penstock.zfs.reach import Remote, ssh_host

Executor = Callable[..., tuple[str, str]]
P = ParamSpec("P")
R = TypeVar("R")
COLUMNS = re.compile(r"\t|\s{2,}")  # zfs pads its tables with at least two blanks; names may hold one
RETRY_PAUSE_S = 1.0


class HasLocks(Protocol):
    """What `zfs_dataset_synchronized` needs of the object whose method it wraps."""

    locks: NamedLocks


Self_ = TypeVar("Self_", bound=HasLocks)


def zfs_dataset_synchronized(f: Callable[Concatenate[Self_, str, P], R]) -> Callable[Concatenate[Self_, str, P], R]:
    """Let only one call at a time be in methods so marked of one object, for one dataset (their first argument)."""

    @functools.wraps(f)
    def alone(self: Self_, dataset_name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.locks.hold(dataset_name, f.__name__):
            return f(self, dataset_name, *args, **kwargs)

    return alone


def host_executor(host: Host, timeout_s: float) -> Executor:
    """Commands on `host` in the published form, where what zfs and zpool say has its meaning."""
    return executor_on(host, timeout_s=timeout_s, fault_of=_fault_of)


def _fault_of(done: Completed) -> Fault:
    return fault_of(done) if done.argv[0] in ("zfs", "zpool") else backend_fault(done)


def get_remote_shell_executor(
    ip: str,
    port: int,
    conn_timeout: int,
    login: str | None = None,
    password: str | None = None,
    privatekey: str | None = None,
    max_size: int = 10,
) -> Executor:
    """Runs commands as `login` (root by default) on the machine at `ip`, at most `max_size` at a time."""
    remote = Remote(ip, login or "root", password, privatekey, None)
    run = host_executor(ssh_host(remote, conn_timeout, port=port), timeout_s=60.0)
    places = threading.BoundedSemaphore(max_size)

    def run_in_turn(*cmd: str, **options: Any) -> tuple[str, str]:
        with places:
            return run(*cmd, **options)

    return run_in_turn


class ExecuteMixin(PublishedExecuteMixin):
    """Commands on the ZFS host, for the driver and its helpers.

    Each method takes ``executor=`` to run on another machine. They raise what the words of zfs mean (`zfs.faults`).
    """

    configuration: BackendConfiguration
    clock: Clock

    def init_execute_mixin(self, *args: Any, **kwargs: Any) -> None:
        """Called at the end of the constructor with its arguments; the executor comes with `set_execute`."""
        super().init_execute_mixin(*args, **kwargs)
        self.clock = kwargs.get("clock") or SystemClock()

    def execute(self, *cmd: str, **kwargs: Any) -> tuple[str, str]:
        """Run the command, return its stdout and stderr."""
        executor: Executor = kwargs.pop("executor", None) or self._execute
        return executor(*cmd, **kwargs)

    def execute_with_retry(self, *cmd: str, **kwargs: Any) -> tuple[str, str]:
        """The same, up to ``num_shell_tries`` times while the host or dataset is busy. Not after an unknown result."""
        tries = self.configuration.safe_get("num_shell_tries") or 1
        for _ in range(tries - 1):
            try:
                return self.execute(*cmd, **kwargs)
            except UnknownResult:
                raise
            except Unavailable:
                self.clock.sleep(RETRY_PAUSE_S)
        return self.execute(*cmd, **kwargs)

    def zfs(self, *cmd: str, **kwargs: Any) -> tuple[str, str]:
        """Run ``zfs`` with these words."""
        return self.execute("zfs", *cmd, **kwargs)

    def zfs_with_retry(self, *cmd: str, **kwargs: Any) -> tuple[str, str]:
        """The same with retries."""
        return self.execute_with_retry("zfs", *cmd, **kwargs)

    def get_zfs_option(self, dataset_name: str, option_name: str, **kwargs: Any) -> str:
        """A property of a dataset or snapshot, sizes in bytes. Raises NotFound."""
        check_property(option_name)
        words = ("get", "-Hp", "-o", "name,property,value,source", option_name, dataset_name)
        found = parse_get(self.zfs(*words, **kwargs)[0])
        try:
            return found[dataset_name][option_name].value
        except KeyError:
            raise NotFound(f"zfs did not tell {option_name} of {dataset_name}") from None

    def get_zpool_option(self, zpool_name: str, option_name: str, **kwargs: Any) -> str:
        """A property of a pool, as zpool prints it for people (zfs-fuse has no other form). Raises NotFound."""
        check_property(option_name)
        rows = self.parse_zfs_answer(self.execute("zpool", "get", option_name, zpool_name, **kwargs)[0])
        for row in rows:
            if row.get("PROPERTY") == option_name:
                return row["VALUE"]
        raise NotFound(f"zpool did not tell {option_name} of {zpool_name}")

    def parse_zfs_answer(self, string: str) -> list[dict[str, str]]:
        """The rows of a table with a heading, as zfs and zpool print for people. Raises BackendFault on odd rows."""
        lines = [line.rstrip() for line in string.splitlines() if line.strip()]
        if not lines or "no datasets available" in lines[0]:
            return []
        heading = COLUMNS.split(lines[0].strip())
        rows = [COLUMNS.split(line.strip()) for line in lines[1:]]
        for row in rows:
            if len(row) != len(heading):
                raise BackendFault(f"a table of {len(heading)} columns has a row of {len(row)}: {row}")
        return [dict(zip(heading, row, strict=True)) for row in rows]


class NASHelperBase(abc.ABC):
    """What exports datasets by one protocol."""

    def __init__(self, configuration: BackendConfiguration) -> None:
        self.configuration = configuration
        configuration.append_config_values(zfsonlinux_opts)

    @abc.abstractmethod
    def verify_setup(self) -> None:
        """Raises the fault that keeps it from exporting, saying what to install or start."""

    @abc.abstractmethod
    def create_exports(self, dataset_name: str, executor: Executor | None = None) -> list[dict[str, Any]]:
        """Prepare the dataset for being exported; returns its export locations."""

    @abc.abstractmethod
    def get_exports(self, dataset_name: str, executor: Executor | None = None) -> list[dict[str, Any]]:
        """The dataset's export locations. Changes nothing."""

    @abc.abstractmethod
    def remove_exports(self, dataset_name: str, executor: Executor | None = None) -> None:
        """Stop serving the dataset to anybody; fine when it is not served."""

    @abc.abstractmethod
    def update_access(
        self,
        dataset_name: str,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        executor: Executor | None = None,
    ) -> Mapping[str, Any] | None:
        """Serve the dataset to exactly those the rules name."""


class NFSviaZFSHelper(ExecuteMixin, NASHelperBase):
    """NFS, by the kernel's server or NFS-Ganesha, on either flavour of ZFS.

    Exports are never made with ZFS' own ``sharenfs``, which costs a walk over all exports for each rule. A helper made
    with only a configuration connects to its host when first needed; the driver gives it the connection it has. The
    ``executor`` of the published methods is accepted and not needed: the server and ZFS are those of the helper's host.
    """

    def __init__(self, configuration: BackendConfiguration, *, storage: Storage | None = None) -> None:
        super().__init__(configuration)
        self.locks = NamedLocks()
        self.init_execute_mixin()
        self._given = storage

    @functools.cached_property
    def settings(self) -> Settings:
        """The backend's options. Raises Invalid."""
        return read_settings(self.configuration)

    @functools.cached_property
    def storage(self) -> Storage:
        """The host. Raises Unavailable."""
        timeout_s = self.configuration.safe_get("ssh_conn_timeout") or 60
        storage = self._given or open_storage(
            self.settings,
            connect_timeout_s=timeout_s,
            host=None,
            nfs=None,
            clock=self.clock,
            before_command=self.configuration.before_command,
        )
        self.set_execute(host_executor(storage.host, self.settings.timeout_s))
        return storage

    @property
    def is_kernel_version(self) -> bool:
        """Is it ZFS in the kernel, not zfs-fuse?"""
        return self.storage.flavour.name == "openzfs"

    def verify_setup(self) -> None:
        self.storage.nfs.verify()

    def create_exports(self, dataset_name: str, executor: Executor | None = None) -> list[dict[str, Any]]:
        return self.get_exports(dataset_name, executor)

    def get_exports(self, dataset_name: str, executor: Executor | None = None) -> list[dict[str, Any]]:
        return self.locations(self._mountpoint(dataset_name))

    @zfs_dataset_synchronized
    def remove_exports(self, dataset_name: str, executor: Executor | None = None) -> None:
        self.remove([self._mountpoint(dataset_name)])

    @zfs_dataset_synchronized
    def update_access(
        self,
        dataset_name: str,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        executor: Executor | None = None,
    ) -> Mapping[str, Any] | None:
        understood = understand(access_rules, Squash(self.settings.squash))
        seen = observe_share(self.storage.zfs, Dataset(dataset_name))
        if seen is None or seen.mountpoint is None or seen.identity is None:
            raise NotFound(f"{dataset_name} is not a share of ours that could be exported")
        clients = tuple(rule.client_rule for rule in understood.rules)
        self.serve(Export(seen.mountpoint, seen.identity.id, clients, not seen.is_boot_safe))
        return understood.updates

    # --- what the driver needs beside: whole batches, by path ---------------------------------------------------------

    def locations(self, mountpoint: str) -> list[dict[str, Any]]:
        """The export locations of what is mounted there."""
        return export_locations(mountpoint, self.settings)

    def serve(self, export: Export) -> None:
        """Put one export in force; without clients, take it away. Safe to repeat."""
        if export.clients:
            self.storage.nfs.put([export])
        else:
            self.storage.nfs.remove([export.path])

    def serve_again(self, wanted: Sequence[Export], just_mounted: Collection[str] = ()) -> None:
        """Put in force, in one batch, those that are not; also those at paths that were not mounted until now.

        The kernel's server remembers for a minute that nothing was there.
        """
        if not wanted:
            return
        nfs = self.storage.nfs
        missing = exports_to_put(wanted, nfs.all(), nfs.in_force() - set(just_mounted))
        if missing:
            nfs.put(missing)

    def remove(self, paths: Sequence[str]) -> None:
        """Stop serving these paths; unknown ones are fine."""
        if paths:
            self.storage.nfs.remove(paths)

    def let_go(self, paths: Sequence[str]) -> None:
        """Make clients drop what they hold open at paths that are no longer served."""
        for path in paths:
            self.storage.nfs.let_go(path)

    def remove_of(self, instance_id: str, *, is_only_begun: bool = False) -> None:
        """Stop serving what is left of a share whose dataset is gone: below our roots, because it may have been made by
        another backend of the same host since, which serves it under the same id; directly below them when it
        `is_only_begun`, because the other's root may be below ours."""
        paths = [path for path, export in self.storage.nfs.all().items() if export.instance_id == instance_id]
        if not paths:
            return
        found = self.storage.zfs.get_many(list(self.settings.roots.values()), ("mountpoint",))
        ours = tuple(f"{root['mountpoint'].value.rstrip('/')}/" for root in found.values())
        above = {path: f"{PurePosixPath(path).parent}/" for path in paths}
        self.storage.nfs.remove([p for p in paths if (above[p] in ours if is_only_begun else p.startswith(ours))])

    def _mountpoint(self, dataset_name: str) -> str:
        seen = observe_share(self.storage.zfs, Dataset(dataset_name))
        if seen is None:
            raise NotFound(f"there is no dataset {dataset_name}")
        if seen.mountpoint is None:
            raise Invalid(f"{dataset_name} has no mountpoint of its own, so it cannot be exported")
        return seen.mountpoint


__all__ = [
    "ExecuteMixin",
    "Executor",
    "NASHelperBase",
    "NFSviaZFSHelper",
    "get_remote_shell_executor",
    "host_executor",
    "zfs_dataset_synchronized",
]
