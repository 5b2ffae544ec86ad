"""`Host` under contract: simulated, this machine, a namespace of it, and by ssh with a key and with a password."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from lab.hosts import Lab
from penstock.errors import BackendFault, Invalid, Unavailable, UnknownResult
from penstock.host.audit import AuditedHost
from penstock.host.kept_commands import KeptCommands
from penstock.host.kept_program import ask
from penstock.host.local import LocalHost
from penstock.host.runner import Host
from penstock.host.ssh import SshHost
from tests.contract.host_contract import HostContract, KeepingContract, SmallHostContract, echo
from tests.simulation.zfs_host import SimulatedHost
from tests.waiting import until


@pytest.fixture(scope="module")
def key_host(lab: Lab) -> Iterator[SshHost]:
    """h1 by ssh, one connection for all tests."""
    host = lab.ssh_host("h1")
    yield host
    host.close()


@pytest.fixture(scope="module")
def password_host(lab: Lab) -> Iterator[SshHost]:
    host = lab.ssh_host("h1", with_password=True)
    yield host
    host.close()


def await_end(pid: int) -> None:
    """Until the process is no more, or waits to be reaped by whoever became its parent."""
    stat = Path(f"/proc/{pid}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


class TestSimulated(SmallHostContract):
    @pytest.fixture
    def host(self) -> Host:
        return SimulatedHost()


class TestKeptCommands(HostContract):
    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        self.directory = str(tmp_path)
        return KeptCommands(LocalHost("here"))

    def test_what_takes_too_long_is_ended_where_it_runs(self, host: Host, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        with pytest.raises(UnknownResult):
            host.run(["sh", "-c", 'echo $$ > "$1"; exec sleep 300', "sh", str(file)], timeout_s=0.2)
        await_end(int(file.read_text()))

    def test_one_program_runs_them_all(self, host: Host) -> None:
        seen = {host.run(["sh", "-c", "echo $PPID"], timeout_s=20).stdout for _ in range(3)}
        assert len(seen) == 1
        assert seen != {f"{os.getpid()}\n"}


class TestLocal(KeepingContract):
    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        self.directory = str(tmp_path)
        return LocalHost("here")

    def test_nothing_of_our_own_environment_leaks(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PENSTOCK_SECRET", "x")
        assert "PENSTOCK_SECRET" not in host.run(["env"], timeout_s=20).stdout

    def test_missing_zfs_says_how_to_get_it(self) -> None:
        bare = LocalHost("bare", environment={"PATH": "/nonexistent"})
        with pytest.raises(Unavailable, match=r"apt-get install zfsutils-linux .* or zfs-fuse"):
            bare.run(["zfs", "list"], timeout_s=20)

    def test_deadline_reaches_the_children_too(self, host: Host, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"
        with pytest.raises(UnknownResult):
            host.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout_s=0.5)
        await_end(int(pid_file.read_text()))

    def test_its_mounts_are_at_hand(self) -> None:
        host = LocalHost("here")
        assert (host.mounts() or b"").decode() == host.run(["cat", "/proc/self/mounts"], timeout_s=20).stdout

    def test_a_mode_is_set_without_a_program(self, tmp_path: Path) -> None:
        host = AuditedHost(LocalHost("here"))
        with structlog.testing.capture_logs() as lines:
            assert host.set_mode(str(tmp_path), 0o1777, timeout_s=20)
        assert oct(tmp_path.stat().st_mode & 0o7777) == oct(0o1777)
        assert [(line["event"], line["path"], line["mode"]) for line in lines] == [
            ("host.mode_set", str(tmp_path), "1777")
        ]
        with pytest.raises(BackendFault, match="No such file or directory"):
            host.set_mode(str(tmp_path / "gone"), 0o777, timeout_s=20)

    def test_a_kept_program_ends_with_the_host(self, tmp_path: Path) -> None:
        host = LocalHost("gone")
        pid = int(ask(host, echo("one"), "a", timeout_s=20).stdout.split()[2])
        del host
        await_end(pid)

    def test_a_kept_program_ends_with_a_process_that_is_killed(self) -> None:
        code = (
            "import sys, time; from penstock.host.kept_program import ask; from penstock.host.local import LocalHost\n"
        )
        code += "from tests.contract.host_contract import echo\n"
        code += (
            "host = LocalHost('x'); print(ask(host, echo('one'), 'a', timeout_s=20).stdout, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            pid = int(other.stdout.readline().split()[2])
            other.kill()
        await_end(pid)


class TestLocalWithPrefix(KeepingContract):
    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        self.directory = str(tmp_path)
        return LocalHost("wrapped", prefix=("env", "WRAPPED=1"))

    def test_what_commands_see_and_may_is_not_ours_to_tell(self, tmp_path: Path) -> None:
        """They may be somebody else's, in another namespace."""
        host = AuditedHost(LocalHost("wrapped", prefix=("env", "WRAPPED=1")))
        assert host.mounts() is None
        assert not host.set_mode(str(tmp_path), 0o777, timeout_s=20)


class TestAudited(KeepingContract):
    @pytest.fixture
    def host(self, tmp_path: Path) -> Host:
        self.directory = str(tmp_path)
        return AuditedHost(LocalHost("audited"))

    def test_a_line_per_command(self, host: Host) -> None:
        with structlog.testing.capture_logs() as lines:
            host.run(["sh", "-c", "cat; exit 2"], timeout_s=20, stdin="secret")
            with pytest.raises(UnknownResult):
                host.run(["sleep", "9"], timeout_s=0.2)
        (command, unanswered) = lines
        assert (command["event"], command["host"], command["exit_code"]) == ("host.command", "audited", 2)
        assert command["argv"] == ["sh", "-c", "cat; exit 2"]
        assert command["seconds"] > 0
        assert "secret" not in str(lines)
        assert (unanswered["event"], unanswered["fault"]) == ("host.no_answer", "UnknownResult")

    def test_a_line_per_request_to_a_program(self, host: Host) -> None:
        with structlog.testing.capture_logs() as lines:
            ask(host, echo("secret"), "secret", timeout_s=20, told=["change", "it"])
            with pytest.raises(UnknownResult):
                ask(host, echo("secret"), "hang", timeout_s=0.2, told=["wait"])
        (asked, unanswered) = lines
        assert (asked["event"], asked["program"], asked["asked"]) == ("host.program_asked", "echo", ["change", "it"])
        assert (unanswered["event"], unanswered["asked"]) == ("host.no_answer", ["wait"])
        assert "secret" not in str(lines)


@pytest.mark.lab
class TestNamespace(KeepingContract):
    @pytest.fixture
    def host(self, lab: Lab) -> Host:
        return lab.host("h1")

    def test_it_is_another_machine(self, host: Host, lab: Lab) -> None:
        assert host.run(["hostname"], timeout_s=20).stdout == "h1\n"
        assert host.run(["zpool", "list", "-H", "-o", "name"], timeout_s=20).stdout == "tank\n"
        banner = ["bash", "-c", 'exec 3<>"/dev/tcp/$0/22"; head -c 4 <&3', lab.address("h1")]
        assert lab.client("c1").run(banner, timeout_s=20).stdout == "SSH-"


class SshContract(KeepingContract):
    def test_shared_connection_is_renewed(self, host: SshHost) -> None:
        assert host.run(["true"], timeout_s=20).exit_code == 0
        host.close()
        assert host.run(["true"], timeout_s=20).exit_code == 0

    def test_commands_share_a_connection(self, host: SshHost) -> None:
        ports = {host.run(["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=20).stdout for _ in range(3)}
        assert len(ports) == 1

    def test_kept_shells_are_renewed_with_the_connection(self, host: SshHost) -> None:
        for _ in range(2):
            assert host.run(["cat", "/etc/hostname"], timeout_s=20).exit_code == 0
            host.close()

    def test_kept_shell_past_the_deadline(self, host: SshHost) -> None:
        made = host.run(["sh", "-c", 'mkfifo "$0" || [ -p "$0" ]', "/run/never-written"], timeout_s=20)
        assert made.exit_code == 0
        with pytest.raises(UnknownResult):
            host.run(["cat", "/run/never-written"], timeout_s=0.3)
        assert host.run(["cat", "/no/such/file"], timeout_s=20).exit_code == 1

    def test_kept_shells_leave_sessions_to_others(self, host: SshHost) -> None:
        words = [["cat", "/proc/loadavg"], ["sh", "-c", "sleep 0.1"]] * 12
        with ThreadPoolExecutor(len(words)) as pool:
            ends = list(pool.map(lambda argv: host.run(argv, timeout_s=30), words))
        assert {end.exit_code for end in ends} == {0}

    def test_kept_programs_leave_sessions_to_others(self, host: SshHost) -> None:
        with ThreadPoolExecutor(16) as pool:
            commands = [pool.submit(host.run, ["sh", "-c", "sleep 0.1"], timeout_s=30) for _ in range(16)]
            answers = [pool.submit(ask, host, echo(str(n % 3)), "a", timeout_s=30) for n in range(16)]
            assert {command.result().exit_code for command in commands} == {0}
            assert {answer.result().exit_code for answer in answers} == {0}

    def test_a_kept_program_ends_with_the_connection(self, host: SshHost) -> None:
        pid = ask(host, echo("one"), "a", timeout_s=20).stdout.split()[2]
        host.close()
        until(lambda: host.run(["kill", "-0", pid], timeout_s=20).exit_code != 0)

    def test_remote_command_ends_soon_after_our_deadline(self, host: SshHost) -> None:
        with pytest.raises(UnknownResult):
            host.run(["sleep", "4711"], timeout_s=0.3)
        until(lambda: host.run(["pgrep", "-fx", "sleep 4711"], timeout_s=20).exit_code != 0)


@pytest.mark.lab
class TestSshWithKey(SshContract):
    @pytest.fixture
    def host(self, key_host: SshHost) -> SshHost:
        return key_host

    @pytest.mark.parametrize("words", [["true"], ["cat", "/etc/hostname"]], ids=["client", "kept-shell"])
    def test_stuck_connection_is_dropped_and_renewed(self, host: SshHost, words: list[str]) -> None:
        host.run(words, timeout_s=20)
        master = host._master._pid
        assert master is not None
        os.kill(master, signal.SIGSTOP)
        with pytest.raises(UnknownResult):
            host.run(words, timeout_s=0.5)
        assert host.run(words, timeout_s=20).exit_code == 0
        assert host.run(["echo", "anew"], timeout_s=20).stdout == "anew\n"
        assert host._master._pid != master
        await_end(master)


@pytest.mark.lab
class TestSshWithPassword(SshContract):
    @pytest.fixture
    def host(self, password_host: SshHost) -> SshHost:
        return password_host

    def test_repr_and_faults_do_not_tell_the_password(self, host: SshHost, lab: Lab) -> None:
        with pytest.raises(Unavailable) as caught:
            host.run(["no-such-program-here"], timeout_s=20)
        assert lab.password not in f"{caught.value!r}{host._master.account!r}"

    def test_password_leaves_no_trace(self, host: SshHost, lab: Lab) -> None:
        host.close()
        host.run(["true"], timeout_s=20)
        assert {path.name for path in (lab.directory / "ssh").rglob("*") if not path.is_socket()} == set()
        told = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(lab.password.encode() in words for words in told)


@pytest.mark.kernel
class TestKernelMachine(SmallHostContract):
    """The same code as the lab's ssh; what a slow machine could change is the time, so the small part will do."""

    @pytest.fixture
    def host(self, kernel_host: Host) -> Host:
        return kernel_host

    def test_it_has_the_real_thing(self, host: SshHost) -> None:
        assert host.run(["zfs", "version"], timeout_s=20).stdout.startswith("zfs-2.")
        assert host.run(["zpool", "list", "-H", "-o", "health", "tank"], timeout_s=20).stdout == "ONLINE\n"


@pytest.mark.lab
class TestSshRefusals:
    """Everything that keeps us from logging in is Unavailable, with ssh's reason, and quickly."""

    def ssh(self, lab: Lab, directory: Path, **changed: object) -> SshHost:
        settings: dict[str, object] = {
            "user": "root",
            "private_key_path": str(lab.key_path),
            "known_hosts_path": str(lab.known_hosts_path),
            "control_dir": directory / "s",
            "connect_timeout_s": 2,
        }
        address = changed.pop("address", lab.address("h1"))
        return SshHost("x", str(address), **(settings | changed))

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            pytest.param({"password": "wrong", "private_key_path": None}, "Permission denied", id="password"),
            pytest.param({"user": "nobody"}, "Permission denied", id="user"),
            pytest.param({"port": 2222}, "Connection refused", id="port"),
            pytest.param({"known_hosts_path": "/dev/null"}, "Host key verification failed", id="host-key"),
            pytest.param({"address": "198.51.100.1"}, "cannot be reached", id="nobody-there"),
        ],
    )
    def test_refused(self, lab: Lab, tmp_path_factory, changed: dict[str, object], reason: str) -> None:
        host = self.ssh(lab, tmp_path_factory.mktemp("c"), **changed)
        with pytest.raises(Unavailable, match=reason) as caught:
            host.run(["true"], timeout_s=20)
        assert not isinstance(caught.value, UnknownResult)

    def test_control_directory_open_to_others_is_refused(self, lab: Lab, tmp_path_factory) -> None:
        short = tmp_path_factory.mktemp("c")  # a test's own folder may be too long for a socket
        (short / "s").mkdir(mode=0o755)
        with pytest.raises(Invalid, match="open to others"):
            self.ssh(lab, short)

    def test_control_path_too_long_is_refused_at_once(self, lab: Lab, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match="too long"):
            self.ssh(lab, tmp_path / ("x" * 90))


@pytest.mark.lab
class TestPowerCut:
    """A host that dies in the middle of a command: the result is unknown, then it is Unavailable, then it is back."""

    @pytest.mark.parametrize("how", ["namespace", "ssh"])
    def test_power_cut(self, lab: Lab, how: str) -> None:
        host = lab.host("h2") if how == "namespace" else lab.ssh_host("h2")
        assert host.run(["true"], timeout_s=20).exit_code == 0
        caught: list[BaseException] = []

        def command() -> None:
            try:
                host.run(["sh", "-c", "echo begun > /run/begun; sleep 60"], timeout_s=40)
            except UnknownResult as err:
                caught.append(err)

        running = threading.Thread(target=command)
        running.start()
        until(lambda: lab.host("h2").read_file("/run/begun") == "begun\n")
        lab.kill("h2")
        running.join(30)
        try:
            assert [type(err) for err in caught] == [UnknownResult]
            with pytest.raises(Unavailable):
                host.run(["true"], timeout_s=5)
        finally:
            lab.start("h2")
        assert host.run(["zpool", "list", "-H", "-o", "health", "tank"], timeout_s=20).stdout == "ONLINE\n"
        if isinstance(host, SshHost):
            host.close()
