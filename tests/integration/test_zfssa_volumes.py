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
from lab.hosts import ENTER, Lab
from lab.initiator import Initiator
from lab.network import await_true
from tests.integration.test_volumes import GIB, MIB, Asker, ByCinder, BySdk, until
from tests.places import Place
from tests.product.running import PORTS, QUICKLY, password

ROOT = "tank/appliance"
SECRET = "what the driver knows"
IQN = "iqn.2026-11.lab.c1:user"


@dataclass
class LabAppliance:
    """``penstock appliance serve`` inside a host of the lab."""

    lab: Lab
    work: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.work / "appliance.conf"

    def prepare(self) -> None:
        self.work.mkdir(mode=0o700, parents=True)
        users = self.work / "users"
        line = self.ran("appliance", "password", "cinder", feed=SECRET)
        users.touch(mode=0o600)
        users.write_text(line)
        self.config.write_text(
            f"[DEFAULT]\nstate_path = {self.work}/state\n[appliance]\nlisten = {self.lab.address('h1')}\n"
            f"name = h1\npools = {ROOT}\nusers_file = {users}\nexports_check_interval = 1\n"
        )

    def ran(self, *words: str, feed: str = "") -> str:
        argv = (sys.executable, "-m", "penstock.cli", *words)
        return subprocess.run(argv, input=feed, capture_output=True, text=True, check=True, timeout=60).stdout

    def start(self) -> None:
        words = ("-m", "penstock.cli", "--config", str(self.config), "appliance", "serve")
        argv = (str(ENTER), str(self.lab.directory), "h1", sys.executable, *words)
        with (self.work / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        await_true(f"the appliance (see {self.work}/log)", self.answers, timeout_s=60)

    def kill(self) -> None:
        assert self.process is not None
        script = 'kill -9 $(pgrep -f "penstock.cli --config $1 appliance")'
        self.lab.host("h1").run(["sh", "-c", script, "sh", str(self.config)], timeout_s=20)
        self.process.wait(20)

    def answers(self) -> bool:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        url = f"https://{self.lab.address('h1')}:215/api/system/v1/version"
        try:
            urllib.request.urlopen(url, timeout=2, context=trusting)
        except urllib.error.HTTPError as refused:
            return refused.code == 401
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def lab(spacious_lab: Lab) -> Lab:
    return spacious_lab.up(1, 2)


@pytest.fixture(scope="module")
def appliance(lab: Lab, place: Place) -> Iterator[LabAppliance]:
    found = LabAppliance(lab, lab.directory / "appliance")
    found.prepare()
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def daemon(lab: Lab, appliance: LabAppliance, place: Place) -> Iterator[LabDaemon]:
    address = lab.address("h1")
    groups = {"users": [{"iqn": IQN}]}
    section = (
        "volume_driver = cinder.volume.drivers.zfssa.zfssaiscsi.ZFSSAISCSIDriver",
        f"san_ip = {address}",
        "san_login = cinder",
        f"san_password = {SECRET}",
        "driver_ssl_cert_verify = True",
        f"driver_ssl_cert_path = {appliance.work}/state/appliance/certificate.pem",
        "zfssa_pool = tank",
        "zfssa_project = volumes",
        "zfssa_lun_sparse = True",
        f"zfssa_initiator_config = {groups}",
        f"zfssa_target_portal = {address}:3260",
        "zfssa_target_user = box",
        "zfssa_target_password = a-secret-of-ours",
        "volume_data_path = userspace",
    )
    options = (f"my_ip = {lab.network.prefix}.1", "default_volume_type = plain", *QUICKLY)
    daemon = LabDaemon(place.directory / "zfssa", {"box": section}, port=PORTS + 700 + place.number, options=options)
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


@pytest.mark.lab
def test_the_life_of_a_volume_on_an_appliance(lab: Lab, appliance: LabAppliance, asker: Asker) -> None:
    user = Initiator(lab.client("c1"), lab.address("c1"), IQN)
    stranger = Initiator(lab.client("c2"), lab.address("c2"), "iqn.2026-11.lab.c2:stranger")
    volume = asker.volume(1)
    until(lambda: asker.show(volume))
    attachment, info = asker.attach(volume, user.connector)
    until(lambda: asker.show(volume), "in-use")
    assert user.size_bytes(info) == GIB
    user.write(info, 0xA1, 0, MIB)
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
        asker.detach(own)
        until(lambda made=made: asker.show(made))

    asker.detach(attachment)
    until(lambda: asker.show(volume))
    assert not user.is_let_in(info)
    for made in (copy, clone):
        asker.delete(made)
        until(lambda made=made: asker.show(made), "deleted")
    asker.delete_snapshot(snapshot)
    until(lambda: asker.show_snapshot(snapshot), "deleted")
    asker.delete(volume)
    until(lambda: asker.show(volume), "deleted")
    left = lab.host("h1").run(["zfs", "list", "-H", "-r", "-t", "all", "-o", "name", ROOT], timeout_s=60)
    kept = {ROOT, f"{ROOT}/.settings", f"{ROOT}/volumes", f"{ROOT}/os-cinder-cache"}
    assert set(left.stdout.split()) == kept
