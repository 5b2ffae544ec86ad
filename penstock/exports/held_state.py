"""Makes NFSv4 clients of the kernel's server drop what they hold below one path. This file runs on the storage host.

`nfs_kernel` sends this source and the request on stdin to the python3 there, so it imports nothing of ours and keeps to
Python 3.6. Request: ``{"clients": "/proc/fs/nfsd/clients", "path": "/tank/share"}``. Answer on stdout:
``{"expired": number}``.

A client that opened or only read a file holds an open or a delegation, and nfsd the file, for as long as the client
lives (Linux 6.1, fs/nfsd/nfs4state.c). Only a whole client can be made to go: it comes back at once, and opens again
what it has open on other exports; what it had here is refused, since the path is no longer served.
"""

import json
import os
import pathlib
import sys
import typing


def superblock(path: str) -> str:
    """How the states of clients name the filesystem that is mounted at the path."""
    device = pathlib.Path(path).stat().st_dev
    return 'superblock: "{:02x}:{:02x}:'.format(os.major(device), os.minor(device))  # noqa: UP032 - Python 3.6


def holders(clients: pathlib.Path, mark: str) -> "typing.Iterator[pathlib.Path]":
    """Directories of the clients that hold something there."""
    for client in clients.glob("*"):
        try:
            states = (client / "states").read_text(errors="replace")
        except FileNotFoundError:  # it left meanwhile
            continue
        if mark in states:
            yield client


def main(request: "dict[str, str]") -> None:
    """See the module."""
    expired = 0
    for client in holders(pathlib.Path(request["clients"]), superblock(request["path"])):
        try:
            (client / "ctl").write_text("expire\n")
        except FileNotFoundError:
            continue
        expired += 1
    json.dump({"expired": expired}, sys.stdout)
