"""The NFS clients of the demo: kernel mounts where the kernel has them, else libnfs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from penstock.host.runner import Completed, Host

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class NfsClient:
    """A machine that mounts shares; `location` is an export location, ``10.0.0.5:/tank/share``."""

    host: Host
    address: str
    version: int = 4

    def write(self, location: str, name: str, content: Path) -> Completed:
        """Copy the local file `content` to the share."""
        return self.host.run(("nfs-cp", str(content), self._url(location, name)), timeout_s=TIMEOUT_S)

    def read_digest(self, location: str, name: str) -> str:
        """SHA-256 of a file on the share. Raises RuntimeError when it cannot be read."""
        done = self.host.run(("nfs-cat", self._url(location, name)), timeout_s=TIMEOUT_S)
        if done.exit_code != 0:
            raise RuntimeError(done.stderr.strip())
        return hashlib.sha256(done.stdout.encode()).hexdigest()

    def names(self, location: str) -> Completed:
        """List the share."""
        return self.host.run(("nfs-ls", self._url(location)), timeout_s=TIMEOUT_S)

    def _url(self, location: str, name: str = "") -> str:
        server, _, path = location.partition(":/")
        path = f"{path}/{name}" if name else path
        return f"nfs://{server}/{path}?version={self.version}"


def has_kernel_client() -> bool:
    """Can this kernel mount NFS itself?"""
    return any(line.split()[-1] in ("nfs", "nfs4") for line in Path("/proc/filesystems").read_text().splitlines())
