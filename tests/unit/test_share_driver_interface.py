"""The published driver interface: complete, documented, and able to tell what a driver can do."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.errors import Invalid, Unsupported
from penstock.share.driver import PUBLISHED, ExecuteMixin, GaneshaMixin, ShareDriver, capabilities_of
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.loading import load_driver, options_of

DUMMY = "penstock.share.drivers.dummy.DummyDriver"


def a_backend(folder: Path, text: str = "") -> BackendConfiguration:
    path = folder / "penstock.conf"
    path.write_text(f"[third]\n{text}\n")
    return BackendConfiguration(load([path]), "third")


class Plain(ShareDriver):
    """Can do nothing at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(False, *args, **kwargs)


class Runner(ExecuteMixin, GaneshaMixin, Plain):
    """A driver in the style third parties write."""

    def create_snapshot(self, context: Any, snapshot: Any, share_server: Any = None) -> None:
        self._execute("zfs", "snapshot", snapshot["name"])

    def delete_snapshot(self, context: Any, snapshot: Any, share_server: Any = None) -> None: ...


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_method_has_its_contract(name: str) -> None:
    assert inspect.getdoc(getattr(ShareDriver, name))


def test_what_a_driver_can_do_is_what_it_overrides(tmp_path: Path) -> None:
    assert capabilities_of(Plain()) == frozenset()
    runner = Runner(configuration=a_backend(tmp_path))
    assert capabilities_of(runner) == {"create_snapshot", "delete_snapshot"}
    assert runner.snapshots_are_supported
    assert not runner.creating_shares_from_snapshots_is_supported
    assert not Plain().snapshots_are_supported
    assert "create_share" in capabilities_of(DummyDriver(configuration=a_backend(tmp_path)))


def test_what_is_not_overridden_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Plain().create_share(None, None)


@pytest.mark.parametrize(
    ("offered", "configured", "mode"),
    [(False, "False", False), ((True, False), "False", False), ([True, False], "True", True)],
)
def test_the_mode_is_the_configured_one(tmp_path: Path, offered: Any, configured: str, mode: bool) -> None:
    backend = a_backend(tmp_path, f"driver_handles_share_servers = {configured}")
    assert ShareDriver(offered, configuration=backend).driver_handles_share_servers is mode


def test_a_mode_the_driver_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="set it to False"):
        Plain(configuration=a_backend(tmp_path, "driver_handles_share_servers = True"))


def test_commands_run_with_what_the_driver_was_given(tmp_path: Path) -> None:
    ran: list[tuple[str, ...]] = []

    def execute(*argv: str, **options: Any) -> tuple[str, str]:
        ran.append(argv)
        return "", ""

    driver = Runner(configuration=a_backend(tmp_path), execute=execute)
    driver.create_snapshot(None, {"name": "tank/a@b"})
    assert ran == [("zfs", "snapshot", "tank/a@b")]
    driver.set_execute(lambda *_argv: ("", "other"))
    driver.create_snapshot(None, {"name": "tank/a@b"})
    assert len(ran) == 1


def test_a_driver_without_a_way_to_run_commands_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="zfs"):
        Runner(configuration=a_backend(tmp_path)).create_snapshot(None, {"name": "x"})


def test_ganesha_options_come_with_the_mixin(tmp_path: Path) -> None:
    assert Runner(configuration=a_backend(tmp_path)).configuration.ganesha_config_dir == "/etc/ganesha"


def test_common_stats_have_the_published_names(tmp_path: Path) -> None:
    text = "share_backend_name = gold\nreserved_share_percentage = 5\nfilter_function = capabilities.total > 1"
    stats = Runner(configuration=a_backend(tmp_path, text)).get_share_stats(refresh=True)
    assert stats["share_backend_name"] == "gold"
    assert stats["reserved_percentage"] == stats["reserved_snapshot_percentage"] == 5
    assert stats["filter_function"] == "capabilities.total > 1"
    assert stats["snapshot_support"] is True
    assert stats["create_share_from_snapshot_support"] is stats["revert_to_snapshot_support"] is False
    assert (stats["ipv4_support"], stats["ipv6_support"]) == (True, False)


def test_a_third_party_driver_loads_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somebodys_driver")
    module.Runner = Runner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys_driver", module)
    assert isinstance(load_driver("somebodys_driver.Runner", a_backend(tmp_path)), Runner)
    assert options_of("somebodys_driver.Runner") is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Driver", "not the dotted name"),
        ("no_such_package.Driver", "cannot be imported"),
        ("penstock.share.drivers.dummy.Nobody", "has no class Nobody"),
        ("pathlib.Path", "is not a share driver"),
    ],
)
def test_a_name_that_does_not_load_is_explained(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        load_driver(name, a_backend(tmp_path))


def test_a_drivers_options_are_known_without_making_it() -> None:
    assert "dummy_pools" in {option.name for option in options_of(DUMMY) or ()}
