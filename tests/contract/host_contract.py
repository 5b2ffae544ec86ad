"""What every `Host` does, whatever is behind it. Each implementation is a subclass with a `host` fixture."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.errors import Invalid, Unavailable, UnknownResult
from penstock.host.kept_program import Program, ask
from penstock.host.runner import Host

AWKWARD = [
    "",
    " ",
    "a b",
    "it's",
    '"quoted"',
    "new\nline",
    "$HOME `id` $(id)",
    "*",
    "ünï-☃",
    "-n",
    "\\",
    "tab\t",
    "; exit 9",
]


# answers with its opening, the request and its own pid; does what requests say
ECHO = """read -r opening
while read -r line; do
    case $line in
    die) kill -9 $$;;
    fail) echo "it is broken" >&2; exit 3;;
    hang) sleep 4712;;
    esac
    echo "$opening $line $$"
done
"""


# takes itself away when told to go
PASSING = """#!/bin/sh
read -r opening
while read -r line; do
    [ "$line" = go ] && rm "$0" && kill -9 $$
    echo done
done
"""


def echo(opening: str) -> Program:
    return Program("echo", ("sh", "-c", ECHO), opening)


class SmallHostContract:
    """What a host that knows only some programs does too (the simulated one)."""

    directory = "/run/penstock-contract"

    def test_missing_program_says_which(self, host: Host) -> None:
        with pytest.raises(Unavailable, match="no-such-program-here") as caught:
            host.run(["no-such-program-here", "x"], timeout_s=20)
        assert not isinstance(caught.value, UnknownResult)

    def test_file_is_absent_written_read_replaced_removed(self, host: Host) -> None:
        path = f"{self.directory}/new/it's ünï.conf"
        host.remove_file(path)
        assert host.read_file(path) is None
        host.write_file(path, "one\nünï\n")
        assert host.read_file(path) == "one\nünï\n"
        host.write_file(path, "", mode=0o600)
        assert host.read_file(path) == ""
        host.remove_file(path)
        host.remove_file(path)
        assert host.read_file(path) is None

    def test_files_are_read_together(self, host: Host) -> None:
        texts = ("one\nünï\n", "", "absent\n3\nno newline at the end")
        paths = [f"{self.directory}/together/it's {n}" for n in range(4)]
        for path, text in zip(paths, texts, strict=False):
            host.write_file(path, text)
        host.remove_file(paths[3])
        assert host.read_files(paths[::-1]) == dict(zip(paths, texts, strict=False))
        assert host.read_files([]) == {}

    def test_file_is_swapped_only_when_it_is_what_was_seen(self, host: Host) -> None:
        path = f"{self.directory}/swapped/it's ünï.conf"
        host.remove_file(path)
        assert not host.swap_file(path, "one", "two")
        assert host.read_file(path) is None
        assert host.swap_file(path, None, "one\nünï\n")
        assert not host.swap_file(path, None, "two")
        assert not host.swap_file(path, "one\n", None)
        assert host.read_file(path) == "one\nünï\n"
        assert host.swap_file(path, "one\nünï\n", "")
        assert host.swap_file(path, "", "three", mode=0o600)
        assert host.read_file(path) == "three"
        assert host.swap_file(path, "three", None)
        assert host.swap_file(path, None, None)
        assert host.read_file(path) is None


class HostContract(SmallHostContract):
    """Needs nothing on the host but coreutils and sh, and a directory to write in."""

    def test_output_streams_and_exit_code_are_kept_apart(self, host: Host) -> None:
        done = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=20)
        assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)
        assert done.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")
        assert 0 < done.seconds < 20

    @pytest.mark.parametrize("code", [0, 1, 126, 127, 254, 255])
    def test_any_exit_code_is_an_answer(self, host: Host, code: int) -> None:
        assert host.run(["sh", "-c", f"exit {code}"], timeout_s=20).exit_code == code

    def test_arguments_arrive_as_they_are(self, host: Host) -> None:
        done = host.run(["printf", "<%s>\\0", *AWKWARD], timeout_s=20)
        assert done.stdout == "".join(f"<{word}>\0" for word in AWKWARD)

    def test_locale_is_c(self, host: Host) -> None:
        assert host.run(["sh", "-c", "echo $LC_ALL"], timeout_s=20).stdout == "C\n"

    def test_stdin_arrives_and_none_is_empty(self, host: Host) -> None:
        assert host.run(["cat"], timeout_s=20, stdin="ünï\n\0x").stdout == "ünï\n\0x"
        assert host.run(["cat"], timeout_s=20).stdout == ""

    def test_megabytes_both_ways(self, host: Host) -> None:
        text = "0123456789abcdef" * 200_000
        assert host.run(["cat"], timeout_s=60, stdin=text).stdout == text

    def test_command_that_does_not_read_its_stdin(self, host: Host) -> None:
        assert host.run(["true"], timeout_s=20, stdin="x" * 1_000_000).exit_code == 0

    def test_bytes_that_are_not_text_stay_visible(self, host: Host) -> None:
        assert host.run(["printf", "a\\377b\\n"], timeout_s=20).stdout == "a\\xffb\n"

    def test_missing_path_says_which(self, host: Host) -> None:
        with pytest.raises(Unavailable, match="/no/such/program"):
            host.run(["/no/such/program"], timeout_s=20)

    @pytest.mark.parametrize("argv", [[], [""], ["echo", "a\0b"], ["ec\0ho"]])
    def test_what_no_kernel_runs_is_invalid(self, host: Host, argv: list[str]) -> None:
        with pytest.raises(Invalid):
            host.run(argv, timeout_s=20)

    def test_deadline_leaves_an_unknown_result_and_a_usable_host(self, host: Host) -> None:
        started = time.monotonic()
        with pytest.raises(UnknownResult, match="sleep"):
            host.run(["sleep", "30"], timeout_s=0.5)
        assert time.monotonic() - started < 20
        assert host.run(["echo", "still here"], timeout_s=20).stdout == "still here\n"

    def test_killed_command_leaves_an_unknown_result(self, host: Host) -> None:
        with pytest.raises(UnknownResult):
            host.run(["sh", "-c", "kill -9 $$"], timeout_s=20)

    def test_daemon_left_behind_does_not_hold_us(self, host: Host) -> None:
        started = time.monotonic()
        host.run(["sh", "-c", "sleep 40 >/dev/null 2>&1 </dev/null & echo started"], timeout_s=20)
        assert time.monotonic() - started < 20

    def test_many_at_once(self, host: Host) -> None:
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda n: host.run(["echo", str(n)], timeout_s=30).stdout, range(40)))
        assert answers == [f"{n}\n" for n in range(40)]

    # -- pipes

    def test_pipe_hands_everything_over(self, host: Host) -> None:
        first, second = host.pipe(["seq", "200000"], ["sh", "-c", "wc -l; tail -n 0"], timeout_s=60)
        assert (first.exit_code, first.stdout) == (0, "")
        assert (second.exit_code, second.stdout.split()) == (0, ["200000"])

    def test_pipe_tells_both_ends_apart(self, host: Host) -> None:
        source = ["sh", "-c", "echo from source >&2; echo data; exit 4"]
        target = ["sh", "-c", "cat; echo from target >&2; exit 255"]
        first, second = host.pipe(source, target, timeout_s=20)
        assert (first.exit_code, first.stdout, first.stderr) == (4, "", "from source\n")
        assert (second.exit_code, second.stdout, second.stderr) == (255, "data\n", "from target\n")
        assert (first.argv, second.argv) == (tuple(source), tuple(target))

    def test_pipe_source_of_a_dead_target_ends(self, host: Host) -> None:
        first, second = host.pipe(["yes"], ["head", "-c", "10"], timeout_s=20)
        assert first.exit_code != 0
        assert second.exit_code == 0

    def test_pipe_deadline(self, host: Host) -> None:
        with pytest.raises(UnknownResult):
            host.pipe(["sleep", "30"], ["cat"], timeout_s=0.5)

    @pytest.mark.parametrize("ends", [("no-such-program-here", "cat"), ("echo", "no-such-program-here")])
    def test_pipe_missing_program(self, host: Host, ends: tuple[str, str]) -> None:
        with pytest.raises(Unavailable, match="no-such-program-here"):
            host.pipe([ends[0]], [ends[1]], timeout_s=20)

    # -- files

    def test_file_mode_is_as_told(self, host: Host) -> None:
        path = f"{self.directory}/mode"
        for mode in (0o600, 0o644):
            host.write_file(path, "x", mode=mode)
            assert host.run(["stat", "-c", "%a", path], timeout_s=20).stdout == f"{mode:o}\n"

    def test_nothing_lies_beside_a_written_file(self, host: Host) -> None:
        host.write_file(f"{self.directory}/alone/file", "x" * 300_000)
        assert host.run(["ls", "-A", f"{self.directory}/alone"], timeout_s=20).stdout == "file\n"

    def test_swaps_of_many_are_all_made(self, host: Host) -> None:
        path = f"{self.directory}/counted/number"
        host.remove_file(path)  # of another way to the same machine

        def add_one(_: int) -> None:
            while not host.swap_file(path, old := host.read_file(path), str(int(old or 0) + 1)):
                pass

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add_one, range(12)))
        assert host.read_file(path) == "12"
        assert host.run(["ls", "-A", f"{self.directory}/counted"], timeout_s=20).stdout == ".penstock.lock\nnumber\n"

    def test_file_that_cannot_be_is_unavailable(self, host: Host) -> None:
        host.write_file(f"{self.directory}/plain", "x")
        for attempt in (
            lambda: host.write_file(f"{self.directory}/plain/below", "x"),
            lambda: host.read_file(self.directory),
            lambda: host.remove_file(self.directory),
            lambda: host.swap_file(f"{self.directory}/plain/below", None, "x"),
        ):
            with pytest.raises(Unavailable):
                attempt()

    @pytest.mark.parametrize("path", ["relative", "", "/nul\0"])
    def test_file_path_must_be_absolute(self, host: Host, path: str) -> None:
        with pytest.raises(Invalid):
            host.read_file(path)


class KeepingContract(HostContract):
    """What a host that can keep programs does, too."""

    def asked(self, host: Host, request: str, opening: str = "one", timeout_s: float = 20) -> list[str]:
        done = ask(host, echo(opening), request, timeout_s=timeout_s)
        assert done.exit_code == 0, done
        return done.stdout.split()

    def test_a_program_is_kept(self, host: Host) -> None:
        first = self.asked(host, "a")
        assert first[:2] == ["one", "a"]
        assert self.asked(host, "b") == ["one", "b", first[2]]
        assert self.asked(host, "x" * 200_000) == ["one", "x" * 200_000, first[2]]

    def test_with_another_opening_it_is_another_program(self, host: Host) -> None:
        assert self.asked(host, "a")[2] != self.asked(host, "a", "two")[2]
        assert self.asked(host, "a", "two")[0] == "two"

    def test_one_that_was_killed_is_begun_again(self, host: Host) -> None:
        first = self.asked(host, "a")[2]
        host.run(["kill", "-9", first], timeout_s=20)
        again = self.asked(host, "b")
        assert again[:2] == ["one", "b"]
        assert again[2] != first

    def test_one_that_dies_at_work_is_asked_anew_and_the_new_ones_end_is_the_answer(self, host: Host) -> None:
        self.asked(host, "a")
        done = ask(host, echo("one"), "fail", timeout_s=20)
        assert (done.exit_code, done.stdout, done.stderr.strip()) == (3, "", "it is broken")
        with pytest.raises(UnknownResult):
            ask(host, echo("one"), "die", timeout_s=20)
        assert self.asked(host, "b")[:2] == ["one", "b"]

    def test_one_that_hangs_is_given_up(self, host: Host) -> None:
        first = self.asked(host, "a")[2]
        with pytest.raises(UnknownResult):
            ask(host, echo("one"), "hang", timeout_s=0.5)
        again = self.asked(host, "b")
        assert again[:2] == ["one", "b"]
        assert again[2] != first
        host.run(["pkill", "-fx", "sleep 4712"], timeout_s=20)

    def test_one_that_dies_at_work_and_cannot_be_begun_again_may_have_done_it(self, host: Host) -> None:
        path = f"{self.directory}/passing"
        host.write_file(path, PASSING, mode=0o755)
        program = Program("passing", (path,), "")
        assert ask(host, program, "a", timeout_s=20).stdout == "done\n"
        with pytest.raises(UnknownResult, match="may have done it"):
            ask(host, program, "go", timeout_s=20)

    def test_a_program_that_is_missing(self, host: Host) -> None:
        with pytest.raises(Unavailable, match="no-such-program-here") as caught:
            ask(host, Program("none", ("no-such-program-here",), ""), "a", timeout_s=20)
        assert not isinstance(caught.value, UnknownResult)

    def test_many_ask_at_once(self, host: Host) -> None:
        with ThreadPoolExecutor(12) as pool:
            said = list(pool.map(lambda n: self.asked(host, str(n)), range(36)))
        assert [words[:2] for words in said] == [["one", str(n)] for n in range(36)]

    def test_a_request_is_one_line(self, host: Host) -> None:
        with pytest.raises(Invalid):
            ask(host, echo("one"), "a\nb", timeout_s=20)
