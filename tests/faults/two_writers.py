"""Watches storage hosts, from below everything of ours, for two copies of a share that accept writes in one reign."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.errors import Fault
from penstock.share.drivers.zfsonlinux.identity import SHARE_ID
from penstock.zfs.properties import parse_get
from penstock.zfs.reigns import EPOCH
from tests.product.pairs import ROOT, Machine

PROPERTIES = ("mounted", "readonly", EPOCH, SHARE_ID)
LOOK_S = 10.0

Writable = Mapping[str, str]  # share → the reign in which this host's copy accepts writes


def writable_on(machine: Machine) -> Writable:
    """One command. Nothing where the host is dead or does not answer."""
    argv = ("zfs", "get", "-Hp", "-r", "-o", "name,property,value,source", ",".join(PROPERTIES), ROOT)
    try:
        done = machine.host.run(argv, timeout_s=LOOK_S)
    except Fault:
        return {}
    if done.exit_code != 0:
        return {}
    found: dict[str, str] = {}
    for name, properties in parse_get(done.stdout).items():
        readonly = properties["readonly"]  # zfs-fuse shows "off (temporary)" while it obeys "on"
        is_readonly = (readonly.value == "on") != (readonly.source == "temporary")
        is_ours = SHARE_ID in properties and properties[SHARE_ID].source == "local"
        if "@" not in name and is_ours and not is_readonly and properties["mounted"].value == "yes":
            found[properties[SHARE_ID].value] = properties[EPOCH].value
    return found


@dataclass(frozen=True)
class Look:
    """What one host's copies accepted, by its number among the hosts."""

    host: int
    writable: Writable


def two_in_one_reign(looks: Sequence[Look]) -> set[str]:
    """Shares of which a copy accepted writes in a reign before and after another one did in the same. Pure.

    Looks at different hosts are never at one time, so that it was writable before and after is what counts.
    """
    found: set[str] = set()
    for here, first in enumerate(looks):
        after = next((n for n in range(here + 1, len(looks)) if looks[n].host == first.host), here)
        for share, reign in first.writable.items():
            if looks[after].writable.get(share) == reign:
                between = looks[here + 1 : after]
                found |= {share for look in between if look.writable.get(share) == reign}
    return found


class TwoWritersWatch(threading.Thread):
    """Looks at all hosts again and again until `end`, with pauses of `pause_s`."""

    def __init__(self, machines: Sequence[Machine], pause_s: float) -> None:
        super().__init__(name="two writers?", daemon=True)
        self._machines = machines
        self._pause_s = pause_s
        self._over = threading.Event()
        self._recent: list[Look] = []
        self.looks = 0
        self.caught: set[str] = set()

    def run(self) -> None:
        while not self._over.is_set():
            for number, machine in enumerate(self._machines):
                self._recent.append(Look(number, writable_on(machine)))
            self._recent = self._recent[-2 * len(self._machines) :]
            self.caught |= two_in_one_reign(self._recent)
            self.looks += 1
            self._over.wait(self._pause_s)

    def end(self) -> None:
        """Returns once it has ended."""
        self._over.set()
        self.join()
