"""Commands in the form published drivers expect: words in, stdout and stderr out, an exception when it fails."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from penstock.errors import BackendFault, Fault
from penstock.host.runner import Completed, Host

Executor = Callable[..., tuple[str, str]]


def backend_fault(done: Completed) -> Fault:
    """What a failed command means when nothing is known of its words."""
    return BackendFault(f"{shlex.join(done.argv)}: exit {done.exit_code}: {done.stderr.strip()}")


def executor_on(
    host: Host, *, timeout_s: float = 60.0, fault_of: Callable[[Completed], Fault] = backend_fault
) -> Executor:
    """Run commands on `host`. A call may give its own ``timeout_s``; further published options have no effect here.

    The calls raise what `fault_of` makes of a non-zero exit, and what `Host.run` raises.
    """

    def run(*cmd: str, timeout_s: float = timeout_s, **_options: Any) -> tuple[str, str]:
        done = host.run(cmd, timeout_s=timeout_s)
        if done.exit_code != 0:
            raise fault_of(done)
        return done.stdout, done.stderr

    return run
