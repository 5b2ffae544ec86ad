"""ZFS share backends under one contract: simulated and real hosts, each with a driver on a place of its own."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass

from penstock.config.backend import BackendConfiguration
from penstock.context import admin_context
from penstock.errors import Fault
from penstock.exports.nfs import NfsServer
from penstock.exports.nfs_ganesha import INDEX
from penstock.host.runner import Host
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.models import ShareModel
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from tests.contract.zfs_machines import Machine
from tests.driver_values import a_configuration
from tests.simulation.nfs_server import SimulatedNfs, chmod
from tests.simulation.zfs_host import SimulatedHost

CONTEXT = admin_context("req-test")
PLACES = itertools.count()
LAB_EXPORTS = "/etc/ganesha/exports.conf"  # the lab's ganesha.conf includes it


@dataclass
class Backend:
    """A driver on a dataset of its own, and what users and administrators do behind its back."""

    driver: ZFSonLinuxShareDriver
    machine: Machine
    root: Dataset

    @property
    def zfs(self) -> Zfs:
        return self.machine.zfs

    @property
    def nfs(self) -> NfsServer:
        return self.driver.storage.nfs

    def dataset(self, share: ShareModel) -> Dataset:
        """Where the driver puts a new share."""
        return self.root.child("manila_share_" + share.id.replace("-", "_"))

    def write(self, share: ShareModel, name: str, size_mib: int = 1) -> bool:
        return self.machine.write(self.dataset(share), name, size_mib)

    def content(self, share: ShareModel) -> object:
        return self.machine.content(self.dataset(share))

    def restarted(self) -> ZFSonLinuxShareDriver:
        """The driver of a new process on the same host."""
        return make_driver(self.machine.host, self.nfs, self.driver.configuration)


def make_driver(host: Host | None, nfs: NfsServer | None, configuration: BackendConfiguration) -> ZFSonLinuxShareDriver:
    """A driver that is set up; None for `host` and `nfs` lets it choose by its configuration."""
    driver = ZFSonLinuxShareDriver(configuration=configuration, host=host, nfs=nfs)
    driver.do_setup(CONTEXT)
    driver.check_for_setup_error()
    return driver


def make_backend(machine: Machine) -> Backend:
    """A backend on a new dataset of the machine's pool."""
    root = Dataset(f"tank/b{next(PLACES)}")
    machine.zfs.create(root, {}, parents=False)
    nfs = None
    if isinstance(machine.host, SimulatedHost):
        machine.host.programs["chmod"] = chmod
        nfs = SimulatedNfs(machine.host)
    elif machine.host.read_file(LAB_EXPORTS) is not None:
        machine.host.write_file(LAB_EXPORTS, f'%include "{INDEX}"\n')
    configuration = a_configuration(zfs_zpool_list=[str(root)])
    return Backend(make_driver(machine.host, nfs, configuration), machine, root)


def tear_down(backend: Backend) -> None:
    """Nothing of it stays, whatever the test left."""
    ours = [path for path in backend.nfs.all() if path.startswith(f"/{backend.root}")]
    backend.nfs.remove(ours)
    if isinstance(backend.machine.host, SimulatedHost):
        return
    for _ in range(3):  # clones first, then what they came from
        found = backend.zfs.tree(backend.root, ["origin"])
        for name in sorted(found, key=lambda path: (found[path]["origin"].value == "-", -path.count("/"))):
            with suppress(Fault):  # the next round may succeed; that the root goes in the end is what counts
                backend.zfs.destroy(Dataset(name), recursive=True)
        if not backend.zfs.exists(backend.root):
            return
    raise AssertionError(f"{backend.root} could not be removed")
