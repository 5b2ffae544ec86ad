"""A private PostgreSQL cluster from Debian's binaries: temporary, on a unix socket only, stopped by its own pid."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVERS = Path("/usr/lib/postgresql")
# what a test needs is gone with the cluster anyway
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "listen_addresses": "",
}


def newest_binaries() -> Path | None:
    """Directory of the newest installed server, None when there is none."""
    versions = [path for path in SERVERS.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


@contextmanager
def postgres_cluster(binaries: Path) -> Iterator[str]:
    """SQLAlchemy URL of an empty database in a cluster of our own."""
    # PostgreSQL refuses to run as root
    account = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    home = Path(tempfile.mkdtemp(prefix="penstock-pg-", dir="/tmp"))
    if account == "postgres":
        shutil.chown(home, account)
    data = home / "data"

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [str(binaries / program), *words],
            check=True,
            capture_output=True,
            cwd="/",
            user=account if os.geteuid() == 0 else None,
            timeout=60,
        )

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "penstock", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        options = " ".join(f"-c {key}='{value}'" for key, value in SETTINGS.items())
        run("pg_ctl", "-D", str(data), "-w", "-l", str(home / "log"), "-o", f"{options} -k {home}", "start")
        try:
            run("createdb", "-h", str(home), "-U", "penstock", "penstock")
            yield f"postgresql+psycopg://penstock@/penstock?host={home}"
        finally:
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
