"""Quotas: whose limits hold, whether a request fits, and an administrator's changes.

A limit that is not set falls through: user or type, project, quota class ``default``, configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.quotas import UNLIMITED, QuotaResource, Usage, check_fits
from penstock.errors import Invalid
from penstock.services import type_choice
from penstock.services.control_plane import ControlPlane
from penstock.store import quotas as rows
from penstock.store.database import Transaction, hold
from penstock.store.quotas import QuotaScope

DEFAULT_CLASS = "default"
TYPE_RESOURCES = (
    QuotaResource.SHARES,
    QuotaResource.GIGABYTES,
    QuotaResource.SNAPSHOTS,
    QuotaResource.SNAPSHOT_GIGABYTES,
    QuotaResource.SHARE_REPLICAS,
    QuotaResource.REPLICA_GIGABYTES,
    QuotaResource.PER_SHARE_GIGABYTES,
)
PER_ITEM = (QuotaResource.PER_SHARE_GIGABYTES,)  # limits of one thing: nothing is added up

Limits = dict[QuotaResource, int]


@dataclass(frozen=True, slots=True)
class QuotaOwner:
    """Whose quota: a project's, a user's in it, or that of a share type (by name or id) in it."""

    project_id: str
    user_id: str | None = None
    share_type: str | None = None


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """New limits; without `force` they must not be below the usage nor above the project's."""

    limits: Mapping[QuotaResource, int] = field(default_factory=dict)
    force: bool = False


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """One resource with its limit and usage."""

    limit: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A QuotaOwner with its type looked up. `project_limits` is what the owner's own limits fall back to."""

    project_id: str
    user_id: str | None
    share_type_id: str | None
    project_limits: Limits
    own_limits: Limits

    @property
    def effective(self) -> Limits:
        limits = {**self.project_limits, **self.own_limits}
        return limits if self.share_type_id is None else {resource: limits[resource] for resource in TYPE_RESOURCES}

    @property
    def is_part(self) -> bool:
        """A user's or type's part of the project's quota?"""
        return self.user_id is not None or self.share_type_id is not None

    @property
    def scope(self) -> QuotaScope:
        if self.user_id is not None:
            return QuotaScope.USER
        return QuotaScope.PROJECT if self.share_type_id is None else QuotaScope.TYPE

    @property
    def subject(self) -> str:
        return self.user_id or self.share_type_id or ""


def check(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,  # noqa: ARG001 - quotas bind administrators too
    project_id: str,
    user_id: str,
    share_type_id: str | None,
    more: Mapping[QuotaResource, int],
) -> None:
    """Raise QuotaExceeded unless `more` fits the project's, the user's and the type's quota, in this transaction.

    `more` holds additions; for PER_SHARE_GIGABYTES the whole size. Holds the project's quota until the transaction
    ends, so that two requests cannot both take what is left.
    """
    hold(tx, f"quota {project_id}")
    stored = rows.limits_of_request(
        tx, DEFAULT_CLASS, project_id=project_id, user_id=user_id, share_type_id=share_type_id
    )
    limits = {**_configured(plane), **stored[QuotaScope.CLASS], **stored[QuotaScope.PROJECT]}
    _check_one(tx, QuotaOwner(project_id), limits, more, "project")
    _check_one(tx, QuotaOwner(project_id, user_id=user_id), stored[QuotaScope.USER], more, "user")
    _check_one(tx, QuotaOwner(project_id, share_type=share_type_id), stored[QuotaScope.TYPE], more, "share type")


def check_type(tx: Transaction, project_id: str, share_type_id: str, more: Mapping[QuotaResource, int]) -> None:
    """Raise QuotaExceeded unless `more`, which the project has already, fits its quota of that share type."""
    hold(tx, f"quota {project_id}")
    own = rows.limits(tx, QuotaScope.TYPE, project_id=project_id, subject=share_type_id)
    _check_one(tx, QuotaOwner(project_id, share_type=share_type_id), own, more, "share type")


def show(plane: ControlPlane, owner: QuotaOwner) -> dict[QuotaResource, QuotaLine]:
    """Limits and usage. Raises NotFound for an unknown share type."""
    with plane.database.read() as tx:
        resolved = _resolve(tx, plane, owner)
        return _lines(tx, resolved)


def defaults(plane: ControlPlane) -> Limits:
    """The limits of a project for which nothing is set."""
    with plane.database.read() as tx:
        return _class_limits(tx, plane, DEFAULT_CLASS)


def update(plane: ControlPlane, owner: QuotaOwner, change: QuotaChange) -> dict[QuotaResource, QuotaLine]:
    """Set limits and return all lines. Safe to repeat. Raises NotFound, and Invalid for a limit that cannot be."""
    with plane.database.begin() as tx:
        hold(tx, f"quota {owner.project_id}")
        resolved = _resolve(tx, plane, owner)
        usage = _usage(tx, resolved)
        for resource, limit in change.limits.items():
            _check_limit(resolved, resource, limit, usage[resource], force=change.force)
        rows.set_limits(
            tx,
            resolved.scope,
            change.limits,
            now=plane.clock.utc(),
            project_id=owner.project_id,
            subject=resolved.subject,
        )
        return _lines(tx, _resolve(tx, plane, owner))


def delete(plane: ControlPlane, owner: QuotaOwner) -> None:
    """Forget limits: a user's, a type's, or the project's with all its users' and types'. Safe to repeat."""
    with plane.database.begin() as tx:
        resolved = _resolve(tx, plane, owner)
        if resolved.is_part:
            rows.delete_limits(tx, resolved.scope, project_id=owner.project_id, subject=resolved.subject)
            return
        for scope in (QuotaScope.PROJECT, QuotaScope.USER, QuotaScope.TYPE):
            rows.delete_limits(tx, scope, project_id=owner.project_id, subject=None)


def class_limits(plane: ControlPlane, name: str) -> Limits:
    """The limits of a quota class."""
    with plane.database.read() as tx:
        return _class_limits(tx, plane, name)


def update_class(plane: ControlPlane, name: str, limits: Mapping[QuotaResource, int]) -> Limits:
    """Set limits of a quota class; those of ``default`` hold for every project without its own. Safe to repeat."""
    for resource, limit in limits.items():
        _check_minimum(resource, limit)
    with plane.database.begin() as tx:
        rows.set_limits(tx, QuotaScope.CLASS, limits, now=plane.clock.utc(), subject=name)
        return _class_limits(tx, plane, name)


def _check_one(
    tx: Transaction, owner: QuotaOwner, limits: Limits, more: Mapping[QuotaResource, int], whose: str
) -> None:
    """`owner` names the type by its id. What has no limit is not counted."""
    limited = {name for name, wanted in more.items() if wanted > 0 and limits.get(name, UNLIMITED) != UNLIMITED}
    if not limited:
        return
    usage = rows.usage(
        tx,
        owner.project_id,
        user_id=owner.user_id,
        share_type_id=owner.share_type,
        resources=limited.difference(PER_ITEM),
    )
    used = {resource: 0 if resource in PER_ITEM else line.in_use + line.reserved for resource, line in usage.items()}
    check_fits(limits, used, more, whose)


def _resolve(tx: Transaction, plane: ControlPlane, owner: QuotaOwner) -> _Resolved:
    type_id = type_choice.find_any(tx, owner.share_type).id if owner.share_type is not None else None
    project_limits = _project_limits(tx, plane, owner.project_id)
    own: Limits = {}
    if owner.user_id is not None:
        own = rows.limits(tx, QuotaScope.USER, project_id=owner.project_id, subject=owner.user_id)
    elif type_id is not None:
        own = rows.limits(tx, QuotaScope.TYPE, project_id=owner.project_id, subject=type_id)
    return _Resolved(owner.project_id, owner.user_id, type_id, project_limits, own)


def _lines(tx: Transaction, resolved: _Resolved) -> dict[QuotaResource, QuotaLine]:
    usage = _usage(tx, resolved)
    return {resource: QuotaLine(limit, usage[resource]) for resource, limit in resolved.effective.items()}


def _usage(tx: Transaction, resolved: _Resolved) -> dict[QuotaResource, Usage]:
    return rows.usage(tx, resolved.project_id, user_id=resolved.user_id, share_type_id=resolved.share_type_id)


def _project_limits(tx: Transaction, plane: ControlPlane, project_id: str) -> Limits:
    own = rows.limits(tx, QuotaScope.PROJECT, project_id=project_id)
    return {**_class_limits(tx, plane, DEFAULT_CLASS), **own}


def _class_limits(tx: Transaction, plane: ControlPlane, name: str) -> Limits:
    return {**_configured(plane), **rows.limits(tx, QuotaScope.CLASS, subject=name)}


def _configured(plane: ControlPlane) -> Limits:
    return {resource: int(plane.conf.quota[resource]) for resource in QuotaResource}


def _check_minimum(resource: QuotaResource, limit: int) -> None:
    if limit < UNLIMITED:
        raise Invalid(f"The limit of '{resource}' must be at least -1, which is no limit, not {limit}.")


def _check_limit(resolved: _Resolved, resource: QuotaResource, limit: int, usage: Usage, *, force: bool) -> None:
    _check_minimum(resource, limit)
    if resolved.share_type_id is not None and resource not in TYPE_RESOURCES:
        raise Invalid(f"'{resource}' has no quota by share type.")
    if force:
        return
    used = 0 if resource in PER_ITEM else usage.in_use + usage.reserved
    if limit != UNLIMITED and limit < used:
        raise Invalid(f"The limit of '{resource}' cannot be {limit}: {used} are in use. Send 'force' to set it anyway.")
    most = resolved.project_limits[resource]
    if resolved.is_part and most != UNLIMITED and (limit == UNLIMITED or limit > most):
        raise Invalid(f"The limit of '{resource}' must be at most {most}, the project's.")
