"""States of volumes: what an operation leads back to is what the attachments say."""

from __future__ import annotations

import pytest

from penstock.domain.attachments import AttachStatus
from penstock.domain.volume_lifecycle import (
    VOLUME_TRANSITIONAL,
    VOLUME_TRANSITIONS,
    VolumeEvent,
    advance_volume,
    advance_volume_snapshot,
)
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import VolumeStatus
from penstock.errors import Invalid


@pytest.mark.parametrize(
    ("attach_status", "ends"),
    [
        (AttachStatus.DETACHED, VolumeStatus.AVAILABLE),
        (AttachStatus.ATTACHED, VolumeStatus.IN_USE),
        (AttachStatus.RESERVED, VolumeStatus.RESERVED),
    ],
)
def test_an_extend_ends_where_the_attachments_are(attach_status: AttachStatus, ends: VolumeStatus) -> None:
    assert advance_volume(VolumeStatus.EXTENDING, VolumeEvent.DONE, attach_status) is ends


@pytest.mark.parametrize("status", VOLUME_TRANSITIONAL)
def test_every_state_of_work_has_an_end(status: VolumeStatus) -> None:
    events = {event for held, event in VOLUME_TRANSITIONS if held is status}
    assert events & {VolumeEvent.DONE}, f"{status} never ends well"
    assert events & {VolumeEvent.FAILED, VolumeEvent.REFUSED}, f"{status} never ends badly"


def test_what_a_state_does_not_take_is_refused_in_words() -> None:
    with pytest.raises(Invalid, match="'in-use' cannot be reverted"):
        advance_volume(VolumeStatus.IN_USE, VolumeEvent.REVERT, AttachStatus.ATTACHED)
    with pytest.raises(Invalid, match="'creating' cannot be deleted"):
        advance_volume_snapshot(VolumeSnapshotStatus.CREATING, VolumeEvent.DELETE)
