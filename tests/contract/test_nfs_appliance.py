"""Volumes as files on NFS shares, under the driver contract: an appliance in a folder, mounts by the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BackendFault, Conflict, Fault, InsufficientCapacity, Invalid, NotFound, Unavailable
from penstock.exports.model import normal_client
from penstock.host.local import LocalHost
from penstock.volume.data_path import attached
from penstock.volume.data_path.local import attached_node
from penstock.volume.driver import VolumeDriver
from penstock.volume.drivers.nfs_appliance.driver import NfsApplianceDriver
from penstock.volume.drivers.nfs_appliance.file_plan import SeenFile, WantedFile, plan_file
from penstock.volume.drivers.nfs_appliance.files import LibnfsFiles, MountedFiles
from penstock.volume.drivers.nfs_appliance.options import OPTIONS
from penstock.volume.drivers.nfs_appliance.penstock_shares import PenstockShares
from penstock.volume.drivers.nfs_appliance.volumes import LABEL, share_size_gib
from penstock.volume.errors import InvalidConnectorException, VolumeIsBusy
from penstock.volume.loading import load_driver
from penstock.volume.models import AttachmentModel, VolumeModel
from tests.contract.volume_driver_contract import (
    CONTEXT,
    ELSEWHERE,
    MIB,
    THERE,
    VolumeDataContract,
    VolumeDriverContract,
    VolumeSteps,
)
from tests.folder_appliance import SERVER, BindHost, FolderAppliance
from tests.volume_data import VolumeData
from tests.volume_values import HOST, MemoryRecords, a_volume, a_volume_backend

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
OURS = "10.99.0.99"


class AsMounted(VolumeData):
    """The file where the kernel has it mounted, as os-brick's connector tells it."""


@pytest.fixture
def appliance(tmp_path: Path) -> FolderAppliance:
    return FolderAppliance(tmp_path / "appliance")


@pytest.fixture
def host() -> BindHost:
    return BindHost("here")


@pytest.fixture
def files(tmp_path: Path, host: BindHost) -> MountedFiles:
    return MountedFiles(host, str(tmp_path / "mnt"), None, 3)


def a_driver(folder: Path, appliance: FolderAppliance, files: MountedFiles, text: str = "") -> NfsApplianceDriver:
    class Here(NfsApplianceDriver):
        """Where os-brick would mount the share, the test's own mount is the device."""

        def _connect_device(self, conn: Any) -> Any:
            files.mount(conn["data"]["export"])
            path = files.mount_point(conn["data"]["export"]) / conn["data"]["name"]
            local = {"driver_volume_type": "local", "data": {"device_path": str(path)}}
            return {**VolumeDriver._connect_device(self, local), "conn": conn}

    text = f"nfs_mount_point_base = {folder}/mnt\nvolume_data_path = kernel\n{text}"
    configuration = a_volume_backend(folder, text, default=f"my_ip = {OURS}")
    driver = Here(configuration=configuration, db=MemoryRecords(), appliance=appliance, files=files)
    driver.do_setup(CONTEXT)
    driver.check_for_setup_error()
    return driver


@pytest.fixture
def driver(tmp_path: Path, appliance: FolderAppliance, files: MountedFiles) -> Iterator[NfsApplianceDriver]:
    yield a_driver(tmp_path, appliance, files)
    mounts = Path("/proc/mounts").read_text()
    assert str(tmp_path) not in mounts, "every mount is gone again"
    assert not any(OURS in clients for clients in appliance.allowed.values()), "nobody let this machine in for good"


@pytest.fixture
def pool_host() -> str:
    return "here@third#third"


@pytest.fixture
def data(driver: NfsApplianceDriver) -> VolumeData:
    return VolumeData(driver, everybody_is_let_in=True)  # bind mounts ask nobody


class TestNfsAppliance(VolumeDriverContract): ...


class TestNfsApplianceData(VolumeDataContract): ...


class TestOwnWays(VolumeSteps):
    @pytest.fixture
    def volume(self, driver: NfsApplianceDriver) -> VolumeModel:
        return self.made(driver, self.new(HOST))

    def test_what_a_process_that_died_had_mounted_is_unmounted_by_the_next(
        self, tmp_path: Path, appliance: FolderAppliance, files: MountedFiles, driver: NfsApplianceDriver
    ) -> None:
        """Also where its operation is not taken up again: an image that is gone meanwhile, say."""
        volume = self.made(driver, self.new(HOST))
        conn = driver.initialize_connection(volume, {"ip": OURS})
        folder = Path(driver.configuration.conf.state_path, "attached", driver.configuration.config_group)
        attached.note(folder, volume.id, conn)
        files.mount(conn["data"]["export"])
        a_driver(tmp_path, appliance, files).detach_left_here()
        assert str(files.mount_point(conn["data"]["export"])) not in Path("/proc/mounts").read_text()
        assert list(folder.glob("*.json")) == []
        driver.terminate_connection(volume, {"ip": OURS})

    def file_of(self, appliance: FolderAppliance, volume: VolumeModel) -> Path:
        return appliance.folder / str(volume.provider_id) / volume.name

    def test_a_volume_is_a_sparse_file_on_a_share_of_its_own(
        self, appliance: FolderAppliance, volume: VolumeModel
    ) -> None:
        (share,) = appliance.shares()
        assert (share.name, share.size_gib) == (f"cinder_{volume.name}", 2)
        assert (volume.provider_id, volume.provider_location) == (share.id, f"{SERVER}:{appliance.folder}/{share.id}")
        seen = self.file_of(appliance, volume).stat()
        assert (seen.st_size, seen.st_blocks, seen.st_mode & 0o777) == (2**30, 0, 0o660)

    def test_options_that_operators_know(
        self, tmp_path: Path, appliance: FolderAppliance, files: MountedFiles, host: BindHost
    ) -> None:
        text = (
            "nfs_mount_options = vers=4.1,soft\nnas_secure_file_permissions = False\nnas_secure_file_operations = false"
        )
        driver = a_driver(tmp_path, appliance, files, text)
        volume = self.made(driver, self.new(HOST))
        assert self.file_of(appliance, volume).stat().st_mode & 0o777 == 0o666
        info: Any = driver.initialize_connection(volume, THERE)
        assert info["data"]["options"] == "-o vers=4.1,soft"
        assert info["mount_point_base"] == str(tmp_path / "mnt")
        assert appliance.allowed[str(volume.provider_id)] == {THERE["ip"]: True}
        assert not driver.secure_file_operations_enabled()
        assert driver.local_path(volume).startswith(str(tmp_path / "mnt"))
        with pytest.raises(Invalid, match="without blanks"):
            a_driver(tmp_path, appliance, files, "nfs_mount_options = a b")

    def test_the_published_connection(self, driver: NfsApplianceDriver, volume: VolumeModel) -> None:
        info: Any = driver.initialize_connection(volume, THERE)
        assert info["driver_volume_type"] == "nfs"
        wanted = {"export": volume.provider_location, "name": volume.name, "options": "-o v3", "format": "raw"}
        assert info["data"] == wanted
        driver.terminate_connection(volume, THERE)

    def test_a_thick_volume_is_written(self, tmp_path: Path, appliance: FolderAppliance, files: MountedFiles) -> None:
        thick = a_driver(tmp_path, appliance, files, "nfs_sparsed_volumes = False")
        volume = self.made(thick, self.new(HOST))
        path = self.file_of(appliance, volume)
        assert path.stat().st_blocks * 512 >= 2**30
        os.truncate(path, 100)  # as a crash in the middle of writing leaves it
        thick.create_volume(volume)
        assert path.stat().st_size == 2**30
        thick.delete_volume(volume)

    def test_a_share_that_does_not_mount_at_once_is_tried_again(
        self, driver: NfsApplianceDriver, host: BindHost
    ) -> None:
        host.failures = 2
        volume = self.made(driver, self.new(HOST))
        host.failures = 3
        with pytest.raises(Unavailable, match="timed out"):
            driver.create_volume(volume.updated({"size": 2}))
        assert driver.create_volume(volume)

    @pytest.mark.parametrize("step", ["make_share", "allow", "deny", "grow_share"])
    def test_a_creation_that_broke_is_completed_or_deleted(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, step: str
    ) -> None:
        for finish in (driver.create_volume, driver.delete_volume):
            volume = self.new(HOST)
            appliance.fail_at = step
            try:
                driver.create_volume(volume)
            except Fault:
                assert appliance.fail_at is None
            finish(volume)
            assert len(appliance.shares()) == (1 if finish == driver.create_volume else 0)
            driver.delete_volume(volume)
        assert appliance.shares() == []
        assert list(appliance.folder.iterdir()) == []

    @pytest.mark.parametrize("step", ["make_snapshot", "make_share", "delete_snapshot", "allow", "deny"])
    def test_a_clone_that_broke_leaves_no_snapshot_behind(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, volume: VolumeModel, step: str
    ) -> None:
        clone = self.new(HOST, 2)
        appliance.fail_at = step
        try:
            driver.create_cloned_volume(clone, volume)
        except Fault:
            assert appliance.fail_at is None
        clone = self.known(driver, clone, driver.create_cloned_volume(clone, volume))
        driver.extend_volume(volume, 1)
        assert appliance.snapshots(str(volume.provider_id)) == []
        assert self.file_of(appliance, clone).stat().st_size == 2 * 2**30
        assert len(appliance.shares()) == 2

    def test_an_appliance_that_keeps_snapshots_of_clones(self, tmp_path: Path, files: MountedFiles) -> None:
        appliance = FolderAppliance(tmp_path / "tied", is_tied=True, reverts=False)
        driver = a_driver(tmp_path, appliance, files)
        volume = self.made(driver, self.new(HOST))
        clone = self.new(HOST)
        clone = self.known(driver, clone, driver.create_cloned_volume(clone, volume))
        assert len(appliance.snapshots(str(volume.provider_id))) == 1
        with pytest.raises(VolumeIsBusy):
            driver.delete_volume(volume)
        snapshot = self.taken(driver, volume)
        with pytest.raises(NotImplementedError):
            driver.revert_to_snapshot(CONTEXT, volume, snapshot)
        assert driver.snapshot_revert_use_temp_snapshot()
        self.gone(driver, clone, volume)
        assert list(appliance.folder.iterdir()) == []

    def test_a_clone_of_a_clone_finds_its_file_under_whatever_name(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, data: VolumeData, volume: VolumeModel
    ) -> None:
        data.write(volume, 0x31, 0, MIB)
        snapshot = self.taken(driver, volume)
        first = self.new(HOST, 2)
        first = self.known(driver, first, driver.create_volume_from_snapshot(first, snapshot))
        second = self.new(HOST, 3)
        second = self.known(driver, second, driver.create_cloned_volume(second, first))
        assert data.holds(second, 0x31, 0, MIB)
        assert [path.name for path in (appliance.folder / str(second.provider_id)).iterdir()] == [second.name]

    def test_another_attachment_of_the_same_host_keeps_its_way(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, volume: VolumeModel
    ) -> None:
        for connector in (THERE, ELSEWHERE):
            driver.initialize_connection(volume, connector)
        both = tuple(AttachmentModel(number, volume.id, connector=dict(THERE)) for number in ("1", "2"))
        assert driver.terminate_connection(volume.updated({"volume_attachment": both}), THERE) is True
        assert appliance.clients(str(volume.provider_id)) == {THERE["ip"], ELSEWHERE["ip"]}
        assert not driver.terminate_connection(volume.updated({"volume_attachment": both[:1]}), THERE)
        assert appliance.clients(str(volume.provider_id)) == {ELSEWHERE["ip"]}
        driver.terminate_connection(volume, None)
        assert appliance.clients(str(volume.provider_id)) == frozenset()
        with pytest.raises(InvalidConnectorException, match="ip"):
            driver.validate_connector({"host": "there"})

    def test_an_address_is_one_however_it_is_written(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, volume: VolumeModel
    ) -> None:
        share_id = str(volume.provider_id)
        long = {**THERE, "ip": "FD00:0:0:0:0:0:0:7"}
        driver.initialize_connection(volume, long)
        assert appliance.clients(share_id) == {"fd00::7"}
        driver.terminate_connection(volume, {**THERE, "ip": "fd00::0007"})
        assert appliance.clients(share_id) == frozenset()
        driver.initialize_connection(volume, {**THERE, "ip": "::ffff:10.0.0.5"})
        assert appliance.clients(share_id) == {"10.0.0.5"}
        driver.terminate_connection(volume, None)

    @pytest.mark.parametrize(
        "ip", ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.5/32", "::", "224.0.0.1", "there", "fe80::1%eth0", "*"]
    )
    def test_only_one_machine_is_let_in(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance, volume: VolumeModel, ip: str
    ) -> None:
        for call in (driver.validate_connector, lambda connector: driver.initialize_connection(volume, connector)):
            with pytest.raises(InvalidConnectorException):
                call({**THERE, "ip": ip})
        assert appliance.clients(str(volume.provider_id)) == frozenset()

    def test_a_share_that_moved_is_told(self, driver: NfsApplianceDriver, volume: VolumeModel) -> None:
        old = volume.updated({"provider_location": "10.1.1.1:/before/the/failover"})
        assert driver.ensure_export(CONTEXT, old) == {"provider_location": volume.provider_location}
        assert driver.ensure_export(CONTEXT, volume) is None

    def test_shares_that_are_no_volume_are_left_alone(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance
    ) -> None:
        """One that has the name but not the label is somebody else's."""
        volume = self.new(HOST)
        other = appliance.make_share(f"cinder_{volume.name}", 5, {})
        volume = self.made(driver, volume)
        assert volume.provider_id != other.id
        driver.delete_volume(volume)
        assert [share.id for share in appliance.shares()] == [other.id]
        with pytest.raises(Conflict, match="2 shares say"):
            for _ in range(2):
                appliance.make_share("x", 1, {LABEL: volume.name})
            driver.create_volume(volume.updated({"provider_id": None}))

    def test_a_share_with_other_files_is_not_taken_over(
        self, driver: NfsApplianceDriver, appliance: FolderAppliance
    ) -> None:
        share = appliance.make_share("theirs", 3, {})
        top = appliance.folder / share.id
        reference = {"source-name": "theirs"}
        with pytest.raises(Invalid, match="exactly one file"):
            driver.manage_existing_get_size(self.new(HOST), reference)
        with (top / "disk.img").open("wb") as file:
            file.truncate(2**30 + 1)
        volume = self.new(HOST, 2)
        assert driver.manage_existing_get_size(volume, reference) == 2
        volume = self.known(driver, volume, driver.manage_existing(volume, reference))
        assert (top / volume.name).stat().st_size == 2 * 2**30
        with pytest.raises(Invalid, match="already"):
            driver.manage_existing_get_size(self.new(HOST), reference)
        taken = appliance.make_snapshot(share.id, "by hand")
        snapshot = self.taken(driver, volume)
        assert driver.manage_existing_snapshot(snapshot, {"source-name": "by hand"}) == {"provider_id": taken.id}
        assert driver.manage_existing_snapshot_get_size(snapshot, {"source-id": taken.id}) == 2

    def test_a_link_leads_nowhere(self, driver: NfsApplianceDriver, appliance: FolderAppliance, tmp_path: Path) -> None:
        """Who may mount a share may put a link there in the place of the volume's file."""
        volume = self.made(driver, self.new(HOST))
        secret = tmp_path / "secret"
        secret.write_text("keep")
        path = self.file_of(appliance, volume)
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(BackendFault, match="no file"):
            driver.extend_volume(volume, 2)
        assert secret.read_text() == "keep"

    def test_a_full_appliance(self, tmp_path: Path, files: MountedFiles) -> None:
        driver = a_driver(tmp_path, FolderAppliance(tmp_path / "small", gib=3), files)
        volume = self.made(driver, self.new(HOST))
        for call in (lambda: driver.create_volume(self.new(HOST, 3)), lambda: driver.extend_volume(volume, 3)):
            with pytest.raises(InsufficientCapacity):
                call()
        driver.extend_volume(volume, 2)

    def test_pages_of_what_could_be_taken_over(self, driver: NfsApplianceDriver, appliance: FolderAppliance) -> None:
        ids = [appliance.make_share(name, size, {}).id for name, size in (("a", 3), ("b", 1), ("c", 2))]

        def page(marker: Any, limit: Any, offset: int, *order: Any) -> list[int]:
            rows = driver.get_manageable_volumes([], marker, limit, offset, *order)
            return [row["size"] for row in rows]

        assert page(None, 2, 0, ["size"], ["desc"]) == [3, 2]
        assert page({"source-id": ids[0]}, 5, 1, ["size"], ["desc"]) == [1]
        assert len(page(None, None, 0, ["reference"], ["asc"])) == 3
        with pytest.raises(Invalid, match="Sort by"):
            page(None, 1, 0, ["colour"], ["asc"])
        with pytest.raises(Invalid, match="marker"):
            page({"source-id": "none"}, 1, 0, ["size"], ["asc"])


class ShareService:
    """The access rules of a share service: it keeps addresses in its own form."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, Any]] = {}

    def get(self, path: str, **_query: Any) -> Any:
        if path == "share-access-rules":
            return {"access_list": list(self.rules.values())}
        rule = self.rules.get(path.rpartition("/")[2])
        if rule is None:
            raise NotFound(path)
        return {"access": rule}

    def post(self, path: str, body: Any) -> Any:
        if "deny_access" in body:
            del self.rules[body["deny_access"]["access_id"]]
            return None
        asked = body["allow_access"]
        kept = {**asked, "id": str(len(self.rules)), "access_to": normal_client(asked["access_to"]), "state": "active"}
        self.rules[kept["id"]] = kept
        return {"access": kept}


def test_our_share_service_takes_off_what_it_keeps_in_another_form(tmp_path: Path) -> None:
    configuration = a_volume_backend(tmp_path, "nas_user = admin\nnas_password = secret")
    configuration.append_config_values(OPTIONS)
    appliance, service = PenstockShares(configuration), ShareService()
    appliance._session = service  # type: ignore[assignment]
    for _ in range(2):
        appliance.allow("share", "FD00:0::7", as_root=False)
    assert appliance.clients("share") == {"fd00::7"}
    appliance.deny("share", "fd00::8")
    assert appliance.clients("share") == {"fd00::7"}
    appliance.deny("share", "FD00:0::7")
    assert appliance.clients("share") == frozenset()


def test_the_driver_loads_by_its_published_name(tmp_path: Path) -> None:
    backend = a_volume_backend(tmp_path, "nas_user = admin\nnas_password = secret\nnas_appliance = no.such.Class")
    driver = load_driver("cinder.volume.drivers.acme.acmeNfsDriver", backend, records=MemoryRecords())
    assert isinstance(driver, NfsApplianceDriver)
    with pytest.raises(Invalid, match=r"no\.such\.Class"):
        driver.do_setup(CONTEXT)
    with pytest.raises(Invalid, match="set up"):
        driver.create_volume(a_volume("1"))


WANT = WantedFile("volume-2", 100, 0o660)
CREATE, RENAME = ("create", "volume-2"), ("rename", "volume-1", "volume-2")
TRUNCATE, MODE = ("truncate", "volume-2", "100"), ("mode", "volume-2", "660")


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        pytest.param([], [CREATE, TRUNCATE, MODE], id="new"),
        pytest.param([SeenFile("volume-2", 100, 0o660)], [], id="so-already"),
        pytest.param([SeenFile("volume-2", 0, 0o600)], [TRUNCATE, MODE], id="crashed"),
        pytest.param([SeenFile("volume-1", 50, 0o660)], [RENAME, TRUNCATE], id="of-a-snapshot"),
        pytest.param([SeenFile("a", 1, 0), SeenFile("volume-2", 100, 0o660)], [], id="beside-another"),
        pytest.param([SeenFile("volume-2", 500, 0o660)], [], id="larger-is-not-cut"),
    ],
)
def test_what_a_file_needs(seen: Any, steps: Any) -> None:
    assert list(plan_file(WANT, seen, may_create=True)) == steps


def test_which_file_is_never_guessed() -> None:
    with pytest.raises(Conflict, match="several"):
        plan_file(WANT, [SeenFile("a", 1, 0), SeenFile("b", 1, 0)], may_create=True)
    with pytest.raises(BackendFault, match="no file"):
        plan_file(WANT, [], may_create=False)


def test_a_share_holds_a_full_volume() -> None:
    assert [share_size_gib(size) for size in (1, 255, 256, 1024)] == [2, 256, 258, 1029]


def test_attached_info_has_a_node(driver: NfsApplianceDriver) -> None:
    steps = VolumeSteps()
    volume = steps.made(driver, steps.new(HOST))
    here = driver.local_properties()
    attach_info, volume = driver.attach_here(CONTEXT, volume, here)
    assert attached_node(attach_info).options["filename"].endswith(volume.name)
    driver.detach_here(CONTEXT, attach_info, volume, here)
    with pytest.raises(NotFound):
        driver.shares.of(steps.new(HOST))


def test_a_server_that_is_not_there_is_tried_and_told_of() -> None:
    """Through libnfs, in the program of its own that a hanging server cannot take us along with."""
    pauses: list[float] = []
    files = LibnfsFiles(LocalHost("here"), attempts=2, sleep=pauses.append)
    with pytest.raises(Unavailable, match="nfs_mount"):
        files.look("127.0.0.1:/nowhere")
    assert pauses == [1.0]
    with pytest.raises(BackendFault, match="could mount"):
        files.look("not-an-export")
