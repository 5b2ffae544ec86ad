"""What must be on the appliance before the first volume: projects, properties, initiators, groups, target.

Every step looks first and makes what is absent; two heads, or a restart in the middle, end in the same place.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from penstock.errors import Invalid
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.faults import Taken
from penstock.volume.drivers.zfssa.options import Initiator, Settings
from penstock.volume.drivers.zfssa.values import DEFAULT_GROUP

MANAGED_SCHEMA = ("cinder_managed", "Managed by Cinder", "Boolean")
CACHE_SCHEMA = (
    ("image_id", "Image the volume holds", "String"),
    ("updated_at", "When that image was changed last", "String"),
)

log = structlog.get_logger(__name__)


def set_up(appliance: Appliance, settings: Settings) -> None:
    """Have everything there. Safe to repeat. Raises Absent (the pool), and the faults of the calls."""
    _ensure_project(appliance, settings, settings.project)
    if settings.has_cache:
        _ensure_project(appliance, settings, settings.cache_project)
    for name, description, kind in (MANAGED_SCHEMA, *(CACHE_SCHEMA if settings.has_cache else ())):
        if not appliance.schema_exists(name):
            _make(lambda n=name, d=description, k=kind: appliance.create_schema(n, d, k))  # type: ignore[misc]
    if settings.ignored_initiators:
        log.warning("zfssa.initiators_ignored", group=DEFAULT_GROUP, initiators=list(settings.ignored_initiators))
    for group, members in settings.initiators.items():
        for member in members:
            _ensure_initiator(appliance, group, member)
            if group != DEFAULT_GROUP:
                _ensure_member(appliance, group, member.iqn)
    _ensure_target(appliance, settings)


def check(appliance: Appliance, settings: Settings) -> None:
    """Whether all that is still there. Raises Absent, and Invalid for a target that is not."""
    appliance.verify_pool(settings.pool)
    appliance.verify_project(settings.pool, settings.project)
    for members in settings.initiators.values():
        for member in members:
            appliance.verify_initiator(member.iqn)
    if settings.is_deprecated and appliance.target_iqn(settings.target_group) is None:
        raise Invalid(f"the appliance has no iSCSI target {settings.target_group!r}")


def _make(create: Callable[[], object]) -> None:
    """Somebody may have made it since we looked: then it is there."""
    try:
        create()
    except Taken as taken:
        log.info("zfssa.made_by_another", fault=taken.message)


def _ensure_project(appliance: Appliance, settings: Settings, project: str) -> None:
    appliance.verify_pool(settings.pool)
    if not appliance.project_exists(settings.pool, project):
        properties = {"compression": settings.compression, "logbias": settings.logbias}
        _make(lambda: appliance.create_project(settings.pool, project, properties))


def _ensure_initiator(appliance: Appliance, group: str, member: Initiator) -> None:
    alias = f"{group}-{member.iqn}"
    if appliance.initiator_alias_exists(alias):
        return
    try:
        appliance.create_initiator(member.iqn, alias, member.user, member.password)
    except Taken as taken:
        if not appliance.initiator_alias_exists(alias):
            raise Taken(
                f"the appliance knows the initiator {member.iqn} under another alias than {alias}; rename or remove it "
                f"there, for its CHAP pair may not be ours ({taken.message})",
                status=taken.status,
                name=taken.name,
            ) from taken


def _ensure_member(appliance: Appliance, group: str, iqn: str) -> None:
    found = appliance.initiator_group(group)
    if found is None:
        appliance.create_initiator_group(group, [iqn])
    elif iqn not in found.initiators:
        appliance.set_initiator_group(group, [*found.initiators, iqn])


def _ensure_target(appliance: Appliance, settings: Settings) -> None:
    alias = settings.target_group
    iqn = appliance.target_iqn(alias)
    if iqn is None:
        iqn = appliance.create_target(alias, settings.interfaces, settings.target_user, settings.target_password)
    if appliance.target_group_exists(alias):
        appliance.set_target_group(alias, iqn)
    else:
        appliance.create_target_group(alias, iqn)
