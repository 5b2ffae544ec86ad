"""The ZFS driver's options, marks, stored text, access rules and export locations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Invalid, InvalidShare, Unsupported
from penstock.exports.model import Squash
from penstock.share.drivers.zfsonlinux import stored_text
from penstock.share.drivers.zfsonlinux.access import dump_rules, load_rules, understand
from penstock.share.drivers.zfsonlinux.driver import ensure_share_server_not_provided, get_backend_configuration
from penstock.share.drivers.zfsonlinux.exporting import export_locations, mountpoint_of
from penstock.share.drivers.zfsonlinux.identity import KIND, Kind, ShareIdentity, SnapshotIdentity, kind_of
from penstock.share.drivers.zfsonlinux.loading import helper_class
from penstock.share.drivers.zfsonlinux.options import parse_creation_options, read_settings
from penstock.share.drivers.zfsonlinux.spec import (
    creation_options,
    known_dataset,
    new_dataset,
    root_of,
    share_identity,
    snapshot_name,
)
from penstock.share.drivers.zfsonlinux.utils import NFSviaZFSHelper
from penstock.zfs.flavour import ZFS_FUSE, openzfs
from penstock.zfs.marks import decode_name, encode_name
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Property
from tests.driver_values import a_configuration, a_rule, a_share, a_snapshot


def stored(properties: dict[str, str], source: str = "local") -> dict[str, Property]:
    return {name: Property(value, source) for name, value in properties.items()}


# --- options ---------------------------------------------------------------------------------------------------------


def test_published_names_and_defaults() -> None:
    configuration = a_configuration()
    assert configuration.zfs_dataset_name_prefix == "manila_share_"
    assert configuration.zfs_dataset_snapshot_name_prefix == "manila_share_snapshot_"
    assert configuration.zfs_use_ssh is False
    assert configuration.zfs_share_helpers == ["NFS=manila.share.drivers.zfsonlinux.utils.NFSviaZFSHelper"]
    assert configuration.zfs_replica_snapshot_prefix == "tmp_snapshot_for_replication_"
    assert configuration.zfs_migration_snapshot_prefix == "tmp_snapshot_for_share_migration_"


@pytest.mark.parametrize(
    "values",
    [
        {"zfs_share_export_ip": None},
        {"zfs_share_export_ip": "storage.example"},
        {"zfs_zpool_list": []},
        {"zfs_zpool_list": ["tank/a", "tank/b"]},
        {"zfs_zpool_list": ["-rf/tank"]},
        {"zfs_dataset_creation_options": ["compression"]},
        {"zfs_share_helpers": []},
        {"zfs_share_helpers": ["NFS"]},
        {"zfs_use_ssh": True},
        {"zfs_use_ssh": True, "zfs_service_ip": "10.0.0.1"},
        {"zfs_share_mode": "rwx"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_settings(a_configuration(**values))


def test_nested_datasets_by_zpool() -> None:
    settings = read_settings(a_configuration(zfs_zpool_list=["tank", "pond/deep/down"]))
    assert settings.roots == {"tank": Dataset("tank"), "pond": Dataset("pond/deep/down")}
    assert root_of("h@b#pond", settings) == Dataset("pond/deep/down")
    with pytest.raises(Invalid):
        root_of("h@b#other", settings)


def test_options_of_the_drivers_own_are_ignored() -> None:
    entries = ["readonly=on", "quota=1G", "refquota=1G", "sharenfs=on", "sharesmb=on", "compression=gzip", "atime=off"]
    wanted, ignored = parse_creation_options(entries)
    assert wanted == (("compression", "gzip"), ("atime", "off"))
    assert ignored == ("readonly", "quota", "refquota", "sharenfs", "sharesmb")


def test_sudo_unless_we_are_root_there() -> None:
    remote = {"zfs_use_ssh": True, "zfs_service_ip": "10.0.0.1"}
    assert read_settings(a_configuration(**remote, zfs_ssh_username="storage")).use_sudo
    assert not read_settings(a_configuration(**remote, zfs_ssh_username="root")).use_sudo
    assert read_settings(a_configuration(**remote, zfs_ssh_username="root", zfs_use_sudo=True)).use_sudo


def test_helpers_by_their_published_name() -> None:
    assert helper_class(read_settings(a_configuration())) is NFSviaZFSHelper
    for helpers in (["CIFS=x.Y"], ["NFS=no.such.Module"], ["NFS=penstock.units.GIB"]):
        with pytest.raises(Invalid):
            helper_class(read_settings(a_configuration(zfs_share_helpers=helpers)))


def test_the_configuration_of_another_backend(tmp_path: Path) -> None:
    file = tmp_path / "penstock.conf"
    file.write_text("[far]\nzfs_zpool_list = tank/far\n")
    assert get_backend_configuration("far", [file, tmp_path / "none"]).zfs_zpool_list == ["tank/far"]
    with pytest.raises(Invalid):
        get_backend_configuration("near", [file])


def test_creation_options_and_extra_specs() -> None:
    def options(specs: dict[str, str], *configured: str) -> dict[str, str]:
        settings = read_settings(a_configuration(zfs_dataset_creation_options=list(configured)))
        return dict(creation_options(specs, settings, openzfs("2.1.11")))

    gzip = {"zfsonlinux:compression": "gzip-3"}
    assert options(gzip) == {"compression": "gzip-3"}
    assert options(gzip, "compression=lz4") == {"compression": "gzip-3"}
    assert options(gzip, "compression=off") == {"compression": "off"}
    assert options({"capabilities:dedupe": "<is> True"}) == {"dedup": "on"}
    assert options({"dedupe": "True"}, "dedup=off") == {"dedup": "off"}
    assert options({"dedupe": "<is> False"}) == {}
    with pytest.raises(Unsupported):
        creation_options({"zfsonlinux:compression": "lz4"}, read_settings(a_configuration()), ZFS_FUSE)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_come_from_ids() -> None:
    settings = read_settings(a_configuration(zfs_zpool_list=["tank/x"]))
    share = a_share(id="aa-bb", provider_location="other/place")
    assert new_dataset(share, settings) == known_dataset(share, settings) == Dataset("tank/x/manila_share_aa_bb")
    managed = a_share(provider_location="tank/x/theirs")
    assert known_dataset(managed, settings) == Dataset("tank/x/theirs")
    assert known_dataset(a_share(id="a", provider_location="tank/x"), settings) == Dataset("tank/x/manila_share_a")
    assert snapshot_name(a_snapshot(share, id="c-d"), settings) == "manila_share_snapshot_c_d"
    assert snapshot_name(a_snapshot(share, provider_location="tank/x/theirs@daily"), settings) == "daily"
    replica = a_share(replica_state="active")
    assert snapshot_name(a_snapshot(replica, id="c-d", snapshot_id="e-f"), settings) == "manila_share_snapshot_e_f"


def test_export_locations() -> None:
    settings = read_settings(a_configuration(zfs_share_export_ip="192.0.2.5, fd00::5", zfs_service_ip="10.0.0.1"))
    assert settings.ip_versions == [4, 6]
    found = [(i["path"], i["preferred"], i["is_admin_only"]) for i in export_locations("/tank/x", settings)]
    assert found == [
        ("192.0.2.5:/tank/x", True, False),
        ("[fd00::5]:/tank/x", False, False),
        ("10.0.0.1:/tank/x", False, True),
    ]
    assert {mountpoint_of(path) for path, _, _ in found} == {"/tank/x"}
    assert mountpoint_of("/srv/a:/b") == "/srv/a:/b"


# --- marks -----------------------------------------------------------------------------------------------------------


def test_marks_say_everything_and_are_read_from_local_properties_only() -> None:
    share = a_share(display_name="Überblick\t100%")
    identity = share_identity(share, 3)
    properties = identity.properties(Kind.SHARE)
    assert list(properties)[-1] == KIND
    assert all(value.isascii() and value.isprintable() for value in properties.values())
    assert ShareIdentity.read(stored(properties)) == identity
    assert ShareIdentity.read(stored(properties, "inherited from tank")) is None
    assert ShareIdentity.read(stored(properties, "received")) is None
    assert SnapshotIdentity.read(stored(properties)) is None
    assert kind_of(stored({KIND: "cabbage"})) is None


@pytest.mark.parametrize("name", ["", "-", "plain", "a b\nc", "%41", "ß" * 170, "漢" * 255, "x" * 255])
def test_names_survive_as_far_as_they_fit(name: str) -> None:
    text = encode_name(name)
    assert len(text) <= 1024
    assert text != "-"
    assert name.startswith(decode_name(text))
    if len(name.encode()) <= 340:
        assert decode_name(text) == name


@pytest.mark.parametrize("length", [0, 1, 1007, 1008, 1009, 5000, 1008 * 64])
def test_long_text_is_kept_in_parts(length: int) -> None:
    text = "abcdefghij" * (length // 10) + "x" * (length % 10)
    properties = stored(stored_text.split("penstock:rules", text))
    assert all(len(found.value) <= 1024 for found in properties.values())
    assert stored_text.join("penstock:rules", properties) == text
    head = {"penstock:rules": properties["penstock:rules"]}
    assert set(stored_text.further_names("penstock:rules", head)) == properties.keys() - head.keys()


def test_half_written_text_is_not_believed() -> None:
    old = stored_text.split("p:r", "a" * 3000)
    new = stored_text.split("p:r", "b" * 3000)
    assert stored_text.join("p:r", stored({**new, "p:r": old["p:r"]})) is None
    assert stored_text.join("p:r", stored({"p:r": new["p:r"]})) is None
    assert stored_text.join("p:r", stored({"p:r": "gibberish"})) is None
    assert stored_text.join("p:r", stored(stored_text.split("p:r", "c" * 70_000))) is None


# --- access ----------------------------------------------------------------------------------------------------------


def test_rules_are_understood_one_by_one() -> None:
    good, v6 = a_rule("10.0.0.1/32"), a_rule("FD00::1", "ro", metadata={"squash": "All_Squash"})
    twin, rival = a_rule("10.0.0.1"), a_rule("10.0.0.1", "ro")
    user, mapped, name = a_rule("bob", access_type="user"), a_rule("::ffff:10.0.0.1"), a_rule("host.example")
    understood = understand([good, v6, twin, rival, user, mapped, name], Squash.ROOT_SQUASH)
    assert [(rule.client, rule.level, rule.squash) for rule in understood.rules] == [
        ("10.0.0.1", "rw", Squash.ROOT_SQUASH),
        ("fd00::1", "ro", Squash.ALL_SQUASH),
    ]
    assert understood.refused.keys() == {rule.access_id for rule in (rival, user, mapped, name)}
    assert understood.updates == {rule: {"state": "error"} for rule in understood.refused}
    assert load_rules(dump_rules(understood.rules)) == tuple(sorted(understood.rules, key=lambda rule: rule.id))
    assert understand([good], Squash.ROOT_SQUASH).updates is None


@pytest.mark.parametrize("text", ["", "{}", "[[1]]", '[["a","b","c","d"]]', '[["a","10.0.0.1","rw","odd"]]'])
def test_stored_rules_that_make_no_sense_are_none(text: str) -> None:
    assert load_rules(text) is None


# --- published helpers -----------------------------------------------------------------------------------------------


def test_tables_for_people_are_read_by_their_columns() -> None:
    helper = NFSviaZFSHelper(a_configuration())
    answer = helper.parse_zfs_answer("NAME        USED  MOUNTPOINT\ntank/a b   1.5T  /tank/a b\n")
    assert answer == [{"NAME": "tank/a b", "USED": "1.5T", "MOUNTPOINT": "/tank/a b"}]
    assert helper.parse_zfs_answer("no datasets available\n") == []


def test_share_servers_are_refused() -> None:
    class Driver:
        @ensure_share_server_not_provided
        def method(self, context: object, share: str, share_server: object = None) -> str:
            return share

    assert Driver().method(None, "x", share_server=None) == "x"
    with pytest.raises(InvalidShare):
        Driver().method(None, "x", share_server={"id": "y"})
