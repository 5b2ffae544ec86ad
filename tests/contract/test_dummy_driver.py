"""The dummy driver under the driver contract, in memory and with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.errors import InsufficientCapacity
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.models import ShareModel
from tests.contract.share_driver_contract import CONTEXT, ShareDriverContract, a_share_model


def a_driver(folder: Path, *, state_file: Path | None = None) -> DummyDriver:
    """A driver with one pool of 10 GiB."""
    path = folder / "penstock.conf"
    kept = f"dummy_state_file = {state_file}" if state_file else ""
    path.write_text(f"[dummy]\ndriver_handles_share_servers = False\ndummy_pool_size = 10\n{kept}\n")
    driver = DummyDriver(configuration=BackendConfiguration(load([path]), "dummy"))
    driver.do_setup(CONTEXT)
    return driver


class TestDummyDriver(ShareDriverContract):
    @pytest.fixture(params=["memory", "file"])
    def driver(self, request: Any, tmp_path: Path) -> DummyDriver:
        return a_driver(tmp_path, state_file=tmp_path / "state.json" if request.param == "file" else None)

    @pytest.fixture
    def pool_host(self) -> str:
        return "host@dummy#pool"

    @pytest.fixture
    def fill(self, driver: DummyDriver) -> Callable[[ShareModel, float], None]:
        return driver.set_used


def test_a_full_pool_refuses(tmp_path: Path) -> None:
    driver = a_driver(tmp_path)
    with pytest.raises(InsufficientCapacity):
        driver.create_share(CONTEXT, a_share_model("host@dummy#pool", size=11))


def test_the_file_outlives_the_driver(tmp_path: Path) -> None:
    share = a_share_model("host@dummy#pool")
    a_driver(tmp_path, state_file=tmp_path / "state.json").create_share(CONTEXT, share)
    again = a_driver(tmp_path, state_file=tmp_path / "state.json")
    assert "status" not in again.ensure_shares(CONTEXT, [share])[share.id]
