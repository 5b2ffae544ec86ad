"""The ZFS appliance driver held to what every volume driver must do, over simulated hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.volume.driver import BaseVD
from tests.contract.appliance_boxes import Box, listening, make_driver, set_up, simulated_box
from tests.contract.volume_driver_contract import ELSEWHERE, THERE, VolumeDriverContract
from tests.volume_values import MemoryRecords


class TestZfssaDriver(VolumeDriverContract):
    @pytest.fixture(scope="class", params=["openzfs", "zfs-fuse"])
    def box(self, request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
        folder = tmp_path_factory.mktemp("common")
        with listening(simulated_box("box", folder, request.param), folder) as found:
            yield found

    @pytest.fixture
    def driver(self, box: Box, tmp_path: Path) -> BaseVD:
        groups = {name["host"]: [{"iqn": name["initiator"]}] for name in (THERE, ELSEWHERE)}
        found = make_driver(box, tmp_path, zfssa_initiator_config=str(groups))
        found.db = MemoryRecords()  # type: ignore[assignment]
        return set_up(found)

    @pytest.fixture
    def pool_host(self) -> str:
        return "host@box#tank"
