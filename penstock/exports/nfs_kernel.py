"""The kernel's NFS server: our files in /etc/exports.d for the next boot, and etab plus a cache flush for now.

Why not exportfs itself: `exportfs -o`, `-u` and `-ra` compare every client with every other (nfs-utils 2.6.2: 3 to 5
s with 10,000 exports to 10,000 clients, for each rule). We change only the lines concerned (see `etab_edit`), under
exportfs' own locks, then `exportfs -f`: nfsd forgets what it knew, and asks rpc.mountd about each client's next
request. So a client that lost its rule is refused from that moment, mounted or not, NFSv3 or NFSv4 (see the contract
suite).

What stays: rpc.mountd reads all of etab again at the first question after a change, everybody waits for it meanwhile,
and that reading is quadratic in the number of *distinct* clients. Measured with 10,000 exports: 0.06 s of CPU natively
with one client in all rules, 0.23 s with 1,000 different ones, 6 to 7 s with 10,000; in user-mode Linux, from the flush
to a fresh mount, 0.6 to 1.1 s, 1 to 2 s, and 24 to 38 s. So prefer networks in rules, or NFS-Ganesha, on a host with
thousands of different clients (docs/decisions/0003).

Every export says ``mountpoint``: rpc.mountd answers for it only while something is mounted there, whoever boots first.
What it answered before, nfsd keeps for a minute, so a `put` after the mount flushes that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import BackendFault, Unavailable, Unsupported
from penstock.exports import etab_edit, held_state, kernel_files
from penstock.exports.model import Export
from penstock.exports.shards import Overtaken, Shards
from penstock.host.files import digest
from penstock.host.runner import Host

STATE = "/var/lib/nfs"
THREADS = "/proc/fs/nfsd/threads"
DIRECTORY = "/etc/exports.d"
CLIENTS = "/proc/fs/nfsd/clients"
PROGRAM = Path(etab_edit.__file__).read_text(encoding="utf-8")
LET_GO = Path(held_state.__file__).read_text(encoding="utf-8")
LOADER = (
    "import json,sys; request=json.load(sys.stdin); names={}; exec(request['program'],names); names['main'](request)"
)
TIMEOUT_S = 30.0
START = "start it with: systemctl enable --now nfs-server"


@dataclass(frozen=True, slots=True)
class KernelNfs:
    """`exports.nfs.NfsServer` by the kernel's server of `host`, as root there (its prefix)."""

    host: Host

    @property
    def _shards(self) -> Shards:
        return Shards(self.host, DIRECTORY, ".exports")

    def put(self, exports: Sequence[Export]) -> None:
        """See NfsServer. One configuration file per 256th of the paths, and one command."""
        wanted: dict[str, Export | None] = {export.path: export for export in exports}
        self._change(wanted)

    def remove(self, paths: Sequence[str]) -> None:
        """See NfsServer."""
        self._change(dict.fromkeys(paths))

    def let_go(self, path: str) -> None:
        """See NfsServer. One command. Locks the same clients have on other exports may be lost."""
        argv = ["python3", "-I", "-c", LOADER]
        request = json.dumps({"program": LET_GO, "clients": CLIENTS, "path": path})
        done = self.host.run(argv, timeout_s=TIMEOUT_S, stdin=request)
        if done.exit_code != 0:
            raise BackendFault(f"{self.host.name}: clients still hold {path} open: {done.stderr.strip()[-500:]}")

    def get(self, path: str) -> Export | None:
        """See NfsServer."""
        return kernel_files.parse("".join(self._shards.texts([self._shards.file_of(path)]).values())).get(path)

    def all(self) -> dict[str, Export]:
        """See NfsServer. One command."""
        return kernel_files.parse(self._shards.all_text())

    def in_force(self) -> set[str]:
        """See NfsServer. Two commands."""
        done = self.host.run(["cat", THREADS, f"{STATE}/etab"], timeout_s=TIMEOUT_S)
        threads, _, etab = done.stdout.partition("\n")
        if done.exit_code != 0 or threads.strip() in {"", "0"}:
            raise Unavailable(f"the kernel NFS server of {self.host.name} is not running; {START}")
        served = kernel_files.parse_etab(etab)
        return {
            path for path, export in self.all().items() if served.get(path, set()) == kernel_files.served_by(export)
        }

    def serving(self) -> set[str]:
        """See NfsServer. Two commands."""
        return self.in_force()

    def put_back(self, choose: Callable[[], Sequence[Export]]) -> None:
        """See NfsServer."""
        self._shards.change(lambda: self._put_in_force({export.path: export for export in choose()}))

    def verify(self) -> None:
        """See NfsServer."""
        for program, package in (("exportfs", "nfs-kernel-server"), ("python3", "python3")):
            try:
                self.host.run([program, "--help"], timeout_s=TIMEOUT_S)
            except Unavailable as err:
                raise Unsupported(f"{self.host.name} has no {program}; install it with: apt install {package}") from err
        if nfsd_threads(self.host) == 0:
            raise Unavailable(f"the kernel NFS server of {self.host.name} is not running; {START}")

    def _change(self, wanted: Mapping[str, Export | None]) -> None:
        if not wanted:
            return
        self._shards.change(lambda: self._put_in_force(wanted))

    def _put_in_force(self, wanted: Mapping[str, Export | None]) -> None:
        if wanted:
            self._enforce(wanted, self._configure(wanted))

    def _configure(self, wanted: Mapping[str, Export | None]) -> dict[str, str]:
        """Write the files that differ. Returns what all files concerned have now, as digests."""
        files = self._shards.files_of(wanted)
        texts = self._shards.texts(files)
        present = kernel_files.parse("".join(texts.values()))
        digests = {}
        before = self._shards.files_of(present)
        for file, paths in files.items():
            old = {path: present[path] for path in before.get(file, ())}
            new = {path: export for path, export in (old | {path: wanted[path] for path in paths}).items() if export}
            text = texts.get(file)
            rendered = kernel_files.render(new.values())
            if rendered != (text or ""):  # also what an older release of ours wrote in other words
                self._shards.swap(file, text, rendered)
                text = rendered or None
            digests[file] = digest(text)
        return digests

    def _enforce(self, wanted: Mapping[str, Export | None], configured: Mapping[str, str]) -> None:
        """Raises Overtaken when somebody else changed those files: etab must not get what they no longer say."""
        replace = {
            kernel_files.escaped(path): list(kernel_files.etab_lines(export)) if export else []
            for path, export in wanted.items()
        }
        argv = ["python3", "-I", "-c", LOADER]
        request = json.dumps({"program": PROGRAM, "state": STATE, "replace": replace, "configured": configured})
        done = self.host.run(argv, timeout_s=TIMEOUT_S, stdin=request)
        if done.exit_code != 0:
            raise BackendFault(f"{STATE}/etab on {self.host.name} could not be changed: {done.stderr.strip()[-500:]}")
        answer = json.loads(done.stdout)
        if "overtaken" in answer:
            raise Overtaken(answer["overtaken"])
        if answer["threads"] == 0:
            raise Unavailable(f"exports are configured, but the kernel NFS server of {self.host.name} is down; {START}")


def nfsd_threads(host: Host) -> int | None:
    """How many threads the kernel's server runs; None when this kernel has no nfsd (loaded). Raises Unavailable."""
    done = host.run(["cat", THREADS], timeout_s=TIMEOUT_S)
    if done.exit_code == 0:
        return int(done.stdout)
    if "No such file or directory" in done.stderr:
        return None
    raise Unavailable(f"{THREADS} on {host.name} cannot be read: {done.stderr.strip()}")
