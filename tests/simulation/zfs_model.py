"""What zfs(8) does to a simulated host, and the words with which real ZFS refuses (OpenZFS 2.1.11, zfs-fuse 0.7.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.simulation.zfs_properties import SIZES, complaint, shown, stored
from tests.simulation.zfs_state import EMPTY_BYTES, Block, Filesystem, Pool, Snap, State

NEW_BUSY = "pool or dataset is busy"
OLD_BUSY = "umount failed: umount child process failed"


class Refused(Exception):
    """The command fails with these words and this exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


class Model:
    """The operations. Every one either does all of its work or raises Refused with nothing done, like ZFS."""

    def __init__(self, state: State, *, is_old: bool) -> None:
        self.state = state
        self.is_old = is_old

    # --- finding -----------------------------------------------------------------------------------------------------

    def find(self, path: str) -> Filesystem | Snap:
        name, at, snap = path.partition("@")
        filesystem = self.state.filesystems.get(name)
        found = filesystem.snapshots.get(snap) if filesystem is not None and at else filesystem
        if found is None:
            raise Refused(f"cannot open '{path}': dataset does not exist")
        return found

    def filesystem(self, path: str) -> Filesystem:
        found = self.find(path)
        if isinstance(found, Snap):
            raise Refused(f"cannot open '{path}': operation not applicable to datasets of this type")
        return found

    def snap(self, path: str) -> Snap:
        found = self.find(path)
        if isinstance(found, Filesystem):
            raise Refused(f"cannot open '{path}': operation not applicable to datasets of this type")
        return found

    def _parent_of_new(self, path: str) -> Filesystem:
        pool, slash, _ = path.partition("/")
        if path in self.state.filesystems:
            raise Refused(f"cannot create '{path}': dataset already exists")
        if pool not in self.state.pools:
            raise Refused(f"cannot create '{path}': no such pool '{pool}'")
        parent = self.state.filesystems.get(path.rpartition("/")[0]) if slash else None
        if parent is None:
            raise Refused(f"cannot create '{path}': parent does not exist")
        return parent

    def changed(self) -> None:
        """Something may be written now: what was summed up before does not count any more."""
        for pool in self.state.pools.values():
            pool.age += 1

    # --- pools -------------------------------------------------------------------------------------------------------

    def add_pool(self, name: str, size: int, now: int) -> Pool:
        pool = Pool(name, size)
        pool.root = Filesystem(name, None, pool, self.state.new_guid(), self.state.next(), now, is_mounted=True)
        self.state.pools[name] = pool
        self.state.filesystems[name] = pool.root
        return pool

    # --- filesystems -------------------------------------------------------------------------------------------------

    def create(self, path: str, properties: Mapping[str, str], now: int, origin: Snap | None = None) -> Filesystem:
        parent = self._parent_of_new(path)
        checked = self._checked(f"cannot create '{path}'", properties)
        if origin is not None and origin.owner.pool is not parent.pool:
            raise Refused(f"cannot create '{path}': source and target pools differ")
        new = Filesystem(path, parent, parent.pool, self.state.new_guid(), self.state.next(), now, origin)
        new.blocks = dict(origin.blocks) if origin else {}
        new.local = checked
        if max(EMPTY_BYTES + new.unkept, new.limit("reservation")) > parent.room:
            raise Refused(f"cannot create '{path}': out of space")
        self._place(new)
        if origin is not None:
            origin.clones.append(new)
        self._mount_when_wanted(new)
        return new

    def _place(self, new: Filesystem) -> None:
        assert new.parent is not None
        new.parent.children[new.path.rpartition("/")[2]] = new
        for filesystem in new.below():
            self.state.filesystems[filesystem.path] = filesystem

    def _take_away(self, old: Filesystem) -> None:
        assert old.parent is not None
        del old.parent.children[old.path.rpartition("/")[2]]
        for filesystem in old.below():
            del self.state.filesystems[filesystem.path]

    def _checked(self, what: str, properties: Mapping[str, str]) -> dict[str, str]:
        for name, value in properties.items():
            against = complaint(name, value, is_old=self.is_old)
            if against:
                raise Refused(f"{what}: {against}")
        return {name: stored(name, value) for name, value in properties.items()}

    def destroy(self, path: str, *, recursive: bool) -> None:
        top = self.filesystem(path)
        doomed = list(top.below())
        self._check_dependents(top, doomed, recursive=recursive)
        for filesystem in doomed:
            for snap in filesystem.snapshots.values():
                self._check_held(snap)
        self._let_go(top, doomed)
        gone = set(map(id, doomed))
        for filesystem in doomed:
            filesystem.snapshots.clear()
        self._take_away(top)
        for filesystem in doomed:
            origin = filesystem.origin
            if origin is not None and id(origin.owner) not in gone:
                origin.clones.remove(filesystem)
                self._reap(origin)

    def _check_dependents(self, top: Filesystem, doomed: list[Filesystem], *, recursive: bool) -> None:
        if not recursive and (top.children or top.snapshots):
            names = [*(snap.path for snap in top.snapshots.values()), *(fs.path for fs in doomed[1:])]
            words = (
                f"cannot destroy '{top.path}': filesystem has children\nuse '-r' to destroy the following datasets:\n"
            )
            raise Refused(words + "\n".join(names))
        gone = set(map(id, doomed))
        snaps = (snap for filesystem in doomed for snap in filesystem.snapshots.values())
        clones = [clone.path for snap in snaps for clone in snap.clones if id(clone) not in gone]
        if clones:
            words = f"cannot destroy '{top.path}': filesystem has dependent clones\n"
            raise Refused(words + "use '-R' to destroy the following datasets:\n" + "\n".join(clones))

    def _let_go(self, top: Filesystem, doomed: list[Filesystem]) -> None:
        """Unmount for a destroy. zfs-fuse says busy after every unmount, as FUSE lets go late."""
        self._check_not_busy(top)
        for filesystem in reversed(doomed):
            was_mounted, filesystem.is_mounted = filesystem.is_mounted, False
            if self.is_old and was_mounted:
                raise Refused(f"cannot destroy '{filesystem.path}': dataset is busy")

    def _check_not_busy(self, top: Filesystem) -> None:
        for filesystem in top.below():
            if filesystem.is_busy and filesystem.is_mounted:
                mountpoint = shown(filesystem, "mountpoint")[0]
                raise Refused(f"cannot unmount '{mountpoint}': {OLD_BUSY if self.is_old else NEW_BUSY}")

    def promote(self, path: str) -> None:
        clone = self.filesystem(path)
        origin = clone.origin
        if origin is None:
            raise Refused(f"cannot promote '{path}': not a cloned filesystem")
        old = origin.owner
        moving = [snap for snap in old.snapshots.values() if snap.txg <= origin.txg]
        for snap in moving:
            if snap.name in clone.snapshots:
                raise Refused(
                    f"cannot promote '{path}': conflicting snapshot '{snap.name}' from parent '{origin.path}'"
                )
        for snap in moving:
            del old.snapshots[snap.name]
            snap.owner = clone
        clone.snapshots = {snap.name: snap for snap in (*moving, *clone.snapshots.values())}
        clone.origin, old.origin = old.origin, origin
        if clone.origin is not None:
            clone.origin.clones.remove(old)
            clone.origin.clones.append(clone)
        origin.clones.remove(clone)
        origin.clones.append(old)

    def rename(self, old: str, new: str) -> None:
        target = self.find(old)
        if isinstance(target, Snap):
            self._rename_snapshot(target, new)
            return
        if new.startswith(old + "/"):
            words = "New dataset name cannot be a descendant of current dataset name"
            raise Refused(f"cannot rename to '{new}': {words}")
        if new in self.state.filesystems:
            raise Refused(f"cannot rename '{old}': dataset already exists")
        parent = self._parent_of_new(new)
        if self.is_old and any(filesystem.is_mounted or filesystem.lingers for filesystem in target.below()):
            for filesystem in target.below():
                filesystem.lingers = False
            raise Refused(f"cannot rename '{old}': dataset is busy")
        self._check_not_busy(target)
        self._take_away(target)
        target.parent = parent
        target.move(new)
        self._place(target)

    def _rename_snapshot(self, snap: Snap, new: str) -> None:
        owner, _, name = new.partition("@")
        if owner != snap.owner.path:
            raise Refused(f"cannot rename to '{new}': snapshots must be part of same dataset")
        if name in snap.owner.snapshots:
            raise Refused(f"cannot rename '{snap.path}': dataset already exists")
        snaps = list(snap.owner.snapshots.values())
        snap.name = name
        snap.owner.snapshots = {each.name: each for each in snaps}

    # --- mounts ------------------------------------------------------------------------------------------------------

    def mount(self, path: str) -> None:
        filesystem = self.filesystem(path)
        mountpoint, canmount = shown(filesystem, "mountpoint")[0], shown(filesystem, "canmount")[0]
        if mountpoint == "legacy":
            raise Refused(f"cannot mount '{path}': legacy mountpoint\nuse mount(8) to mount this filesystem")
        if mountpoint == "none":
            raise Refused(f"cannot mount '{path}': no mountpoint set")
        if canmount == "off":
            raise Refused(f"cannot mount '{path}': 'canmount' property is set to 'off'")
        if filesystem.is_mounted:
            raise Refused(f"cannot mount '{path}': filesystem already mounted")
        filesystem.is_mounted = True

    def unmount(self, path: str) -> None:
        top = self.filesystem(path)
        if shown(top, "mountpoint")[0] == "legacy":
            raise Refused(f"cannot unmount '{path}': legacy mountpoint\nuse umount(8) to unmount this filesystem")
        if not top.is_mounted:
            raise Refused(f"cannot unmount '{path}': not currently mounted")
        self._check_not_busy(top)
        for filesystem in top.below():
            filesystem.lingers = self.is_old
            filesystem.is_mounted = False

    def _mount_when_wanted(self, filesystem: Filesystem) -> None:
        mountpoint = shown(filesystem, "mountpoint")[0]
        filesystem.is_mounted = mountpoint.startswith("/") and filesystem.local.get("canmount", "on") == "on"

    def mount_at_boot(self, filesystem: Filesystem) -> None:
        """What `zfs mount -a` does for it."""
        self._mount_when_wanted(filesystem)

    # --- properties --------------------------------------------------------------------------------------------------

    def set(self, path: str, properties: Mapping[str, str]) -> None:
        target = self.find(path)
        what = f"cannot set property for '{path}'"
        checked = self._checked(what, properties)
        if isinstance(target, Filesystem):
            for name in SIZES:
                if name in checked:
                    self._check_size(what, target, name, int(checked[name]))
            self._check_remount(target, checked)
        target.local.update(checked)
        if isinstance(target, Filesystem):
            self._remount(target, checked)

    def _check_size(self, what: str, target: Filesystem, name: str, size: int) -> None:
        held = target.referenced if name == "refquota" else max(target.used, target.limit("reservation"))
        if "quota" in name and 0 < size < held:
            raise Refused(f"{what}: size is less than current used or reserved space")
        if "reservation" in name:
            more = size - max(target.limit(name), target.used if name == "reservation" else target.live)
            if more > target.room:
                raise Refused(f"{what}: size is greater than available space")

    def _check_remount(self, target: Filesystem, checked: Mapping[str, str]) -> None:
        if "mountpoint" in checked:
            self._check_not_busy(target)

    def _remount(self, target: Filesystem, changed: Mapping[str, str]) -> None:
        if changed.get("canmount") == "off":
            target.is_mounted = False
        if "mountpoint" not in changed:
            return
        for filesystem in target.below():
            mountpoint = shown(filesystem, "mountpoint")[0]
            filesystem.is_mounted = filesystem.is_mounted and mountpoint.startswith("/")

    def inherit(self, path: str, name: str) -> None:
        target = self.find(path)
        if name in SIZES:
            words = f"'{name}' property cannot be inherited\nuse 'zfs set {name}=none' to clear"
            raise Refused(words if self.is_old else f"{words}\nuse 'zfs inherit -S {name}' to revert to received value")
        against = complaint(name, "", is_old=self.is_old)
        if against and ("readonly" in against or "invalid property" in against):
            raise Refused(f"{name} property is read-only" if "readonly" in against else against, 1)
        was_apart = name == "mountpoint" and target.local.get(name) in ("none", "legacy")
        target.local.pop(name, None)
        target.received.pop(name, None)
        if isinstance(target, Filesystem) and was_apart:
            self._mount_when_wanted(target)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self, paths: Sequence[str], properties: Mapping[str, str], now: int) -> None:
        owners = [self.state.filesystems.get(path.partition("@")[0]) for path in paths]
        for path, owner in zip(paths, owners, strict=True):
            if owner is None:
                code = 1 if self.is_old else 2
                raise Refused(f"cannot open '{path.partition('@')[0]}': dataset does not exist", code)
        if len(set(map(id, owners))) < len(owners):
            raise Refused("cannot create snapshots : multiple snapshots of same fs not allowed")
        for path, owner in zip(paths, owners, strict=True):
            if owner is not None and path.partition("@")[2] in owner.snapshots:
                raise Refused(f"cannot create snapshot '{path}': dataset already exists")
        checked = self._checked("cannot create snapshots", properties)
        txg = self.state.next()
        for path, owner in zip(paths, owners, strict=True):
            assert owner is not None
            self._take(owner, path.partition("@")[2], checked, txg, now)

    def _take(self, owner: Filesystem, name: str, properties: dict[str, str], txg: int, now: int) -> Snap:
        filled = owner.limit("refreservation") - owner.unkept  # must be promised anew once the snapshot holds it
        if filled > owner.room and owner.limit("refreservation"):
            raise Refused(f"cannot create snapshot '{owner.path}@{name}': out of space")
        snap = Snap(owner, name, self.state.new_guid(), txg, now, dict(owner.blocks), dict(properties))
        owner.snapshots[name] = snap
        return snap

    def destroy_snapshots(self, path: str, *, deferred: bool) -> None:
        owner, _, together = path.partition("@")
        if self.is_old and "," in together:
            raise Refused(f"cannot open '{path}': invalid dataset name")
        if self.is_old:
            found = [self.snap(path)]
        else:
            filesystem = self.filesystem(owner)
            found = [snap for name in together.split(",") if (snap := filesystem.snapshots.get(name))]
            if not found:
                raise Refused("could not find any snapshots to destroy; check snapshot names.")
        for snap in found:
            self._check_held(snap, deferred=deferred)
            if snap.clones and not deferred:
                words = f"cannot destroy '{snap.path}': snapshot has dependent clones\n"
                names = "\n".join(clone.path for clone in snap.clones)
                raise Refused(f"{words}use '-R' to destroy the following datasets:\n{names}")
        for snap in found:
            snap.is_deferred = deferred
            if not snap.clones and not snap.holds:
                del snap.owner.snapshots[snap.name]

    def _reap(self, snap: Snap) -> None:
        if snap.is_deferred and not snap.clones and not snap.holds:
            del snap.owner.snapshots[snap.name]

    def _check_held(self, snap: Snap, *, deferred: bool = False) -> None:
        if snap.holds and not deferred:
            raise Refused(f"cannot destroy snapshot {snap.path}: dataset is busy")

    def hold(self, tag: str, paths: Sequence[str]) -> None:
        """As the real one: those that can be held are, whatever happens to the others."""
        complaints = []
        for path in paths:
            snap = self.snap(path) if self._is_there(path) else None
            if snap is None:
                complaints.append(f"cannot hold snapshot '{path}': dataset does not exist")
            elif tag in snap.holds:
                complaints.append(f"cannot hold snapshot '{path}': tag already exists on this dataset")
            else:
                snap.holds.add(tag)
        if complaints:
            raise Refused("\n".join(complaints))

    def release(self, tag: str, paths: Sequence[str]) -> None:
        complaints = []
        for path in paths:
            snap = self.snap(path) if self._is_there(path) else None
            if snap is None:
                complaints.append(f"cannot release hold from snapshot '{path}': dataset does not exist")
            elif tag not in snap.holds:
                complaints.append(f"cannot release hold from snapshot '{path}': no such tag on this dataset")
            else:
                snap.holds.remove(tag)
                self._reap(snap)
        if complaints:
            raise Refused("\n".join(complaints))

    def _is_there(self, path: str) -> bool:
        name, _, snap = path.partition("@")
        return name in self.state.filesystems and snap in self.state.filesystems[name].snapshots

    def rollback(self, path: str, *, destroy_newer: bool) -> None:
        snap = self.snap(path)
        owner = snap.owner
        newer = [other for other in owner.snapshots.values() if other.txg > snap.txg]
        if newer and not destroy_newer:
            what = "snapshots" if self.is_old else "snapshots and bookmarks"
            raise Refused(
                f"cannot rollback to '{path}': more recent {what.replace('and', 'or')} exist\n"
                f"use '-r' to force deletion of the following {what}:\n" + "\n".join(other.path for other in newer)
            )
        for other in newer:
            self._check_held(other)
        clones = [clone.path for other in newer for clone in other.clones]
        if clones:
            names = "\n".join(clones)
            raise Refused(f"cannot rollback to '{path}': clones of previous snapshots exist\n{names}")
        self._check_not_busy(owner)
        for other in newer:
            del owner.snapshots[other.name]
        owner.blocks = dict(snap.blocks)

    # --- data --------------------------------------------------------------------------------------------------------

    def write(self, filesystem: Filesystem, size: int, content: int | None = None) -> Block:
        """Add data. Raises OSError as a client would get."""
        if shown(filesystem, "readonly")[0] == "on":
            raise OSError(30, "Read-only file system")
        if size > filesystem.available:
            raise OSError(28, "No space left on device")
        self.changed()
        number = self.state.next()
        block = Block(number, number if content is None else content, size)
        filesystem.blocks[number] = block
        return block
