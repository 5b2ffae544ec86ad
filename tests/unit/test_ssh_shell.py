"""Kept shells, by the shell of this machine, without ssh."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from penstock.host.kept_process import KeptEnded
from penstock.host.process import DeadlinePassed
from penstock.host.ssh_line import kept_line
from penstock.host.ssh_shell import KEPT, SESSIONS, Sessions, Shell

HERE = (1, 1)


def begin() -> Shell:
    return Shell(("sh",), os.environ, HERE)


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = begin()
    yield made
    made.close()


@pytest.mark.parametrize("word", ["", "a b", "it's", "$HOME `id` $(id)", "new\nline", "; exit 7", "ünï", "x" * 100_000])
def test_words_arrive(shell: Shell, word: str) -> None:
    for _ in range(2):
        end = shell.run(kept_line(["printf", "<%s>", word], 5), 5)
        assert (end.stdout.decode(), end.stderr, end.exit_code) == (f"<{word}>", b"", 0)


@pytest.mark.parametrize("code", [0, 1, 130, 255])
def test_exit_code_and_both_outputs_come_back(shell: Shell, code: int) -> None:
    end = shell.run(kept_line(["sh", "-c", f"echo good; echo oops >&2; exit {code}"], 5), 5)
    assert (end.exit_code, end.stdout, end.stderr) == (code, b"good\n", b"oops\n")
    assert shell.is_well()


def test_more_than_pipes_hold(shell: Shell) -> None:
    words = ["sh", "-c", "head -c 500000 /dev/zero; head -c 500000 /dev/zero >&2"]
    end = shell.run(kept_line(words, 5), 5)
    assert (len(end.stdout), len(end.stderr)) == (500_000, 500_000)


def test_a_command_does_not_eat_the_next_line(shell: Shell) -> None:
    assert shell.run(kept_line(["cat"], 5), 5).stdout == b""
    assert shell.run(kept_line(["echo", "next"], 5), 5).stdout == b"next\n"


@pytest.mark.parametrize("text", ["", "%s\\n", "it's\n\n", "-n", "x" * 200_000])
def test_input_arrives(shell: Shell, text: str) -> None:
    end = shell.run(kept_line(["sh", "-c", "cat; exit 5"], 5, text), 5)
    assert (end.stdout.decode(), end.exit_code) == (text, 5)


def test_past_the_deadline(shell: Shell) -> None:
    with pytest.raises(DeadlinePassed):
        shell.run(kept_line(["sleep", "30"], 1), 0.1)


@pytest.mark.parametrize("had_answered", [False, True])
def test_a_shell_that_ends_tells_its_last_words(shell: Shell, had_answered: bool) -> None:
    if had_answered:
        shell.run("true", 5)
    with pytest.raises(KeptEnded) as ended:
        shell.run("echo gone >&2; exit 3", 5)
    assert (ended.value.stderr, ended.value.had_answered) == (b"gone\n", had_answered)
    assert not shell.is_well()


class TestSessions:
    @pytest.fixture
    def sessions(self) -> Iterator[Sessions]:
        made = Sessions()
        yield made
        made.close()

    def pid(self, sessions: Sessions, connection: tuple[int, int] = HERE) -> bytes:
        with sessions.one(), sessions.shell(connection, lambda: Shell(("sh",), os.environ, connection)) as shell:
            return shell.run("echo $$", 5).stdout

    def test_a_shell_is_used_again(self, sessions: Sessions) -> None:
        assert self.pid(sessions) == self.pid(sessions)

    def test_not_over_another_connection(self, sessions: Sessions) -> None:
        assert self.pid(sessions) != self.pid(sessions, (2, 2))

    def test_not_after_something_went_wrong(self, sessions: Sessions) -> None:
        first = self.pid(sessions)
        with pytest.raises(DeadlinePassed), sessions.one(), sessions.shell(HERE, begin) as shell:
            shell.run("sleep 30", 0.1)
        assert self.pid(sessions) != first

    def test_not_when_it_has_ended(self, sessions: Sessions) -> None:
        first = self.pid(sessions)
        os.kill(int(first), signal.SIGKILL)
        os.waitid(os.P_PID, int(first), os.WEXITED | os.WNOWAIT)
        assert self.pid(sessions) != first

    def test_idle_ones_give_way(self, sessions: Sessions) -> None:
        made: list[Shell] = []

        def counted() -> Shell:
            made.append(begin())
            return made[-1]

        def nest(depth: int) -> None:
            if depth:
                with sessions.one(), sessions.shell(HERE, counted):
                    nest(depth - 1)

        nest(SESSIONS)
        assert sum(shell.is_running for shell in made) == KEPT

        def hold(depth: int) -> None:
            if depth:
                with sessions.one():
                    hold(depth - 1)
            else:
                assert sum(shell.is_running for shell in made) == 1

        hold(SESSIONS - 1)
