"""Commands that only look, started by a program that is kept on the host, and not by us.

Python starts a program holding its interpreter until that runs: half a millisecond and more in which no other thread of
ours gets on. A program of its own does that elsewhere; to us it is a line on a pipe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from penstock.host import command_agent
from penstock.host.kept_program import Program, ask
from penstock.host.runner import Completed, Host

LOADER = "import json,sys;text=sys.stdin.readline();exec(compile(json.loads(text),'command_agent','exec'));main()"
SPARE_S = 5.0
"""We give up later than the program does, whose command ends with it."""


class KeptCommands:
    """A host as `host` is, for who only looks: its commands change nothing, and are run by the kept program."""

    def __init__(self, host: Host) -> None:
        self.name = host.name
        self._host = host
        opening = Path(str(command_agent.__file__)).read_text(encoding="utf-8")
        self._program = Program("commands", ("python3", "-I", "-S", "-c", LOADER), json.dumps(opening))
        self.pipe, self.read_file, self.read_files = host.pipe, host.read_file, host.read_files
        self.write_file, self.remove_file, self.swap_file = host.write_file, host.remove_file, host.swap_file

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        """See Host. Where the program does not say how the command ended it is run once more, which does no harm."""
        if stdin is not None:
            return self._host.run(argv, timeout_s=timeout_s, stdin=stdin)
        request = json.dumps({"argv": list(argv), "limit_s": int(timeout_s) + 1})
        done = ask(self._host, self._program, request, timeout_s=timeout_s + SPARE_S, told=argv)
        found = json.loads(done.stdout) if done.exit_code == 0 else {}
        if "exit_code" not in found:
            return self._host.run(argv, timeout_s=timeout_s)
        return Completed(tuple(argv), found["exit_code"], found["stdout"], found["stderr"], done.seconds)
