"""Another machine, by OpenSSH: every command a channel of one shared connection."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Fault, Unavailable, UnknownResult
from penstock.host import files
from penstock.host.kept_process import KeptEnded
from penstock.host.kept_program import KeptProgram, Program, answer
from penstock.host.local import completed
from penstock.host.process import DeadlinePassed, Ended, check_argv, run_process
from penstock.host.programs import check_wrapped, not_started
from penstock.host.runner import Completed
from penstock.host.ssh_line import Answer, answer_of, command_line, kept_line, pipe_line, plain_line, program_line
from penstock.host.ssh_master import SshAccount, SshMaster, client_environment
from penstock.host.ssh_shell import SESSIONS, Identity, Shell, sessions_of
from penstock.host.streaming import Launch, LoginFrom

# these leave nothing running that could write into what a kept shell answers next
LEAVES_NOTHING = frozenset({"cat", "dbus-send", "exportfs", "zfs", "zpool"})
# more input than that is not put into a shell's line
MOST_KEPT_STDIN_BYTES = 256 * 1024

LOST = 255  # ssh's own exit code
# ssh's own words when the command was never handed over, so that trying again is safe
NOT_HANDED_OVER = re.compile(
    rb"^(?:ssh: (?:connect to host|Could not resolve)|Permission denied|\S+@\S+: Permission denied"
    rb"|Host key verification failed|kex_exchange_identification|mux_client_request_session: session request failed"
    rb"|Control socket connect)",
    re.MULTILINE,
)


class SshHost:
    """A `Host` reached by ssh with a key (or what ~/.ssh and the agent offer) or a password.

    `control_dir` is a directory of our own (0700, made if missing) for connection sockets. `prefix` goes in front of
    every command on the host, e.g. ``("sudo", "-n")``. The account's login shell must be a POSIX shell. Host keys must
    be known, unless `is_new_host_accepted`.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        user: str,
        control_dir: Path,
        port: int = 22,
        private_key_path: str | None = None,
        password: str | None = None,
        known_hosts_path: str | None = None,
        is_new_host_accepted: bool = False,
        connect_timeout_s: int = 10,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._prefix = prefix
        account = SshAccount(
            address, user, port, private_key_path, password, known_hosts_path, is_new_host_accepted, connect_timeout_s
        )
        self._master = SshMaster(account, control_dir)
        self._sessions = sessions_of(self._master.control_path)
        # streams run for hours and fill the line: commands must not wait behind them
        self._stream_master = SshMaster(account, control_dir, "streams")
        self._streams = threading.BoundedSemaphore(SESSIONS)

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        return completed(argv, self._execute(argv, (stdin or "").encode(), timeout_s=timeout_s))

    def pipe(self, source: Sequence[str], target: Sequence[str], *, timeout_s: float) -> tuple[Completed, Completed]:
        check_argv(source)
        check_argv(target)
        line = pipe_line((*self._prefix, *source), (*self._prefix, *target), timeout_s)
        what = f"{source[0]} | {target[0]}"
        end, answer = self._send(what, line, b"", marks=2, timeout_s=timeout_s)
        second = self._own_end(target, end, answer, 0)
        first = Ended(answer.exit_codes[1], b"", answer.texts[1], end.seconds)
        check_wrapped(self.name, self._prefix, source, first)
        return completed(source, first), completed(target, second)

    def ask(self, program: Program, request: str, *, timeout_s: float, told: Sequence[str] = ()) -> Completed:
        """See KeepingHost."""
        line = program_line((*self._prefix, *program.argv))
        with self._connected(program.name, timeout_s) as connection:

            def begin() -> KeptProgram:
                key = (program, connection)
                return KeptProgram(program, self._master.argv(line), client_environment(), key)

            def check(end: Ended) -> None:
                if end.exit_code == LOST:
                    raise self._lost(program.name, end.stderr, "the connection was closed")
                check_wrapped(self.name, self._prefix, program.argv, end)

            end = answer(lambda: self._sessions.program(program, connection, begin), request, timeout_s, check)
        return completed((program.name, *told), end)

    def read_file(self, path: str) -> str | None:
        return files.read_text(self._file_command, path)

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        return files.read_texts(self._file_command, paths)

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        files.replace_text(self._file_command, path, text, mode)

    def remove_file(self, path: str) -> None:
        files.remove(self._file_command, path)

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        return files.swap(self._file_command, path, old, new, mode)

    def close(self) -> None:
        """Drop the connections. Safe to repeat; the next command makes a new one."""
        self._sessions.close()
        self._master.close()
        self._stream_master.close()

    @property
    def login(self) -> LoginFrom | None:
        """How another host would log in here."""
        account = self._master.account
        return LoginFrom(account.address, account.user, account.port, self._prefix)

    @contextmanager
    def launching(self, argv: Sequence[str]) -> Iterator[Launch]:
        check_argv(argv)
        if not self._streams.acquire(timeout=self._stream_master.account.connect_timeout_s):
            raise Unavailable(f"{self.name}: {SESSIONS} streams run there already")
        try:
            self._stream_master.ensure()
            line = plain_line((*self._prefix, *argv))
            yield Launch(self._stream_master.argv(line), client_environment())
        finally:
            self._streams.release()

    def suspect_stream(self) -> None:
        """A stream was lost: its connection has to answer before it is used again."""
        self._stream_master.suspect()

    def _file_command(self, argv: Sequence[str], stdin: bytes) -> Ended:
        check_argv(argv)
        if len(stdin) > MOST_KEPT_STDIN_BYTES or b"\0" in stdin:
            return self._execute(argv, stdin, timeout_s=files.FILE_TIMEOUT_S)
        return self._execute_kept(argv, stdin.decode(), timeout_s=files.FILE_TIMEOUT_S)

    def _execute(self, argv: Sequence[str], stdin: bytes, *, timeout_s: float) -> Ended:
        check_argv(argv)
        if argv[0] in LEAVES_NOTHING and not stdin:
            return self._execute_kept(argv, "", timeout_s=timeout_s)
        line = command_line((*self._prefix, *argv), timeout_s)
        end, answer = self._send(argv[0], line, stdin, marks=1, timeout_s=timeout_s)
        return self._own_end(argv, end, answer, 0)

    def _execute_kept(self, argv: Sequence[str], stdin: str, *, timeout_s: float) -> Ended:
        """The same by a kept shell, for what leaves nothing running."""
        end = self._ask_shell(argv[0], kept_line((*self._prefix, *argv), timeout_s, stdin), timeout_s)
        check_wrapped(self.name, self._prefix, argv, end)
        return end

    def _ask_shell(self, what: str, line: str, timeout_s: float) -> Ended:
        """The same as `_send`, by a shell that is kept."""
        with self._connected(what, timeout_s) as connection:

            def begin() -> Shell:
                return Shell(self._master.argv("exec sh"), client_environment(), connection)

            try:
                with self._sessions.shell(connection, begin) as shell:
                    return shell.run(line, timeout_s)
            except KeptEnded as ended:
                raise self._lost(what, ended.stderr, "the shell ended", may_have_begun=ended.had_answered) from ended

    @contextmanager
    def _connected(self, what: str, timeout_s: float) -> Iterator[Identity]:
        """A session of a connection that is there, for the block alone, which raises what `Ended` does not tell."""
        with self._sessions.one():
            self._master.ensure()
            connection = self._master.identity()
            try:
                yield connection
            except DeadlinePassed as late:
                self._master.suspect()
                raise UnknownResult(f"{self.name}: {what} took longer than {timeout_s:g} s") from late
            except OSError as err:
                raise not_started(self.name, err) from err

    def _send(self, what: str, line: str, stdin: bytes, *, marks: int, timeout_s: float) -> tuple[Ended, Answer]:
        """Hand the line to the host's shell and wait. Raises Unavailable (not begun), UnknownResult (end not seen)."""
        with self._sessions.one():
            self._master.ensure()
            try:
                end = run_process(
                    self._master.argv(line), environment=client_environment(), stdin=stdin, timeout_s=timeout_s
                )
            except DeadlinePassed as late:
                self._master.suspect()
                raise UnknownResult(f"{self.name}: {what} took longer than {timeout_s:g} s") from late
            except OSError as err:
                raise not_started(self.name, err) from err
        answer = answer_of(end.stderr)
        if len(answer.exit_codes) == marks:
            return end, answer
        raise self._lost(what, end.stderr, f"ssh ended with {end.exit_code}")

    def _lost(self, what: str, stderr: bytes, otherwise: str, *, may_have_begun: bool = False) -> Fault:
        """The fault for an end that was not seen: Unavailable when ssh says that it was not even begun."""
        self._master.suspect()
        reason = stderr.decode(errors="backslashreplace").strip() or otherwise
        if not may_have_begun and NOT_HANDED_OVER.search(stderr):
            self._sessions.close()  # a server that allows few sessions has one for the next attempt then
            return Unavailable(f"{self.name}: {what} was not started: {reason}")
        return UnknownResult(f"{self.name}: the connection was lost during {what}: {reason}")

    def _own_end(self, argv: Sequence[str], end: Ended, answer: Answer, index: int) -> Ended:
        own = Ended(answer.exit_codes[index], end.stdout, answer.texts[index], end.seconds)
        check_wrapped(self.name, self._prefix, argv, own)
        return own
