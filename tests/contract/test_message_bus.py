"""The kept connection to a message bus, against a real dbus-daemon of the test's own."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from penstock.errors import Unavailable
from penstock.host.audit import AuditedHost
from penstock.host.local import LocalHost
from penstock.host.message_bus import BusCall, SystemBus

BUS = "org.freedesktop.DBus"
HAS_OWNER = BusCall(BUS, "/org/freedesktop/DBus", BUS, "NameHasOwner", "s", (BUS,))
pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="needs dbus-daemon (apt install dbus)")


class Daemon:
    """A dbus-daemon that can be restarted at the same place."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "bus"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = ("dbus-daemon", "--session", f"--address=unix:path={self.socket}", "--nofork", "--print-address")
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        assert self._process.stdout.readline()  # it listens once it has said where

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self.socket.unlink(missing_ok=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def bus(daemon: Daemon) -> SystemBus:
    return SystemBus("here", str(daemon.socket))


def test_an_answer_is_its_values(bus: SystemBus) -> None:
    answer = bus.call(HAS_OWNER, timeout_s=5)
    assert (answer.values, answer.error) == ((1,), None)
    assert answer.values[0] is not None
    assert bus.call(BusCall(BUS, "/", BUS, "GetId", "", ()), timeout_s=5).error is None


def test_an_error_is_an_answer(bus: SystemBus) -> None:
    nobody = BusCall("org.ganesha.nfsd", "/", "org.ganesha.nfsd", "ShowExports", "q", (7,))
    answer = bus.call(nobody, timeout_s=5)
    assert answer.values == ()
    assert (answer.error or "").startswith("org.freedesktop.DBus.Error.ServiceUnknown: ")
    assert bus.call(HAS_OWNER, timeout_s=5).error is None


def test_a_restarted_bus_is_found_again(bus: SystemBus, daemon: Daemon) -> None:
    for _ in range(2):
        assert bus.call(HAS_OWNER, timeout_s=5).error is None
        daemon.stop()
        daemon.start()
    assert bus.call(HAS_OWNER, timeout_s=5).error is None


def test_a_bus_that_is_away_is_unavailable_until_it_is_back(bus: SystemBus, daemon: Daemon) -> None:
    bus.call(HAS_OWNER, timeout_s=5)
    daemon.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"here: org\.freedesktop\.DBus did not answer"):
            bus.call(HAS_OWNER, timeout_s=5)
    daemon.start()
    assert bus.call(HAS_OWNER, timeout_s=5).error is None


def test_a_call_has_a_deadline(bus: SystemBus) -> None:
    bus.call(HAS_OWNER, timeout_s=5)
    with pytest.raises(Unavailable, match="in time"):  # nothing answers in no time at all
        bus.call(HAS_OWNER, timeout_s=0)
    assert bus.call(HAS_OWNER, timeout_s=5).error is None


def test_a_bus_that_says_nothing_does_not_keep_us(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with pytest.raises(Unavailable, match="did not answer"):
            SystemBus("here", str(tmp_path / "mute")).call(HAS_OWNER, timeout_s=0.2)


def test_threads_share_it(bus: SystemBus) -> None:
    names = [f"org.example.n{n}" for n in range(40)] + [BUS]
    calls = [BusCall(BUS, "/org/freedesktop/DBus", BUS, "NameHasOwner", "s", (name,)) for name in names]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: bus.call(call, timeout_s=20), calls))
    assert [bool(answer.values[0]) for answer in answers] == [name == BUS for name in names]


def test_a_call_is_in_the_audit(bus: SystemBus, caplog: pytest.LogCaptureFixture) -> None:
    class Here(LocalHost):
        @property
        def bus(self) -> SystemBus:  # type: ignore[override]
            return bus

    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs], logger_factory=structlog.stdlib.LoggerFactory()
    )
    try:
        audited = AuditedHost(Here("here")).bus
        assert audited is not None
        with caplog.at_level(logging.INFO):
            audited.call(HAS_OWNER, timeout_s=5)
    finally:
        structlog.reset_defaults()
    (record,) = [record for record in caplog.records if record.message == "host.bus_call"]
    assert record.bus_call[2:] == [f"{BUS}.NameHasOwner", BUS]  # type: ignore[attr-defined]


def test_behind_a_prefix_there_is_no_bus_of_ours() -> None:
    assert LocalHost("here", prefix=("sudo", "-n")).bus is None
    assert AuditedHost(LocalHost("here", prefix=("sudo", "-n"))).bus is None
