"""LIO, the iSCSI target of the Linux kernel: by its configfs, one command for each change (see `lio_agent`).

Access lists are each initiator's own, with its own secrets and its own set of LUNs. What is served is also in rtslib's
saveconfig.json, so a reboot brings it back without us where rtslib-fb-targetctl.service is enabled (package
python3-rtslib-fb); else `put_back` does.

What LIO cannot do: tell initiators by their address; names with fewer than two labels (``iqn.2026-11.lab:x``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from penstock.errors import Unsupported
from penstock.exports import lio_agent, lio_plan
from penstock.exports.iscsi import ANYBODY, IscsiTarget, target_to_json
from penstock.exports.iscsi_agent import AgentExports
from penstock.host.runner import Host

DIRECTORY = "/etc/penstock-lio"
CONFIGFS = "/sys/kernel/config/target"
SAVECONFIG = "/etc/rtslib-fb-target/saveconfig.json"
TWO_LABELS = re.compile(r"iqn\.\d{4}-\d{2}\.[^.:]+\.[^:]+(:.*)?|eui\..*", re.IGNORECASE)


class LioIscsi(AgentExports):
    """`exports.iscsi.IscsiExports` by the kernel of `host`, as root there (its prefix)."""

    def __init__(self, host: Host) -> None:
        settings = {"configfs": CONFIGFS, "saveconfig": SAVECONFIG}
        start = "load it with: modprobe -a target_core_mod iscsi_target_mod (and mount configfs)"
        super().__init__(host, (lio_plan, lio_agent), DIRECTORY, settings, start=start)

    def check(self, target: IscsiTarget) -> None:
        """See AgentExports."""
        if target.addresses:
            raise Unsupported(f"{target.iqn}: LIO does not tell initiators by their address; name them, or use tgt")
        for name in (target.iqn, *target.names):
            if name != ANYBODY and not TWO_LABELS.fullmatch(name):
                raise Unsupported(f"{name!r}: LIO wants a domain of two labels, like iqn.2026-11.org.example:host1")

    def render(self, target: IscsiTarget) -> str:  # noqa: ARG002
        """See AgentExports. What restores it at boot is saveconfig.json."""
        return ""

    def is_served(self, target: IscsiTarget, seen: Mapping[str, Any] | None) -> bool:
        """See AgentExports."""
        if seen is None:
            return False
        wanted = target_to_json(target)
        mine = lio_plan.named(wanted)
        return (
            bool(seen["enabled"])
            and seen["attributes"] == lio_plan.attributes(wanted)
            and seen["auth"] == lio_plan.secrets(wanted, lio_plan.anybody(wanted))
            and sorted(seen["portals"]) == sorted(lio_plan.portals(wanted))
            and {int(number): path for number, path in seen["stores"].items()}
            == {lun.number: lun.path for lun in target.luns}
            and {int(number): serial for number, serial in seen["serials"].items()}
            == {lun.number: lun.serial for lun in target.luns}
            and seen["acls"].keys() == mine.keys()
            and all(
                seen["acls"][name]["auth"] == lio_plan.secrets(wanted, one)
                and sorted(seen["acls"][name]["luns"]) == lio_plan.mapped(wanted, one)
                for name, one in mine.items()
            )
        )

    def verify(self) -> None:
        """See IscsiExports."""
        self._ask(["observe"], observe=True)
