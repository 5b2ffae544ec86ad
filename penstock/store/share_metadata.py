"""Rows of shares' metadata."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from penstock.ids import ShareId
from penstock.store.schema import share_metadata
from penstock.store.transaction import Transaction

_METADATA = select(share_metadata).where(share_metadata.c.share_id.in_(bindparam("ids", expanding=True)))


def get(tx: Transaction, share_id: ShareId | str) -> dict[str, str]:
    """The share's metadata."""
    return of_shares(tx, [share_id]).get(share_id, {})


def of_shares(tx: Transaction, share_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Metadata of several shares in one query (a few when there are thousands)."""
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(share_ids), 10_000):  # SQLite takes at most 32,766 parameters
        part = share_ids[start : start + 10_000]
        for row in tx.execute(_METADATA, {"ids": list(part)}):
            found.setdefault(row.share_id, {})[row.key] = row.value
    return found


def put(
    tx: Transaction,
    share_id: ShareId | str,
    items: Mapping[str, str],
    *,
    replace: bool = False,
    keeping: Collection[str] = (),
) -> None:
    """Set these keys; with `replace` the rest goes, but for the keys of `keeping`."""
    if not items and not replace:
        return
    mine = share_metadata.c.share_id == share_id
    key = share_metadata.c.key
    old = key.not_in([kept for kept in keeping if kept not in items]) if replace else key.in_(list(items))
    tx.execute(delete(share_metadata).where(mine & old))
    if items:
        tx.execute(insert(share_metadata), [{"share_id": share_id, "key": k, "value": v} for k, v in items.items()])


def delete_key(tx: Transaction, share_id: ShareId | str, key: str) -> bool:
    """Remove one key; False when it was not there."""
    mine = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key)
    return tx.execute(delete(share_metadata).where(mine)).rowcount > 0


def change_key(tx: Transaction, share_id: ShareId | str, key: str, change: Callable[[str | None], str | None]) -> None:
    """Set `key` to what `change` makes of its value, None being none; exact without a lock on the share.

    `change` is called again when another transaction was faster. Several shares in one transaction: in the order of
    their ids, or two transactions wait for each other.
    """
    here = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key)
    while True:
        old = tx.execute(select(share_metadata.c.value).where(here)).scalar()
        new = change(old)
        if new == old or _swap(tx, share_id, key, old, new):
            return


def _swap(tx: Transaction, share_id: str, key: str, old: str | None, new: str | None) -> bool:
    """Put `new` where `old` is; False when it is not there any more."""
    if old is None:
        make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        row = {"share_id": share_id, "key": key, "value": new}
        return tx.execute(make(share_metadata).values(row).on_conflict_do_nothing()).rowcount == 1
    same = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key) & (share_metadata.c.value == old)
    if new is None:
        return tx.execute(delete(share_metadata).where(same)).rowcount == 1
    return tx.execute(update(share_metadata).where(same).values(value=new)).rowcount == 1
