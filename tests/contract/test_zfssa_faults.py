"""Every operation of the ZFS appliance driver, with trouble at every one of its requests.

Whatever happens, the driver says a fault of ours or does what was asked; the same call again does it; and when the
volumes are deleted nothing is left on the appliance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.appliance import finding, luns
from penstock.appliance.lun_values import PROTECTED
from penstock.appliance.trouble import Rule, Wire
from penstock.errors import Fault, Unavailable, UnknownResult
from penstock.volume.drivers.zfssa.faults import Denied, LoginRefused, Overloaded
from penstock.volume.drivers.zfssa.session import TRIES
from penstock.volume.drivers.zfssa.zfssaiscsi import ZFSSAISCSIDriver
from penstock.volume.errors import VolumeBackendAPIException, VolumeNotFound
from tests.contract.appliance_boxes import (
    IQNS,
    Box,
    connector,
    listening,
    make_driver,
    set_up,
    simulated_box,
    snapshot,
    volume,
)

ONE, TWO, THREE = volume(1), volume(2), volume(3, size=2)
TAKEN = snapshot(ONE)


@dataclass(frozen=True)
class Site:
    box: Box
    driver: ZFSSAISCSIDriver
    folder: Path

    def luns(self) -> set[str]:
        found = self.box.site.zfs.tree(self.box.site.root("tank"), ["type"], kinds=("filesystem", "snapshot"))
        return {name for name in found if "volume-" in name or "unmanaged" in name}

    def begin_anew(self) -> None:
        """An empty project, no trouble, no session."""
        self.box.trouble.clear()
        self.box.exports.fault = None
        here = self.box.site
        found = finding.below(here, here.root("tank"), depth=None)
        for lun in found:
            here.zfs.set(lun.dataset, {PROTECTED: "false"})
        for lun in found:
            if here.zfs.exists(lun.dataset):
                luns.destroy(here, "tank", lun.dataset)
        self.driver.zfssa.log_out()
        self.box.requests.clear()

    def delete_all(self) -> None:
        """As users do."""
        for one in (TWO, THREE):
            self.driver.delete_volume(one)
        self.driver.delete_snapshot(TAKEN)
        self.driver.delete_volume(ONE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faults")
    with listening(simulated_box("box", folder), folder) as box:
        yield Site(box, set_up(make_driver(box, folder)), folder)


Step = Callable[[ZFSSAISCSIDriver], object]


@dataclass(frozen=True)
class Operation:
    """What is there `before`, and what is done."""

    before: tuple[Step, ...]
    call: Step


def create(driver: ZFSSAISCSIDriver) -> object:
    return driver.create_volume(ONE)


def snap(driver: ZFSSAISCSIDriver) -> object:
    return driver.create_snapshot(TAKEN)


def from_snapshot(driver: ZFSSAISCSIDriver) -> object:
    return driver.create_volume_from_snapshot(THREE, TAKEN)


def clone(driver: ZFSSAISCSIDriver) -> object:
    return driver.create_cloned_volume(TWO, ONE)


def attach(driver: ZFSSAISCSIDriver) -> object:
    return driver.initialize_connection(ONE, connector())


OPERATIONS = {
    "create": Operation((), create),
    "extend": Operation((create,), lambda driver: driver.extend_volume(ONE, 3)),
    "snapshot": Operation((create,), snap),
    "from snapshot": Operation((create, snap), from_snapshot),
    "clone": Operation((create,), clone),
    "larger clone": Operation((create,), lambda driver: driver.create_cloned_volume(THREE, ONE)),
    "attach": Operation((create,), attach),
    "second attach": Operation((create, attach), lambda driver: driver.initialize_connection(ONE, connector(IQNS[1]))),
    "detach": Operation((create, attach), lambda driver: driver.terminate_connection(ONE, connector())),
    "detach all": Operation((create, attach), lambda driver: driver.terminate_connection(ONE, None)),
    "delete snapshot": Operation((create, snap), lambda driver: driver.delete_snapshot(TAKEN)),
    "delete": Operation((create,), lambda driver: driver.delete_volume(ONE)),
    "delete clone": Operation((create, clone), lambda driver: driver.delete_volume(TWO)),
    "delete copy": Operation((create, snap, from_snapshot), lambda driver: driver.delete_volume(THREE)),
    "manage": Operation((create,), lambda driver: driver.manage_existing(TWO, {"source-name": ONE.name})),
    "unmanage": Operation((create,), lambda driver: driver.unmanage(ONE)),
    "rename": Operation((create,), lambda driver: driver.update_migrated_volume(None, TWO, ONE, "available")),
    "stats": Operation((), lambda driver: driver.get_volume_stats(refresh=True)),
}
TROUBLES = {
    "session ended": Rule(".", ends_sessions=True),
    "401": Rule(".", status=401),
    "500": Rule(".", status=500),
    "500 after all": Rule(".", status=500, takes_effect=True),
    "503": Rule(".", status=503),
    "503 for long": Rule(".", status=503, times=TRIES + 2),
    "401 for long": Rule("(GET|PUT|POST|DELETE) (?!/api/access)", status=401, times=TRIES + 2),
    "403": Rule(".", status=403),
    "404": Rule(".", status=404),
    "409": Rule(".", status=409),
    "413": Rule(".", status=413),
    "garbage": Rule(".", wire=Wire.GARBAGE),
    "half": Rule(".", wire=Wire.HALF),
    "lost before": Rule(".", wire=Wire.DROP),
    "lost after": Rule(".", wire=Wire.DROP, takes_effect=True),
}
MOST_REQUESTS = 7


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_trouble_at_every_request(site: Site, name: str, trouble: str) -> None:
    operation, rule = OPERATIONS[name], TROUBLES[trouble]
    for place in range(MOST_REQUESTS):
        site.begin_anew()
        for step in operation.before:
            step(site.driver)
        site.box.trouble.clear()
        site.box.trouble.add(Rule(**{**{f: getattr(rule, f) for f in Rule.__slots__}, "after": place}))
        fault = None
        try:
            operation.call(site.driver)
        except Fault as raised:
            fault = raised
        count = len(site.box.requests)
        site.box.trouble.clear()
        operation.call(site.driver)  # the same again
        check_it_is_done(site, name)
        site.delete_all()
        assert site.luns() <= {f"tank/appliance/volumes/unmanaged-{ONE.name}"}
        if fault is None and count <= place:
            break


def check_it_is_done(site: Site, name: str) -> None:
    found = {each.rpartition("/")[2] for each in site.luns()}
    wanted = {
        "create": {ONE.name},
        "snapshot": {ONE.name, f"{ONE.name}@{TAKEN.name}"},
        "from snapshot": {ONE.name, f"{ONE.name}@{TAKEN.name}", THREE.name},
        "clone": {ONE.name, f"{ONE.name}@tmp-snapshot-{TWO.id}", TWO.name},
        "larger clone": {ONE.name, f"{ONE.name}@tmp-snapshot-{THREE.id}", THREE.name},
        "delete snapshot": {ONE.name},
        "delete": set(),
        "delete clone": {ONE.name},
        "delete copy": {ONE.name, f"{ONE.name}@{TAKEN.name}"},
        "manage": {TWO.name},
        "unmanage": {f"unmanaged-{ONE.name}"},
        "rename": {TWO.name},
    }.get(name)
    assert wanted is None or found == wanted
    seen = set(site.box.exports.seen)
    shown = {"attach": {IQNS[0]}, "second attach": set(IQNS), "detach": set(), "detach all": set()}.get(name)
    assert shown is None or seen == shown


# --- one by one -----------------------------------------------------------------------------------------------------


def test_ten_tries_and_what_the_appliance_said(site: Site) -> None:
    site.begin_anew()
    site.driver.create_volume(ONE)
    site.box.requests.clear()
    site.box.trouble.add(Rule("PUT", status=503, times=None))
    waited = site.driver.zfssa.clock.monotonic_s()
    with pytest.raises(Overloaded, match="503 ERR_BUSY: as asked for") as raised:
        site.driver.extend_volume(ONE, 2)
    assert isinstance(raised.value, VolumeBackendAPIException)
    assert isinstance(raised.value, Unavailable)
    assert raised.value.retryable
    assert len(site.box.requests) == TRIES
    assert site.driver.zfssa.clock.monotonic_s() - waited == TRIES - 1


def test_a_wrong_password_is_said_at_once(site: Site) -> None:
    site.begin_anew()
    with pytest.raises(LoginRefused, match="ERR_UNAUTHORIZED"):
        make_driver(site.box, site.folder, san_password="wrong").do_setup(None)
    assert len(site.box.requests) == 1


def test_no_rest_service_is_said_as_such(site: Site) -> None:
    site.begin_anew()
    site.box.trouble.add(Rule("access", status=404, times=None))
    with pytest.raises(LoginRefused, match="no REST service"):
        make_driver(site.box, site.folder).do_setup(None)


def test_an_appliance_that_hangs_or_is_slow(site: Site) -> None:
    site.begin_anew()
    driver = set_up(make_driver(site.box, site.folder, zfssa_rest_timeout="1"))
    site.box.trouble.add(Rule("POST", wire=Wire.HANG, takes_effect=True))
    with pytest.raises(UnknownResult, match="no answer within 1 s"):
        driver.create_volume(ONE)
    driver.create_volume(ONE)
    site.box.trouble.clear()
    site.box.trouble.add(Rule("GET", delay_s=1.5))
    with pytest.raises(Unavailable):
        driver.get_volume_stats(refresh=True)
    site.box.trouble.clear()
    site.box.trouble.add(Rule("GET", delay_s=0.3))
    assert driver.get_volume_stats(refresh=True)


def test_nobody_listens(site: Site) -> None:
    driver = make_driver(site.box, site.folder, zfssa_rest_port="1")
    with pytest.raises(Unavailable, match="refused"):
        driver.do_setup(None)
    with pytest.raises(Unavailable, match="not set up"):
        driver.create_volume(ONE)


def test_a_verified_certificate_and_one_that_is_not(site: Site) -> None:
    trusting = {"driver_ssl_cert_verify": "True", "driver_ssl_cert_path": site.box.certificate}
    set_up(make_driver(site.box, site.folder, **trusting))
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        make_driver(site.box, site.folder, driver_ssl_cert_verify="True").do_setup(None)
    with pytest.raises(Unavailable, match="cannot be used"):
        wrong = {**trusting, "driver_ssl_cert_path": "/nonexistent.pem"}
        make_driver(site.box, site.folder, **wrong).do_setup(None)


def test_the_file_of_an_own_certificate_does_not_help_under_another_name(site: Site) -> None:
    trusting = {"driver_ssl_cert_verify": "True", "driver_ssl_cert_path": site.box.certificate, "san_ip": "127.0.0.2"}
    with pytest.raises(Unavailable):
        make_driver(site.box, site.folder, **trusting).do_setup(None)


def test_a_lun_that_vanishes_between_two_requests(site: Site) -> None:
    site.begin_anew()
    site.driver.create_volume(ONE)
    site.box.site.zfs.destroy(site.box.site.lun("tank", "volumes", ONE.name), recursive=True)
    with pytest.raises(VolumeNotFound):
        site.driver.initialize_connection(ONE, connector())
    site.driver.terminate_connection(ONE, connector())
    site.driver.delete_volume(ONE)


def test_a_denied_deletion_keeps_the_protection(site: Site) -> None:
    site.begin_anew()
    site.driver.create_volume(ONE)
    clone(site.driver)
    site.box.trouble.add(Rule("DELETE", status=403))
    with pytest.raises(Fault):
        site.driver.delete_volume(TWO)
    assert site.driver._volumes.find(TWO.name).is_protected
    with pytest.raises(Denied):
        site.driver.zfssa.delete_lun("tank", "volumes", TWO.name)


def test_the_target_server_is_down_while_a_host_comes(site: Site) -> None:
    site.begin_anew()
    site.driver.create_volume(ONE)
    site.box.exports.fault = Unavailable("tgtd is down")
    with pytest.raises(Unavailable, match="tgtd is down"):
        attach(site.driver)
    site.box.exports.fault = None
    attach(site.driver)
    assert set(site.box.exports.seen) == {IQNS[0]}
