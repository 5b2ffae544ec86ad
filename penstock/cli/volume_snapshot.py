"""``penstock volume snapshot``."""

from __future__ import annotations

from penstock.cli.snapshots import Client, Owner, snapshots_of


def _volumes() -> Client:
    from penstock.client import volumes

    return volumes


snapshot = snapshots_of(
    Owner(
        "volume",
        "what is on VOLUME (name or id) now, also while it is attached",
        "data",
        client=_volumes,
        reach=lambda session: session.of_volumes(),
        asked={"force": True},
    )
)
