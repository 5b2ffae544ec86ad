"""This machine, or a namespace of it: commands as child processes."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from penstock.errors import BackendFault, Unavailable, UnknownResult
from penstock.host import files
from penstock.host.idle import Idle
from penstock.host.kept_program import KeptProgram, Program, answer
from penstock.host.message_bus import SystemBus
from penstock.host.modes import set_mode
from penstock.host.mounts import read_own
from penstock.host.process import DeadlinePassed, Ended, check_argv, run_pipeline, run_process
from penstock.host.programs import check_killed, check_wrapped, not_started
from penstock.host.runner import Completed
from penstock.host.streaming import Launch, LoginFrom

# Not the daemon's own environment: it may hold secrets, and a command's answer must not depend on who started us.
ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
)
PROGRAMS_KEPT = 4  # two kinds, for two threads
_NOTHING: Mapping[str, str] = MappingProxyType({})


def completed(argv: Sequence[str], end: Ended) -> Completed:
    """The answer as text; bytes that are not UTF-8 stay readable as ``\\xNN``."""
    stdout, stderr = (data.decode(errors="backslashreplace") for data in (end.stdout, end.stderr))
    return Completed(tuple(argv), end.exit_code, stdout, stderr, end.seconds)


class LocalHost:
    """Runs commands here. `prefix` goes in front of every command, to run it elsewhere on this machine.

    `prefix` is for instance ``nsenter`` with its options, or ``sudo -n``; files are then reached through it too.
    `environment` is added to PATH, HOME and LC_ALL=C, which is all that commands get.
    """

    def __init__(self, name: str, *, prefix: tuple[str, ...] = (), environment: Mapping[str, str] = _NOTHING) -> None:
        self.name = name
        self._prefix = prefix
        self._environment = {**ENVIRONMENT, **environment, "LC_ALL": "C"}
        self._programs: Idle[KeptProgram] = Idle(PROGRAMS_KEPT)

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        return completed(argv, self._execute(argv, (stdin or "").encode(), timeout_s=timeout_s))

    def pipe(self, source: Sequence[str], target: Sequence[str], *, timeout_s: float) -> tuple[Completed, Completed]:
        check_argv(source)
        check_argv(target)
        try:
            first, second = run_pipeline(
                (*self._prefix, *source), (*self._prefix, *target), environment=self._environment, timeout_s=timeout_s
            )
        except DeadlinePassed as late:
            raise UnknownResult(f"{self.name}: {source[0]} | {target[0]} took longer than {timeout_s:g} s") from late
        except OSError as err:
            raise not_started(self.name, err) from err
        self._check_end(source, first)
        self._check_end(target, second)
        return completed(source, first), completed(target, second)

    def ask(self, program: Program, request: str, *, timeout_s: float, told: Sequence[str] = ()) -> Completed:
        """See KeepingHost."""

        def begin() -> KeptProgram:
            return KeptProgram(program, (*self._prefix, *program.argv), self._environment, program)

        with self._faults_of(program.argv, timeout_s):
            end = answer(
                lambda: self._programs.one(program, begin),
                request,
                timeout_s,
                lambda end: self._check_end(program.argv, end),
            )
        return completed((program.name, *told), end)

    @property
    def login(self) -> LoginFrom | None:
        """None: nobody need log in to get to where we are."""
        return None

    @functools.cached_property
    def bus(self) -> SystemBus | None:
        """This machine's own bus; behind a prefix we may be somebody else there, or somewhere else."""
        return None if self._prefix else SystemBus(self.name)

    def mounts(self) -> bytes | None:
        """See MountsHost; behind a prefix we may see other mounts than our commands do."""
        return None if self._prefix else read_own()

    def set_mode(self, path: str, mode: int, *, timeout_s: float) -> bool:
        """See ModesHost; behind a prefix it is somebody else who may."""
        if self._prefix:
            return False
        files.check_path(path)
        try:
            return set_mode(Path(path), mode, timeout_s=timeout_s)
        except DeadlinePassed as late:
            raise UnknownResult(f"{self.name}: the mode of {path} took longer than {timeout_s:g} s") from late
        except OSError as err:
            raise BackendFault(f"{self.name}: {path} could not be given mode {mode:04o}: {err.strerror}") from err

    @contextlib.contextmanager
    def launching(self, argv: Sequence[str]) -> Iterator[Launch]:
        check_argv(argv)
        yield Launch((*self._prefix, *argv), self._environment)

    def suspect_stream(self) -> None:
        """There is no connection to suspect."""

    def read_file(self, path: str) -> str | None:
        if self._prefix:
            return files.read_text(self._file_command, path)
        files.check_path(path)
        try:
            return files.decode(path, Path(path).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as err:
            raise Unavailable(f"{self.name}: {err}") from err

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        if self._prefix:
            return files.read_texts(self._file_command, paths)
        found = ((path, self.read_file(path)) for path in paths)
        return {path: text for path, text in found if text is not None}

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        if self._prefix:
            files.replace_text(self._file_command, path, text, mode)
            return
        files.check_path(path)
        try:
            _replace(Path(path), text.encode(), mode)
        except OSError as err:
            raise Unavailable(f"{self.name}: {err}") from err

    def remove_file(self, path: str) -> None:
        if self._prefix:
            files.remove(self._file_command, path)
            return
        files.check_path(path)
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as err:
            raise Unavailable(f"{self.name}: {err}") from err

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        if self._prefix:
            return files.swap(self._file_command, path, old, new, mode)
        files.check_path(path)
        try:
            return _swap(Path(path), old, new, mode)
        except OSError as err:
            raise Unavailable(f"{self.name}: {err}") from err

    @functools.cached_property
    def _file_command(self) -> files.Execute:
        return lambda argv, stdin: self._execute(argv, stdin, timeout_s=files.FILE_TIMEOUT_S)

    def _execute(self, argv: Sequence[str], stdin: bytes, *, timeout_s: float) -> Ended:
        check_argv(argv)
        with self._faults_of(argv, timeout_s):
            end = run_process((*self._prefix, *argv), environment=self._environment, stdin=stdin, timeout_s=timeout_s)
        self._check_end(argv, end)
        return end

    @contextlib.contextmanager
    def _faults_of(self, argv: Sequence[str], timeout_s: float) -> Iterator[None]:
        try:
            yield
        except DeadlinePassed as late:
            raise UnknownResult(f"{self.name}: {argv[0]} took longer than {timeout_s:g} s") from late
        except OSError as err:
            raise not_started(self.name, err) from err

    def _check_end(self, argv: Sequence[str], end: Ended) -> None:
        if self._prefix:
            check_wrapped(self.name, self._prefix, argv, end)
        else:
            check_killed(self.name, argv, end)


def _replace(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            os.fchmod(fd, mode)
            file.flush()
            os.fsync(fd)
        Path(beside).replace(path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            Path(beside).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _swap(path: Path, old: str | None, new: str | None, mode: int) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / files.LOCK).open("ab") as lock:
        _hold(lock.fileno())
        try:
            found: bytes | None = path.read_bytes()
        except FileNotFoundError:
            found = None
        if found != (None if old is None else old.encode()):
            return False
        if new is None:
            path.unlink(missing_ok=True)
        else:
            _replace(path, new.encode(), mode)
        return True


def _hold(lock: int) -> None:
    """Wait for the lock, which nobody keeps for long; the kernel lets go of it when the file is closed."""
    deadline = time.monotonic() + files.LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)  # flock knows no deadline, and a signal would be the main thread's
        else:
            return
