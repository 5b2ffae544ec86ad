"""Several backends, one storage host: their exports share files, and none gets lost."""

from __future__ import annotations

import itertools
import threading

from penstock.exports.model import ClientRule, Export
from penstock.exports.nfs_kernel import DIRECTORY, KernelNfs
from penstock.exports.shards import Shards
from penstock.units import GIB
from tests.simulation.nfs_host import SimulatedNfs
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

LONG_ENOUGH_S = 0.3


class Interrupted:
    """A host on which `meanwhile` begins right after the first file was read."""

    def __init__(self, host: SimulatedHost) -> None:
        self.name = host.name
        self.run = host.run
        self.pipe = host.pipe
        self.write_file = host.write_file
        self.remove_file = host.remove_file
        self._read_file = host.read_file
        self.meanwhile: threading.Thread | None = None

    def read_file(self, path: str) -> str | None:
        text = self._read_file(path)
        if self.meanwhile is not None:
            other, self.meanwhile = self.meanwhile, None
            other.start()
            other.join(LONG_ENOUGH_S)
        return text


def test_two_backends_that_change_one_file_at_a_time_keep_each_others_exports() -> None:
    host = SimulatedHost("store", flavour=OPENZFS, pools={"tank": GIB})
    SimulatedNfs().install(host)
    files = Shards(host, DIRECTORY, ".exports")
    first = "/tank/a"
    second = next(path for n in itertools.count() if files.file_of(path := f"/tank/b{n}") == files.file_of(first))
    rules = (ClientRule("10.0.0.5", writable=True),)
    interrupted = Interrupted(host)
    other = threading.Thread(target=KernelNfs(host).put, args=([Export(second, "i2", rules)],))
    interrupted.meanwhile = other
    KernelNfs(interrupted).put([Export(first, "i1", rules)])
    other.join(20)
    assert set(KernelNfs(host).all()) == {first, second}
    assert KernelNfs(host).in_force() == {first, second}
