"""The ZFS driver under the contract of all share drivers; what its calls cost; and over ssh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.hosts import Lab
from penstock.errors import Conflict, NotFound, Unavailable
from penstock.exports.nfs_ganesha import INDEX
from penstock.host.runner import Host
from penstock.share.driver import ShareDriver
from penstock.share.models import ShareModel
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from penstock.zfs.names import Dataset
from penstock.zfs.properties import bytes_of
from tests.contract.share_backends import CONTEXT, LAB_EXPORTS, Backend, make_backend, make_driver
from tests.contract.share_driver_contract import ShareDriverContract, a_share_model
from tests.contract.zfs_machines import SimulatedMachine
from tests.driver_values import a_configuration, a_rule, a_share, a_snapshot
from tests.simulation.host_at_hand import HostAtHand
from tests.simulation.nfs_server import SERVED
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

HOST = "host@zfs#tank"


class TestZFSonLinux(ShareDriverContract):
    @pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
    def backend(self, request: Any) -> Backend:
        flavour: Flavour = request.param
        return make_backend(SimulatedMachine(SimulatedHost(flavour.name, flavour=flavour, pools={"tank": 8 * GIB})))

    @pytest.fixture
    def driver(self, backend: Backend) -> ShareDriver:
        return backend.driver

    @pytest.fixture
    def pool_host(self) -> str:
        return HOST

    @pytest.fixture
    def fill(self, backend: Backend) -> Callable[[ShareModel, int], object]:
        return lambda share, gib: backend.write(share, "large", gib * 1024)

    def test_what_is_not_ours_is_refused(self, driver: ShareDriver, backend: Backend) -> None:  # type: ignore[override]
        """Names come from instance ids, so only a foreign dataset can be in the way; see test_unmarked for others."""
        share = a_share_model(HOST)
        backend.zfs.create(backend.dataset(share), {"org.example:owner": "somebody"}, parents=False)
        with pytest.raises(Conflict):
            driver.create_share(CONTEXT, share)

    def test_odd_names_of_others_are_no_obstacle(self, driver: Any, backend: Backend) -> None:
        share = a_share_model(HOST)
        driver.create_share(CONTEXT, share)
        for name in ("My Files", "-r", ".hidden"):
            backend.zfs.create(backend.root.child(name), {}, parents=False)
            backend.zfs.snapshot([backend.root.child(name).snapshot("auto daily")], {})
        backend.zfs.snapshot([backend.dataset(share).snapshot("before the move")], {})
        assert "export_locations" in driver.ensure_shares(CONTEXT, [share])[share.id]
        assert [found.id for found in driver.inventory().shares] == [share.id]
        driver.delete_share(CONTEXT, share)
        assert not backend.zfs.exists(backend.dataset(share))


class ZfsCommands:
    """Counts them."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if words[0] in ("zfs", "zpool"):
            self.seen.append(" ".join(words[:2]))
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


def test_a_start_costs_the_same_however_many_shares() -> None:
    host = SimulatedHost("many", pools={"tank": 800 * GIB})
    backend = make_backend(SimulatedMachine(host))
    shares = [a_share() for _ in range(100)]
    for number, share in enumerate(shares):
        backend.driver.create_share(CONTEXT, share)
        rules = [a_rule(f"10.0.0.{number}") for number in range(1, 60 if number == 7 else 3)]
        backend.driver.update_access(CONTEXT, share, rules, [], [])
    host.state.files.pop(SERVED)
    driver = backend.restarted()
    host.hooks = counted = ZfsCommands()
    driver.ensure_shares(CONTEXT, shares)
    assert counted.seen == ["zfs get", "zfs get"]
    assert len(backend.nfs.in_force()) == 100
    counted.seen.clear()
    driver.update_share_usage_size(CONTEXT, shares)
    driver.get_share_stats(refresh=True)
    assert counted.seen == ["zfs get", "zfs get"]


def test_rules_that_were_half_written_are_asked_for_again() -> None:
    backend = make_backend(SimulatedMachine(SimulatedHost("half", pools={"tank": 8 * GIB})))
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.driver.update_access(CONTEXT, share, [a_rule()], [], [])
    backend.zfs.set(backend.dataset(share), {"penstock:rules": "1:00000000:[]"})
    answer = backend.driver.ensure_shares(CONTEXT, [share])[share.id]
    assert answer["reapply_access_rules"] is True
    assert backend.nfs.get(f"/{backend.dataset(share)}") is not None


def test_a_pool_that_is_not_imported_is_not_taken_for_lost_shares() -> None:
    backend = make_backend(SimulatedMachine(SimulatedHost("gone", pools={"tank": 8 * GIB})))
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.zfs.rename(backend.root, Dataset("tank/away"))
    assert backend.driver.ensure_shares(CONTEXT, [share, a_share("unknown")]) == {}
    assert backend.driver.update_share_usage_size(CONTEXT, [share]) == []
    for call in (backend.driver.delete_share, backend.driver.ensure_share):
        with pytest.raises(Unavailable):
            call(CONTEXT, share)
    with pytest.raises(Unavailable):
        backend.driver.check_for_setup_error()
    backend.zfs.rename(Dataset("tank/away"), backend.root)
    assert backend.driver.ensure_shares(CONTEXT, [share])[share.id]["export_locations"]


def test_what_cannot_be_mounted_is_not_exported_and_does_not_hold_up_the_others() -> None:
    backend = make_backend(SimulatedMachine(SimulatedHost("odd", pools={"tank": 8 * GIB})))
    shares = [a_share(), a_share()]
    for share in shares:
        backend.driver.create_share(CONTEXT, share)
        backend.driver.update_access(CONTEXT, share, [a_rule()], [], [])
    backend.zfs.set(backend.dataset(shares[0]), {"canmount": "off"})
    answer = backend.restarted().ensure_shares(CONTEXT, shares)
    assert answer.keys() == {shares[1].id}
    assert backend.nfs.in_force() == {f"/{backend.dataset(shares[1])}"}
    backend.zfs.set(backend.dataset(shares[0]), {"canmount": "on"})
    backend.restarted().ensure_shares(CONTEXT, shares)
    assert len(backend.nfs.in_force()) == 2


def test_what_each_call_costs() -> None:
    host = SimulatedHost("one", pools={"tank": 80 * GIB})
    backend = make_backend(SimulatedMachine(host))
    share = a_share()
    snapshot = a_snapshot(share)
    host.hooks = counted = ZfsCommands()

    def cost(call: Callable[[], object]) -> list[str]:
        counted.seen.clear()
        call()
        return [words.removeprefix("zfs ") for words in counted.seen]

    assert cost(lambda: backend.driver.create_share(CONTEXT, share)) == ["create", "get"]
    assert cost(lambda: backend.driver.extend_share(share, 2)) == ["get", "set"]
    assert cost(lambda: backend.driver.update_access(CONTEXT, share, [a_rule()], [], [])) == ["get", "set"]
    assert cost(lambda: backend.driver.create_snapshot(CONTEXT, snapshot)) == ["get", "snapshot"]
    assert cost(lambda: backend.driver.delete_share(CONTEXT, share)) == ["get", "get", "destroy", "get"]


def test_where_the_table_of_mounts_is_at_hand_a_new_share_costs_one_command() -> None:
    host = HostAtHand("here", pools={"tank": 80 * GIB})
    backend = make_backend(SimulatedMachine(host))
    share = a_share()
    path = f"/{backend.dataset(share)}"
    host.hooks = counted = ZfsCommands()
    locations = backend.driver.create_share(CONTEXT, share)
    assert counted.seen == ["zfs create"]
    assert [location["path"].partition(":")[2] for location in locations] == [path]
    backend.driver.extend_share(share, 2)  # known to be there: looked at beside the change
    assert counted.seen == ["zfs create", "zfs get", "zfs set"]
    assert backend.driver.create_share(CONTEXT, share) == locations  # again, after a death


class Unmounting:
    """ZFS that reports success, and has mounted nothing."""

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if words[:2] == ("zfs", "create"):
            host.filesystem(words[-1]).is_mounted = False
        return None


@pytest.mark.parametrize("kind", [SimulatedHost, HostAtHand])
def test_success_is_not_believed_when_nothing_is_mounted(kind: type[SimulatedHost]) -> None:
    host = kind("odd", pools={"tank": 80 * GIB})
    backend = make_backend(SimulatedMachine(host))
    share = a_share()
    host.hooks = Unmounting()
    backend.driver.create_share(CONTEXT, share)
    assert host.filesystem(str(backend.dataset(share))).is_mounted


def test_a_share_not_seen_by_this_process_is_looked_at_before_it_is_changed() -> None:
    host = SimulatedHost("one", pools={"tank": 80 * GIB})
    backend = make_backend(SimulatedMachine(host))
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    anew = backend.restarted()
    backend.zfs.destroy(backend.dataset(share), recursive=True)
    backend.zfs.create(backend.dataset(share), {"refquota": "7G"}, parents=False)  # by hand, and not ours
    for change in (
        lambda: anew.extend_share(share, 2),
        lambda: anew.update_access(CONTEXT, share, [a_rule()], [], []),
    ):
        with pytest.raises(NotFound):
            change()
    found = backend.zfs.get(backend.dataset(share), ("refquota", "penstock:rules"))
    assert bytes_of(found, "refquota") == 7 * GIB
    assert not found["penstock:rules"].is_set


def test_a_share_that_was_moved_by_hand_is_found_by_the_next_change() -> None:
    host = SimulatedHost("one", pools={"tank": 80 * GIB})
    backend = make_backend(SimulatedMachine(host))
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.zfs.rename(backend.dataset(share), backend.root.child("elsewhere"))
    backend.driver.extend_share(share, 3)
    assert bytes_of(backend.zfs.get(backend.root.child("elsewhere"), ("refquota",)), "refquota") == 3 * GIB


@pytest.mark.lab
@pytest.mark.parametrize(("user", "with_password"), [("root", False), ("root", True), ("storage", False)])
def test_a_host_reached_over_ssh(lab: Lab, user: str, with_password: bool) -> None:
    inside = lab.host("h1")
    inside.write_file(LAB_EXPORTS, f'%include "{INDEX}"\n')
    secret = {"zfs_ssh_user_password": lab.password.replace("$", "$$")} if with_password else {}
    key = {} if with_password else {"zfs_ssh_private_key_path": str(lab.key_path)}
    configuration = a_configuration(
        zfs_use_ssh=True,
        zfs_service_ip=lab.address("h1"),
        zfs_share_export_ip=lab.address("h1"),
        zfs_ssh_username=user,  # of these root runs commands itself, the other by sudo
        zfs_ssh_known_hosts_file=str(lab.known_hosts_path),
        **secret,
        **key,
    )
    driver = make_driver(None, None, configuration)
    share = a_share()
    try:
        (location,) = driver.create_share(CONTEXT, share)
        path = location["path"].partition(":")[2]
        assert inside.run(["test", "-w", path], timeout_s=10).exit_code == 0
        driver.update_access(CONTEXT, share, [a_rule()], [], [])
        assert path in driver.storage.nfs.in_force()
    finally:
        driver.delete_share(CONTEXT, share)
    assert inside.run(["test", "-e", path], timeout_s=10).exit_code == 1


@pytest.mark.lab
@pytest.mark.parametrize("version", [3, 4])
def test_a_first_user_writes_and_others_are_refused(lab: Lab, lab_clients: dict[str, Host], version: int) -> None:
    inside = lab.host("h1")
    inside.write_file(LAB_EXPORTS, f'%include "{INDEX}"\n')
    address = lab.address("h1")
    driver = make_driver(inside, None, a_configuration(zfs_share_export_ip=address))
    share = a_share()

    def write(client: str, name: str) -> bool:
        words = ["nfs-cp", "/etc/hostname", f"{url}/{name}?version={version}"]
        return lab_clients[client].run(words, timeout_s=30).exit_code == 0

    def read(client: str, name: str) -> bool:
        return lab_clients[client].run(["nfs-cat", f"{url}/{name}?version={version}"], timeout_s=30).exit_code == 0

    try:
        (location,) = driver.create_share(CONTEXT, share)
        url = f"nfs://{address}{location['path'].partition(':')[2]}"
        rule = a_rule(lab.address("c1"))
        driver.update_access(CONTEXT, share, [rule], [rule], [])
        assert write("c1", "file")
        assert not write("c2", "other")
        snapshot = a_snapshot(share)
        driver.create_snapshot(CONTEXT, snapshot)
        assert write("c1", "later")
        driver.revert_to_snapshot(CONTEXT, snapshot, [rule], [])
        assert not read("c1", "later")
        assert read("c1", "file")
        driver.update_access(CONTEXT, share, [], [], [rule])
        assert not read("c1", "file")
    finally:
        driver.delete_share(CONTEXT, share)
