"""What the programs for iSCSI target servers share: files on the storage host, one change at a time. It runs there.

`iscsi_agent` sends this source, a server's own (`tgt_agent`, `lio_agent`) and the request on stdin to the python3
there, so it imports nothing else of ours and keeps to Python 3.6.

Request: ``{"directory": str, "settings": {...}, "write": {file: [digest or null, text or null]}, "remove": [iqn],
"put_back": bool, "observe": bool}``; a file's first line is ``# penstock: `` and the target as JSON, a digest is of
what the file must still be, no text removes it. Answer on stdout: ``{"changed": [iqn]}``, ``{"overtaken": file}``,
``{"texts": {file: text}, "seen": {...}}``, or ``{"fault": kind, "message": str}``.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import signal
import sys
import time
import typing

MARK = "# penstock: "
LOCK, LOCK_TIMEOUT_S = ".penstock.lock", 20
DEVICE_TIMEOUT_S = 10.0  # udev makes the name of a new zvol some time after zfs has ended

if typing.TYPE_CHECKING:
    Wanted = dict[str, typing.Any]


class Fault(Exception):
    """Ends the program with an answer that says so."""

    def __init__(self, kind, message):  # type: (str, str) -> None
        super().__init__(message)
        self.kind = kind
        self.message = message


class Files:
    """Small files, replaced in one step, readable by root only; and how big what is served is."""

    def read(self, path):  # type: (str) -> typing.Optional[str]
        try:
            return pathlib.Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def replace(self, path, text):  # type: (str, typing.Optional[str]) -> None
        place = pathlib.Path(path)
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
            return
        beside = place.parent / f".{place.name}.{os.getpid()}.new"
        fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is a descriptor
            file.write(text)
            file.flush()
            os.fsync(fd)
        beside.replace(place)

    def all(self, directory):  # type: (str) -> dict[str, str]
        """Our files there, by their names."""
        found = ((str(path), self.read(str(path))) for path in pathlib.Path(directory).glob("penstock-*.conf"))
        return {path: text for path, text in found if text is not None}

    def __init__(self):  # type: () -> None
        self._deadline = None  # type: typing.Optional[float]

    def size_of(self, path):  # type: (str) -> typing.Optional[int]
        """Bytes of the file or device, None when it is not there. A device is waited for, all together once."""
        if self._deadline is None:
            self._deadline = time.monotonic() + DEVICE_TIMEOUT_S
        while path.startswith("/dev/") and not pathlib.Path(path).exists() and time.monotonic() < self._deadline:
            time.sleep(0.05)
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.lseek(fd, 0, os.SEEK_END)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def lock(self, directory):  # type: (str) -> typing.Iterator[None]
        """Only one of us at a time; the kernel lets go when we end."""
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        fd = os.open(str(pathlib.Path(directory, LOCK)), os.O_RDWR | os.O_CREAT, 0o600)
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"{directory}/{LOCK} is locked all the time"))
        signal.alarm(LOCK_TIMEOUT_S)
        fcntl.flock(fd, fcntl.LOCK_EX)
        signal.alarm(0)
        try:
            yield
        finally:
            os.close(fd)


class Server:
    """What a server's own program has; see `tgt_agent` and `lio_agent`."""

    def observed(self):  # type: () -> dict[str, dict[str, typing.Any]]
        """What it serves, by target name."""
        raise NotImplementedError

    def enforce(self, wanted):  # type: (dict[str, typing.Optional[Wanted]]) -> list[str]
        """Make it so (None: not served). Names of the targets that had to be changed."""
        raise NotImplementedError


def digest(text):  # type: (typing.Optional[str]) -> str
    """See penstock/host/files.py."""
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def target_of(text):  # type: (str) -> Wanted
    """The target that a file of ours is about."""
    first = text.partition("\n")[0]
    if not first.startswith(MARK):
        raise Fault("backend", f"a file of ours does not begin with {MARK!r}")
    return dict(json.loads(first[len(MARK) :]))


def answer(request, server, files):  # type: (dict[str, typing.Any], Server, Files) -> dict[str, typing.Any]
    """See the module."""
    directory = request["directory"]
    if request["observe"]:
        return {"texts": files.all(directory), "seen": server.observed()}
    with files.lock(directory):
        wanted = dict.fromkeys(request["remove"])  # type: dict[str, typing.Optional[Wanted]]
        if request["put_back"]:
            # what lies on a pool that is not there must not hinder the others
            every = [target_of(text) for text in files.all(directory).values()]
            there = {lun["path"]: files.size_of(lun["path"]) for one in every for lun in one["luns"]}
            wanted.update(
                {one["iqn"]: one for one in every if all(there[lun["path"]] is not None for lun in one["luns"])}
            )
        for file, (expected, _) in request["write"].items():
            if expected is not None and digest(files.read(file)) != expected:
                return {"overtaken": file}
        for file, (_, text) in request["write"].items():
            if text is not None:
                wanted[target_of(text)["iqn"]] = target_of(text)
                if files.read(file) != text:
                    files.replace(file, text)
        changed = server.enforce(wanted)
        for file, (_, text) in request["write"].items():
            if text is None:  # only now, or a crash would leave a target that nobody knows to be ours
                files.replace(file, None)
    return {"changed": changed}


def run(request, server):  # type: (dict[str, typing.Any], Server) -> None
    """Answer the request on stdout."""
    try:
        found = answer(request, server, Files())
    except Fault as fault:
        found = {"fault": fault.kind, "message": fault.message}
    json.dump(found, sys.stdout)
