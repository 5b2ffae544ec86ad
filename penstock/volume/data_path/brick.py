"""os-brick, the field's own way to attach volumes by the kernel. The only module that imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import os_brick
from os_brick import exception, privileged
from os_brick.initiator import connector
from oslo_concurrency import lockutils, processutils
from oslo_config import cfg

from penstock.errors import Unavailable
from penstock.volume.data_path.local import LocalConnector

ROOT_HELPER = ""  # os-brick runs only where we are root: see `kernel_can`


def brick_connector(
    protocol: str, connection: Mapping[str, Any], *, use_multipath: bool, device_scan_attempts: int, lock_path: str
) -> LocalConnector:
    """os-brick's connector for `protocol`; `connection` is the whole connection information.

    Its failures become Unavailable: a device may show up at the next try.
    """
    # os-brick reads the global configuration, whoever uses it; it wants nothing of it but the place of its locks.
    lockutils.set_defaults(lock_path)
    cfg.CONF([], project="penstock", default_config_files=[], default_config_dirs=[])
    os_brick.setup(cfg.CONF)
    # We are root. Else it looks for `sudo` and, on its path, for `privsep-helper`, which a .venv keeps to itself.
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(False)
    found = connector.InitiatorConnector.factory(
        protocol,
        ROOT_HELPER,
        use_multipath=use_multipath,
        device_scan_attempts=device_scan_attempts,
        conn=dict(connection),
        **_mount_options(protocol, connection),
    )
    return _Brick(cast("LocalConnector", found), is_share=protocol == "nfs")


def _mount_options(protocol: str, connection: Mapping[str, Any]) -> dict[str, str]:
    """What the client of a share is told to mount with, where os-brick looks for the version in it.

    Else it tries its own versions first, beside the one told, which mount.nfs refuses and os-brick logs as errors.
    """
    words = str(connection["data"].get("options") or "").split() if protocol == "nfs" else []
    told = [word for word in words if word != "-o"]
    return {"nfs_mount_options": ",".join(told)} if told else {}


class _Brick:
    """A connector of os-brick whose exceptions are faults."""

    def __init__(self, inner: LocalConnector, *, is_share: bool) -> None:
        self._inner = inner
        self._left_out = {"options"} if is_share else set()  # told to the client already, see `_mount_options`

    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in connection_properties.items() if name not in self._left_out}
        try:
            return dict(self._inner.connect_volume(told))
        except (exception.BrickException, processutils.ProcessExecutionError) as err:
            raise Unavailable(f"The volume could not be attached to this machine: {err}") from err

    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any],
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        try:
            self._inner.disconnect_volume(
                dict(connection_properties), device_info, force=force, ignore_errors=ignore_errors
            )
        except (exception.BrickException, processutils.ProcessExecutionError, OSError) as err:
            raise Unavailable(f"The volume could not be detached from this machine: {err}") from err

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        return bool(self._inner.check_valid_device(path, run_as_root))
