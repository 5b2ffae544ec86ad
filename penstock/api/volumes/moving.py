"""Actions by which a volume gets another type or another place."""

from __future__ import annotations

from penstock.api.bodies import Flag, Name, Strict, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid
from penstock.services.volumes import retyping

routes = Routes()

ACTION = "volumes/{volume_id}/action"


class Retype(Strict):
    """Another type, by name or id."""

    new_type: Name
    migration_policy: str | None = None


class Migrate(Strict):
    """Another pool."""

    host: Name | None = None
    cluster: Name | None = None
    force_host_copy: Flag = False
    lock_volume: Flag = False


@routes.action(ACTION, "os-retype")
def retype(request: ApiRequest) -> Answer:
    """Give it another type."""
    request.enforce("volume:retype")
    asked = request.body_as(Retype)
    if not asked.new_type.strip():
        raise Invalid("Name the 'new_type'.")
    policy = asked.migration_policy or retyping.NEVER
    retyping.retype(
        request.plane, request.context, request.params["volume_id"], asked.new_type, migration_policy=policy
    )
    return ACCEPTED


@routes.action(ACTION, "os-migrate_volume")
def migrate(request: ApiRequest) -> Answer:
    """Move it to another pool."""
    request.enforce("volume_extension:volume_admin_actions:migrate_volume")
    asked = request.body_as(Migrate)
    if asked.cluster:
        raise Invalid("There are no clusters; name the 'host'.")
    if not asked.host:
        raise Invalid("Name the 'host', as host@backend#pool.")
    retyping.migrate(
        request.plane,
        request.context,
        request.params["volume_id"],
        asked.host,
        force_host_copy=_flag("force_host_copy", asked.force_host_copy),
        lock_volume=_flag("lock_volume", asked.lock_volume),
    )
    return ACCEPTED


def _flag(name: str, value: Flag) -> bool:
    return value is not None and parse_flag(name, value)
