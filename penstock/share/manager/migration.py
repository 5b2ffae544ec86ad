"""Migration of shares: the manager's published methods, and one for each further turn of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.context import RequestContext
from penstock.share.manager import host_copy, migrating
from penstock.share.manager.backend import Backend


class MigrationMethods:
    """What a manager does to move shares. Every method may be called again after a crash."""

    backend: Backend

    def migration_start(
        self,
        context: RequestContext,
        share_id: str,
        dest_host: str,  # these are in the migration's row, which the use case wrote with this operation
        force_host_assisted_migration: bool,
        preserve_metadata: bool,
        writable: bool,
        nondisruptive: bool,
        preserve_snapshots: bool,
        new_share_network_id: str | None = None,
        new_share_type_id: str | None = None,
    ) -> None:
        """Begin to move the share, by the driver if it can do so as asked, else by copying its files."""
        migrating.start(self.backend, context, share_id)

    def migration_driver_continue(self, context: RequestContext) -> None:
        """See that every migration away from this backend goes on; every `migration_driver_continue_update_interval`
        seconds."""
        migrating.resume(self.backend, context)

    def continue_migration(self, context: RequestContext, src_instance_id: str, dest_instance_id: str) -> None:
        """Carry on the first phase of a migration that the driver carries out."""
        migrating.go_on(self.backend, context, src_instance_id, dest_instance_id)

    def make_migration_destination(self, context: RequestContext, src_instance_id: str, dest_instance_id: str) -> None:
        """At the destination's backend: make the empty share that files will be copied to."""
        host_copy.make_destination(self.backend, context, src_instance_id, dest_instance_id)

    def copy_migrating_data(self, context: RequestContext, src_instance_id: str, dest_instance_id: str) -> None:
        """Copy the files, with the source read-only to its clients meanwhile."""
        host_copy.copy(self.backend, context, src_instance_id, dest_instance_id)

    def migration_complete(self, context: RequestContext, src_instance_id: str, dest_instance_id: str) -> None:
        """Switch over to the destination."""
        migrating.complete(self.backend, context, src_instance_id, dest_instance_id)

    def migration_cancel(self, context: RequestContext, src_instance_id: str, dest_instance_id: str) -> None:
        """Stop, and leave the source as it was."""
        migrating.cancel(self.backend, context, src_instance_id, dest_instance_id)

    def migration_get_progress(
        self, context: RequestContext, src_instance_id: str, dest_instance_id: str
    ) -> Mapping[str, Any]:
        """How far the migration is, as the driver says. Raises NotFound when there is none."""
        return migrating.progress(self.backend, context, src_instance_id, dest_instance_id)

    def remove_moved_instance(self, context: RequestContext, share_instance_id: str) -> None:
        """Destroy what a migration left behind."""
        migrating.remove_moved(self.backend, context, share_instance_id)
