"""Connections: let a machine at a volume's data, and no longer.

The order is `validate_connector`, `create_export`, `initialize_connection`; then `terminate_connection` and, when that
was the last of the volume, `remove_export`.
"""

from __future__ import annotations

import abc
from typing import Any

from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel


class ConnectionInterface(metaclass=abc.ABCMeta):
    """How volumes and snapshots are reached."""

    @abc.abstractmethod
    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        """At start, for a volume in use: make its export anew, as it was. Returns a model update or None."""

    @abc.abstractmethod
    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        """Make the volume's export. Returns a model update (``provider_location``, ``provider_auth``) or None.

        Repeatable; further attachments find it there.
        """

    @abc.abstractmethod
    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        """Take the volume's export away. It is fine when there is none."""

    @abc.abstractmethod
    def initialize_connection(self, volume: VolumeModel, connector: Connector) -> ConnectionInfo:
        """Let `connector` in, and nobody else, and tell it how to connect.

        ``"cacheable": False`` in the answer's ``data`` forbids a local cache whatever the type says. Repeatable.
        """

    @abc.abstractmethod
    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        """Let `connector` in no longer; only None is everybody. ``force`` may be given. Repeatable.

        One that lacks what names it to the backend was never let in: nothing is to be done.

        True says that others still share the export, which is then kept.
        """

    def validate_connector(self, connector: Connector) -> None:
        """Raise InvalidConnectorException when `connector` lacks what this driver needs to know."""

    @staticmethod
    def validate_connector_has_setting(connector: Connector, setting: str) -> None:
        """Called for one setting that a driver asks of a connector; ours are told by `validate_connector`."""

    def create_export_snapshot(self, context: Context, snapshot: SnapshotModel, connector: Connector) -> Updates | None:
        """As `create_export`, for a snapshot; it is attached to be read."""
        return None

    def remove_export_snapshot(self, context: Context, snapshot: SnapshotModel) -> None:
        """As `remove_export`, for a snapshot."""

    def initialize_connection_snapshot(
        self, snapshot: SnapshotModel, connector: Connector, **kwargs: Any
    ) -> ConnectionInfo | None:
        """As `initialize_connection`, for a snapshot. None: this driver does not attach snapshots."""
        return None

    def terminate_connection_snapshot(
        self, snapshot: SnapshotModel, connector: Connector | None, **kwargs: Any
    ) -> None:
        """As `terminate_connection`, for a snapshot."""

    def snapshot_remote_attachable(self) -> bool:
        """Can snapshots be attached to other machines than the backend's?"""
        return False
