"""The product with PostgreSQL instead of SQLite."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.daemon import LabDaemon
from tests.places import Place
from tests.product.caller import Caller
from tests.product.running import PORTS, QUICKLY, password
from tests.product.sites import Site
from tests.product.user import User

pytestmark = [pytest.mark.lab, pytest.mark.postgres]
ROOT = "tank/postgres"


def test_the_main_job_with_a_kill(namespaces: Site, postgres_url: str, place: Place, tmp_path: Path) -> None:
    lines = tuple(line.replace("= tank/penstock/nfs,pond", f"= {ROOT}") for line in namespaces.backends["one"])
    namespaces.ran("zfs", "create", ROOT)
    site = replace(namespaces, backends={"pg": lines})
    options = (*QUICKLY, "[database]", f"connection = {postgres_url}")
    daemon = LabDaemon(tmp_path, site.backends, port=PORTS + 400 + place.number, options=options)
    try:
        daemon.start()  # refuses: the schema of a server is an operator's decision
        daemon.kill()
        upgraded = subprocess.run(
            (sys.executable, "-m", "penstock.cli", "--config", str(daemon.config), "db", "upgrade"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert upgraded.returncode == 0, upgraded.stderr
        daemon.up()
        user = User(Caller(daemon.url, "admin", password(tmp_path), "admin"))
        share = user.share()
        user.allow(share, site.friend.address)
        assert site.friend.write(user.location(share), "file", "kept")
        snapshot = user.snapshot(share)
        asked = [user.ask_share(1, snapshot_id=snapshot), user.ask_share(), user.ask_share()]
        daemon.kill()
        daemon.up()
        for one in asked:
            user.until_share(one)
        user.allow(asked[0], site.friend.address, "ro")
        assert site.friend.read(user.location(asked[0]), "file") == "kept"
        user.delete_all()
    finally:
        daemon.down()
    assert site.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", ROOT) == ROOT
