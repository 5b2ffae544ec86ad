"""``penstock doctor`` and ``penstock recover`` beside a real daemon, on a real host with ZFS and an NFS server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.daemon import LabDaemon
from lab.hosts import ENTER, Lab, missing
from penstock.exports.nfs_ganesha import INDEX
from penstock.host.runner import Completed, Host
from tests.places import Place

pytestmark = pytest.mark.lab
PORT = 8786
FEATURES = ("zfs", "nfs")
DRIFT = 3


@dataclass
class Site:
    """A storage host with a daemon on it."""

    host: Host
    daemon: LabDaemon
    state: Path

    def penstock(self, *words: str) -> Completed:
        argv = (sys.executable, "-m", "penstock.cli", "--config", str(self.daemon.config), *words)
        return self.host.run(argv, timeout_s=90)

    def ok(self, *words: str) -> str:
        done = self.penstock(*words)
        assert done.exit_code == 0, done.stdout + done.stderr
        return done.stdout

    def show(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.ok("share", "show", name, "--json")))

    def zfs(self, *words: str) -> str:
        done = self.host.run(["zfs", *words], timeout_s=30)
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def roomy_lab(place: Place) -> Iterator[Lab]:
    """A lab whose one host has a pool of several GiB, beside the lab of other tests."""
    reason = missing(FEATURES)
    if reason:
        pytest.skip(reason)
    prefix = place.network_prefix.replace("10.178.", "10.179.")
    lab = Lab(f"{place.tag}r", place.memory / "roomy", prefix, FEATURES, pool_mib=8192)
    try:
        yield lab.up(1, 0)
    finally:
        lab.down()


@pytest.fixture
def site(roomy_lab: Lab) -> Iterator[Site]:
    lab = roomy_lab
    address = lab.address("h1")
    work = lab.directory / "daemon"  # the lab's folder is the same inside and outside of its hosts
    backend = (
        "share_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver",
        "driver_handles_share_servers = False",
        f"zfs_share_export_ip = {address}",
        "zfs_zpool_list = tank/recovery",
        "zfs_nfs_server = ganesha",
    )
    host = lab.host("h1")
    made = host.run(["zfs", "create", "tank/recovery"], timeout_s=30)
    assert made.exit_code == 0, made.stderr
    host.write_file("/etc/ganesha/exports.conf", f'%include "{INDEX}"\n')
    daemon = LabDaemon(
        work, {"zfs": backend}, port=PORT, address=address, inside=(str(ENTER), str(lab.directory), "h1")
    )
    try:
        daemon.up()
        yield Site(host, daemon, work / "state")
    finally:
        daemon.down()


def test_drift_is_repaired_and_a_lost_database_rebuilt(site: Site) -> None:
    assert "problem" not in site.ok("backend", "check")
    docs = json.loads(site.ok("share", "create", "1", "--name", "docs", "--json"))
    site.ok("share", "allow", "docs", "10.0.0.0/24")
    site.ok("share", "snapshot", "create", "docs", "--name", "monday")
    site.ok("share", "create", "1", "--name", "copy", "--snapshot", "monday")
    before = site.show("docs")
    site.ok("doctor")

    dataset = site.zfs("list", "-H", "-o", "name", "-r", "tank/recovery").splitlines()
    mine = next(
        name for name in dataset if site.zfs("get", "-H", "-o", "value", "penstock:share_id", name) == docs["id"]
    )
    site.zfs("set", "refquota=2G", mine)
    drifted = site.penstock("doctor")
    assert (drifted.exit_code, "quota-differs" in drifted.stdout) == (DRIFT, True)
    assert site.penstock("doctor", "--repair", "export-missing").exit_code == DRIFT
    site.ok("doctor", "--repair", "quota-differs")  # done by the daemon, as an operation
    assert site.zfs("get", "-Hp", "-o", "value", "refquota", mine) == str(1 << 30)
    assert "serves backend" in site.penstock("recover").stderr

    site.daemon.kill()
    for path in site.state.glob("penstock.sqlite*"):
        path.unlink()
    site.ok("db", "upgrade")
    assert "2 shares, 1 access rules, 1 snapshots" in site.ok("recover")
    assert "nothing is missing" in site.ok("recover")
    site.daemon.up()
    site.ok("doctor")

    listed = json.loads(site.ok("share", "list", "--all-projects", "--json"))
    assert {share["name"] for share in listed} == {"docs", "copy"}
    found = site.show(docs["id"])  # by id: it belongs to the project of before
    assert [rule["access_to"] for rule in found["access_rules"]] == ["10.0.0.0/24"]
    same = ("id", "name", "size", "project_id", "share_proto", "share_type_name", "status")
    assert {key: found[key] for key in same} == {key: before[key] for key in same}
    assert [loc["path"] for loc in found["export_locations"]] == [loc["path"] for loc in before["export_locations"]]
    site.ok("share", "delete", next(share["id"] for share in listed if share["name"] == "copy"), "--force")
