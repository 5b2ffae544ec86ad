"""What a driver that moves shares can do beyond the published interface, in terms every driver shares."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasWatchedMigration(Protocol):
    """A driver whose `migration_continue` and `migration_complete` take the keyword ``watch`` (a `replication.Watch`).

    They may then last as long as the copy does; they are ended by ``watch.should_stop``, with `Cancelled`. Its
    `migration_get_progress` also tells ``moved_bytes``, ``total_bytes`` and ``eta_seconds``, from memory.
    """

    watches_migrations: bool

    def migration_continue(self, context: Any, *args: Any, **kwargs: Any) -> bool:
        """As published."""
        ...
