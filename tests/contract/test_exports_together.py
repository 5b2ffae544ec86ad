"""Several backends, one storage host: their exports share files, and none gets lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.exports.model import ClientRule, Export
from penstock.exports.nfs_kernel import DIRECTORY, KernelNfs
from penstock.exports.shards import Shards
from penstock.host.local import LocalHost
from penstock.host.runner import Completed
from penstock.units import GIB
from tests.simulation.nfs_host import SimulatedNfs
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

LONG_ENOUGH_S = 0.3
RULES = (ClientRule("10.0.0.5", writable=True),)
OTHER_RULES = (ClientRule("10.0.0.6", writable=False),)


class Interrupted:
    """A host on which `meanwhile` begins right after the first file was read, or changed."""

    def __init__(self, host: SimulatedHost, name: str | None = None) -> None:
        self.name = name or host.name
        self.run = host.run
        self.pipe = host.pipe
        self.write_file = host.write_file
        self.remove_file = host.remove_file
        self._read_file = host.read_file
        self._swap_file = host.swap_file
        self.meanwhile: threading.Thread | None = None
        self.after_swap: threading.Thread | None = None

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        is_swapped = self._swap_file(path, old, new, mode=mode)
        if self.after_swap is not None:
            other, self.after_swap = self.after_swap, None
            other.start()
            other.join()
        return is_swapped

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        found = ((path, self.read_file(path)) for path in paths)
        return {path: text for path, text in found if text is not None}

    def read_file(self, path: str) -> str | None:
        text = self._read_file(path)
        if self.meanwhile is not None:
            other, self.meanwhile = self.meanwhile, None
            other.start()
            other.join(LONG_ENOUGH_S)
        return text


def two_in_one_file() -> tuple[SimulatedHost, str, str]:
    """A host, and two paths whose exports are in the same file of it."""
    host = SimulatedHost("store", flavour=OPENZFS, pools={"tank": GIB})
    SimulatedNfs().install(host)
    files = Shards(host, DIRECTORY, ".exports")
    first = "/tank/a"
    second = next(path for n in itertools.count() if files.file_of(path := f"/tank/b{n}") == files.file_of(first))
    return host, first, second


class Removing(LocalHost):
    """Between find and what reads the files it found, somebody removes `file`."""

    def __init__(self, file: Path) -> None:
        super().__init__("here")
        self.file = file

    def run(self, argv: Sequence[str], **settings: Any) -> Completed:
        at = list(argv).index("-exec") + 1
        remove = ("sh", "-c", 'rm -f "$0"; exec "$@"', str(self.file))
        return super().run([*argv[:at], *remove, *argv[at:]], **settings)


@pytest.mark.parametrize("others", [(), ("/tank/b",)], ids=["the only one", "one of two"])
def test_a_file_whose_last_export_goes_while_all_are_read_is_no_fault(tmp_path: Path, others: tuple[str, ...]) -> None:
    host = LocalHost("here")
    files = Shards(host, str(tmp_path), ".exports")
    for path in ("/tank/a", *others):
        host.write_file(files.file_of(path), f"{path}\n")
    gone = Path(files.file_of("/tank/a"))
    assert Shards(Removing(gone), str(tmp_path), ".exports").all_text() == "".join(f"{path}\n" for path in others)
    assert not gone.exists()


def test_two_backends_that_change_one_file_at_a_time_keep_each_others_exports() -> None:
    host, first, second = two_in_one_file()
    interrupted = Interrupted(host)
    other = threading.Thread(target=KernelNfs(host).put, args=([Export(second, "i2", RULES)],))
    interrupted.meanwhile = other
    KernelNfs(interrupted).put([Export(first, "i1", RULES)])
    other.join(20)
    assert set(KernelNfs(host).all()) == {first, second}
    assert KernelNfs(host).in_force() == {first, second}


def test_two_processes_that_change_one_file_at_a_time_keep_each_others_exports() -> None:
    host, first, second = two_in_one_file()
    ours = Interrupted(host, "store, for who has other locks")
    ours.meanwhile = threading.Thread(target=KernelNfs(host).put, args=([Export(second, "i2", RULES)],))
    KernelNfs(ours).put([Export(first, "i1", RULES)])
    assert set(KernelNfs(host).all()) == {first, second}
    assert KernelNfs(host).in_force() == {first, second}


def test_what_another_process_configured_last_is_not_undone_in_the_server() -> None:
    host, first, _ = two_in_one_file()
    ours = Interrupted(host, "store, for who has other locks")
    theirs = [Export(first, "i1", OTHER_RULES)]
    ours.after_swap = threading.Thread(target=KernelNfs(host).put, args=(theirs,))
    KernelNfs(ours).put([Export(first, "i1", RULES)])
    assert KernelNfs(host).in_force() == {first}, "the server serves what is configured, whoever was last"


def test_who_is_always_overtaken_gives_up() -> None:
    host, first, _ = two_in_one_file()
    host.swap_file = lambda *_, **__: False  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="all the time"):
        KernelNfs(host).put([Export(first, "i1", RULES)])
