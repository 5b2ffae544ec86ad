"""Between shares and the NFS server: paths, export locations, and which exports a set of shares wants. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.errors import Unavailable
from penstock.exports.model import ClientRule, Export
from penstock.share.drivers.zfsonlinux.access import StoredRule, Understood, as_read_only
from penstock.share.drivers.zfsonlinux.observe import SeenShare
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.replication import Role


def export_path(address: str, mountpoint: str) -> str:
    """``10.0.0.5:/tank/x``; IPv6 addresses in brackets, as mount(8) wants them."""
    is_v6 = ipaddress.ip_address(address).version == 6
    return f"[{address}]:{mountpoint}" if is_v6 else f"{address}:{mountpoint}"


def export_locations(mountpoint: str, settings: Settings) -> list[dict[str, Any]]:
    """One location per export address, the first preferred; and one for administrators at the service address."""
    locations: list[dict[str, Any]] = [
        {
            "path": export_path(address, mountpoint),
            "is_admin_only": False,
            "preferred": place == 0,
            "metadata": {},
        }
        for place, address in enumerate(settings.export_ips)
    ]
    if settings.service_ip and settings.service_ip not in settings.export_ips:
        path = export_path(settings.service_ip, mountpoint)
        locations.append({"path": path, "is_admin_only": True, "preferred": False, "metadata": {}})
    return locations


def mountpoint_of(location: str) -> str:
    """The path in ``10.0.0.5:/tank/x`` or ``[fd00::5]:/tank/x``; text without a host is the path."""
    host, colon, path = location.partition(":/")
    return f"/{path}" if colon and not host.startswith("/") else location


def wanted_export(seen: SeenShare) -> Export | None:
    """What the rules written on the share's dataset ask the NFS server for; None when nobody may use it."""
    if seen.identity is None or seen.mountpoint is None or not seen.rules:
        return None
    rules = rules_for(seen, Understood(seen.rules, {}))  # whatever is written there: a replica lets nobody write
    clients = tuple(rule.client_rule for rule in rules)
    return Export(seen.mountpoint, seen.identity.id, clients, not seen.is_boot_safe) if rules else None


def rules_for(seen: SeenShare, understood: Understood) -> tuple[StoredRule, ...]:
    """The rules as this copy obeys them: only the active one lets anybody write, and a demoted one lets nobody in."""
    if seen.role is Role.DEMOTED:
        return ()
    return understood.rules if seen.role is Role.ACTIVE else as_read_only(understood).rules


def export_of(seen: SeenShare, clients: Sequence[ClientRule]) -> Export | None:
    """What the NFS server is to serve to `clients`; None when there are none, and then the dataset need not be mounted.

    Raises Unavailable when the dataset is not mounted: the directory below is the host's own.
    """
    if not clients:
        return None
    if seen.mountpoint is None or not seen.is_mounted:
        raise Unavailable(f"{seen.dataset} is not mounted, so nothing of it may be exported")
    return Export(seen.mountpoint, str(seen.owner_id), tuple(clients), not seen.is_boot_safe)


def exports_to_put(wanted: Iterable[Export], configured: Mapping[str, Export], in_force: set[str]) -> list[Export]:
    """Those that are not served as they should be."""
    return [export for export in wanted if configured.get(export.path) != export or export.path not in in_force]
