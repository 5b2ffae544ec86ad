"""Where the bench runs: the daemon inside a host of the lab, beside its own zfs-fuse and NFS-Ganesha."""

from __future__ import annotations

import compileall
import os
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.http import Api
from demo.place import DRIVER
from lab.daemon import LabDaemon
from lab.hosts import ENTER, Lab
from penstock.host.runner import Completed, Host

PORT = 8797
VOLUMES = "tank/blocks"
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
LOOK_AGAIN_S = 0.0005
SETTLE_TIMEOUT_S = 120.0
ROOT = Path(__file__).resolve().parents[1]
LAST_LOG = ROOT / ".work" / "bench" / "penstock.log"


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation on a share: when the client asked, and when its end could be seen (Unix times)."""

    what: str
    share_id: str
    started: float
    ended: float


@dataclass(frozen=True)
class Stage:
    """A running daemon, the host it works on, and its numbers."""

    lab: Lab
    daemon: LabDaemon
    work: Path
    measured: list[Measured] = field(default_factory=list)

    @property
    def host(self) -> Host:
        return self.lab.host("h1")

    def bare(self, *argv: str, timeout_s: float = 300) -> Completed:
        """A command by hand on the host. Raises RuntimeError when it fails."""
        done = self.host.run(argv, timeout_s=timeout_s)
        if done.exit_code != 0:
            raise RuntimeError(f"{argv}: {done.stderr}")
        return done

    def script(self, text: str) -> float:
        """Seconds a shell script takes inside the host, without entering it: what a person types there at a prompt."""
        path = self.work / "floor.sh"
        path.write_text(
            f"set -e\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\nstarted=$EPOCHREALTIME\n{text}\n"
            'echo "$started $EPOCHREALTIME"\n'
        )
        started, ended = self.bare("bash", str(path)).stdout.splitlines()[-1].split()
        return float(ended) - float(started)

    def login(self) -> Api:
        """A connection as the administrator."""
        password = (self.work / "state" / "admin-password").read_text().strip()
        return Api.login(self.lab.address("h1"), PORT, password)

    def ended(self, resource_id: str, kind: str = "share") -> float:
        """When the last operation on it was finished (Unix time): by its row, not by asking again and again."""
        query = "SELECT max(finished_at) FROM operations WHERE resource_key = ?"
        ((text,),) = self.rows(query, (f"{kind}:{resource_id}",))
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def settled(self, *share_ids: str, look_again_s: float = LOOK_AGAIN_S) -> float:
        """Wait until nothing is queued or running for the shares; when that was so (Unix time)."""
        return self.at_rest(*(f"share:{share_id}" for share_id in share_ids), look_again_s=look_again_s)

    def at_rest(self, *keys: str, look_again_s: float = LOOK_AGAIN_S) -> float:
        """Wait until nothing is queued or running for these resources; when that was so (Unix time).

        Reads the committed rows, every half millisecond and outside of the daemon: what a user could see at that
        moment, without the work of answering a user who asks all the time. Looking so often at many rows is work, too:
        half a core, which what is measured would have to do without.
        """
        marks = ",".join("?" * len(keys))
        pending = f"SELECT 1 FROM operations WHERE state IN ('queued', 'running') AND resource_key IN ({marks}) LIMIT 1"  # noqa: S608
        deadline = time.time() + SETTLE_TIMEOUT_S
        with closing(self._rows()) as rows:
            while rows.execute(pending, keys).fetchone() is not None:
                if time.time() > deadline:
                    raise RuntimeError(f"still at work on {', '.join(keys[:3])} after {SETTLE_TIMEOUT_S:g} s")
                time.sleep(look_again_s)
            return time.time()

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What the database answers, from outside of the daemon."""
        with closing(self._rows()) as rows:
            return rows.execute(query, parameters).fetchall()

    def _rows(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.work}/state/penstock.sqlite?mode=ro", uri=True, isolation_level=None)

    def cpu_s(self) -> float:
        """CPU seconds the daemon has used."""
        fields = Path(f"/proc/{self._daemon_pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mib(self) -> float:
        """The daemon's resident memory."""
        pages = int(Path(f"/proc/{self._daemon_pid()}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / MIB

    def _daemon_pid(self) -> int:
        pid = self.daemon.pid()
        if pid is None:
            raise RuntimeError(f"the daemon is gone; see {self.daemon.log}")
        return pid


@contextmanager
def stage(options: Sequence[str] = (), *, pool_mib: int = 8192, blocks: Sequence[str] = ()) -> Iterator[Stage]:
    """A fresh host and daemon, gone afterwards. `blocks` says how volumes are made, if not on ZFS."""
    # as pip does when it installs: where the environment forbids bytecode, each start would compile 500 modules
    compileall.compile_dir(ROOT / "penstock", quiet=1)
    with tempfile.TemporaryDirectory(prefix="penstock-bench") as folder:
        lab = Lab("bench", Path(folder) / "lab", "10.89.0", ("zfs", "nfs", "iscsi", "ssh"), pool_mib)
        lab.up(1, 1)
        if lab.host("h1").run(["zfs", "create", VOLUMES], timeout_s=60).exit_code != 0:
            raise RuntimeError(f"{VOLUMES} could not be made")
        work = Path(folder) / "lab" / "daemon"  # the lab's folder is the same inside and outside of its hosts
        address = lab.address("h1")
        lines = (
            *DRIVER,
            f"zfs_share_export_ip = {address}",
            f"zfs_service_ip = {address}",
            "zfs_zpool_list = tank",
            "max_over_subscription_ratio = 10000",
        )
        blocks = blocks or (
            "volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver",
            f"zfs_zpool_list = {VOLUMES}",
            f"target_ip_address = {address}",
            "image_volume_cache_enabled = True",
            "max_over_subscription_ratio = 10000",
        )
        daemon = LabDaemon(
            work,
            {"zfs": lines, "blocks": blocks},
            port=PORT,
            address=address,
            inside=(str(ENTER), str(lab.directory), "h1"),
            options=("log_format = json", *options),
        )
        try:
            daemon.up()
            yield Stage(lab, daemon, work)
        finally:
            daemon.down()
            LAST_LOG.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(daemon.log, LAST_LOG)  # to see what happened, when the rest is gone
            lab.down()
