"""When a machine was started: what it forgets at a boot is to be told to it again."""

from __future__ import annotations

from penstock.host.runner import Host

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # random(4): another one after each boot


def boot_of(host: Host) -> str:
    """The id of the machine's present boot; empty where it has none. Raises Unavailable."""
    return (host.read_file(BOOT_ID) or "").strip()
