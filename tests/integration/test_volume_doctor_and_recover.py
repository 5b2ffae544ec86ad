"""``penstock doctor`` and ``recover`` of volumes beside a real daemon, on a real host with ZFS and an iSCSI server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lab.daemon import LabDaemon
from lab.network import await_true
from tests.places import Place
from tests.product.running import PORTS, QUICKLY
from tests.product.volume_sites import VolumeSite

ROOT = "tank/examined"
DRIFT = 3
STRANGER = "iqn.2001-04.org.example:stranger"


@dataclass
class Site:
    """A storage host and the daemon that serves it."""

    host: VolumeSite
    daemon: LabDaemon

    def penstock(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "penstock.cli", "--config", str(self.daemon.config), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)

    def ok(self, *words: str) -> str:
        done = self.penstock(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def kinds(self) -> list[str]:
        """What the doctor finds."""
        done = self.penstock("doctor", "--json")
        assert done.returncode in (0, DRIFT), done.stdout + done.stderr
        return [finding["kind"] for finding in json.loads(done.stdout)[0]["findings"]]

    def zfs(self, *words: str) -> str:
        done = self.host.storage.run(["zfs", *words], timeout_s=60)
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def site(volume_site: VolumeSite, place: Place) -> Iterator[Site]:
    volume_site.make(ROOT)
    section = (
        "volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver",
        f"zfs_zpool_list = {ROOT}",
        *volume_site.zfs_lines,
        "use_chap_auth = True",
        "volume_data_path = userspace",
    )
    options = (f"my_ip = {volume_site.here}", "default_volume_type = plain", *QUICKLY)
    work = place.directory / f"examined-{volume_site.name}"
    daemon = LabDaemon(work, {"blocks": section}, port=PORTS + 1100 + place.number, options=options)
    try:
        daemon.up()
        yield Site(volume_site, daemon)
    finally:
        daemon.down()


def test_drift_is_repaired_and_a_lost_database_rebuilt(site: Site) -> None:
    assert "problem" not in site.ok("backend", "check")
    data = site.json("volume", "create", "1", "--name", "data")
    site.ok("volume", "attach", "data", site.host.user.name)
    site.ok("volume", "snapshot", "create", "data", "--name", "monday")
    site.ok("volume", "create", "1", "--name", "copy", "--snapshot", "monday")
    doomed = site.json("volume", "create", "1", "--name", "doomed")
    assert site.kinds() == []

    site.host.lose_targets()
    assert site.kinds() == ["export-missing"]
    assert site.penstock("doctor", "--repair", "tombstone").returncode == DRIFT
    site.ok("doctor", "--repair", "export-missing")  # done by the daemon, as an operation
    assert site.host.user.name in site.host.targets()

    mine = f"{ROOT}/volume-{doomed['id']}"
    site.zfs("set", "penstock:project_id=somebody", mine)
    assert site.kinds() == ["property-differs"]
    site.ok("doctor", "--repair", "property-differs")
    destroy = ["zfs", "destroy", "-r", mine]  # zfs-fuse is busy with it for a moment
    await_true("destroyed", lambda: site.host.storage.run(destroy, timeout_s=60).exit_code == 0, timeout_s=60)
    assert site.kinds() == ["dataset-missing"]
    site.ok("doctor", "--repair", "dataset-missing")
    assert site.json("volume", "show", "doomed")["status"] == "error"
    site.ok("volume", "delete", "doomed")
    assert "serves backend" in site.penstock("recover").stderr

    before = site.json("volume", "show", data["id"])
    site.daemon.kill()
    for path in (site.daemon.config.parent / "state").glob("penstock.sqlite*"):
        path.unlink()
    site.ok("db", "upgrade")
    told = site.ok("recover")
    assert "2 volumes, 1 snapshots" in told
    assert "1 volumes are attached" in told
    assert "nothing is missing" in site.ok("recover")
    site.daemon.up()
    assert site.kinds() == []
    found = site.json("volume", "show", data["id"])  # by id: it belongs to the project of before
    same = ("id", "name", "size", "volume_type", "status", "os-vol-host-attr:host", "os-vol-tenant-attr:tenant_id")
    assert {key: found[key] for key in same} == {key: before[key] for key in same}
    assert site.host.user.name in site.host.targets()
    (attachment,) = found["attachments"]
    assert attachment["volume_id"] == data["id"]
