"""Who has a zvol's device open on its host: ``readonly=on`` stops only those who open it from then on."""

from __future__ import annotations

from penstock.errors import BackendFault
from penstock.host.runner import Host
from penstock.zfs.faults import Busy
from penstock.zfs.names import Dataset

TIMEOUT_S = 30.0
_GONE = 3
# The kernel's own users (LIO, a mount, device mapper) claim a device, so that nobody else can; programs such as tgtd
# show it among their open files.
_LOOK = f"""
import errno, os, stat, sys
try:
    device = os.stat(sys.argv[1]).st_rdev
    os.close(os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL))
except FileNotFoundError:
    sys.exit({_GONE})
except OSError as error:
    if error.errno != errno.EBUSY:
        raise
    print("the kernel")
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with os.scandir("/proc/" + pid + "/fd") as files:
            for file in files:
                try:
                    found = os.stat(file.path)
                except OSError:
                    continue
                if stat.S_ISBLK(found.st_mode) and found.st_rdev == device:
                    with open("/proc/" + pid + "/comm") as comm:
                        print(comm.read().strip(), pid)
                    break
    except OSError:
        continue
"""


def refuse_open(host: Host, dataset: Dataset) -> None:
    """Raise Busy while anything on the host has the zvol's device open, and so may write to it whatever ZFS says.

    A zvol without a device is open to nobody. Raises as `holders` does.
    """
    path = f"/dev/zvol/{dataset}"
    found = holders(host, path)
    if found:
        raise Busy(f"{path} on {host.name} is still open: {', '.join(found)}")


def holders(host: Host, path: str) -> tuple[str, ...]:
    """What has the block device open on the host, where we are root (its prefix): programs with their process ids, and
    ``the kernel``. Nothing when there is no such device. Raises BackendFault when it cannot be told, Unavailable."""
    done = host.run(["python3", "-I", "-c", _LOOK, path], timeout_s=TIMEOUT_S)
    if done.exit_code == _GONE:
        return ()
    if done.exit_code != 0:
        raise BackendFault(f"who has {path} open on {host.name} cannot be told: {done.stderr.strip()[-200:]}")
    return tuple(done.stdout.splitlines())
