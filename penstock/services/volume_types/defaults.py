"""The volume type that a project's requests without one get, where it is not the configured one (since 3.62)."""

from __future__ import annotations

from penstock.errors import NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.store import volume_types as rows


def list_defaults(plane: ControlPlane) -> list[tuple[str, str]]:
    """Project and type id of every default that is set, by project."""
    with plane.database.read() as tx:
        return rows.list_defaults(tx)


def get(plane: ControlPlane, project_id: str) -> str:
    """The id of the type set for the project. Raises NotFound when none is."""
    with plane.database.read() as tx:
        found = rows.default_of(tx, project_id)
    if found is None:
        raise NotFound(f"No default volume type is set for project {project_id[:64]}.")
    return found


def set_default(plane: ControlPlane, project_id: str, name_or_id: str) -> str:
    """Set the project's default type and return its id. Safe to repeat. Raises NotFound for an unknown type."""
    with plane.database.begin() as tx:
        found = choice.find_any(tx, name_or_id)
        rows.set_default(tx, project_id, found.id, now=plane.clock.utc())
    return found.id


def unset_default(plane: ControlPlane, project_id: str) -> None:
    """The project gets the configured type again. Raises NotFound when none was set."""
    with plane.database.begin() as tx:
        if not rows.unset_default(tx, project_id):
            raise NotFound(f"No default volume type is set for project {project_id[:64]}.")
