"""``penstock doctor`` and ``penstock recover`` as commands: what they print, ask and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli.main import main
from penstock.store import shares
from penstock.units import GIB
from tests.simulation.storage_bench import StorageBench


class Keyboard:
    """An administrator at a machine whose one backend is the bench's."""

    def __init__(self, bench: StorageBench, config: Path) -> None:
        self.bench = bench
        self._config = config

    def run(self, *words: str, answer: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self._config), *words], input=answer)


@pytest.fixture
def keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    url = f"sqlite:///{tmp_path / 'penstock.sqlite'}"
    config = tmp_path / "penstock.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}\nhost = host\nenabled_share_backends = zfs\n"
        f"[database]\nconnection = {url}\n"
        "[zfs]\nshare_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver\n"
        "driver_handles_share_servers = False\nzfs_share_export_ip = 192.0.2.5\nzfs_zpool_list = tank\n"
    )
    assert CliRunner().invoke(main, ["--config", str(config), "db", "upgrade"]).exit_code == 0
    bench = StorageBench(tmp_path, database_url=url)
    # the one thing that is not real: the storage host that the driver of the configuration reaches
    monkeypatch.setattr("penstock.share.drivers.zfsonlinux.storage.connect", lambda *_: bench.host)
    monkeypatch.setattr("penstock.share.drivers.zfsonlinux.storage.choose", lambda *_, **__: bench.nfs)
    yield Keyboard(bench, config)
    bench.database.close()


def test_agreement(keyboard: Keyboard) -> None:
    keyboard.bench.share()
    result = keyboard.run("doctor")
    assert (result.exit_code, result.output) == (0, "zfs  database, pools and exports agree\n")


def test_drift_has_its_exit_code_and_tells_what_to_type(keyboard: Keyboard) -> None:
    share = keyboard.bench.share()
    keyboard.bench.host.run(["zfs", "set", f"refquota={5 * GIB}", keyboard.bench.dataset(share)], timeout_s=9)
    seen = keyboard.run("doctor")
    assert seen.exit_code == 3
    assert "--repair quota-differs" in seen.output
    told = json.loads(keyboard.run("doctor", "--json").output)
    assert [finding["kind"] for finding in told[0]["findings"]] == ["quota-differs"]
    repaired = keyboard.run("doctor", "--repair", "quota-differs")
    assert repaired.exit_code == 0, repaired.output
    assert "repaired" in repaired.output


def test_orphans_are_destroyed_only_when_agreed(keyboard: Keyboard) -> None:
    bench = keyboard.bench
    share = bench.share()
    with bench.database.begin() as tx:
        shares.delete_share(tx, share.id)
    refused = keyboard.run("doctor", "--repair", "dataset-orphan", answer="n\n")
    assert refused.exit_code == 1
    assert keyboard.run("doctor", "--repair", "dataset-orphan", "--json").exit_code == 2
    assert bench.host.filesystem(bench.dataset(share))
    agreed = keyboard.run("doctor", "--repair", "dataset-orphan", answer="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert bench.dataset(share) not in bench.host.state.filesystems


def test_an_orphan_can_be_kept_by_recovering_it(keyboard: Keyboard) -> None:
    bench = keyboard.bench
    kept, share = bench.share(name="kept"), bench.share(name="docs")
    with bench.database.begin() as tx:
        shares.delete_share(tx, share.id)
    refused = keyboard.run("recover")
    assert (refused.exit_code, "--merge" in refused.output) == (1, True)
    dry = keyboard.run("recover", "--merge", "--dry-run")
    assert "1 shares, 0 access rules, 0 snapshots, 0 types, 1 projects, 1 users would be recovered" in dry.output
    assert keyboard.run("recover", "--merge").exit_code == 0
    assert "nothing is missing" in keyboard.run("recover").output
    assert (bench.row(share).name, bench.row(kept).name) == ("docs", "kept")
    assert json.loads(keyboard.run("recover", "--json").output)["zfs"]["shares"] == []
