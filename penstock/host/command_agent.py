"""Runs one command after the other, as it is asked to. This file runs on the storage host.

`kept_commands` sends this source on stdin to the python3 there, so it imports nothing of ours and keeps to Python 3.9.

Request: ``{"argv": [str], "limit_s": int}``. Answer: ``{"exit_code": int, "stdout": str, "stderr": str}``, or ``{}``
for a command that could not be started, or was killed. One that takes longer than its limit ends us.
"""

import json
import os
import select
import signal
import sys
import typing

if typing.TYPE_CHECKING:
    Answer = dict[str, typing.Any]

LINGER_MS = 200
IDLE_S = 900  # nobody asks: who lost the connection to us may never have told


def run(argv):  # type: (list[str]) -> Answer
    """See the module."""
    # not by subprocess, which takes as long for its preparations as the start itself
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in ((out_end, 1), (err_end, 2))]
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[nothing, *actions])
    except OSError:
        os.close(out)
        os.close(err)
        return {}
    finally:
        os.close(out_end)
        os.close(err_end)
    signal.signal(signal.SIGALRM, lambda *_: late(pid))
    said = said_by(os.pidfd_open(pid), (out, err))
    _, status = os.waitpid(pid, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if not os.WIFEXITED(status):
        return {}
    stdout, stderr = (data.decode(errors="backslashreplace") for data in said)
    return {"exit_code": os.WEXITSTATUS(status), "stdout": stdout, "stderr": stderr}


def late(pid):  # type: (int) -> None
    """The command takes too long: it ends, and we do."""
    os.kill(pid, signal.SIGKILL)
    os._exit(1)


def said_by(command, pipes):  # type: (int, tuple[int, ...]) -> list[bytes]
    """All that it said, when it has ended; whoever it left behind may hold the pipes a moment longer, not for good."""
    said = dict.fromkeys(pipes, b"")
    poll = select.poll()
    for one in (command, *pipes):
        poll.register(one, select.POLLIN)
    open_ends, wait_ms = {command, *pipes}, None  # type: set[int], int | None
    while open_ends:
        ready = poll.poll(wait_ms)
        if not ready:
            break
        for one, _ in ready:
            data = b"" if one == command else os.read(one, 65536)
            if data:
                said[one] += data
                continue
            poll.unregister(one)
            open_ends.discard(one)
            if one == command:
                wait_ms = LINGER_MS
    for one in (command, *pipes):
        os.close(one)
    return list(said.values())


def main():  # type: () -> None
    """Answer until the end of the input."""
    os.chdir("/")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        signal.alarm(IDLE_S)
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        signal.alarm(request["limit_s"])
        sys.stdout.write(json.dumps(run(request["argv"])) + "\n")
        sys.stdout.flush()
