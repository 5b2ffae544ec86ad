"""The driver of docs/how-to/write-a-driver.md, as it stands there, does all that a driver must."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from penstock.config.checking import check
from penstock.config.loading import load
from penstock.volume.driver import VolumeDriver
from penstock.volume.loading import load_driver, options_of
from tests.contract.volume_driver_contract import VolumeDataContract, VolumeDriverContract
from tests.volume_data import VolumeData
from tests.volume_values import MemoryRecords, a_volume_backend

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/write-a-driver.md"
DOTTED_NAME = "my_company.files.FilesDriver"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's module, importable by the name its configuration gives."""
    found = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    package = tmp_path / "my_company"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "files.py").write_text(found[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_company", "my_company.files"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def driver(tmp_path: Path, installed: None) -> VolumeDriver:
    section = a_volume_backend(tmp_path, f"files_folder = {tmp_path}/volumes\n")
    driver = load_driver(DOTTED_NAME, section, host="host@mine")
    assert isinstance(driver, VolumeDriver)
    driver.db = MemoryRecords()
    driver.check_for_setup_error()
    driver.set_throttle()
    return driver


@pytest.fixture
def data(driver: VolumeDriver) -> VolumeData:
    return VolumeData(driver, everybody_is_let_in=True)


@pytest.fixture
def pool_host() -> str:
    return "host@mine#folder"


class TestDocumentedDriver(VolumeDriverContract): ...


class TestDocumentedData(VolumeDataContract): ...


def test_its_configuration_is_whole(tmp_path: Path, installed: None) -> None:
    found = re.search(r"^```ini\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    path = tmp_path / "penstock.conf"
    path.write_text(found[1].replace("[DEFAULT]", f"[DEFAULT]\nstate_path = {tmp_path}"))
    assert check(load([path]), [path], lambda _name: None, options_of) == []
    assert [option.name for option in options_of(DOTTED_NAME) or ()] == ["files_folder"]
