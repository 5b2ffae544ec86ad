"""Are exactly the right machines let in? Targets compared with the attachments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.doctor.findings import Finding, Kind
from penstock.doctor.volumes.books import VolumeBooks
from penstock.domain.attachments import AttachStatus
from penstock.domain.pools import service_host
from penstock.domain.volumes import Volume
from penstock.volume.inventory import Aspect, FoundExport, VolumeClient, VolumeInventory, WantedExport

# What an attachment that failed left at the target nobody knows; its owner was told, and ends it.
UNKNOWN = (AttachStatus.ERROR_ATTACHING, AttachStatus.ERROR_DETACHING)


def export_drift(books: VolumeBooks, inventory: VolumeInventory, held: Sequence[Volume]) -> Iterator[Finding]:
    """Differences about targets; `held` are the settled volumes that are on the storage."""
    if not inventory.sees(Aspect.EXPORTS):
        return
    exports = {export.name: export for export in inventory.exports}
    for volume in held:
        if not any(one.status in UNKNOWN for one in volume.attachments):
            wanted = books.exports[volume.id]
            yield from _of_volume(volume, wanted, exports.get(wanted.name))
    yield from _orphans(books, inventory)


def _of_volume(volume: Volume, wanted: WantedExport, found: FoundExport | None) -> Iterator[Finding]:
    if wanted.clients and found is None:
        sentence = f"volume {volume.id} is attached by {_names(wanted.clients)}, and there is no target {wanted.name}"
        yield Finding(Kind.EXPORT_MISSING, volume.id, sentence)
        return
    if found is None:
        return
    if found.clients != wanted.clients:
        yield Finding(Kind.EXPORT_DIFFERS, volume.id, f"volume {volume.id}: {_difference(wanted, found)}")
    elif wanted.clients and found.leads_to != (volume.name_id or volume.id):
        sentence = f"the target {found.name} of volume {volume.id} leads to something else"
        yield Finding(Kind.EXPORT_DIFFERS, volume.id, sentence)
    elif wanted.clients and not found.is_in_force:
        sentence = f"{found.name} of volume {volume.id} is configured, and the target server does not serve it so"
        yield Finding(Kind.EXPORT_MISSING, volume.id, sentence)


def _difference(wanted: WantedExport, found: FoundExport) -> str:
    """Who is let in and should not be, who should and is not, and who with another secret."""
    ours, theirs = {one.name: one for one in wanted.clients}, {one.name: one for one in found.clients}
    words = []
    if superfluous := sorted(theirs.keys() - ours.keys()):
        words.append(f"{found.name} lets in {', '.join(superfluous)}, which no attachment names")
    if missing := sorted(ours.keys() - theirs.keys()):
        words.append(f"{found.name} does not let in {', '.join(missing)}")
    if other := sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]):
        words.append(f"{found.name} asks {', '.join(other)} for another CHAP user or secret")
    return "; ".join(words)


def _orphans(books: VolumeBooks, inventory: VolumeInventory) -> Iterator[Finding]:
    """Targets of no volume, of one that is elsewhere now, and of one that is exported by another name."""
    homes = {str(home.id): home for home in books.homes.values()}
    names = {volume_id: export.name for volume_id, export in books.exports.items()}
    for export in inventory.exports:
        home = homes.get(export.volume_id)
        if home is not None and books.is_busy(home.id):
            continue
        who = _names(export.clients)
        if home is None:
            sentence = f"{export.name} lets in {who}, to a volume that is unknown here"
        elif home.host is None or service_host(home.host) != books.host:
            sentence = f"{export.name} lets in {who}, to what volume {home.id} was before it moved to {home.host}"
        elif names.get(home.id) not in (None, export.name):  # None: it is new here
            sentence = f"{export.name} lets in {who}, and is not the target of volume {home.id}"
        else:
            continue
        yield Finding(Kind.EXPORT_ORPHAN, export.name, sentence)


def _names(clients: Sequence[VolumeClient]) -> str:
    return ", ".join(client.name for client in clients) or "nobody"
