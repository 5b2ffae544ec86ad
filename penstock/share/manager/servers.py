"""Share servers: the manager's published methods. This release makes none and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from penstock.errors import Unsupported


class ServerMethods:
    """What a manager does with share servers; every method raises Unsupported."""

    def provide_share_server(
        self, context: Any, share_instance_id: str, share_network_id: str, snapshot_id: str | None = None
    ) -> NoReturn:
        """Find or prepare a server for the instance; returns its id."""
        raise _unsupported()

    def create_share_server(self, context: Any, share_server_id: str, share_instance_id: str) -> NoReturn:
        """Make the server."""
        raise _unsupported()

    def delete_share_server(self, context: Any, share_server: Any) -> NoReturn:
        """Remove the server."""
        raise _unsupported()

    def delete_free_share_servers(self, ctxt: Any) -> NoReturn:
        """Remove the servers that have had no shares for a while."""
        raise _unsupported()

    def manage_share_server(
        self, context: Any, share_server_id: str, identifier: str, driver_opts: Mapping[str, Any]
    ) -> NoReturn:
        """Take over an existing server."""
        raise _unsupported()

    def unmanage_share_server(self, context: Any, share_server_id: str, force: bool = False) -> NoReturn:
        """Forget a server and leave it running."""
        raise _unsupported()

    def share_server_migration_check(
        self,
        context: Any,
        share_server_id: str,
        dest_host: str,
        writable: bool,
        nondisruptive: bool,
        preserve_snapshots: bool,
        new_share_network_id: str | None,
    ) -> NoReturn:
        """Can the server move to `dest_host`?"""
        raise _unsupported()

    def share_server_migration_start(
        self,
        context: Any,
        share_server_id: str,
        dest_host: str,
        writable: bool,
        nondisruptive: bool,
        preserve_snapshots: bool,
        new_share_network_id: str | None = None,
    ) -> NoReturn:
        """Begin to move the server to `dest_host`."""
        raise _unsupported()

    def share_server_migration_driver_continue(self, context: Any) -> NoReturn:
        """Carry on the migrations of servers."""
        raise _unsupported()

    def share_server_migration_complete(
        self, context: Any, src_share_server_id: str, dest_share_server_id: str
    ) -> NoReturn:
        """Switch over to the destination."""
        raise _unsupported()

    def share_server_migration_cancel(
        self, context: Any, src_share_server_id: str, dest_share_server_id: str
    ) -> NoReturn:
        """Stop, and leave the source as it was."""
        raise _unsupported()

    def share_server_migration_get_progress(
        self, context: Any, src_share_server_id: str, dest_share_server_id: str
    ) -> NoReturn:
        """How far the migration is."""
        raise _unsupported()


def _unsupported() -> Unsupported:
    return Unsupported("Share servers are not offered by this release.")
