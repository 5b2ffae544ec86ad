"""Every sentence of real ZFS that we know, and what it means; what we do not know stays a BackendFault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.errors import BackendFault, Conflict, InsufficientCapacity, Invalid, NotFound, Unavailable, Unsupported
from penstock.host.runner import Completed
from penstock.zfs import faults
from penstock.zfs.faults import fault_of, fault_of_transfer, has_failed

TRANSCRIPTS = Path(__file__).parents[1] / "contract" / "transcripts"


def failed(stderr: str, exit_code: int = 1) -> Completed:
    return Completed(("zfs", "do"), exit_code, "", stderr, 0.0)


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("cannot unmount '/tank/oc': pool or dataset is busy", faults.Busy),
        ("umount: /tank/oc: target is busy.\ncannot unmount '/tank/oc': umount failed: umount child …", faults.Busy),
        ("cannot destroy snapshot tank/a@s1: dataset is busy", faults.Busy),
        ("cannot create 'tank/pp': permission denied", faults.PermissionDenied),
        ("connect: Permission denied\ninternal error: failed to initialize ZFS library", faults.PermissionDenied),
        ("sudo: a password is required", faults.PermissionDenied),
        ("connect: Connection refused\ninternal error: failed to initialize ZFS library", Unavailable),
        ("The ZFS modules are not loaded.\nTry running '/sbin/modprobe zfs' as root to load them.", Unavailable),
        ("cannot mount '/mnt/yy': directory is not empty\nfilesystem successfully created, but not mounted", None),
        ("cannot receive new filesystem stream: destination tank/q/r space quota exceeded.", InsufficientCapacity),
        ("cannot receive new filesystem stream: out of space", InsufficientCapacity),
        ("cannot receive new filesystem stream: incomplete stream", Unavailable),
        ("cannot set property for 'tank/f': size is less than current used or reserved space", faults.TooSmall),
        ("cannot promote 'tank/oc': conflicting snapshot 'x' from parent 'tank/o@y'", Conflict),
        ("cannot open 'tank/q@n1': dataset does not exist", NotFound),
        ("internal error: Function not implemented", Unsupported),
        ("something nobody has ever read", BackendFault),
        ("", BackendFault),
    ],
)
def test_meaning(stderr, kind):
    assert type(fault_of(failed(stderr))) is (kind or faults.MountFailed)


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_failure_is_known(path):
    for each in json.loads(path.read_text()):
        if each["exit"] != 0:
            fault = fault_of(failed("\n".join(each["err"])))
            assert not isinstance(fault, BackendFault), each


def test_the_message_leaves_out_the_usage_page():
    fault = fault_of(failed("invalid option 't'\nusage:\n\tget [-rHp]\n", 2))
    assert isinstance(fault, Unsupported)
    assert str(fault) == "zfs do: exit 2: invalid option 't'"


def test_zfs_fuse_fails_with_exit_code_0():
    assert has_failed(failed("internal error: /usr/lib/zfs/pyzfs.py not found", 0))
    assert not has_failed(failed("", 0))


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (failed("", 0), failed("", 0), None),
        (failed("", 141), failed("destination 'tank/r' exists\nmust specify -F"), Conflict),
        (failed("warning: cannot send 'tank/a@s1': Broken pipe"), failed("out of space"), InsufficientCapacity),
        (failed("cannot open 'tank/a@no': dataset does not exist"), failed("failed to read from stream"), NotFound),
        (failed("", -13), failed("", 0), BackendFault),
    ],
)
def test_transfer_blames_the_end_that_failed_first(source, target, kind):
    fault = fault_of_transfer(source, target)
    assert (fault and type(fault)) is kind


def test_invalid_is_not_retryable_and_busy_is():
    assert faults.Busy.retryable
    assert not Invalid.retryable
