"""Planned promotions of an idle share between two hosts, by the drivers: how long until the new active one serves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.rows import Row, median
from lab.hosts import Lab
from penstock.host.routes import SshRoutes
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Replicated, Site, Sites
from tests.contract.share_backends import LAB_EXPORTS

TURNS = 4
MOST_S = 5.0
INDEX = '%include "/etc/ganesha/exports.d/penstock.conf"\n'


def promotions() -> Iterator[Row]:
    """There and back; each ends when the export of the new active one is in force."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench") as folder:
        lab = Lab("benchp", Path(folder) / "lab", "10.89.2")
        try:
            lab.up(2, 0)
            yield from _measured(lab)
        finally:
            lab.down()


def _measured(lab: Lab) -> Iterator[Row]:
    hosts = {"a": lab.ssh_host("h1"), "b": lab.ssh_host("h2")}
    sites = Sites({name: Site(name, host, None, Dataset("tank")) for name, host in hosts.items()}, SshRoutes())
    for host in hosts.values():
        host.write_file(LAB_EXPORTS, INDEX)
    sites.restart()
    share = Replicated(sites)
    share.create("a")
    share.add("b")
    share.sync("b")
    took, synced = [], []
    for turn in range(TURNS):
        new, old = ("b", "a") if turn % 2 == 0 else ("a", "b")
        started = time.perf_counter()
        share.promote(new)
        took.append(time.perf_counter() - started)
        export = sites.all[new].driver.storage.nfs.get(f"/{share.dataset(new)}")
        if export is None or not all(client.writable for client in export.clients):
            raise RuntimeError(f"{new} was promoted, and does not serve")
        started = time.perf_counter()
        share.sync(old)
        synced.append(time.perf_counter() - started)
    for host in hosts.values():
        host.close()
    yield Row("planned promotion of an idle share", median(took), "s", MOST_S, None, "until the new active serves")
    yield Row("a sync of an idle share", median(synced), "s", None)
