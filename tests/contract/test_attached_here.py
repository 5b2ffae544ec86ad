"""What the kernel attached for a process that died is detached by the next one: os-brick and notes of ours, with
programs in the place of iscsiadm and mount.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.volume.data_path import attached
from penstock.volume.models import AttachmentModel, VolumeModel
from tests.contract.volume_driver_contract import CONTEXT
from tests.local_files import LocalFiles
from tests.volume_values import MemoryRecords, a_volume, a_volume_backend

IQN, PORTAL = "iqn.2026-11.org.example:one", "10.1.0.11:3260"
VOLUME = a_volume("00000000-0000-4000-8000-000000000001", 1)
ISCSI = {
    "driver_volume_type": "iscsi",
    "data": {"target_iqn": IQN, "target_portal": PORTAL, "target_lun": 1, "auth_password": "not to be noted"},
}


class OnNfs(LocalFiles):
    """Its volumes are files on a share."""

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        data = {"export": "10.1.0.11:/tank/one", "name": volume.name, "options": "-o v3"}
        base = f"{self.configuration.conf.state_path}/mounts"
        return {"driver_volume_type": "nfs", "data": data, "mount_point_base": base}


class Failing(OnNfs):
    """Logged in, its device does not show up, and nobody tells what there is to detach."""

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        return ISCSI

    def _connect_device(self, conn: Any) -> Any:
        raise Unavailable("no device")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """They write what they are asked; the initiator has one session."""
    session = f"tcp: [7] {PORTAL},1 {IQN} (non-flash)"
    for name, script in (
        ("iscsiadm", f'[ "$2" != session ] || echo "{session}"'),
        ("mount", f'for top; do :; done; case "$top" in /*) echo data >"$top/{VOLUME.name}";; esac'),
    ):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.asked\n{script}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where this backend's notes are."""
    return tmp_path / "state" / "attached" / a_process(tmp_path).configuration.config_group


def a_process(folder: Path, *volumes: VolumeModel) -> OnNfs:
    """The driver as a new process has it."""
    text = f"volumes_dir = {folder}/volumes\nvolume_data_path = kernel"
    settings = a_volume_backend(folder, text, default=f"state_path = {folder}/state")
    return OnNfs(configuration=settings, db=MemoryRecords(*volumes))


def logouts(programs: Path) -> list[str]:
    asked = programs / "iscsiadm.asked"
    return [line for line in asked.read_text().splitlines() if "--logout" in line] if asked.exists() else []


def refuse_logouts(programs: Path) -> None:
    with (programs / "iscsiadm").open("a") as script:
        script.write('case "$*" in *--logout*) exit 1;; esac\n')


def test_a_note_is_there_for_as_long_as_a_volume_is_attached(programs: Path, folder: Path) -> None:
    driver = a_process(programs)
    driver.check_for_setup_error()
    driver.create_volume(VOLUME)
    attach_info, volume = driver.attach_here(CONTEXT, VOLUME, {})
    assert [note.volume_id for note in attached.left(folder)] == [VOLUME.id]
    driver.detach_here(CONTEXT, attach_info, volume, {})
    assert attached.left(folder) == []


def test_what_a_dead_process_left_is_detached(programs: Path, folder: Path) -> None:
    attached.note(folder, VOLUME.id, ISCSI)
    (path,) = folder.iterdir()
    assert "not to be noted" not in path.read_text()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    a_process(programs, VOLUME).detach_left_here()
    assert logouts(programs) == [f"-m node -T {IQN} -p {PORTAL} --logout"]
    assert list(folder.iterdir()) == []


def test_what_somebody_else_here_uses_stays_attached(programs: Path, folder: Path) -> None:
    driver = a_process(programs)
    me = driver.local_properties()
    used = AttachmentModel("a", VOLUME.id, "attached", connector=me, connection_info={"driver_volume_type": "iscsi"})
    attached.note(folder, VOLUME.id, ISCSI)
    a_process(programs, VOLUME.updated({"volume_attachment": (used,)})).detach_left_here()
    assert logouts(programs) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", ["", '{"boot": "another", "volume_id": "1"}'], ids=["cut-off", "earlier-boot"])
def test_a_note_that_cannot_be_of_a_session_goes(programs: Path, folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "one.json").write_text(text)
    a_process(programs).detach_left_here()
    assert list(folder.iterdir()) == []


def test_a_note_that_cannot_be_read_stays_and_keeps_nothing_from_the_others(programs: Path, folder: Path) -> None:
    (folder / "0.json").mkdir(parents=True)
    attached.note(folder, VOLUME.id, ISCSI)
    a_process(programs, VOLUME).detach_left_here()
    assert len(logouts(programs)) == 1
    assert [path.name for path in folder.iterdir()] == ["0.json"]


def test_what_cannot_be_detached_stays_noted(programs: Path, folder: Path) -> None:
    attached.note(folder, VOLUME.id, ISCSI)
    refuse_logouts(programs)
    a_process(programs, VOLUME).detach_left_here()
    assert len(attached.left(folder)) == 1


@pytest.mark.parametrize("stays", [True, False], ids=["session-stays", "session-ends"])
def test_after_a_failed_attach_the_note_goes_with_the_session(programs: Path, folder: Path, stays: bool) -> None:
    driver = Failing(configuration=a_process(programs).configuration, db=MemoryRecords(VOLUME))
    driver.check_for_setup_error()
    driver.create_volume(VOLUME)
    if stays:
        refuse_logouts(programs)
    with pytest.raises(Unavailable, match="no device"):
        driver.attach_here(CONTEXT, VOLUME, {})
    assert len(logouts(programs)) >= 1
    assert [note.volume_id for note in attached.left(folder)] == ([VOLUME.id] if stays else [])
