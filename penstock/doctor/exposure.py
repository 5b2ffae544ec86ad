"""Are exactly the right clients let in? Exports compared with the access rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.doctor.books import Books
from penstock.doctor.findings import Finding, Kind
from penstock.domain.shares import Share
from penstock.share.inventory import Client, FoundExport, FoundShare, Inventory


def export_drift(books: Books, inventory: Inventory, held: Sequence[Share]) -> Iterator[Finding]:
    """Differences about exports; `held` are the settled shares that are on the storage."""
    found = {share.id: share for share in inventory.shares}
    exports = {export.path: export for export in inventory.exports}
    for share in held:
        on_storage = found[share.instance.id]
        export = exports.get(on_storage.path) if on_storage.path is not None else None
        yield from _of_share(share, on_storage, export, books.clients[share.instance.id])
    yield from _orphans(books, inventory)


def _of_share(
    share: Share, found: FoundShare, export: FoundExport | None, clients: tuple[Client, ...]
) -> Iterator[Finding]:
    key = share.instance.id
    if found.path is None and clients:
        sentence = f"{found.location} of share {share.id} has no mount point, so it cannot be exported"
        yield Finding(Kind.EXPORT_MISSING, key, sentence, can_repair=False)
    elif clients and export is None:
        sentence = f"share {share.id} is open to {_names(clients)}, and {found.path} is not exported"
        yield Finding(Kind.EXPORT_MISSING, key, sentence)
    elif clients and export is not None and export.clients == clients and not export.is_in_force:
        sentence = f"{found.path} of share {share.id} is configured, and the file server does not serve it so"
        yield Finding(Kind.EXPORT_MISSING, key, sentence)
    elif (export.clients if export is not None else ()) != clients:
        actual = _names(export.clients) if export is not None else "nobody"
        sentence = f"share {share.id} is open to {_names(clients)}, and {found.path} is exported to {actual}"
        yield Finding(Kind.EXPORT_DIFFERS, key, sentence)
    elif found.rules is None or {rule.access_to for rule in found.rules} != {client.address for client in clients}:
        sentence = f"the access rules written on {found.location} are not those of share {share.id}"
        yield Finding(Kind.EXPORT_DIFFERS, key, sentence)


def _orphans(books: Books, inventory: Inventory) -> Iterator[Finding]:
    paths = {share.id: share.path for share in inventory.shares}
    for export in inventory.exports:
        if export.instance_id not in books.known:
            sentence = f"{export.path} is exported to {_names(export.clients)}, for a share that is unknown here"
            yield Finding(Kind.EXPORT_ORPHAN, export.path, sentence)
        elif export.instance_id in books.shares and paths.get(export.instance_id) != export.path:
            share = books.shares[export.instance_id]
            sentence = f"{export.path} is exported to {_names(export.clients)}, but share {share.id} is not there"
            yield Finding(Kind.EXPORT_ORPHAN, export.path, sentence)


def _names(clients: Sequence[Client]) -> str:
    return ", ".join(f"{client.address} ({client.options})" for client in clients) or "nobody"
