"""Commands in the form published drivers expect: words in, stdout and stderr out, an exception when it fails."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from penstock.errors import BackendFault
from penstock.host.runner import Host

Executor = Callable[..., tuple[str, str]]


def executor_on(host: Host, *, timeout_s: float = 60.0) -> Executor:
    """Run commands on `host`. A call may give its own ``timeout_s``; further published options have no effect here.

    The calls raise BackendFault for a non-zero exit, and what `Host.run` raises.
    """

    def run(*cmd: str, timeout_s: float = timeout_s, **_options: Any) -> tuple[str, str]:
        done = host.run(cmd, timeout_s=timeout_s)
        if done.exit_code != 0:
            raise BackendFault(f"{shlex.join(cmd)}: exit {done.exit_code}: {done.stderr.strip()}")
        return done.stdout, done.stderr

    return run
