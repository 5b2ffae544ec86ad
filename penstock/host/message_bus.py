"""A host's system message bus (D-Bus), spoken to directly: one connection that is kept, a call in half a millisecond.

`dbus-send` takes 3 to 5 ms for the same: it starts, connects, logs in and asks. Behind a prefix (sudo) or ssh there is
no socket of the right user to connect to, and `dbus-send` is what is used.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, message_bus, new_method_call
from jeepney.auth import BEGIN, Authenticator

from penstock.errors import Unavailable

SYSTEM = "/run/dbus/system_bus_socket"
CHUNK = 65536

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class BusCall:
    """A method of a service. `signature` says the types of `arguments` in D-Bus' letters (``s`` text, ``q`` uint16)."""

    service: str
    path: str
    interface: str
    method: str
    signature: str
    arguments: Values


@dataclass(frozen=True, slots=True)
class BusAnswer:
    """What came back: values, or the error's name and text."""

    values: Values
    error: str | None
    seconds: float


class MessageBus(Protocol):
    """A system bus. Threads may share it."""

    def call(self, call: BusCall, *, timeout_s: float) -> BusAnswer:
        """Call and wait; an error is an answer, not an exception.

        Raises Unavailable when the bus cannot be reached, or no answer came (the call may have taken effect).
        """
        ...


@runtime_checkable
class BusHost(Protocol):
    """A host that may have a bus that we can speak to."""

    @property
    def bus(self) -> MessageBus | None:
        """None: only programs there can."""
        ...


class SystemBus:
    """The bus at the socket `address`, by one connection, made when it is first needed and again when it was lost."""

    def __init__(self, host_name: str, address: str = SYSTEM) -> None:
        self._host_name = host_name
        self._address = address
        self._lock = threading.Lock()  # one conversation at a time on the connection
        self._connection: _Connection | None = None

    def call(self, call: BusCall, *, timeout_s: float) -> BusAnswer:
        """See MessageBus."""
        started = time.monotonic()
        deadline = started + timeout_s
        where = DBusAddress(call.path, call.service, call.interface)
        message = new_method_call(where, call.method, call.signature or None, call.arguments)
        if not self._lock.acquire(timeout=timeout_s):
            raise Unavailable(f"{self._host_name}: {call.service} has kept others waiting for {timeout_s:g} s")
        try:
            answer = self._connected(deadline).ask(message, deadline)
        except (OSError, ValueError) as err:  # whatever it was (ValueError: jeepney's), the next call begins afresh
            self._hang_up()
            raise Unavailable(f"{self._host_name}: {call.service} did not answer on the bus: {err}") from err
        finally:
            self._lock.release()
        seconds = time.monotonic() - started
        values: Values = tuple(answer.body or ())
        if answer.header.message_type is not MessageType.error:
            return BusAnswer(values, None, seconds)
        name = str(answer.header.fields.get(HeaderFields.error_name, "an error without a name"))
        return BusAnswer((), f"{name}: {' '.join(map(str, values))}", seconds)

    def _connected(self, deadline: float) -> _Connection:
        if self._connection is not None and self._connection.is_ended():
            self._hang_up()
        if self._connection is None:
            self._connection = _Connection(self._address, deadline)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Connection:
    """Logged in to a bus. Our own loop, since that of jeepney waits for the first answer without a deadline.

    Raises OSError (TimeoutError at the deadline) and ValueError (not understood); then it is to be closed.
    """

    def __init__(self, address: str, deadline: float) -> None:
        self._parser = Parser()
        self._serials = itertools.count(1)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._wait(deadline)
            self._socket.connect(address)
            self._socket.sendall(b"\0")
            self._log_in(deadline)
            self.ask(message_bus.Hello(), deadline)
        except BaseException:
            self._socket.close()
            raise

    def _log_in(self, deadline: float) -> None:
        login = Authenticator(inc_null_byte=False)
        for data in login:
            self._wait(deadline)
            self._socket.sendall(data)
            login.feed(self._received())
        self._socket.sendall(BEGIN)

    def ask(self, message: Message, deadline: float) -> Message:
        """Send, and wait for the answer to just this. What else comes, signals or late answers, is nobody's."""
        serial = next(self._serials)
        self._wait(deadline)
        self._socket.sendall(message.serialise(serial=serial))
        while True:
            answer = self._parser.get_next_message()
            if answer is None:
                self._wait(deadline)
                self._parser.add_data(self._received())
            elif answer.header.fields.get(HeaderFields.reply_serial) == serial:
                return answer

    def is_ended(self) -> bool:
        """Did the bus hang up while nobody looked (its restart)?"""
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _wait(self, deadline: float) -> None:
        """Let the next thing the socket does take until the deadline."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left_s)

    def _received(self) -> bytes:
        data = self._socket.recv(CHUNK)
        if not data:
            raise ConnectionResetError("the bus hung up")
        return data
