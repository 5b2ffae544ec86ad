"""Streams between hosts: what arrives, what is told of both ends, and that nothing runs on when somebody goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Cancelled, Invalid, Unavailable, UnknownResult, Unsupported
from penstock.host.audit import AuditedHost
from penstock.host.joined import Programs
from penstock.host.local import LocalHost
from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.host.streaming import Route, Watching
from tests.contract.host_contract import AWKWARD
from tests.contract.remote_host import Remote
from tests.waiting import until

# counts what it gets and says so at the end
COUNT = ("sh", "-c", "wc -c >&2")
ENDLESS = ("sh", "-c", 'while :; do echo "$1"; sleep 0.05; done', "sh", "x" * 100)


def marked(word: str) -> list[int]:
    """Pids of processes here or in the lab's namespaces that have the word as an argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word.encode() in words:
            found.append(int(path.parent.name))
    return found


@contextmanager
def hosts_of(request: Any, kind: str) -> Iterator[tuple[Host, Host]]:
    if kind == "lab":
        yield request.getfixturevalue("lab_ssh_hosts")
        return
    if kind == "namespaces":
        lab = request.getfixturevalue("lab")
        yield lab.host("h1"), lab.host("h2")
        return
    prefix = ("sudo", "-n") if kind == "sudo" else ()
    if prefix and (shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], check=False).returncode):
        pytest.skip("no sudo without a password here")
    yield LocalHost("one", prefix=prefix), AuditedHost(LocalHost("two", prefix=prefix))


KINDS = [
    ("local", "one host"),
    ("local", "relay"),
    ("sudo", "relay"),
    pytest.param(("namespaces", "relay"), marks=pytest.mark.lab),
    pytest.param(("lab", "one host"), marks=pytest.mark.lab),
    pytest.param(("lab", "direct"), marks=pytest.mark.lab),
    pytest.param(("lab", "relay"), marks=pytest.mark.lab),
]


@pytest.fixture(params=KINDS, ids="-".join)
def route(request: Any) -> Iterator[Route]:
    kind, name = request.param
    with hosts_of(request, kind) as (source, target):
        found = SshRoutes(direct=name == "direct").between(source, source if name == "one host" else target)
        assert found.name == name
        yield found


class TestRoute:
    """The contract of `Route`."""

    def test_everything_arrives(self, route):
        first, second = route.run(["seq", "300000"], COUNT, timeout_s=60)
        assert (first.exit_code, first.stdout) == (0, "")
        assert (second.exit_code, second.stderr.strip()) == (0, "1988895")

    def test_both_ends_are_told_apart(self, route):
        source = ["sh", "-c", "echo from source >&2; echo data; exit 4"]
        target = ["sh", "-c", "cat >/dev/null; echo from target >&2; exit 255"]
        first, second = route.run(source, target, timeout_s=20)
        assert (first.exit_code, first.stderr) == (4, "from source\n")
        assert (second.exit_code, second.stderr) == (255, "from target\n")
        assert (first.argv, second.argv) == (tuple(source), tuple(target))

    def test_arguments_arrive_as_they_are(self, route):
        words = [word for word in AWKWARD if word]
        say = ["sh", "-c", 'cat >/dev/null; for word; do printf "<%s>" "$word" >&2; done', "sh", *words]
        first, second = route.run(say, say, timeout_s=20, watching=Watching(counts=False))
        expected = "".join(f"<{word}>" for word in words)
        assert (first.stderr.strip("\n"), second.stderr.strip("\n")) == (expected, expected)

    def test_a_source_whose_target_ends_ends_too(self, route):
        first, second = route.run(["yes"], ["sh", "-c", "head -c 10 >/dev/null; exit 3"], timeout_s=20)
        assert first.exit_code != 0
        assert second.exit_code == 3

    @pytest.mark.parametrize("ends", [("no-such-program-here", "cat"), ("echo", "no-such-program-here")])
    def test_a_missing_program_says_which(self, route, ends):
        with pytest.raises(Unavailable, match="no-such-program-here"):
            route.run([ends[0]], [ends[1]], timeout_s=20)

    def test_what_cannot_run_is_invalid(self, route):
        for ends in ([[], ["cat"]], [["echo"], ["ca\0t"]]):
            with pytest.raises(Invalid):
                route.run(*ends, timeout_s=20)

    def test_deadline(self, route):
        mark = f"deadline-{os.getpid()}-{time.monotonic_ns()}"
        started = time.monotonic()
        with pytest.raises(UnknownResult):
            route.run([*ENDLESS, mark], ["sh", "-c", "cat >/dev/null", mark], timeout_s=2)
        assert time.monotonic() - started < 30
        until(lambda: not marked(mark))

    def test_cancelled_means_ended_at_both_ends(self, route):
        mark = f"cancel-{os.getpid()}-{time.monotonic_ns()}"
        lines: list[str] = []
        source = ["sh", "-c", 'echo begun >&2; while :; do echo "$1"; sleep 0.05; done', "sh", "data", mark]
        with pytest.raises(Cancelled):
            watching = Watching(on_source_line=lines.append, should_stop=lambda: bool(lines))
            route.run(source, ["sh", "-c", "cat >/dev/null", mark], timeout_s=60, watching=watching)
        assert lines[0] == "begun"
        until(lambda: not marked(mark))

    def test_progress_and_limit(self, route):
        moved: list[int] = []
        started = time.monotonic()
        watching = Watching(moved.append, limit_bytes_per_s=2_000_000)
        done = route.run(["head", "-c", "6000000", "/dev/zero"], COUNT, timeout_s=60, watching=watching)
        assert done[1].stderr.strip() == "6000000"
        assert 1.5 < time.monotonic() - started < 45
        assert moved == sorted(moved)
        assert len(moved) >= 2
        assert moved[-1] == 6_000_000

    def test_two_at_once(self, route):
        watching = Watching(counts=False)
        for _ in range(2):
            assert route.run(["echo", "x"], COUNT, timeout_s=20, watching=watching)[1].stderr.strip() == "2"


DAEMON = """
import sys
from pathlib import Path
from penstock.host.local import LocalHost
from penstock.host.routes import SshRoutes
from lab.hosts import Lab
kind, name, mark, tag, directory, prefix = sys.argv[1:]
source, target = LocalHost("h1"), LocalHost("h2")
if kind != "local":
    lab = Lab(tag, Path(directory), prefix)
    source, target = ((lab.ssh_host if kind == "lab" else lab.host)(name) for name in ("h1", "h2"))
route = SshRoutes(direct=name == "direct").between(source, source if name == "one host" else target)
endless = ["sh", "-c", 'while :; do echo "$1"; sleep 0.05; done', "sh", "x", mark]
route.run(endless, ["sh", "-c", "cat >/dev/null", mark], timeout_s=600)
"""


@pytest.mark.parametrize(
    "way",
    [
        ("local", "one host"),
        ("local", "relay"),
        pytest.param(("namespaces", "relay"), marks=pytest.mark.lab),
        pytest.param(("lab", "one host"), marks=pytest.mark.lab),
        pytest.param(("lab", "direct"), marks=pytest.mark.lab),
        pytest.param(("lab", "relay"), marks=pytest.mark.lab),
    ],
    ids="-".join,
)
def test_when_the_daemon_is_killed_both_ends_end(request, way):
    kind, name = way
    mark = f"killed-{os.getpid()}-{time.monotonic_ns()}"
    where = ("-", "/nonexistent", "-")
    if kind != "local":
        lab = request.getfixturevalue("lab")
        where = (lab.network.tag, str(lab.directory), lab.network.prefix)
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, kind, name, mark, *where])
    try:
        until(lambda: len([pid for pid in marked(mark) if pid != daemon.pid]) >= 2)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    until(lambda: not marked(mark))


@pytest.mark.lab
def test_a_receive_whose_source_lost_its_power_ends(request, lab):
    """The target's connection to the source is never closed by anybody: only the guard's lifeline tells."""
    source, target = request.getfixturevalue("lab_ssh_hosts")
    mark = f"power-{os.getpid()}-{time.monotonic_ns()}"
    route = SshRoutes().between(source, target)
    assert route.name == "direct"
    killed: list[int] = []

    def cut_the_power(line: str) -> None:
        until(lambda: len(marked(mark)) >= 2)
        lab.kill("h1")
        killed.append(1)

    begin = ["sh", "-c", 'echo begun >&2; while :; do echo "$1"; sleep 0.05; done', "sh", "data", mark]
    try:
        with pytest.raises(Unavailable):
            route.run(
                begin,
                ["sh", "-c", "cat >/dev/null", mark],
                timeout_s=120,
                watching=Watching(on_source_line=cut_the_power),
            )
        assert killed
        until(lambda: not marked(mark))
    finally:
        lab.start("h1")


def test_a_limit_that_nothing_keeps_is_unsupported():
    class Bare(LocalHost):
        def run(self, argv, **options):
            return super().run(["sh", "-c", "exit 0"], **options)

    programs = Programs()
    assert programs.between(Bare("bare"), Watching()) == ("cat",)
    assert programs.between(Bare("bare"), Watching(counts=False)) == ()
    with pytest.raises(Unsupported, match="apt-get install pv"):
        programs.between(Bare("bare"), Watching(limit_bytes_per_s=1000))


def test_the_way_is_looked_at_now_and_then():
    now = [0.0]
    source, target = Remote("one"), Remote("two")
    routes = SshRoutes(monotonic_s=lambda: now[0])
    assert [routes.between(source, target).name for _ in range(3)] == ["direct"] * 3
    assert source.probes == 1
    source.answer = "echo no way >&2; exit 255"
    now[0] = 1000.0
    assert [routes.between(source, target).name for _ in range(3)] == ["relay"] * 3
    assert source.probes == 2
    source.answer = "exit 0"
    now[0] = 2000.0
    assert routes.between(source, target).name == "direct"
    assert SshRoutes(direct=False).between(source, target).name == "relay"
    assert routes.between(LocalHost("here"), target).name == "relay"
    assert routes.between(source, LocalHost("here")).name == "relay"
    assert routes.between(source, source).name == "one host"
