"""The one connection to a host that all its commands share: made once, checked when in doubt, renewed when stuck.

Commands over it cost 12 ms instead of 250 ms for a connection each (dependencies.md). The master is a process of its
own that goes by itself when idle, so a killed daemon leaves nothing for long, and the next one can go on using it.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shlex
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import Invalid, Unavailable
from penstock.host.local import ENVIRONMENT
from penstock.host.process import DeadlinePassed, Ended, run_process
from penstock.host.programs import not_started
from penstock.host.ssh_shell import Identity

# sun_path holds 108 bytes, and ssh binds PATH.XXXXXXXXXXXXXXXX first, then renames it
CONTROL_PATH_LIMIT = 90
IDLE_S = 300
CHECK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class SshAccount:
    """Where and as whom to log in; without key and password, what ~/.ssh and the agent offer is tried."""

    address: str
    user: str
    port: int = 22
    private_key_path: str | None = None
    password: str | None = None
    known_hosts_path: str | None = None
    is_new_host_accepted: bool = False
    connect_timeout_s: int = 10

    def __post_init__(self) -> None:
        if not self.address or self.address.startswith("-") or self.user.startswith("-"):
            raise Invalid(f"{self.user}@{self.address} is not an ssh address")

    def __repr__(self) -> str:  # never the password
        return f"SshAccount({self.user}@{self.address}:{self.port})"


class SshMaster:
    """Opens, checks and drops the shared connection. Safe for many threads."""

    def __init__(self, account: SshAccount, control_dir: Path, purpose: str = "") -> None:
        """`purpose`: another one is another connection."""
        identity = f"{account.user}@{account.address}:{account.port}:{account.private_key_path}{purpose}"
        self.account = account
        self.control_path = control_dir / hashlib.sha256(identity.encode()).hexdigest()[:16]
        if len(os.fsencode(self.control_path)) > CONTROL_PATH_LIMIT:
            raise Invalid(f"{control_dir} is too long for a socket: at most {CONTROL_PATH_LIMIT - 17} characters")
        control_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if control_dir.stat().st_mode & 0o077:
            raise Invalid(f"{control_dir} is open to others: whoever may write there may use our connections")
        self._lock = threading.Lock()  # one connection attempt at a time; the others wait for its result
        self._is_suspect = False
        self._pid: int | None = None
        self._refusal = ""
        self._refused_at = -math.inf

    def argv(self, line: str) -> tuple[str, ...]:
        """The ssh client's argv to run `line` over the shared connection."""
        return ("ssh", *self._options(), "-o", "ControlMaster=no", "-T", self.account.address, line)

    def suspect(self) -> None:
        """Something went wrong on it: before its next use it has to answer, or it is dropped and made anew."""
        self._is_suspect = True

    def ensure(self) -> None:
        """Have a connection, made now if need be. Raises Unavailable with ssh's own reason."""
        asked_at = time.monotonic()
        with self._lock:
            if self._refused_at > asked_at:  # refused to somebody while we waited: do not queue up for the same answer
                raise Unavailable(self._refusal)
            if self._is_suspect and not self._answers():
                self._drop()
            self._is_suspect = False
            if not self._is_listening():
                self._open()
                self._pid = None
            if self._pid is None:
                self._pid = self._ask_pid()

    def identity(self) -> Identity:
        """Which connection it is now: another one is another socket. Raises Unavailable when there is none."""
        try:
            found = self.control_path.stat()
        except FileNotFoundError as err:
            raise Unavailable(f"{self.account.address}: the connection has gone") from err
        return found.st_ino, found.st_ctime_ns

    def close(self) -> None:
        """Drop the connection; what runs over it loses its channel. Safe to repeat."""
        with self._lock:
            if self.control_path.exists():
                self._drop()

    def _options(self) -> list[str]:
        account = self.account
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": str(account.connect_timeout_s),
            "ControlPath": str(self.control_path).replace("%", "%%"),
            "ForwardAgent": "no",
            "LogLevel": "ERROR",
            "Port": str(account.port),
            "ServerAliveCountMax": "3",
            "ServerAliveInterval": "5",
            "StrictHostKeyChecking": "accept-new" if account.is_new_host_accepted else "yes",
            "User": account.user,
        }
        if account.known_hosts_path:
            settings["UserKnownHostsFile"] = account.known_hosts_path
        if account.private_key_path:
            settings |= {"IdentityFile": account.private_key_path, "IdentitiesOnly": "yes"}
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _open(self) -> None:
        self.control_path.unlink(missing_ok=True)
        # the first value of an option wins, so these go in front
        with self._askpass() as (options, environment):
            argv = ("ssh", *options, "-M", "-N", "-f", "-o", f"ControlPersist={IDLE_S}", *self._options())
            end = self._ssh((*argv, self.account.address), environment, self.account.connect_timeout_s + 5.0)
        if end is not None and end.exit_code == 0:
            return
        reason = f"no answer in {self.account.connect_timeout_s} s"
        if end is not None:
            reason = end.stderr.decode(errors="backslashreplace").strip() or f"ssh ended with {end.exit_code}"
        self._refusal = f"{self.account.address} cannot be reached: {reason}"
        self._refused_at = time.monotonic()
        raise Unavailable(self._refusal)

    @contextlib.contextmanager
    def _askpass(self) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
        """Options and environment that let ssh ask for the password, which only a file of ours tells, and briefly."""
        if self.account.password is None:
            yield (), {}
            return
        with tempfile.TemporaryDirectory(dir=self._executable_directory(), prefix="penstock-") as name:  # 0700
            secret, program = Path(name, "secret"), Path(name, "askpass")
            secret.touch(mode=0o600)
            secret.write_text(self.account.password + "\n")
            program.touch(mode=0o700)
            program.write_text(f"#!/bin/sh\nexec cat {shlex.quote(str(secret))}\n")
            options = ("-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1")
            yield options, {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}

    def _executable_directory(self) -> Path:
        """Where a program of ours may run from: /run usually is mounted noexec."""
        candidates = (self.control_path.parent, Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 (0700 below)
        for directory in candidates:
            if not os.statvfs(directory).f_flag & os.ST_NOEXEC:
                return directory
        raise Unavailable(f"no directory to hand ssh a password from: {', '.join(map(str, candidates))} are noexec")

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.control_path))
            except OSError:
                return False
        return True

    def _answers(self) -> bool:
        """Whether a command goes through to the host and back."""
        end = self._ssh(self.argv("true"), {}, CHECK_TIMEOUT_S)
        return end is not None and end.exit_code == 0

    def _drop(self) -> None:
        """Ask the master to go; one that does not hear is killed."""
        asked = self._ssh((*self._control("exit"), self.account.address), {}, CHECK_TIMEOUT_S)
        if asked is None and self._pid is not None and self._is_ours(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._pid = None
        self.control_path.unlink(missing_ok=True)

    def _ask_pid(self) -> int | None:
        """The master's pid by its own word; asked while it is well, for the day when it is not."""
        asked = self._ssh((*self._control("check"), self.account.address), {}, CHECK_TIMEOUT_S)
        pid = re.search(rb"\(pid=(\d+)\)", asked.stderr) if asked else None
        return int(pid[1]) if pid else None

    def _is_ours(self, pid: int) -> bool:
        """Whether that process still is this connection's master: it shows the socket in its title."""
        try:
            return os.fsencode(self.control_path) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _control(self, order: str) -> tuple[str, ...]:
        return ("ssh", *self._options(), "-O", order)

    def _ssh(self, argv: tuple[str, ...], environment: Mapping[str, str], timeout_s: float) -> Ended | None:
        """Run the ssh client; None past the deadline."""
        try:
            return run_process(
                argv, environment={**client_environment(), **environment}, stdin=b"", timeout_s=timeout_s
            )
        except DeadlinePassed:
            return None
        except OSError as err:
            raise not_started("ssh", err) from err


def client_environment() -> dict[str, str]:
    """What an ssh client needs of our own environment: the operator's home and agent."""
    ours = {key: os.environ[key] for key in ("HOME", "SSH_AUTH_SOCK") if key in os.environ}
    return {**ENVIRONMENT, **ours}
