"""Who may mount a volume's share, and how a client is told to."""

from __future__ import annotations

from typing import Any

from penstock.domain.attachments import host_address, is_same_address
from penstock.errors import Invalid
from penstock.volume.drivers.nfs_appliance.backend import SharesBackend
from penstock.volume.drivers.nfs_appliance.volumes import export_of
from penstock.volume.errors import InvalidConnectorException
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.models import VolumeModel


class ConnectionMethods(SharesBackend):
    """The methods of exports and connections."""

    def validate_connector(self, connector: Connector) -> None:
        _client(connector)

    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        """The appliance keeps exports by itself; tell where the share is now, which a failover may have changed."""
        export = export_of(self.shares.of(volume))
        return {"provider_location": export} if export != volume.provider_location else None

    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        """The share is the export; who may mount it is said when a connection is made."""
        return self.ensure_export(context, volume)

    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        self.unmount_here(volume)

    def initialize_connection(self, volume: VolumeModel, connector: Connector, **kwargs: Any) -> ConnectionInfo:
        """Let the connector's address mount the share, and tell it how. Raises InvalidConnectorException."""
        client = _client(connector)
        share = self.shares.of(volume)
        self.appliance.allow(share.id, client, as_root=not self.settings.secure_operations)
        return {
            "driver_volume_type": self.driver_volume_type,
            "data": {
                "export": export_of(share),
                "name": volume.name,
                "options": self.settings.client_options,
                "format": "raw",  # nobody is to guess it from bytes that a guest wrote
            },
            "mount_point_base": self.settings.mount_base,
        }

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        """Take the address off the share, unless another attachment comes from it; None takes all off."""
        share = self.shares.find(volume)
        if share is None:
            return None
        if connector is None:
            for client in self.appliance.clients(share.id):
                self.appliance.deny(share.id, client)
            return None
        address = str(connector.get("ip") or "")
        attached = [str(item.connector.get("ip")) for item in volume.volume_attachment]
        if len([one for one in attached if is_same_address(one, address)]) > 1:
            return True
        for client in self.appliance.clients(share.id):
            if is_same_address(client, address):
                self.appliance.deny(share.id, client)
        return None


def _client(connector: Connector) -> str:
    """Who is let in: one machine, never a network. Raises InvalidConnectorException."""
    if not connector.get("ip"):
        raise InvalidConnectorException(missing="ip")
    try:
        return host_address(str(connector["ip"]))
    except Invalid as err:
        raise InvalidConnectorException(f"The connector's ip: {err.message}") from err
