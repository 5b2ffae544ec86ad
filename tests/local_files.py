"""A volume driver in the style third parties write: sparse files in a folder, and no more than it must do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from penstock.errors import NotFound
from penstock.volume.driver import VolumeDriver
from penstock.volume.errors import VolumeNotFound

GIB = 2**30


class LocalFiles(VolumeDriver):
    """``volumes_dir`` is the folder."""

    _sparse_copy_volume_data = True

    def check_for_setup_error(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        return Path(self.configuration.volumes_dir)

    def local_path(self, volume: Any) -> str:
        return str(self.folder / volume["name"])

    def create_volume(self, volume: Any) -> dict[str, str]:
        path = Path(self.local_path(volume))
        path.touch()
        with path.open("r+b") as file:
            file.truncate(volume["size"] * GIB)
        return {"provider_location": str(path)}

    def delete_volume(self, volume: Any) -> None:
        Path(self.local_path(volume)).unlink(missing_ok=True)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        try:
            with Path(self.local_path(volume)).open("r+b") as file:
                file.truncate(new_size * GIB)
        except FileNotFoundError:
            raise VolumeNotFound(volume["id"]) from None

    def create_snapshot(self, snapshot: Any) -> dict[str, str]:
        path = self.folder / snapshot["name"]
        if not path.exists():
            self._copy(self.local_path(snapshot["volume"]), path)
        return {"provider_location": str(path)}

    def delete_snapshot(self, snapshot: Any) -> None:
        (self.folder / snapshot["name"]).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> dict[str, str]:
        self._copy(self.folder / snapshot["name"], self.local_path(volume))
        return self.create_volume(volume)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
        self._copy(self.local_path(src_vref), self.local_path(volume))
        return self.create_volume(volume)

    def _copy(self, source: str | Path, target: str | Path) -> None:
        subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)

    def ensure_export(self, context: Any, volume: Any) -> None:
        return None

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        if not Path(self.local_path(volume)).exists():
            raise NotFound(volume["id"])

    def remove_export(self, context: Any, volume: Any) -> None:
        return None

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        return {"driver_volume_type": "local", "data": {"device_path": self.local_path(volume)}}

    def _update_volume_stats(self) -> None:
        usage = shutil.disk_usage(self.folder)
        self._stats = {
            "volume_backend_name": "files",
            "vendor_name": "Tests",
            "driver_version": "1",
            "storage_protocol": "file",
            "pools": [
                {
                    "pool_name": "pool",
                    "total_capacity_gb": usage.total / GIB,
                    "free_capacity_gb": usage.free / GIB,
                    "reserved_percentage": 0,
                }
            ],
        }
