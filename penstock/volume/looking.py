"""What a driver can look at before it is called, beyond the published interface.

A look at the storage (is this the volume's?) takes longer than most of what an attach is, and half as long as a clone:
a driver that has to take one can have it begun while the request is still being stored. Optional: the volume manager
asks ``isinstance(driver, LooksAhead)``.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from penstock.volume.models import SnapshotModel, VolumeModel


@runtime_checkable
class LooksAhead(Protocol):
    """Its `initialize_connection` takes ``looked``: a `Future` of what `look_ahead` found, or None; so does its
    `create_volume_from_snapshot`, of what `look_at_source` found.

    It does nothing outside but through hosts that wait for our own disk first, as `AuditedHost` does.
    Asked for the same connection again it answers the same, unless the volume's CHAP secret was made anew.
    """

    def look_ahead(self, volume: VolumeModel) -> Any:
        """Look at what a connection of the volume will want to know; None when that is to be seen then.

        Changes nothing: the connection may never be made. `volume` is without its type. Raises what the look meets,
        which counts then.
        """
        ...

    def look_at_source(self, snapshot: SnapshotModel) -> Any:
        """Look at what a volume made from the snapshot will want to know; None when that is to be seen then.

        Changes nothing, and raises, as `look_ahead`.
        """
        ...
