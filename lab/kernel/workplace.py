"""A kernel machine in which this machine's programs run: the checkout with its .venv, and qemu-img, by way of hostfs.

The machine's own files come first, so what works on its kernel is its own: ZFS, the iSCSI initiator, mount.nfs. What
is written stays in the machine's memory.
"""

from __future__ import annotations

from pathlib import Path

from lab.network import LabError
from penstock.host.runner import Host

CHECKOUT = Path(__file__).resolve().parents[2]
TOP = "/workplace"
ROOT = f"{TOP}/own/root"
PREFIX = ("chroot", ROOT, "env", f"PYTHONPATH={CHECKOUT}")
TIMEOUT_S = 120.0
SET_UP = f"""
set -e
[ ! -d {ROOT} ] || exit 0
mkdir -p {TOP}/real {TOP}/own
mount -t hostfs -o / none {TOP}/real
mount -t tmpfs -o mode=755 tmpfs {TOP}/own
mkdir {TOP}/own/upper {TOP}/own/work
echo "InitiatorName=$1" >/etc/iscsi/initiatorname.iscsi
mkdir {ROOT}
mount -t overlay overlay -o lowerdir=/:{TOP}/real,upperdir={TOP}/own/upper,workdir={TOP}/own/work {ROOT}
for each in proc sys dev run; do mount --rbind /$each {ROOT}/$each; done
exec chroot {ROOT} iscsid
"""


def set_up(machine: Host, initiator: str) -> None:
    """Make the place in the machine, and start its iSCSI initiator under that name. Safe to repeat. Raises LabError.

    Programs run in it with `PREFIX` before their words.
    """
    done = machine.run(["sh", "-c", SET_UP, "sh", initiator], timeout_s=TIMEOUT_S)
    if done.exit_code != 0:
        raise LabError(f"{machine.name}: {done.stderr.strip()}")
