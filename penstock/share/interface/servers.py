"""Share servers and their networks: for drivers with `driver_handles_share_servers` set.

A driver in the other mode overrides none of these. Every method may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ShareServer
from penstock.share.models import ShareModel, SnapshotModel


class ServerInterface:
    """What can be done with the servers that a backend makes for its shares."""

    def setup_server(self, *args: Any, **kwargs: Any) -> Mapping[str, Any] | None:
        """Make a share server for the network described in ``network_info`` (and ``metadata``).

        Returns its back end details, text to text, to be handed back in later calls.
        """
        raise NotImplementedError

    def teardown_server(self, *args: Any, **kwargs: Any) -> None:
        """Remove the share server with the given ``server_details`` and ``security_services``; fine when it is gone."""
        raise NotImplementedError

    def manage_server(
        self, context: Context, share_server: ShareServer, identifier: str, driver_options: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any]]:
        """Take over the existing server `identifier`; returns the identifier to use from now on and its details."""
        raise NotImplementedError

    def unmanage_server(
        self, server_details: Mapping[str, Any], security_services: Sequence[Any] | None = None
    ) -> None:
        """Forget the server and leave it running. Drivers that can let servers go override this and return."""
        raise NotImplementedError

    def get_share_server_network_info(
        self, context: Context, share_server: ShareServer, identifier: str, driver_options: Mapping[str, Any]
    ) -> Sequence[str]:
        """The IP addresses that the existing server `identifier` uses on the backend. Changes nothing."""
        raise NotImplementedError

    def get_share_server_pools(self, share_server: ShareServer) -> Sequence[str]:
        """The pools the server's shares lie on; empty when that cannot be told."""
        return []

    def choose_share_server_compatible_with_share(
        self,
        context: Context,
        share_servers: Sequence[ShareServer],
        share: ShareModel,
        snapshot: SnapshotModel | None = None,
        share_group: Any = None,
    ) -> ShareServer:
        """Which of `share_servers` is to hold `share`; None when none of them can. Changes nothing."""
        return share_servers[0] if share_servers else None

    def choose_share_server_compatible_with_share_group(
        self,
        context: Context,
        share_servers: Sequence[ShareServer],
        share_group_ref: Any,
        share_group_snapshot: Any = None,
    ) -> ShareServer:
        """Which of `share_servers` is to hold the group; None when none of them can. Changes nothing."""
        return share_servers[0] if share_servers else None

    def get_network_allocations_number(self) -> int:
        """How many addresses a share server needs from the tenant's network: none where no servers are made."""
        if self.driver_handles_share_servers:
            raise NotImplementedError
        return 0

    def get_admin_network_allocations_number(self) -> int:
        """How many addresses a share server needs from the administrator's network."""
        return 0

    def allocate_network(
        self,
        context: Context,
        share_server: ShareServer,
        share_network: Any,
        share_network_subnet: Any,
        count: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Reserve `count` addresses of the subnet for the server; without it, as many as the driver says it needs."""
        raise NotImplementedError

    def allocate_admin_network(
        self, context: Context, share_server: ShareServer, count: int | None = None, **kwargs: Any
    ) -> Any:
        """Reserve `count` addresses of the administrator's network for the server."""
        raise NotImplementedError

    def deallocate_network(self, context: Context, share_server_id: str) -> None:
        """Give the server's addresses back; fine when it has none."""
        raise NotImplementedError

    def update_network_allocation(self, context: Context, share_server: ShareServer) -> None:
        """Adjust the server's reservations to what it turned out to use once made."""
        raise NotImplementedError

    def update_admin_network_allocation(self, context: Context, share_server: ShareServer) -> None:
        """The same for the administrator's network."""
        raise NotImplementedError

    @property
    def driver_handles_share_servers(self) -> bool:
        """Does this backend make a share server for each share network?"""
        raise NotImplementedError
