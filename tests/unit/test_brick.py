"""What os-brick is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.dotted_names import import_module
from penstock.errors import Unavailable

EXPORT = "10.1.0.11:/tank/shares/one"


def test_a_share_is_mounted_once_with_the_options_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os-brick knows from them that it is not to try versions of its own, and repeats none of them."""
    program = tmp_path / "mount"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/argvs\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    data = {"export": EXPORT, "name": "volume-1", "options": "-o v3,hard"}
    info: dict[str, Any] = {"driver_volume_type": "nfs", "data": data, "mount_point_base": str(tmp_path / "mounts")}
    connect = import_module("penstock.volume.data_path.brick").brick_connector
    ways = {"use_multipath": False, "device_scan_attempts": 1, "lock_path": str(tmp_path)}
    device = connect("nfs", info, **ways).connect_volume(data)
    argvs = [tuple(line.split()) for line in (tmp_path / "argvs").read_text().splitlines()]
    assert [argv for argv in argvs if EXPORT in argv] == [
        ("-t", "nfs", "-o", "v3,hard", EXPORT, str(Path(device["path"]).parent))
    ]


def test_what_os_brick_cannot_do_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho 'mount.nfs: access denied by server' >&2\nexit 32\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    data = {"export": EXPORT, "name": "volume-1"}
    info = {"driver_volume_type": "nfs", "data": data, "mount_point_base": str(tmp_path / "mounts")}
    connect = import_module("penstock.volume.data_path.brick").brick_connector
    ways = {"use_multipath": False, "device_scan_attempts": 1, "lock_path": str(tmp_path)}
    with pytest.raises(Unavailable, match="access denied"):
        connect("nfs", info, **ways).connect_volume(data)
