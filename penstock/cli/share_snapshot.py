"""``penstock share snapshot``."""

from __future__ import annotations

from penstock.cli.snapshots import Client, Owner, snapshots_of


def _shares() -> Client:
    from penstock.client import shares

    return shares


snapshot = snapshots_of(
    Owner("share", "what is in SHARE (name or id) now", "docs", client=_shares, reach=lambda session: session)
)
