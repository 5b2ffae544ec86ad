"""A running ``penstock serve`` on a site, and what its administrator does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.daemon import LabDaemon
from tests.product.caller import Caller
from tests.product.sites import Site
from tests.product.user import User

QUICKLY = ("periodic_interval = 5", "[operations]", "max_retry_delay = 2")
PORTS = 18000
OPENSTACK_S = 900.0  # it may be told to wait for slow machines


@dataclass
class Product:
    """A daemon on a site, its administrator as a user, and its command line."""

    site: Site
    daemon: LabDaemon
    work: Path
    user: User

    @property
    def log(self) -> str:
        return self.daemon.log.read_text()

    def penstock(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``penstock`` with the daemon's configuration."""
        argv = (sys.executable, "-m", "penstock.cli", "--config", str(self.daemon.config), *words)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def told(self, *words: str) -> str:
        """What it prints; it has to end well."""
        done = self.penstock(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def log_in(self) -> None:
        """As the administrator, after a start."""
        self.user = User(Caller(self.daemon.url, "admin", password(self.work), "admin"))

    def openstack(self, *words: str) -> str:
        """The field's own command line, configured by the ``OS_`` environment."""
        program = Path(sys.executable).with_name("openstack")
        environment = {
            **os.environ,
            "OS_AUTH_URL": f"{self.daemon.url}/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": password(self.work),
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_SHARE_API_VERSION": "2.75",
        }
        argv = (str(program), *words)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=OPENSTACK_S, env=environment)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.strip()


def password(work: Path) -> str:
    return (work / "state" / "admin-password").read_text().strip()


@contextmanager
def running(site: Site, work: Path, port: int, options: Sequence[str] = QUICKLY) -> Iterator[Product]:
    """The product on the site, until the end of the block."""
    daemon = LabDaemon(work, site.backends, port=port, options=options)
    try:
        daemon.up()
        yield Product(site, daemon, work, User(Caller(daemon.url, "admin", password(work), "admin")))
    finally:
        daemon.down()
