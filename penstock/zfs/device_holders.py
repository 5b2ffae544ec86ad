"""Who has a zvol's device open on its host: ``readonly=on`` stops only those who open it from then on."""

from __future__ import annotations

from penstock.errors import BackendFault
from penstock.host.runner import Host
from penstock.zfs.faults import Busy
from penstock.zfs.names import Dataset

TIMEOUT_S = 60.0
# After a device was written to and closed, udev opens it and looks what is on it: on a busy host for seconds.
PATIENCE_S = 15.0
_GONE = 3
# The kernel's own users (LIO, a mount, device mapper) claim a device, so that nobody else can; programs such as tgtd
# show it among their open files.
_LOOK = f"""
import errno, os, stat, sys, time

def look(path, device):
    found = []
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        found.append("the kernel")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with os.scandir("/proc/" + pid + "/fd") as files:
                for file in files:
                    try:
                        seen = os.stat(file.path)
                    except OSError:
                        continue
                    if stat.S_ISBLK(seen.st_mode) and seen.st_rdev == device:
                        with open("/proc/" + pid + "/comm") as comm:
                            found.append(comm.read().strip() + " " + pid)
                        break
        except OSError:
            continue
    return found

deadline = time.monotonic() + float(sys.argv[2])
try:
    path = os.path.realpath(sys.argv[1])  # links go for a moment when udev is busy, the device stays
    device = os.stat(path).st_rdev
except FileNotFoundError:
    sys.exit({_GONE})
found = look(path, device)
while found and time.monotonic() < deadline:
    time.sleep(0.1)
    found = look(path, device)
for each in found:
    print(each)
"""


def refuse_open(host: Host, dataset: Dataset) -> None:
    """Raise Busy when anything on the host still has the zvol's device open after `PATIENCE_S`, and so may write to it
    whatever ZFS says.

    Who only reads counts, too: ZFS looks at ``readonly`` when the first one opens a device, and whoever opens it beside
    that one may write. A zvol without a device is open to nobody. Raises as `holders` does.
    """
    path = f"/dev/zvol/{dataset}"
    found = holders(host, path, patience_s=PATIENCE_S)
    if found:
        raise Busy(f"{path} on {host.name} is still open: {', '.join(found)}")


def holders(host: Host, path: str, *, patience_s: float = 0.0) -> tuple[str, ...]:
    """What has the block device open on the host, where we are root (its prefix): programs with their process ids, and
    ``the kernel``. Nothing when there is no such device, or when they have let it go within `patience_s`.

    Raises BackendFault when it cannot be told, Unavailable."""
    done = host.run(["python3", "-I", "-c", _LOOK, path, str(patience_s)], timeout_s=TIMEOUT_S)
    if done.exit_code == _GONE:
        return ()
    if done.exit_code != 0:
        raise BackendFault(f"who has {path} open on {host.name} cannot be told: {done.stderr.strip()[-200:]}")
    return tuple(done.stdout.splitlines())
