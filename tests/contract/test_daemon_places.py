"""A daemon does not start with two backends in one dataset: what one cleans up would be what the other made."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.loading import load
from penstock.daemon import Daemon
from penstock.errors import Conflict

SECTION = """
[{name}]
share_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver
driver_handles_share_servers = False
zfs_share_export_ip = 10.0.0.1
zfs_zpool_list = {roots}
"""


@pytest.mark.parametrize(("roots", "is_refused"), [("pond,tank/shares", True), ("tank/others", False)])
def test_two_backends_in_one_dataset_are_refused(tmp_path: Path, roots: str, is_refused: bool) -> None:
    path = tmp_path / "penstock.conf"
    start = (
        f"[DEFAULT]\nhost = h\nstate_path = {tmp_path}\nenabled_share_backends = a,b\nenabled_share_protocols = NFS\n"
    )
    path.write_text(start + SECTION.format(name="a", roots="tank/shares") + SECTION.format(name="b", roots=roots))
    if not is_refused:
        Daemon(load([path])).database.close()
        return
    with pytest.raises(Conflict, match=r"\[b\] zfs_zpool_list: it names tank/shares, which \[a\] names, too"):
        Daemon(load([path]))
