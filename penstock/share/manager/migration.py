"""Migration of shares: the manager's published methods. This release moves none and says so."""

from __future__ import annotations

from typing import Any, NoReturn

from penstock.errors import Unsupported


class MigrationMethods:
    """What a manager does to move shares; every method raises Unsupported."""

    def migration_start(
        self,
        context: Any,
        share_id: str,
        dest_host: str,
        force_host_assisted_migration: bool,
        preserve_metadata: bool,
        writable: bool,
        nondisruptive: bool,
        preserve_snapshots: bool,
        new_share_network_id: str | None = None,
        new_share_type_id: str | None = None,
    ) -> NoReturn:
        """Begin to move the share to the pool `dest_host`."""
        raise _unsupported()

    def migration_driver_continue(self, context: Any) -> NoReturn:
        """Carry on the migrations that drivers carry out."""
        raise _unsupported()

    def migration_complete(self, context: Any, src_instance_id: str, dest_instance_id: str) -> NoReturn:
        """Switch over to the destination."""
        raise _unsupported()

    def migration_cancel(self, context: Any, src_instance_id: str, dest_instance_id: str) -> NoReturn:
        """Stop, and leave the source as it was."""
        raise _unsupported()

    def migration_get_progress(self, context: Any, src_instance_id: str, dest_instance_id: str) -> NoReturn:
        """How far the migration is."""
        raise _unsupported()


def _unsupported() -> Unsupported:
    return Unsupported("Migration of shares is not offered by this release.")
