"""os-brick as a compute service uses it, and nothing of ours: attach, rescan or detach one volume by the kernel.

On standard input ``{"verb", "info", "device"}`` in JSON, on standard output what os-brick answers. As root.
"""

from __future__ import annotations

import json
import sys

import os_brick
from os_brick import privileged
from os_brick.initiator import connector
from oslo_concurrency import lockutils
from oslo_config import cfg

MOUNTS = "/run/brick-mounts"


def main() -> None:
    asked = json.load(sys.stdin)
    info = asked["info"]
    protocol, data = info["driver_volume_type"], info.get("data", info)
    lockutils.set_defaults("/run/brick-locks")
    cfg.CONF([], project="brick", default_config_files=[], default_config_dirs=[])
    os_brick.setup(cfg.CONF)
    privileged.default.set_client_mode(False)
    more = {"nfs_mount_point_base": MOUNTS} if protocol == "nfs" else {}
    found = connector.InitiatorConnector.factory(protocol, "", device_scan_attempts=5, conn=info, **more)
    if asked["verb"] == "connect":
        answer = found.connect_volume(data)
    elif asked["verb"] == "extend":
        answer = found.extend_volume(data)
    else:
        answer = found.disconnect_volume(data, asked["device"])
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
