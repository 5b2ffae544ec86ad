"""Free pairs of text beside a row: its metadata, whatever kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Table, bindparam, delete, exists, select

from penstock.store.statements import insert_into
from penstock.store.transaction import Transaction

MOST = 10_000  # SQLite takes at most 32,766 parameters


class Notes:
    """The pairs in `table`, whose columns are `owner`, ``key`` and ``value``. Made once for each table."""

    def __init__(self, table: Table, owner: str) -> None:
        self._table = table
        self._owner = table.c[owner]
        self._read = select(table).where(self._owner.in_(bindparam("ids", expanding=True))).order_by(table.c.key)
        keys: BindParameter[Any] = bindparam("keys", expanding=True)
        mine = self._owner == bindparam("of_owner")
        self._remove = delete(table).where(mine, table.c.key.in_(keys))
        self._keep = delete(table).where(mine, table.c.key.not_in(keys))

    def get(self, tx: Transaction, owner_id: str) -> dict[str, str]:
        """The pairs of one."""
        return self.of(tx, [owner_id]).get(owner_id, {})

    def of(self, tx: Transaction, owner_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The pairs of several, in one query (a few when there are thousands)."""
        found: dict[str, dict[str, str]] = {}
        name = self._owner.name
        for start in range(0, len(owner_ids), MOST):
            part = list(owner_ids[start : start + MOST])
            for row in tx.execute(self._read, {"ids": part}).mappings():
                found.setdefault(row[name], {})[row["key"]] = row["value"]
        return found

    def put(
        self,
        tx: Transaction,
        owner_id: str,
        items: Mapping[str, str],
        *,
        replace: bool = False,
        keeping: Collection[str] = (),
    ) -> None:
        """Set these pairs; with `replace` the rest goes, but for the keys of `keeping`."""
        if not items and not replace:
            return
        if replace:
            tx.execute(self._keep, {"of_owner": owner_id, "keys": [kept for kept in keeping if kept not in items]})
        else:
            tx.execute(self._remove, {"of_owner": owner_id, "keys": list(items)})
        if items:
            rows = [{self._owner.name: owner_id, "key": key, "value": value} for key, value in items.items()]
            tx.execute(insert_into(self._table), rows)

    def remove(self, tx: Transaction, owner_id: str, key: str) -> bool:
        """Take one pair away; False when it was not there."""
        return tx.execute(self._remove, {"of_owner": owner_id, "keys": [key]}).rowcount > 0

    def has(self, owner_id: Any, key: str, value: str) -> Any:
        """The condition that the row whose id is the column `owner_id` has this pair."""
        return exists().where(self._owner == owner_id, self._table.c.key == key, self._table.c.value == value)
