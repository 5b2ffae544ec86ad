"""Datasets and snapshots of one host: one method per thing that zfs(8) does, on either flavour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.clock import Clock, SystemClock
from penstock.errors import Conflict, Fault, Invalid, NotFound, UnknownResult
from penstock.host.mounts import MountsHost, only_mountpoint
from penstock.host.runner import Host
from penstock.zfs import keys, queries
from penstock.zfs.beside import Beside, in_turn
from penstock.zfs.commands import Commands
from penstock.zfs.copies import Copy
from penstock.zfs.faults import AlreadyMounted, KeyNotLoaded, MountFailed, NothingMounted
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset, SnapshotName, Target, check_property
from penstock.zfs.properties import Properties, assignments, never_mounts, options

COPY_TIMEOUT_S = 24 * 3600.0  # long, for terabytes; but there is a deadline
SNAPSHOTS_PER_DESTROY = 500  # the names are one argument, which Linux limits to 128 KiB


class Zfs:
    """ZFS on one host. Threads may share it.

    Beside the faults it names, every method raises UnknownResult past the deadline, Unavailable when the host or its
    ZFS is away, PermissionDenied, Invalid for values ZFS refuses, Unsupported for what this ZFS lacks, and BackendFault
    for words nobody has seen.
    """

    def __init__(
        self,
        host: Host,
        flavour: Flavour,
        *,
        timeout_s: float = 60.0,
        clock: Clock | None = None,
        beside: Beside = in_turn,
    ) -> None:
        """`beside` is how a look is taken while something is changed."""
        self.host = host
        self.beside = beside
        self.flavour = flavour
        # what `streams.enabled_features` remembers: by pool, and until when
        self.pool_features: dict[str, tuple[frozenset[str], float]] = {}
        self.commands = Commands(host, flavour, timeout_s=timeout_s, clock=clock or SystemClock())

    # --- looking -----------------------------------------------------------------------------------------------------

    def get(self, target: Target, names: Sequence[str]) -> Properties:
        """The named properties of exactly this target, in one command. Unset user properties have the value ``-``.

        Raises NotFound, Unsupported (a native property this ZFS does not have).
        """
        return queries.get(self.commands, target, names)

    def get_many(self, targets: Sequence[Target], names: Sequence[str]) -> dict[str, Properties]:
        """The same of several targets, by their full names; those that do not exist are absent. One command per 500."""
        return queries.get_many(self.commands, targets, names)

    def tree(
        self, root: Dataset, names: Sequence[str], *, kinds: Sequence[str] = ("filesystem",), depth: int | None = None
    ) -> dict[str, Properties]:
        """The same of `root` and everything below that is of one of the `kinds`, in one command, by full name.

        `kinds`: filesystem, volume, snapshot. A snapshot counts as one level of `depth`, as for zfs. Raises NotFound.
        """
        return queries.tree(self.commands, root, names, kinds, depth)

    def exists(self, target: Target) -> bool:
        """True when there is such a dataset or snapshot."""
        return bool(self.get_many([target], ["type"]))

    def seen_mounted_at(self, dataset: Dataset) -> str | None:
        """Where the dataset is mounted, if the host's table of mounts is at hand and says so clearly. No command.

        None says nothing: `get` has to tell.
        """
        table = self.host.mounts() if isinstance(self.host, MountsHost) else None
        return None if table is None else only_mountpoint(table, str(dataset))

    # --- datasets ----------------------------------------------------------------------------------------------------

    def create(self, dataset: Dataset, properties: Mapping[str, str], *, parents: bool) -> None:
        """Make a filesystem with its properties, and mount it.

        With `parents` those missing above are made first, without properties. Raises Conflict when it exists, whoever
        made it (look at its properties), NotFound without parent or pool, InsufficientCapacity, MountFailed. After any
        other fault it may be there, unmounted, and with ``canmount=noauto`` where that was not given.
        """
        if parents and dataset.parent is not None:
            # `zfs create -p` succeeds on an existing dataset without setting anything, so only the parents get it
            self.commands.mounting("create", "-p", str(dataset.parent))
        words = ("create", *options(properties), str(dataset))
        if "canmount" in properties or "mountpoint" in properties:
            self.commands.mounting(*words)
        elif not self.commands.mounting_at_once(*words):
            self._create_beside_others(dataset, properties)

    def _create_beside_others(self, dataset: Dataset, properties: Mapping[str, str]) -> None:
        """`create` where mounts are one at a time and others are mounting: only the mount waits for its turn.

        What is made in parallel shares its transaction groups. A death leaves it unmounted, with canmount=noauto at
        first, which mounts nothing: whoever looks finds both (`mounted`, `canmount`).
        """
        self.commands.zfs("create", *options({**properties, "canmount": "noauto"}), str(dataset))
        self.commands.zfs("set", "canmount=on", str(dataset))  # mounts nothing: it was not mounted before
        try:
            self.mount(dataset)
        except Invalid:
            return  # it inherits that it has no mountpoint: then `create` mounts nothing, either
        except Conflict as err:
            raise MountFailed(err.message) from err

    def create_volume(
        self, dataset: Dataset, size_bytes: int, properties: Mapping[str, str], *, is_sparse: bool
    ) -> None:
        """Make a zvol; unless sparse, its whole size is set aside. Its device appears a moment later.

        Raises Conflict when it exists, whoever made it, NotFound without parent or pool, InsufficientCapacity.
        """
        sparse = ("-s",) if is_sparse else ()
        self.commands.zfs("create", *sparse, "-V", str(size_bytes), *options(properties), str(dataset))

    def destroy(self, dataset: Dataset, *, recursive: bool) -> None:
        """Destroy it; with `recursive` also the snapshots and datasets below. Never clones elsewhere, never by force.

        Waits a bounded time for a mount to be let go. Raises NotFound, HasChildren, HasClones, Busy.
        """
        self.commands.patiently("destroy", *(("-r",) if recursive else ()), str(dataset))

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        """Make a filesystem that starts as the snapshot, on the same pool. Raises as `create`."""
        self.commands.mounting("clone", *options(properties), str(snapshot), str(dataset))

    def promote(self, dataset: Dataset) -> None:
        """Swap a clone with its origin: the snapshots up to the origin move to the clone.

        Raises NotFound, NotAClone (also when it was done before), Conflict when both have a snapshot of one name.
        """
        self.commands.mounting("promote", str(dataset))

    def rename(self, old: Target, new: Target) -> None:
        """Rename a dataset with all below, or a snapshot. Raises NotFound, Conflict (`new` exists), Busy."""
        if isinstance(old, SnapshotName) or self.flavour.rename_while_mounted:
            self.commands.patiently("rename", str(old), str(new))
        else:
            self._rename_unmounted(old, new)

    def _rename_unmounted(self, old: Dataset, new: Target) -> None:
        mounted = [name for name, found in self.tree(old, ["mounted"]).items() if found["mounted"].value == "yes"]
        if mounted:
            self.unmount(old)  # takes those below along
        try:
            self.commands.patiently("rename", str(old), str(new))
        except UnknownResult:
            raise  # whatever is mounted now, mounting by a name that may be gone helps nobody
        except Fault:
            for name in mounted:
                self.mount(Dataset(name))
            raise
        for name in mounted:
            self.mount(Dataset(str(new) + name.removeprefix(str(old))))

    def mount(self, dataset: Dataset) -> None:
        """Mount it, its key loaded if need be; mounted already is fine.

        Raises NotFound, KeyNotLoaded, Invalid (mountpoint none or legacy), Conflict (directory not empty, zfs-fuse
        only).
        """
        try:
            self.commands.mounting("mount", str(dataset))
        except AlreadyMounted:
            return
        except KeyNotLoaded:
            self.unlock(dataset)
            self.commands.mounting("mount", str(dataset))

    def unlock(self, dataset: Dataset) -> None:
        """Have its key loaded, where it is encrypted (see `keys`). Safe to repeat. Raises KeyNotLoaded, NotFound."""
        if self.flavour.can_encrypt:
            keys.unlock(self.commands, dataset)

    def unmount(self, dataset: Dataset) -> None:
        """Unmount it and those below; not mounted is fine. Raises NotFound, Busy (open files, NFS clients)."""
        try:
            self.commands.patiently("unmount", str(dataset))
        except NothingMounted:
            return

    def rollback(self, snapshot: SnapshotName, *, destroy_newer: bool) -> None:
        """Return the dataset to its snapshot, losing what was written since, with `destroy_newer` snapshots included.

        Raises NotFound, NewerSnapshots, HasClones, Busy.
        """
        self.commands.patiently("rollback", *(("-r",) if destroy_newer else ()), str(snapshot))

    def copy(
        self,
        snapshot: SnapshotName,
        dataset: Dataset,
        properties: Mapping[str, str],
        *,
        timeout_s: float = COPY_TIMEOUT_S,
    ) -> None:
        """Make a mounted filesystem with the snapshot's data that shares nothing with it, on any pool of this host.

        Safe to repeat, and to be repeated until it returns: an interrupted copy is known by the snapshot it came with,
        and finished. Raises Conflict when `dataset` is something else, NotFound, InsufficientCapacity.
        """
        Copy(self, snapshot, dataset, properties).make(timeout_s=timeout_s)

    # --- properties --------------------------------------------------------------------------------------------------

    def set(self, target: Target, properties: Mapping[str, str]) -> None:
        """Set properties: in one command on OpenZFS, one after another in the given order on zfs-fuse.

        Safe to repeat. Raises NotFound, TooSmall (quota), InsufficientCapacity (reservation).
        """
        pairs = assignments(properties)
        run = self.commands.zfs if all(map(never_mounts, properties)) else self.commands.mounting
        for group in [pairs] if self.flavour.several_per_command and pairs else [[pair] for pair in pairs]:
            run("set", *group, str(target))

    def set_each(self, targets: Sequence[Target], properties: Mapping[str, str]) -> None:
        """The same properties on several targets, in one command per 500 (on zfs-fuse, and property). Raises as `set`.

        Not for properties that remount or resize: after a failure nobody knows which targets were reached.
        """
        pairs = assignments(properties)
        for group in [pairs] if self.flavour.several_per_command and pairs else [[pair] for pair in pairs]:
            for start in range(0, len(targets), queries.TARGETS_PER_GET):
                self.commands.zfs("set", *group, *map(str, targets[start : start + queries.TARGETS_PER_GET]))

    def inherit(self, target: Target, name: str) -> None:
        """Forget the local value, user property or native. Safe to repeat. Raises NotFound."""
        check_property(name)
        run = self.commands.zfs if never_mounts(name) else self.commands.mounting
        run("inherit", name, str(target))

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self, names: Sequence[SnapshotName], properties: Mapping[str, str]) -> None:
        """Take snapshots of one pool's datasets, all with the same properties: all or none, at one instant on OpenZFS.

        zfs-fuse takes them one after another, and takes back its own when one fails. Raises NotFound, Conflict when
        one exists, InsufficientCapacity.
        """
        if self.flavour.several_per_command:
            self.commands.zfs("snapshot", *options(properties), *map(str, names))
            return
        for count, name in enumerate(names):
            try:
                self.commands.zfs("snapshot", *options(properties), str(name))
            except UnknownResult:
                raise
            except Fault:
                for taken in names[:count]:
                    self.destroy_snapshots(taken.dataset, [taken.name], deferred=False)
                raise

    def destroy_snapshots(self, dataset: Dataset, names: Sequence[str], *, deferred: bool) -> None:
        """Destroy the named snapshots: in one command on OpenZFS. Absent ones are fine, so it is safe to repeat.

        `deferred`: one with clones or holds goes when the last of them goes. Else raises HasClones, Busy.
        """
        snapshots = [SnapshotName(dataset, name) for name in names]
        size = SNAPSHOTS_PER_DESTROY if self.flavour.several_per_command else 1
        for start in range(0, len(snapshots), size):
            together = ",".join(snapshot.name for snapshot in snapshots[start : start + size])
            try:
                self.commands.patiently("destroy", *(("-d",) if deferred else ()), f"{dataset}@{together}")
            except NotFound:
                continue
