"""The ZFS driver's plans: from what is seen to the steps, nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import (
    Conflict,
    ManageExistingShareTypeMismatch,
    ManageInvalidShare,
    ManageInvalidShareSnapshot,
    ShareShrinkingPossibleDataLoss,
)
from penstock.exports.model import Squash
from penstock.share.drivers.zfsonlinux import stored_text
from penstock.share.drivers.zfsonlinux.access import StoredRule, dump_rules
from penstock.share.drivers.zfsonlinux.identity import ALL_MARKS, ID, KIND, RULES, Kind, ReplicaMarks, ShareIdentity
from penstock.share.drivers.zfsonlinux.identity import SnapshotIdentity as Taken
from penstock.share.drivers.zfsonlinux.lineage import plan_handover, plan_tombstone
from penstock.share.drivers.zfsonlinux.observe import SeenShare, SeenSnapshot
from penstock.share.drivers.zfsonlinux.plan import (
    plan_adoption,
    plan_release,
    plan_rules,
    plan_share,
    plan_shrink,
    plan_size,
    plan_snapshot,
    plan_snapshot_adoption,
)
from penstock.share.drivers.zfsonlinux.spec import How, ShareSpec, SnapshotSpec, Source
from penstock.share.drivers.zfsonlinux.steps import (
    Clone,
    Copy,
    Create,
    DestroySnapshots,
    Forget,
    Mount,
    Promote,
    Rename,
    SetProperties,
    TakeSnapshot,
    Unmount,
)
from penstock.share.replication import Role
from penstock.units import GIB
from penstock.zfs.names import Dataset

DS = Dataset("tank/share_1")
ME = ShareIdentity(id="1", share_id="s1", project_id="p1", user_id="u1", size_gib=1, name="my share")
SNAP = DS.snapshot("snap_1")
MARKS = tuple(ME.properties(Kind.SHARE).items())
WANT = ShareSpec(DS, ME)
GIB_TEXT = str(GIB)
MINE = SeenShare(DS, Kind.SHARE, "1", ME, refquota_bytes=GIB, mountpoint="/tank/share_1")
THEIRS = SeenShare(DS, mountpoint="/srv/theirs")


def seen(**changes: Any) -> SeenShare:
    return replace(MINE, **changes)


@pytest.mark.parametrize(
    ("want", "found", "steps"),
    [
        pytest.param(WANT, None, (Create(DS, (("refquota", GIB_TEXT), *MARKS)),), id="absent"),
        pytest.param(
            replace(WANT, is_thick=True, options=(("atime", "off"),)),
            None,
            (Create(DS, (("atime", "off"), ("refquota", GIB_TEXT), ("refreservation", GIB_TEXT), *MARKS)),),
            id="thick",
        ),
        pytest.param(
            replace(WANT, source=Source(SNAP, How.CLONE)),
            None,
            (Clone(SNAP, DS, (("refquota", GIB_TEXT), *MARKS)),),
            id="clone",
        ),
        pytest.param(
            replace(WANT, source=Source(SNAP, How.COPY)),
            None,
            (Copy(SNAP, DS, (("refquota", GIB_TEXT), *MARKS)),),
            id="copy",
        ),
        pytest.param(WANT, MINE, (), id="already-so"),
        pytest.param(WANT, seen(is_mounted=False), (Mount(DS),), id="crashed-before-mount"),
        pytest.param(
            WANT, seen(refquota_bytes=0), (SetProperties(DS, (("refquota", GIB_TEXT),)),), id="somebody-took-the-quota"
        ),
    ],
)
def test_plan_share(want: ShareSpec, found: SeenShare | None, steps: tuple[Any, ...]) -> None:
    assert plan_share(want, found) == steps


def test_what_was_made_beside_others_is_mounted_at_boot() -> None:
    """A death after the making: unmounted, canmount=noauto. The mark of a replica says that it is meant so."""
    half = seen(is_mounted=False, is_boot_safe=True)
    assert plan_share(WANT, half) == (SetProperties(DS, (("canmount", "on"),)), Mount(DS))
    asked = replace(WANT, options=(("canmount", "noauto"),))
    assert plan_share(asked, half) == (Mount(DS),)
    replica = replace(half, marks=ReplicaMarks(role=Role.ACTIVE))
    assert plan_share(WANT, replica) == (Mount(DS),)


@pytest.mark.parametrize("kind", [None, Kind.TOMBSTONE, Kind.SHARE])
def test_nothing_is_adopted_by_name(kind: Kind | None) -> None:
    with pytest.raises(Conflict):
        plan_share(WANT, SeenShare(DS, kind, "2" if kind else None, mountpoint="/x"))


def test_a_half_copy_is_copied_on() -> None:
    want = replace(WANT, source=Source(SNAP, How.COPY))
    (step,) = plan_share(want, THEIRS, is_half_copied=True)
    assert isinstance(step, Copy)


@pytest.mark.parametrize(
    ("size_gib", "found", "is_thick", "names"),
    [
        pytest.param(2, MINE, False, ["refquota"], id="grow"),
        pytest.param(1, MINE, False, [], id="as-it-is"),
        pytest.param(2, seen(refreservation_bytes=GIB), True, ["refquota", "refreservation"], id="grow-thick"),
        pytest.param(
            1,
            seen(refquota_bytes=2 * GIB, refreservation_bytes=2 * GIB),
            True,
            ["refreservation", "refquota"],
            id="shrink-thick",
        ),
        pytest.param(2, seen(refreservation_bytes=GIB), False, ["refquota"], id="keeps-a-reservation"),
        pytest.param(1, seen(quota_bytes=GIB), False, ["quota"], id="lifts-a-quota"),
    ],
)
def test_plan_size(size_gib: int, found: SeenShare, is_thick: bool, names: list[str]) -> None:
    steps = plan_size(DS, size_gib, found, is_thick=is_thick)
    assert [name for step in steps if isinstance(step, SetProperties) for name, _ in step.properties] == names


def test_shrinking_counts_the_users_data_only() -> None:
    assert plan_shrink(1, seen(refquota_bytes=2 * GIB, referenced_bytes=GIB), is_thick=False)
    with pytest.raises(ShareShrinkingPossibleDataLoss):
        plan_shrink(1, seen(referenced_bytes=GIB + 1), is_thick=False)


def test_rules_are_written_only_when_they_change() -> None:
    rule = StoredRule("r1", "10.0.0.1", "rw", Squash.ROOT_SQUASH)
    text = tuple(stored_text.split(RULES, dump_rules([rule])).items())
    assert plan_rules([rule], MINE) == (SetProperties(DS, text),)
    assert plan_rules([rule], seen(rules_marks=text)) == ()
    assert plan_rules([], MINE) == ()
    assert plan_rules([], seen(rules_marks=text)) != ()


def test_parts_that_are_too_many_are_removed_first() -> None:
    rules = [StoredRule(f"{number:036}", f"10.0.0.{number}", "rw", Squash.ROOT_SQUASH) for number in range(1, 40)]
    before = tuple(stored_text.split(RULES, dump_rules(rules)).items())
    first, second = plan_rules(rules[:5], seen(rules_marks=before))
    assert first == Forget(DS, tuple(name for name, _ in before if name != RULES))
    assert isinstance(second, SetProperties)


def test_plan_snapshot() -> None:
    identity = Taken(id="t1", instance_id="1")
    want = SnapshotSpec(SNAP, identity)
    found = SeenSnapshot(SNAP, Kind.SNAPSHOT, "t1", identity, 0, 0)
    assert plan_snapshot(want, None) == (TakeSnapshot(SNAP, tuple(identity.properties(Kind.SNAPSHOT).items())),)
    assert plan_snapshot(want, found) == ()
    with pytest.raises(Conflict):
        plan_snapshot(want, replace(found, owner_id="t2"))
    with pytest.raises(ManageInvalidShareSnapshot):
        plan_snapshot_adoption(want, None)
    with pytest.raises(ManageInvalidShareSnapshot):
        plan_snapshot_adoption(want, replace(found, owner_id="t2"))
    assert plan_snapshot_adoption(want, found) == ()


def test_adoption_marks_the_kind_last() -> None:
    size, marks = plan_adoption(WANT, THEIRS)
    assert size == SetProperties(DS, (("refquota", GIB_TEXT),))
    assert isinstance(marks, SetProperties)
    assert marks.properties[-1] == (KIND, "share")
    assert plan_adoption(WANT, MINE) == ()


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        pytest.param(seen(owner_id="2"), ManageInvalidShare, id="of-another-share"),
        pytest.param(replace(THEIRS, kind=Kind.TOMBSTONE), ManageInvalidShare, id="deleted"),
        pytest.param(replace(THEIRS, mountpoint=None), ManageInvalidShare, id="no-path"),
        pytest.param(replace(THEIRS, referenced_bytes=GIB + 1), ManageInvalidShare, id="too-much-data"),
        pytest.param(replace(THEIRS, compression="off"), ManageExistingShareTypeMismatch, id="other-compression"),
    ],
)
def test_what_cannot_be_adopted(found: SeenShare, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        plan_adoption(replace(WANT, options=(("compression", "gzip"),)), found)


def test_letting_go_starts_with_the_kind_and_ends_with_the_id() -> None:
    (step,) = plan_release(DS, seen(rules_marks=((RULES, "x"),)))
    assert isinstance(step, Forget)
    assert (step.names[0], step.names[-1]) == (KIND, ID)
    assert set(step.names) == {*ALL_MARKS, RULES}


def test_handing_snapshots_over_to_a_clone() -> None:
    clone = Dataset("tank/clone")
    ours = SeenSnapshot(SNAP, Kind.SNAPSHOT, "t1", None, 0, 0)
    theirs = SeenSnapshot(DS.snapshot("daily"), None, None, None, 0, 0)
    assert plan_handover(clone, [ours, theirs], {"daily"}) == (
        SetProperties(SNAP, ((KIND, "tombstone"),)),
        DestroySnapshots(DS, ("snap_1",)),
        Rename(DS.snapshot("daily"), DS.snapshot("daily.of.share_1")),
        Promote(clone),
    )
    assert plan_handover(clone, [theirs], set()) == (Promote(clone),)


def test_a_tombstone_promises_and_serves_nothing() -> None:
    properties, unmount = plan_tombstone(MINE)
    assert isinstance(properties, SetProperties)
    assert dict(properties.properties) == {"refreservation": "none", "canmount": "off", KIND: "tombstone"}
    assert unmount == Unmount(DS)
