"""``penstock doctor`` and ``penstock recover`` of volumes as commands: what they print, ask and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli.main import main
from penstock.exports.iscsi import Initiator
from penstock.store import volumes
from penstock.store.database import Database
from penstock.zfs.flavour import ZFS_FUSE
from tests.simulation.volumes.zfs_plane import CONFIG, ZfsPlane

THIEF = "iqn.2001-04.org.example:thief"
DUMMY = "[other]\nvolume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver\n"


class Keyboard:
    """An administrator at a machine with the plane's backend, and one of a driver that keeps no identity."""

    def __init__(self, plane: ZfsPlane, config: Path) -> None:
        self.plane = plane
        self._config = config

    def run(self, *words: str, answer: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self._config), *words], input=answer)


@pytest.fixture
def keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    url = f"sqlite:///{tmp_path / 'penstock.sqlite'}"
    config = tmp_path / "command.conf"
    text = CONFIG.format(folder=tmp_path, text="").replace("enabled_backends = dummy", "enabled_backends = dummy,other")
    config.write_text(f"{text}\n{DUMMY}[database]\nconnection = {url}\n")
    assert CliRunner().invoke(main, ["--config", str(config), "db", "upgrade"]).exit_code == 0
    plane = ZfsPlane(tmp_path, ZFS_FUSE, database=Database(url))
    # the one thing that is not real: the storage host that the driver of the configuration reaches
    monkeypatch.setattr("penstock.volume.drivers.zfs.storage.reach.connect", lambda *_, **__: plane.host)
    yield Keyboard(plane, config)
    plane.database.close()


def test_agreement_and_what_nobody_can_say(keyboard: Keyboard) -> None:
    keyboard.plane.volume()
    result = keyboard.run("doctor", "--backend", "dummy")
    assert (result.exit_code, result.output) == (0, "dummy  database, pools and exports agree\n")
    other = keyboard.run("doctor", "--backend", "other")
    assert other.exit_code == 0, other.output
    assert "who is let in: not examined, because its driver does not say whom it lets in" in other.output
    both = json.loads(keyboard.run("doctor", "--json").output)
    assert [report["backend"] for report in both] == ["dummy", "other"]


def test_drift_has_its_exit_code_and_tells_what_to_type(keyboard: Keyboard) -> None:
    volume = keyboard.plane.volume()
    keyboard.plane.attached(volume)
    exports = keyboard.plane.driver.storage.exports  # type: ignore[attr-defined]
    exports.edit(keyboard.plane.iqn(volume), lambda found: found.allowing(Initiator(THIEF)))
    seen = keyboard.run("doctor")
    assert seen.exit_code == 3, seen.output
    assert "--repair export-differs" in seen.output
    assert THIEF in seen.output
    repaired = keyboard.run("doctor", "--repair", "export-differs")
    assert repaired.exit_code == 0, repaired.output
    assert "repaired" in repaired.output
    assert THIEF not in keyboard.plane.initiators(volume)


def test_orphans_are_destroyed_only_when_agreed_or_kept_by_recovering_them(keyboard: Keyboard) -> None:
    plane = keyboard.plane
    kept, doomed = plane.volume(name="kept"), plane.volume(name="doomed")
    with plane.database.begin() as tx:
        volumes.delete_volume(tx, kept.id)
    assert keyboard.run("doctor", "--repair", "dataset-orphan", answer="n\n").exit_code == 1
    assert keyboard.run("doctor", "--repair", "dataset-orphan", "--json").exit_code == 2
    refused = keyboard.run("recover", "--backend", "dummy")
    assert (refused.exit_code, "--merge" in refused.output) == (1, True)
    dry = keyboard.run("recover", "--merge", "--dry-run")
    assert "1 volumes, 0 snapshots, 0 types, 1 projects, 1 users would be recovered" in dry.output
    assert "other  not recovered: The driver of host@other keeps no identity" in dry.output
    assert keyboard.run("recover", "--merge").exit_code == 0
    assert plane.row(kept).name == "kept"
    with plane.database.begin() as tx:
        volumes.delete_volume(tx, doomed.id)
    agreed = keyboard.run("doctor", "--repair", "dataset-orphan", answer="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert plane.dataset(doomed) not in plane.host.state.filesystems
    assert plane.dataset(kept) in plane.host.state.filesystems


def test_named_alone_a_driver_that_keeps_nothing_is_an_error(keyboard: Keyboard) -> None:
    result = keyboard.run("recover", "--backend", "other")
    assert result.exit_code == 1
    assert "keeps no identity" in result.output
