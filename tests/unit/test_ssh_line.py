"""The line for the remote shell, and what is read from its answer; by the shell of this machine, without ssh."""

from __future__ import annotations

import subprocess

import pytest

from penstock.host.ssh_line import answer_of, command_line, pipe_line


def by_shell(line: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=30)


@pytest.mark.parametrize("word", ["", "a b", "it's", "$HOME `id` $(id)", "new\nline", "; exit 7", "ünï"])
def test_words_are_quoted(word: str) -> None:
    done = by_shell(command_line(["printf", "<%s>", word], 5))
    assert done.stdout.decode() == f"<{word}>"
    assert answer_of(done.stderr).exit_codes == (0,)


@pytest.mark.parametrize("code", [0, 1, 255])
def test_exit_code_and_stderr_come_back(code: int) -> None:
    answer = answer_of(by_shell(command_line(["sh", "-c", f"echo oops >&2; exit {code}"], 5)).stderr)
    assert (answer.exit_codes, answer.texts) == ((code,), (b"oops\n",))


def test_both_ends_of_a_pipe_come_back() -> None:
    source, target = ["sh", "-c", "echo data; echo a >&2; exit 3"], ["sh", "-c", "cat; echo b >&2; exit 4"]
    done = by_shell(pipe_line(source, target, 5))
    answer = answer_of(done.stderr)
    assert done.stdout == b"data\n"
    assert (answer.exit_codes, answer.texts) == ((4, 3), (b"b\n", b"a\n"))


@pytest.mark.parametrize(
    "stderr",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Connection to h1 closed by remote host.\n", id="only-ssh-speaks"),
        pytest.param(b"text\npenstock-exit ", id="cut-before-the-code"),
        pytest.param(b"text\npenstock-exit 1", id="cut-in-the-code"),
        pytest.param(b"text\npenstock-exit x\n", id="not-a-code"),
    ],
)
def test_no_mark_means_the_end_was_not_seen(stderr: bytes) -> None:
    assert answer_of(stderr).exit_codes == ()


def test_words_of_ssh_after_the_mark_are_dropped() -> None:
    answer = answer_of(b"mine\n\npenstock-exit 2\nShared connection closed.\n")
    assert (answer.exit_codes, answer.texts) == ((2,), (b"mine\n",))
