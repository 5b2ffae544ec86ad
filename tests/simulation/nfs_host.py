"""A kernel NFS server that exists only in a simulated host's files: what `exports.nfs_kernel` runs, and who gets in.

All state is in the host's files, so that whoever copies or rolls back those has copied the server too: etab is where
the real one has it, and what nfsd has been told since its last flush is under SERVED.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import json
from collections.abc import Callable, Sequence
from posixpath import basename, dirname

from penstock.exports import etab_edit, kernel_files
from penstock.exports.nfs_kernel import DIRECTORY, LOADER, STATE, THREADS
from penstock.host.files import digest
from penstock.host.runner import Completed
from tests.simulation.zfs_host import SimulatedHost

ETAB = f"{STATE}/etab"
SERVED = "/proc/simulated/nfsd"

Answer = tuple[int, str, str]


class SimulatedNfs:
    """nfsd, rpc.mountd and exportfs. `handle` answers the commands we run, None for any other."""

    def handle(self, argv: Sequence[str], stdin: str, files: dict[str, str]) -> Completed | None:
        """Run one command on the files, changing them."""
        commands: dict[str, Callable[[Sequence[str], str, dict[str, str]], Answer | None]] = {
            "cat": _cat,
            "find": _find,
            "grep": _grep,
            "exportfs": _exportfs,
            "python3": _python3,
        }
        command = commands.get(argv[0])
        answer = command(argv[1:], stdin, files) if command else None
        return Completed(tuple(argv), *answer, 0.0) if answer else None

    def install(self, host: SimulatedHost) -> None:
        """Give `host` this server, running."""
        self.boot(host.state.files)
        for name in ("cat", "find", "grep", "exportfs", "python3"):
            host.programs[name] = self._program(host, name)

    def _program(self, host: SimulatedHost, name: str) -> Callable[[Sequence[str], str], Answer]:
        def run(arguments: Sequence[str], stdin: str) -> Answer:
            done = self.handle((name, *arguments), stdin, host.state.files)
            if done is None:
                return 2, "", f"{name}: the simulated server does not know {arguments}"
            return done.exit_code, done.stdout, done.stderr

        return run

    def boot(self, files: dict[str, str]) -> None:
        """Start the server, as at boot: etab is made from exports.d."""
        files[THREADS] = "8\n"
        _exportfs(["-ra"], "", files)

    def stop(self, files: dict[str, str]) -> None:
        """Stop the server: nobody is served, etab stays."""
        files[THREADS] = "0\n"
        files[SERVED] = ""

    def allows(self, files: dict[str, str], path: str, address: str) -> str | None:
        """``rw``, ``ro`` or None: what the client at `address` may do with `path` now."""
        if files.get(THREADS, "0\n") == "0\n":
            return None
        for line in files.get(SERVED, "").splitlines():
            name, _, rest = line.partition("\t")
            client, _, options = rest.partition("(")
            if kernel_files.unescaped(name) == path and ipaddress.ip_address(address) in ipaddress.ip_network(client):
                return options[:2]
        return None


def _cat(arguments: Sequence[str], stdin: str, files: dict[str, str]) -> Answer:
    names = [name for name in arguments if name != "--"]
    missing = [f"cat: {name}: No such file or directory\n" for name in names if name not in files]
    return int(bool(missing)), "".join(files.get(name, "") for name in names), "".join(missing)


def _find(arguments: Sequence[str], stdin: str, files: dict[str, str]) -> Answer | None:
    match list(arguments):
        case [directory, "-maxdepth", "1", "-name", pattern, "-exec", "cat", "{}", "+"]:
            inside = sorted(name for name in files if dirname(name) == directory)
            chosen = [name for name in inside if fnmatch.fnmatchcase(basename(name), pattern)]
            return 0, "".join(files[name] for name in chosen), ""
        case [directory, "-maxdepth", "1", "-name", pattern, "-exec", "grep", "-aH", "", "{}", "+"]:
            inside = sorted(name for name in files if dirname(name) == directory)
            chosen = [name for name in inside if fnmatch.fnmatchcase(basename(name), pattern)]
            return 0, "".join(f"{name}:{line}\n" for name in chosen for line in files[name].splitlines()), ""
    return (0, "", "") if "-exec" not in arguments else None


def _grep(arguments: Sequence[str], stdin: str, files: dict[str, str]) -> Answer | None:
    match list(arguments):
        case ["-aH", "", "--", *names]:
            missing = [f"grep: {name}: No such file or directory\n" for name in names if name not in files]
            found = [f"{name}:{line}\n" for name in names for line in files.get(name, "").splitlines()]
            return 2 if missing else 0, "".join(found), "".join(missing)
    return None


def _exportfs(arguments: Sequence[str], stdin: str, files: dict[str, str]) -> Answer | None:
    match list(arguments):
        case ["--help"]:
            return 0, "usage: exportfs [-adfhioruvs] [host:/path]\n", ""
        case ["-f"]:
            files[SERVED] = files.get(ETAB, "")
            return 0, "", ""
        case ["-ra"]:
            done = _find([DIRECTORY, "-maxdepth", "1", "-name", "*.exports", "-exec", "cat", "{}", "+"], "", files)
            exports = kernel_files.parse(done[1] if done else "")
            lines = [line for path in sorted(exports) for line in kernel_files.etab_lines(exports[path])]
            files[ETAB] = files[SERVED] = "".join(f"{line}\n" for line in lines)
            return 0, "", ""
    return None


def _python3(arguments: Sequence[str], stdin: str, files: dict[str, str]) -> Answer | None:
    match list(arguments):
        case ["--help"]:
            return 0, "usage: python3\n", ""
        case ["-I", "-c", program] if program == LOADER:
            request = json.loads(stdin)
            if "clients" in request:
                return 0, json.dumps({"expired": 0}), ""
            for name, expected in request["configured"].items():
                if digest(files.get(name)) != expected:
                    return 0, json.dumps({"overtaken": name}), ""
            old = files.get(ETAB, "")
            new = etab_edit.edited(old.encode(), request["replace"]).decode()
            files[ETAB] = new
            if files.get(THREADS, "0\n") != "0\n":
                files[SERVED] = new
            return 0, json.dumps({"changed": new != old, "threads": int(files.get(THREADS, "0"))}), ""
    return None
