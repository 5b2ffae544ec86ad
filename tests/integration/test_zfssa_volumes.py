"""The whole life of a volume on an appliance: ``penstock appliance serve`` on one host, ``penstock serve`` here.

By the field's own clients, the data through real iSCSI. The appliance is killed and started again meanwhile.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openstack
import pytest
from keystoneauth1 import session
from keystoneauth1.identity import v3

from lab.daemon import LabDaemon
from lab.network import await_true
from penstock.volume.data_path.local import here
from tests.integration.test_volumes import GIB, MIB, Asker, ByCinder, BySdk, revert, until
from tests.places import Place
from tests.product.running import PORTS, QUICKLY, password
from tests.product.volume_sites import VolumeSite

ROOT = "tank/appliance"
SECRET = "what the driver knows"


@dataclass
class LabAppliance:
    """``penstock appliance serve`` on the storage host of a site."""

    site: VolumeSite
    work: Path
    pid: str = ""

    @property
    def config(self) -> Path:
        return self.work / "appliance.conf"

    @property
    def trusted(self) -> Path:
        """The certificate it made for itself, for who asks it."""
        return self.work / "trusted.pem"

    def prepare(self) -> None:
        self.work.mkdir(mode=0o700, parents=True)
        users = self.work / "users"
        line = self.ran("appliance", "password", "cinder", feed=SECRET)
        users.touch(mode=0o600)
        users.write_text(line)
        self.config.write_text(
            f"[DEFAULT]\nstate_path = {self.work}/state\n[appliance]\nlisten = {self.site.address}\n"
            f"name = box\npools = {ROOT}\nusers_file = {users}\nexports_check_interval = 1\n"
        )

    def ran(self, *words: str, feed: str = "") -> str:
        argv = (sys.executable, "-m", "penstock.cli", *words)
        return subprocess.run(argv, input=feed, capture_output=True, text=True, check=True, timeout=60).stdout

    def start(self) -> None:
        words = (sys.executable, "-m", "penstock.cli", "--config", str(self.config), "appliance", "serve")
        script = 'log=$1; shift; cd /; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
        started = self.site.programs.run(["sh", "-c", script, "sh", f"{self.work}/log", *words], timeout_s=60)
        self.pid = started.stdout.strip()
        await_true(f"the appliance (see {self.work}/log there)", self.answers, timeout_s=600)
        self.trusted.write_text(self.site.programs.read_file(f"{self.work}/state/appliance/certificate.pem") or "")

    def kill(self) -> None:
        self.site.programs.run(["kill", "-9", self.pid], timeout_s=20)

    def answers(self) -> bool:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        url = f"https://{self.site.address}:215/api/system/v1/version"
        try:
            urllib.request.urlopen(url, timeout=2, context=trusting)
        except urllib.error.HTTPError as refused:
            return refused.code == 401
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def appliance(volume_site: VolumeSite) -> Iterator[LabAppliance]:
    found = LabAppliance(volume_site, volume_site.folder / "appliance")
    found.prepare()
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def daemon(volume_site: VolumeSite, appliance: LabAppliance, place: Place) -> Iterator[LabDaemon]:
    address = volume_site.address
    # this machine, too, which puts volumes back to their snapshots by copying
    groups = {"users": [{"iqn": volume_site.user.name}], "copies": [{"iqn": here(volume_site.here).initiator}]}
    section = (
        "volume_driver = cinder.volume.drivers.zfssa.zfssaiscsi.ZFSSAISCSIDriver",
        f"san_ip = {address}",
        "san_login = cinder",
        f"san_password = {SECRET}",
        "driver_ssl_cert_verify = True",
        f"driver_ssl_cert_path = {appliance.trusted}",
        "zfssa_pool = tank",
        "zfssa_project = volumes",
        "zfssa_lun_sparse = True",
        f"zfssa_initiator_config = {groups}",
        f"zfssa_target_portal = {address}:3260",
        "zfssa_target_user = box",
        "zfssa_target_password = a-secret-of-ours",
        "volume_data_path = userspace",
    )
    options = (f"my_ip = {volume_site.here}", "default_volume_type = plain", *QUICKLY)
    work = place.directory / f"zfssa-{volume_site.name}"
    daemon = LabDaemon(work, {"box": section}, port=PORTS + 700 + place.number, options=options)
    daemon.up()
    yield daemon
    daemon.down()


@pytest.fixture(params=[BySdk, ByCinder])
def asker(request: pytest.FixtureRequest, daemon: LabDaemon) -> Asker:
    auth = v3.Password(
        auth_url=f"{daemon.url}/v3",
        username="admin",
        password=password(daemon.config.parent),
        project_name="admin",
        user_domain_name="Default",
        project_domain_name="Default",
    )
    login = session.Session(auth=auth)
    api = openstack.connection.Connection(session=login, region_name="RegionOne").block_storage
    if not any(found.name == "plain" for found in api.types()):
        api.create_type(name="plain")
    asker: Asker = request.param(login)
    return asker


def test_the_life_of_a_volume_on_an_appliance(volume_site: VolumeSite, appliance: LabAppliance, asker: Asker) -> None:
    user, stranger = volume_site.user, volume_site.stranger
    volume = asker.volume(1)
    until(lambda: asker.show(volume))
    attachment, info = asker.attach(volume, user.connector)
    until(lambda: asker.show(volume), "in-use")
    assert user.size_bytes(info) == GIB
    user.write(info, 0xA1, 0, MIB)
    assert user.is_let_in(info)
    assert not stranger.is_let_in(info)
    assert not user.is_let_in({**info, "auth_password": "not-the-password"})

    snapshot = asker.snapshot(volume)
    until(lambda: asker.show_snapshot(snapshot))
    user.write(info, 0xA2, 0, MIB)
    asker.extend(volume, 2)
    assert until(lambda: asker.show(volume), "in-use").size == 2
    assert user.size_bytes(info) == 2 * GIB
    assert user.holds(info, 0xA2, 0, MIB)
    user.write(info, 0xA3, 2 * GIB - MIB, MIB)

    appliance.kill()  # what hosts do with their volumes goes on; what users ask for waits
    assert user.holds(info, 0xA3, 2 * GIB - MIB, MIB)
    appliance.start()

    copy = asker.volume(2, snapshot_id=snapshot)
    clone = asker.volume(2, source_volume_id=volume)
    for made, pattern in ((copy, 0xA1), (clone, 0xA2)):
        until(lambda made=made: asker.show(made))
        own, seen = asker.attach(made, user.connector)
        assert user.holds(seen, pattern, 0, MIB)
        user.release(seen)
        asker.detach(own)
        until(lambda made=made: asker.show(made))

    user.release(info)
    asker.detach(attachment)
    until(lambda: asker.show(volume))
    assert not user.is_let_in(info)
    again = asker.volume(1, snapshot_id=snapshot)
    until(lambda: asker.show(again))
    revert(asker, user, again, 0xA1)
    for made in (copy, clone, again):
        asker.delete(made)
        until(lambda made=made: asker.show(made), "deleted")
    asker.delete_snapshot(snapshot)
    until(lambda: asker.show_snapshot(snapshot), "deleted")
    asker.delete(volume)
    until(lambda: asker.show(volume), "deleted")
    kept = {ROOT, f"{ROOT}/.settings", f"{ROOT}/volumes", f"{ROOT}/os-cinder-cache"}
    assert set(volume_site.datasets(ROOT)) == kept
