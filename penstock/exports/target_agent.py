"""What the programs for iSCSI target servers share: files on the storage host, one change at a time. It runs there.

`iscsi_agent` sends this source and a server's own (`tgt_agent`, `lio_agent`) on stdin to the python3 there, so it
imports nothing else of ours and keeps to Python 3.6. It stays, and answers one request after the other, a line each;
nothing is remembered between two.

Request: ``{"directory": str, "write": {file: [digest or null, text or null]}, "remove": [iqn], "put_back": bool,
"observe": bool, "read": file or null, "limit_s": int}``; a file's first line is ``# penstock: `` and the target as
JSON, a digest is of what the file must still be, no text removes it. Answer: ``{"changed": [iqn], "left_out": {iqn:
why}}``, ``{"overtaken": file}``, ``{"texts": {file: text}, "seen": {...}}``, ``{"text": str or null}``, or ``{"fault":
kind, "message": str}``.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import signal
import stat
import sys
import threading
import time
import typing

MARK = "# penstock: "
LOCK, LOCK_TIMEOUT_S = ".penstock.lock", 20
IDLE_S = 900  # nobody asks: who lost the connection to us may never have told
MOST_OPEN = 8  # new files that are brought to the disk after the server was told
DEVICE_TIMEOUT_S = 10.0  # udev makes the name of a new zvol some time after zfs has ended

if typing.TYPE_CHECKING:
    Wanted = dict[str, typing.Any]
    Targets = dict[str, Wanted | None]


class Fault(Exception):
    """Ends the program with an answer that says so."""

    def __init__(self, kind, message):  # type: (str, str) -> None
        super().__init__(message)
        self.kind = kind
        self.message = message


class Syncing(threading.Thread):
    """Brings these files to the disk, one after the other; `fault` is why it could not."""

    def __init__(self, descriptors):  # type: (list[int]) -> None
        super().__init__()
        self.fault = None  # type: typing.Optional[OSError]
        self._descriptors = descriptors

    def run(self):  # type: () -> None
        try:
            for descriptor in self._descriptors:
                os.fsync(descriptor)
        except OSError as err:
            self.fault = err


class Files:
    """Small files, replaced in one step, readable by root only; and how big what is served is."""

    def read(self, path):  # type: (str) -> typing.Optional[str]
        """None too when a power cut left no more than its name: see `saved`."""
        try:
            return pathlib.Path(path).read_text(encoding="utf-8") or None
        except FileNotFoundError:
            return None

    def replace(self, path, text):  # type: (str, typing.Optional[str]) -> None
        place = pathlib.Path(path)
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
            return
        with self._written(place, text) as (file, beside):
            os.fsync(file.fileno())
            beside.replace(place)

    @contextlib.contextmanager
    def saved(self, texts, same):  # type: (dict[str, str], list[str]) -> typing.Iterator[None]
        """These files are there when the block begins, and on the disk when it has ended well; so are the `same`, which
        hold already what they should: who wrote them may have ended before they were on the disk. The disk does not
        wait for the block.

        A power cut in between takes what a target server was told meanwhile as well, and nobody was answered. It may
        leave an empty file, so one that replaces another is on the disk before it does.
        """
        new = [path for path in texts if self.read(path) is None]
        if len(new) > MOST_OPEN:
            new = []
        for path in texts.keys() - set(new):
            self.replace(path, texts[path])
        with contextlib.ExitStack() as stack:
            files = []  # type: list[typing.TextIO]
            files.extend(stack.enter_context(open(path, encoding="utf-8")) for path in same)  # noqa: PTH123 - 3.6
            for path in new:
                file, beside = stack.enter_context(self._written(pathlib.Path(path), texts[path]))
                beside.replace(path)
                files.append(file)
            syncing = Syncing([file.fileno() for file in files])
            syncing.start()
            try:
                yield
            finally:
                syncing.join()  # it works on what is closed next
            if syncing.fault is not None:
                raise syncing.fault

    @contextlib.contextmanager
    def _written(self, place, text):  # type: (pathlib.Path, str) -> typing.Iterator[tuple[typing.TextIO, pathlib.Path]]
        """The text in a file of another name, as it is to be in `place`."""
        beside = place.parent / f".{place.name}.{os.getpid()}.new"
        fd = os.open(str(beside), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is a descriptor
            file.write(text)
            file.flush()
            yield file, beside

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
            time.sleep(0.05)  # inotify is not in Python's library, and this runs with nothing else
        try:
            found = pathlib.Path(path).stat()
            if stat.S_ISREG(found.st_mode):
                return found.st_size
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
        try:
            self._hold(fd, f"{directory}/{LOCK}")
            yield
        finally:
            os.close(fd)

    def _hold(self, fd, path):  # type: (int, str) -> None
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Fault("unavailable", path + " is locked all the time")  # noqa: B904 - that says it all
                time.sleep(0.002)  # flock knows no deadline, and the one alarm is the request's
            else:
                return


class Server:
    """What a server's own program has; see `tgt_agent` and `lio_agent`."""

    def observed(self):  # type: () -> dict[str, dict[str, typing.Any]]
        """What it serves, by target name."""
        raise NotImplementedError

    def servable(self, wanted):  # type: (Targets) -> tuple[Targets, dict[str, str]]
        """`wanted` without what the server cannot hold beside the rest, and why, by the targets that lack something."""
        return wanted, {}

    def enforce(self, wanted):  # type: (Targets) -> list[str]
        """Make it so (None: not served; else `servable`). Names of the targets that had to be changed."""
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
    if request["read"]:
        return {"text": files.read(request["read"])}
    if request["observe"]:
        return {"texts": files.all(directory), "seen": server.observed()}
    with files.lock(directory):
        for file, (expected, _) in request["write"].items():
            if expected is not None and digest(files.read(file)) != expected:
                return {"overtaken": file}
        return change(request, server, files)


def change(request, server, files):  # type: (dict[str, typing.Any], Server, Files) -> dict[str, typing.Any]
    """Have it saved and in force. A target that lacks something is not for the server's own start: see `beginning`."""
    wanted = dict.fromkeys(request["remove"])  # type: Targets
    texts = {file: text for file, (_, text) in request["write"].items() if text is not None}
    if request["put_back"]:
        texts = within_reach(files, request["directory"])
    wanted.update({one["iqn"]: one for one in map(target_of, texts.values())})
    wanted, left_out = server.servable(wanted)
    saved = {}  # type: dict[str, str]
    for file, text in texts.items():
        begun = beginning(text) if target_of(text)["iqn"] in left_out else text
        if files.read(file) != begun:
            saved[file] = begun
    same = [file for file in request["write"] if file in texts and file not in saved]
    with files.saved(saved, same):
        changed = server.enforce(wanted)
    for file, (_, text) in request["write"].items():
        if text is None:  # only now, or a crash would leave a target that nobody knows to be ours
            files.replace(file, None)
    return {"changed": changed, "left_out": left_out}


def beginning(text):  # type: (str) -> str
    """The file without what is the server's: the target as JSON alone, for us to put back."""
    return text.partition("\n")[0] + "\n"


def within_reach(files, directory):  # type: (Files, str) -> dict[str, str]
    """Our files, but of what lies on a pool that is not there: it must not hinder the others."""
    texts = files.all(directory)
    paths = {path: [lun["path"] for lun in target_of(text)["luns"]] for path, text in texts.items()}
    there = {lun: files.size_of(lun) for luns in paths.values() for lun in luns}
    return {path: text for path, text in texts.items() if all(there[lun] is not None for lun in paths[path])}


def serve(make):  # type: (typing.Callable[[Files], Server]) -> None
    """Answer requests until the end of the input. A request that takes too long ends us, and so does a long silence."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        signal.alarm(IDLE_S)
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        signal.alarm(request["limit_s"])
        files = Files()
        try:
            found = answer(request, make(files), files)
        except Fault as fault:
            found = {"fault": fault.kind, "message": fault.message}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
