"""The published interface of volume drivers: complete, documented, and able to tell what a driver can do."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BackendFault, Invalid, Unsupported
from penstock.volume import errors
from penstock.volume.driver import PUBLISHED, BaseVD, ISCSIDriver, VolumeDriver, capabilities_of
from penstock.volume.errors import InvalidConnectorException, InvalidVolume
from penstock.volume.loading import load_driver, options_of
from penstock.volume.records import Records
from tests.volume_values import MemoryRecords, a_volume, a_volume_backend

HERE = "tests.unit.test_volume_driver_interface."


class Third(VolumeDriver):
    """A driver in the style third parties write."""

    VERSION = "1.2"

    def create_volume(self, volume: Any) -> dict[str, str]:
        return {"provider_location": f"/dev/{volume['name']}"}

    def failover_host(self, context: Any, volumes: Any, secondary_id: Any = None, groups: Any = None) -> Any: ...

    def _init_vendor_properties(self) -> Any:
        properties: dict[str, Any] = {}
        self._set_property(properties, "a:b:speed", "Speed", "How fast.", "integer", minimum=1, colour="red")
        self._set_property(properties, "speed", "Speed", "Nobody's.", "integer")
        return properties, "a:b"


class Orphan(Third):
    SUPPORTED = False


class Half(BaseVD):
    """Leaves abstract what must not be."""


@pytest.mark.parametrize("name", sorted(PUBLISHED | {n for n in dir(BaseVD) if not n.startswith("_")}))
def test_every_method_has_its_contract(name: str) -> None:
    assert inspect.getdoc(getattr(BaseVD, name, None) or getattr(VolumeDriver, name))


def test_what_a_driver_can_do_is_what_it_overrides(tmp_path: Path) -> None:
    third = Third(configuration=a_volume_backend(tmp_path))
    assert capabilities_of(third) == {"create_volume", "failover_host"}
    assert Third.supports_replication_feature("v2.1")
    assert not Third.supports_replication_feature("a/a")
    assert not Third.supports_replication_feature("v9")


def test_what_is_not_overridden_says_so(tmp_path: Path) -> None:
    third = Third(configuration=a_volume_backend(tmp_path))
    with pytest.raises(NotImplementedError):
        third.delete_volume(a_volume("1"))
    assert third.migrate_volume(None, a_volume("1"), {}) == (False, None)  # type: ignore[arg-type]
    assert third.clone_image(None, a_volume("1"), None, {}, None) == (None, False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Half", "abstract"),
        ("Orphan", "enable_unsupported_driver = True"),
        ("Path", "does not derive from"),
        ("Nobody", "has no class Nobody"),
    ],
)
def test_a_driver_that_cannot_be_loaded_says_why(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        load_driver(HERE + name, a_volume_backend(tmp_path))


def test_a_third_partys_driver_is_loaded_by_its_name(tmp_path: Path) -> None:
    backend = a_volume_backend(tmp_path, "enable_unsupported_driver = True")
    records: Records = MemoryRecords()
    driver = load_driver(HERE + "Orphan", backend, records=records, host="here@third")
    assert (driver.get_version(), driver.host, driver.initialized, driver.supported) == (
        "1.2",
        "here@third",
        False,
        False,
    )
    driver.set_initialized()
    assert driver.initialized
    assert options_of(HERE + "Orphan")
    with pytest.raises(Unsupported, match="without a way to run commands"):
        driver._execute("true")


def test_a_cluster_needs_a_driver_that_replicates_as_one(tmp_path: Path) -> None:
    backend = a_volume_backend(tmp_path, "replication_device = backend_id:there,address:10.0.0.9")
    assert backend.replication_device == [{"backend_id": "there", "address": "10.0.0.9"}]
    with pytest.raises(Invalid, match="cluster"):
        load_driver(HERE + "Third", backend, cluster_name="both")


def test_capabilities_are_the_stats_and_what_types_may_ask_for(tmp_path: Path) -> None:
    driver = Third(configuration=a_volume_backend(tmp_path, "filter_function = volume.size < 10"))
    driver.init_capabilities()
    assert driver.capabilities["volume_backend_name"] == "third"
    assert driver.capabilities["pools"][0]["filter_function"] == "volume.size < 10"
    properties = driver.capabilities["properties"]
    assert properties["a_b:speed"] == {"title": "Speed", "description": "How fast.", "type": "integer", "minimum": 1}
    assert "speed" not in properties
    assert "thin_provisioning" in properties
    assert driver.get_prefixed_property("speed") == "a_b:speed"


def test_commands_are_tried_again_until_that_is_hopeless(tmp_path: Path) -> None:
    ran: list[str] = []

    def fail(*argv: str, **_options: Any) -> tuple[str, str]:
        ran.append(argv[0])
        raise BackendFault("device is gone for good")

    driver = Third(execute=fail, configuration=a_volume_backend(tmp_path, "num_shell_tries = 5"))
    with pytest.raises(BackendFault):
        driver._try_execute("once", no_retry_list=["gone for good"])
    assert ran == ["once"]


def test_an_iscsi_connection_is_what_os_brick_wants(tmp_path: Path) -> None:
    driver = ISCSIDriver(configuration=a_volume_backend(tmp_path, "report_discard_supported = True"))
    volume = a_volume("1", provider_location="10.0.0.1:3260;10.0.1.1:3260,1 iqn.x:1 2", provider_auth="CHAP me secret")
    assert driver.initialize_connection(volume, {"initiator": "iqn.y", "multipath": True}) == {
        "driver_volume_type": "iscsi",
        "data": {
            "target_discovered": False,
            "target_portal": "10.0.0.1:3260",
            "target_iqn": "iqn.x:1",
            "target_lun": 2,
            "target_portals": ["10.0.0.1:3260", "10.0.1.1:3260"],
            "target_iqns": ["iqn.x:1", "iqn.x:1"],
            "target_luns": [2, 2],
            "volume_id": "1",
            "auth_method": "CHAP",
            "auth_username": "me",
            "auth_password": "secret",
            "discard": True,
        },
    }
    assert "secret" not in repr(volume)
    with pytest.raises(InvalidVolume, match="no iSCSI export"):
        driver.initialize_connection(a_volume("2"), {"initiator": "iqn.y"})
    with pytest.raises(InvalidConnectorException, match="initiator"):
        driver.validate_connector({"host": "there"})


def test_published_exceptions_are_faults() -> None:
    assert all(issubclass(getattr(errors, name), errors.BackendFault | Exception) for name in errors.__all__)
    assert "vol-1" in str(errors.VolumeIsBusy(volume_name="vol-1"))
    assert str(errors.VolumeBackendAPIException(data="it broke")) == "it broke"


def test_an_update_changes_a_copy_and_ignores_what_is_no_field() -> None:
    volume = a_volume("1")
    later = volume.updated({"provider_id": "7", "unheard_of": 1})
    assert (volume.provider_id, later["provider_id"], later.get("unheard_of")) == (None, "7", None)
    assert volume["_name_id"] is None
    assert a_volume("1", name_id="2")["_name_id"] == "2"
