"""Migration of a volume to another backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import VolumeModel


class MigrationInterface:
    """What a driver can do better than copying through this machine, or wants to do around the copying."""

    def migrate_volume(
        self, context: Context, volume: VolumeModel, host: Mapping[str, Any]
    ) -> tuple[bool, Updates | None]:
        """Move the volume to ``host['host']``, whose pools report ``host['capabilities']``.

        Returns whether that was done, and a model update; (False, None) leaves it to a copy through this machine.
        Nothing may have changed then.
        """
        return False, None

    def update_migrated_volume(
        self, ctxt: Context, volume: VolumeModel, new_volume: VolumeModel, original_volume_status: str
    ) -> Updates | None:
        """After a copy to this backend: `new_volume` is what `volume` was copied to, and takes its place.

        Returns ``_name_id`` and ``provider_location`` for the volume, each where it is to change. NotImplementedError
        lets the volume go on under the name of `new_volume`.
        """
        raise NotImplementedError

    def before_volume_copy(
        self, context: Context, src_vol: VolumeModel, dest_vol: VolumeModel, remote: str | None = None
    ) -> None:
        """Called before a volume is copied to another. `remote` is ``src`` or ``dest`` when that is elsewhere."""

    def after_volume_copy(
        self, context: Context, src_vol: VolumeModel, dest_vol: VolumeModel, remote: str | None = None
    ) -> None:
        """Called after a volume was copied to another, also when that failed."""

    def update_provider_info(
        self, volumes: list[VolumeModel], snapshots: list[Any]
    ) -> tuple[list[Updates] | None, list[Updates] | None]:
        """At start: what of ``provider_id`` is to change, for volumes and for snapshots, each with its ``id``."""
        return None, None
