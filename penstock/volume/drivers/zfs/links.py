"""The paths that targets of replicated backends serve: links in ``/run``, which no machine has when it has just booted.

A target server that starts with its machine reads its own files and serves what they say, before anybody could tell it
that another machine serves the volume by now. What it is told to serve is a link, made when the control plane has
looked: without it there is nothing to serve.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import BackendFault
from penstock.host.runner import Host

FOLDER = "/run/penstock/volumes"
TIMEOUT_S = 60.0
# udev makes the name of a new zvol some time after zfs has ended; at most 10 s
_MAKE = (
    'n=0; while [ ! -e "$3" ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done; '
    'mkdir -p -m 700 -- "$1" && ln -sfn -- "$3" "$1/$2"'
)


def link_of(name: str) -> str:
    """The path of the volume called so."""
    return f"{FOLDER}/{name}"


def make_link(host: Host, name: str, path: str) -> str:
    """Have the link lead to the device or file; the link's own path. Safe to repeat."""
    done = host.run(["sh", "-c", _MAKE, "penstock-link", FOLDER, name, path], timeout_s=TIMEOUT_S)
    if done.exit_code != 0:
        raise BackendFault(f"{link_of(name)} could not be made: {done.stderr.strip()}")
    return link_of(name)


def remove_links(host: Host, names: Sequence[str]) -> None:
    """Have no links of these names; it is fine when there are none."""
    if not names:
        return
    done = host.run(["rm", "-f", "--", *map(link_of, names)], timeout_s=TIMEOUT_S)
    if done.exit_code != 0:
        raise BackendFault(f"links in {FOLDER} could not be removed: {done.stderr.strip()}")
