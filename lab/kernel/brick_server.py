"""os-brick as a compute service uses it, and nothing of ours: attach, rescan or detach volumes by the kernel. As root.

It listens on the Unix socket that is its argument: starting it costs a user-mode Linux machine ten times what its work
does. A connection sends ``{"verb", "info", "device"}`` in JSON and closes its side; it gets ``{"answer": ...}``, what
os-brick answers, or ``{"error": text}``.
"""

from __future__ import annotations

import json
import socketserver
import sys
import traceback
from pathlib import Path
from typing import Any

import os_brick
from os_brick import privileged
from os_brick.initiator import connector
from oslo_concurrency import lockutils
from oslo_config import cfg

MOUNTS = "/run/brick-mounts"


def answer(asked: dict[str, Any]) -> Any:
    info = asked["info"]
    protocol, data = info["driver_volume_type"], info.get("data", info)
    more = {"nfs_mount_point_base": MOUNTS} if protocol == "nfs" else {}
    found = connector.InitiatorConnector.factory(protocol, "", device_scan_attempts=5, conn=info, **more)
    if asked["verb"] == "connect":
        return found.connect_volume(data)
    if asked["verb"] == "extend":
        return found.extend_volume(data)
    return found.disconnect_volume(data, asked["device"])


class Call(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked = json.load(self.rfile)
        try:
            told = {"answer": answer(asked)}
        except Exception:  # the outermost frame: whoever asked is told, and the next one is served
            told = {"error": traceback.format_exc()}
        self.wfile.write(json.dumps(told).encode())


def main() -> None:
    lockutils.set_defaults("/run/brick-locks")
    cfg.CONF([], project="brick", default_config_files=[], default_config_dirs=[])
    os_brick.setup(cfg.CONF)
    privileged.default.set_client_mode(False)
    path = sys.argv[1]
    with socketserver.UnixStreamServer(f"{path}.new", Call) as server:
        Path(f"{path}.new").rename(path)  # it is there once it listens
        server.serve_forever()


if __name__ == "__main__":
    main()
