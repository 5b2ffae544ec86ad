"""The steps from what is to what is wanted. Pure; an empty plan means it is so already."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import (
    Conflict,
    ManageExistingShareTypeMismatch,
    ManageInvalidShare,
    ManageInvalidShareSnapshot,
    ShareShrinkingPossibleDataLoss,
)
from penstock.share.drivers.zfsonlinux import stored_text
from penstock.share.drivers.zfsonlinux.access import StoredRule, dump_rules
from penstock.share.drivers.zfsonlinux.identity import ALL_MARKS, ID, KIND, RULES, Kind
from penstock.share.drivers.zfsonlinux.observe import SeenShare, SeenSnapshot
from penstock.share.drivers.zfsonlinux.spec import How, ShareSpec, SnapshotSpec
from penstock.share.drivers.zfsonlinux.steps import (
    Clone,
    Copy,
    Create,
    Forget,
    Mount,
    Pairs,
    SetProperties,
    Step,
    TakeSnapshot,
)
from penstock.units import gib_to_bytes
from penstock.zfs.names import Dataset, SnapshotName

Steps = tuple[Step, ...]


def plan_share(want: ShareSpec, seen: SeenShare | None, *, is_half_copied: bool = False) -> Steps:
    """Make the share, or complete what an earlier attempt made.

    Raises Conflict when the dataset exists and is not this share's: nothing is adopted by name.
    """
    if seen is None or is_half_copied:
        return (_making(want),)
    if not seen.belongs_to(want.identity.id):
        raise Conflict(f"{want.dataset} exists and belongs to {seen.owner_id or 'somebody else'}")
    size = plan_size(want.dataset, want.identity.size_gib, seen, is_thick=want.is_thick)
    return size + _plan_boot(want, seen) + plan_mount(seen)


def _plan_boot(want: ShareSpec, seen: SeenShare) -> Steps:
    """Have it mounted at the host's next boot: made beside others who were mounting, it may have been left without."""
    is_meant = seen.marks.is_replicated or "canmount" in dict(want.options)
    return () if is_meant or not seen.is_boot_safe else (SetProperties(want.dataset, (("canmount", "on"),)),)


def plan_new(want: ShareSpec) -> Steps:
    """The same without a look, for what ZFS refuses to make twice. Nothing for a copy, which may be there by half."""
    return () if want.source is not None and want.source.how is How.COPY else (_making(want),)


def properties_of(want: ShareSpec) -> Pairs:
    """What a new share is made with, its marks last."""
    properties = dict(want.options)
    properties["refquota"] = str(want.size_bytes)
    if want.is_thick:
        properties["refreservation"] = str(want.size_bytes)
    return (*properties.items(), *want.identity.properties(Kind.SHARE).items())


def _making(want: ShareSpec) -> Step:
    pairs = properties_of(want)
    if want.source is None:
        return Create(want.dataset, pairs)
    made = Copy if want.source.how is How.COPY else Clone
    return made(want.source.snapshot, want.dataset, pairs)


def plan_mount(seen: SeenShare) -> Steps:
    """See that it is mounted, unless it is not meant to be (no mountpoint of its own)."""
    return () if seen.is_mounted or seen.mountpoint is None else (Mount(seen.dataset),)


def plan_size(dataset: Dataset, size_gib: int, seen: SeenShare, *, is_thick: bool) -> Steps:
    """Let the share hold `size_gib` of the user's data, set aside when thick.

    A quota is lifted: it counts snapshots against the user, and old drivers set it. ZFS wants the reservation never
    above the quota, so which comes first depends on the direction.
    """
    size_bytes = gib_to_bytes(size_gib)
    reserved_bytes = size_bytes if is_thick else min(seen.refreservation_bytes, size_bytes)
    quota: Pairs = (("refquota", str(size_bytes)),) if seen.refquota_bytes != size_bytes else ()
    reservation: Pairs = ()
    if seen.refreservation_bytes != reserved_bytes:
        reservation = (("refreservation", str(reserved_bytes)),)
    is_growing = reserved_bytes > seen.refreservation_bytes
    pairs = quota + reservation if is_growing else reservation + quota
    if seen.quota_bytes:
        pairs = (*pairs, ("quota", "none"))  # last: until then it is what tells the size of what we take over
    return (SetProperties(dataset, pairs),) if pairs else ()


def plan_growth(dataset: Dataset, size_gib: int, *, is_thick: bool) -> Steps:
    """`plan_size` of a share known to be ours and smaller, without a look; what is left the look after it shows."""
    size = str(gib_to_bytes(size_gib))
    return (SetProperties(dataset, (("refquota", size), *((("refreservation", size),) if is_thick else ()))),)


def plan_shrink(size_gib: int, seen: SeenShare, *, is_thick: bool) -> Steps:
    """As `plan_size`. Raises ShareShrinkingPossibleDataLoss when the user's data (snapshots do not count) is more."""
    if seen.referenced_bytes > gib_to_bytes(size_gib):
        share_id = seen.identity.share_id if seen.identity else ""
        raise ShareShrinkingPossibleDataLoss(share_id=share_id, used_bytes=seen.referenced_bytes)
    return plan_size(seen.dataset, size_gib, seen, is_thick=is_thick)


def plan_rules(rules: Sequence[StoredRule], seen: SeenShare) -> Steps:
    """Write the wanted access rules on the dataset. Parts that are too many go first: later nothing would name them."""
    before = dict(seen.rules_marks)
    after = stored_text.split(RULES, dump_rules(rules))
    if not rules and not before:
        return ()
    changed = tuple((name, value) for name, value in after.items() if before.get(name) != value)
    stale = tuple(name for name in before if name not in after)
    steps: Steps = (SetProperties(seen.dataset, changed),) if changed else ()
    return (Forget(seen.dataset, stale), *steps) if stale else steps


def plan_short_rules(dataset: Dataset, rules: Sequence[StoredRule]) -> Steps:
    """`plan_rules` of a share known to be ours, without a look: nothing when they do not fit one property."""
    after = stored_text.split(RULES, dump_rules(rules))
    return (SetProperties(dataset, tuple(after.items())),) if rules and len(after) == 1 else ()


def plan_snapshot(want: SnapshotSpec, seen: SeenSnapshot | None) -> Steps:
    """Take the snapshot unless it is there. Raises Conflict when another thing has its name."""
    if seen is None:
        return (TakeSnapshot(want.snapshot, tuple(want.identity.properties(Kind.SNAPSHOT).items())),)
    if seen.kind is not Kind.SNAPSHOT or seen.owner_id != want.identity.id:
        raise Conflict(f"{want.snapshot} exists and belongs to {seen.owner_id or 'somebody else'}")
    return ()


# --- taking over and letting go ---------------------------------------------------------------------------------------


def plan_adoption(want: ShareSpec, seen: SeenShare) -> Steps:
    """Make an existing dataset this share's, in place: no rename, no unmount, its path kept.

    Raises ManageInvalidShare (not ours to take, no path to export, more data than the size),
    ManageExistingShareTypeMismatch.
    """
    if seen.kind is not None and not seen.belongs_to(want.identity.id):
        raise ManageInvalidShare(f"{seen.dataset} already is a {seen.kind.value} ({seen.owner_id})")
    if seen.mountpoint is None:
        raise ManageInvalidShare(f"{seen.dataset} has no mountpoint of its own, so there is no path to export")
    if seen.referenced_bytes > want.size_bytes:
        raise ManageInvalidShare(f"{seen.dataset} holds more than {want.identity.size_gib} GiB")
    _check_type(want, seen)
    size = plan_size(seen.dataset, want.identity.size_gib, seen, is_thick=want.is_thick)
    if seen.belongs_to(want.identity.id):
        return size + plan_mount(seen)
    marks = SetProperties(seen.dataset, tuple(want.identity.properties(Kind.SHARE).items()))
    return (*size, marks, *plan_mount(seen))


def _check_type(want: ShareSpec, seen: SeenShare) -> None:
    """What the type asks for must be so already: changing it would only affect new data, and hide that."""
    asked = dict(want.options)
    for name, has in (("compression", seen.compression), ("dedup", seen.dedup)):
        if name in asked and asked[name] != has:
            raise ManageExistingShareTypeMismatch(
                f"{seen.dataset} has {name}={has}, and the share type asks for {asked[name]}"
            )


def plan_snapshot_adoption(want: SnapshotSpec, seen: SeenSnapshot | None) -> Steps:
    """Make an existing snapshot this share's snapshot, under its own name. Raises ManageInvalidShareSnapshot."""
    if seen is None:
        raise ManageInvalidShareSnapshot(f"there is no snapshot {want.snapshot}")
    if seen.kind is None:
        return (SetProperties(want.snapshot, tuple(want.identity.properties(Kind.SNAPSHOT).items())),)
    if seen.kind is not Kind.SNAPSHOT or seen.owner_id != want.identity.id:
        raise ManageInvalidShareSnapshot(f"{want.snapshot} already is a {seen.kind.value} ({seen.owner_id})")
    return ()


def plan_release(target: Dataset | SnapshotName, seen: SeenShare | SeenSnapshot) -> Steps:
    """Take our marks off: ``kind`` first, since half released is not ours any more; the id last, to find it again."""
    rules = tuple(name for name, _ in seen.rules_marks) if isinstance(seen, SeenShare) else ()
    others = tuple(name for name in ALL_MARKS if name not in (KIND, ID))
    return (Forget(target, (KIND, *rules, *others, ID)),)
