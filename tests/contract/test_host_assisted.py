"""Host-assisted migration between drivers that know nothing of each other: real files, copied through real mounts."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.errors import BackendFault, Cancelled, Invalid
from penstock.share import data_mover, file_copying
from penstock.share.data_mover import Mount
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.file_comparing import compare
from tests.contract.migration_bench import HERE, HOST_CAN, THERE, Bench

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class FolderDriver(DummyDriver):
    """Records with a folder each, which can be mounted; it brings no share anywhere itself."""

    def migration_check_compatibility(self, *_args: Any, **_options: Any) -> dict[str, bool]:
        return {"compatible": False}

    def connection_get_info(self, context: Any, share: Any, share_server: Any = None) -> dict[str, Any]:
        folder = folder_of(Path(self.configuration.conf.state_path), share)
        folder.mkdir(parents=True, exist_ok=True)
        found = dict(super().connection_get_info(context, share))
        return {**found, "mount": f"mount --bind {folder} %(path)s", "unmount": "umount %(path)s"}


def folder_of(root: Path, share: Any) -> Path:
    return root / PoolRef.parse(share.host).backend / str(share.id)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, FolderDriver)


@pytest.fixture(params=["tar", "rsync"])
def tool(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def fill(folder: Path) -> None:
    (folder / "below" / "deeper").mkdir(parents=True)
    (folder / "below" / "data").write_bytes(os.urandom(300_000))
    (folder / "below" / "deeper" / "empty").touch()
    os.chown(folder / "below" / "data", 1234, 4321)
    (folder / "below" / "data").chmod(0o640)
    os.utime(folder / "below" / "data", (1_000_000_000, 1_000_000_000))
    (folder / "link").symlink_to("below/data")
    os.link(folder / "below" / "data", folder / "twin")
    with (folder / "sparse").open("wb") as file:
        file.truncate(5_000_000)


def sources(bench: Bench, share: Any) -> Path:
    folder: Path = Path(bench.conf.state_path) / "one" / share.instance.id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_files_come_along_and_the_source_is_read_only_meanwhile(bench: Bench) -> None:
    share = bench.a_share()
    bench.allow(share, "10.0.0.1")
    fill(sources(bench, share))
    bench.start(share, HOST_CAN)
    bench.run()
    assert bench.share(share).task_state == "data_copying_completed", bench.migration(share).note
    (here,) = bench.records("one")
    assert sorted(here.rules) == [["ip", "10.0.0.1", "ro"], ["ip", "10.9.9.9", "ro"]]
    (there,) = bench.records("two")
    assert there.rules == [["ip", "10.9.9.9", "rw"]]
    bench.complete(share)
    bench.run()
    moved = bench.share(share)
    assert (moved.status, moved.task_state) == ("available", "migration_success")
    assert bench.instances(share) == {THERE: "available"}
    (there,) = bench.records("two")
    assert there.rules == [["ip", "10.0.0.1", "rw"]]
    assert bench.records("one") == []
    new = Path(bench.conf.state_path) / "two" / moved.instance.id
    found = (new / "below" / "data").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777, found.st_mtime) == (1234, 4321, 0o640, 1_000_000_000)
    assert (new / "twin").samefile(new / "below" / "data")
    assert (new / "sparse").stat().st_blocks * 512 < 1_000_000
    assert not list(Path(bench.conf.mount_tmp_location).iterdir())


def test_cancelled_the_source_is_writable_again(bench: Bench) -> None:
    share = bench.a_share()
    bench.allow(share, "10.0.0.1")
    fill(sources(bench, share))
    bench.start(share, HOST_CAN)
    bench.run()
    bench.cancel(share)
    bench.run()
    back = bench.share(share)
    assert (back.status, back.task_state) == ("available", "migration_cancelled")
    assert bench.instances(share) == {HERE: "available"}
    assert bench.records("one")[0].rules == [["ip", "10.0.0.1", "rw"]]
    assert bench.records("two") == []


def test_a_mover_that_nobody_named_is_told_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FolderDriver)
    bench.conf.set_override("data_node_access_ips", [])
    share = bench.a_share()
    bench.start(share, HOST_CAN)
    bench.settle(2)
    assert bench.share(share).task_state == "migration_error"
    assert "data_node_access_ips" in (bench.migration(share).note or "")
    assert bench.instances(share) == {HERE: "available"}
    assert bench.records("two") == []


def test_a_restart_in_the_middle_of_the_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        pass

    share = bench.a_share()
    fill(sources(bench, share))
    compare = data_mover.compare

    def die(*_args: Any, **_options: Any) -> None:
        raise Died

    monkeypatch.setattr(data_mover, "compare", die)  # the process ends after the copy, before it says so
    bench.start(share, HOST_CAN)
    with pytest.raises(Died):
        bench.run()
    monkeypatch.setattr(data_mover, "compare", compare)
    bench.restart()
    bench.run()
    assert bench.share(share).task_state == "data_copying_completed", bench.migration(share).note


# --- the mover alone --------------------------------------------------------------------------------------------------


def bound(folder: Path, place: Path) -> Mount:
    folder.mkdir(exist_ok=True)
    return Mount(place, f"mount --bind {folder} %(path)s", "umount %(path)s")


@pytest.fixture
def pair(tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    if tool == "tar":
        monkeypatch.setattr(data_mover.shutil, "which", lambda _name: None)
    return tmp_path / "here", tmp_path / "there", tmp_path


def run(pair: tuple[Path, Path, Path], *, should_stop: Any = lambda: False, checks: bool = True) -> data_mover.Copied:
    here, there, root = pair
    return data_mover.copy(
        bound(here, root / "m1"),
        bound(there, root / "m2"),
        checks_contents=checks,
        ignored=("lost+found",),
        on_progress=lambda _moved, _total: None,
        should_stop=should_stop,
    )


def test_a_second_copy_ends_as_the_first(pair: tuple[Path, Path, Path]) -> None:
    here, there, _ = pair
    here.mkdir()
    there.mkdir()
    fill(here)
    (here / "lost+found").mkdir()
    (there / "stale").write_text("of an earlier attempt")
    copied = run(pair)
    assert copied.total_bytes == 5_300_000
    (here / "below" / "data").write_bytes(b"changed")
    run(pair)
    assert (there / "below" / "data").read_bytes() == b"changed"
    assert not (there / "stale").exists()
    assert not (there / "lost+found").exists()


def test_a_copy_that_is_to_stop_stops_and_unmounts(pair: tuple[Path, Path, Path]) -> None:
    pair[0].mkdir()
    fill(pair[0])
    with pytest.raises(Cancelled):
        run(pair, should_stop=lambda: True)
    assert not (pair[2] / "m1").exists()
    assert not (pair[2] / "m2").exists()


def test_a_copy_is_over_when_its_tool_is(pair: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_copying, "LOOK_EVERY_S", 600.0)  # it is not at a look that the end is noticed
    pair[0].mkdir()
    fill(pair[0])
    started = time.monotonic()
    assert run(pair).total_bytes == 5_300_000
    assert time.monotonic() - started < 300


def test_the_source_is_never_taken_for_the_destination(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "precious").touch()
    with pytest.raises(Invalid, match="mount the source"):
        run((here, here, tmp_path))
    assert (here / "precious").exists()


def test_what_differs_is_named(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    (here / "odd").write_text("1")
    (there / "odd").write_text("2")
    os.utime(here / "odd", (1, 1))
    os.utime(there / "odd", (1, 1))
    compare(here, there, (), checks_contents=False, should_stop=lambda: False)
    with pytest.raises(BackendFault, match="odd"):
        compare(here, there, (), checks_contents=True, should_stop=lambda: False)
