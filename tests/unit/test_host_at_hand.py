"""The kernel's table of mounts, read; and a mode that takes for ever to be set."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from penstock.host import modes
from penstock.host.local import LocalHost
from penstock.host.mounts import only_mountpoint
from penstock.host.process import DeadlinePassed

TABLE = rb"""tank /tank fuse rw,nosuid,nodev 0 0
tank/one /tank/one fuse rw,nosuid,nodev 0 0
tank/one_more /srv/with\040space\011and\134more zfs rw,xattr,posixacl 0 0
tank/bound /tank/bound zfs rw 0 0
tank/bound /home/bound zfs rw 0 0
tank/hidden /tank/hidden zfs rw 0 0
server:/x /tank/hidden nfs4 rw 0 0
tank/below /tank/below zfs rw 0 0
other /tank/below/deeper zfs rw 0 0
tank/odd legacy zfs rw 0 0
tank/bytes /tank/\377 zfs rw 0 0
"""


@pytest.mark.parametrize(
    ("source", "mountpoint"),
    [
        ("tank", "/tank"),
        ("tank/one", "/tank/one"),
        ("tank/one_more", "/srv/with space\tand\\more"),
        ("tank/bound", None),  # twice: which is meant is not for us to say
        ("tank/hidden", None),  # something else is over it
        ("tank/below", "/tank/below"),
        ("tank/odd", None),
        ("tank/bytes", None),
        ("one", None),
        ("tank/on", None),
        ("tank/absent", None),
        ("/tank/one", None),
    ],
)
def test_where_something_is_mounted(source: str, mountpoint: str | None) -> None:
    assert only_mountpoint(TABLE, source) == mountpoint


class Hanging(type(Path())):  # type: ignore[misc]
    """A directory of a filesystem that does not answer."""

    answered = threading.Event()

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        self.answered.wait(30)


def test_a_filesystem_that_hangs_costs_the_deadline_and_a_bounded_number_of_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(modes.MOST_LEFT_BEHIND):
        with pytest.raises(DeadlinePassed):
            modes.set_mode(Hanging(tmp_path), 0o777, timeout_s=0.001)
    # Whoever comes now need not wait, and has it done by a program: it may be another filesystem.
    assert not modes.set_mode(Hanging(tmp_path), 0o777, timeout_s=30)
    assert not LocalHost("here").set_mode(str(tmp_path), 0o777, timeout_s=30)
    assert threading.active_count() - before == modes.MOST_LEFT_BEHIND
    Hanging.answered.set()
    for thread in threading.enumerate():
        if thread.name == "set-mode":
            thread.join(30)
    modes.set_mode(tmp_path, 0o711, timeout_s=30)
    assert tmp_path.stat().st_mode & 0o777 == 0o711


def test_a_thread_that_cannot_be_started_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(modes.MOST_LEFT_BEHIND + 1):
            assert not modes.set_mode(tmp_path, 0o711, timeout_s=30)
    assert modes.set_mode(tmp_path, 0o711, timeout_s=30)
    assert tmp_path.stat().st_mode & 0o777 == 0o711
