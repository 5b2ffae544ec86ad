"""The NFS clients of the demo: libnfs, from machines that have nothing but an address."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from penstock.host.runner import Completed, Host

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class NfsClient:
    """A machine that uses shares; `location` is an export location, ``10.0.0.5:/tank/share``."""

    host: Host
    address: str

    def write(self, location: str, name: str, content: Path) -> Completed:
        """Copy the local file `content` to the share.

        By NFSv3: libnfs's nfs-cp sends v4 writes in pieces larger than NFS-Ganesha takes (libnfs 4.0, Ganesha 4.3).
        """
        return self.host.run(("nfs-cp", str(content), self._url(location, name, version=3)), timeout_s=TIMEOUT_S)

    def read_digest(self, location: str, name: str) -> str:
        """SHA-256 of a file on the share. Raises RuntimeError when it cannot be read."""
        done = self.host.run(("nfs-cat", self._url(location, name)), timeout_s=TIMEOUT_S)
        if done.exit_code != 0:
            raise RuntimeError(done.stderr.strip())
        return hashlib.sha256(done.stdout.encode()).hexdigest()

    def names(self, location: str) -> Completed:
        """List the share."""
        return self.host.run(("nfs-ls", self._url(location)), timeout_s=TIMEOUT_S)

    def _url(self, location: str, name: str = "", *, version: int = 4) -> str:
        server, _, path = location.partition(":/")
        path = f"{path}/{name}" if name else path
        return f"nfs://{server}/{path}?version={version}"
