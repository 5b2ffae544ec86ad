"""Projects, users, roles, tokens and application credentials of the built-in identity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from penstock.ids import ProjectId, UserId

DOMAIN_ID = "default"
DOMAIN_NAME = "Default"
# What a role brings along, as in a stock Keystone: an administrator is a member, a member may read.
IMPLIED: dict[str, tuple[str, ...]] = {"admin": ("member",), "member": ("reader",)}
STANDARD_ROLES = ("admin", "member", "reader", "service")


@dataclass(frozen=True, slots=True)
class Project:
    """Who owns resources."""

    id: ProjectId
    name: str
    description: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class User:
    """Who logs in. The password's hash is the store's alone."""

    id: UserId
    name: str
    default_project_id: ProjectId | None
    email: str | None
    enabled: bool


@dataclass(frozen=True, slots=True, order=True)
class Role:
    """A named right; policy rules refer to the name."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A user has a role in a project."""

    user_id: UserId
    project_id: ProjectId
    role_id: str


@dataclass(frozen=True, slots=True)
class Token:
    """A stored token, without the secret itself."""

    user_id: UserId
    project_id: ProjectId | None
    methods: tuple[str, ...]
    audit_id: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """A secret of a program that acts as its user in one project."""

    id: str
    name: str
    user_id: UserId
    project_id: ProjectId
    expires_at: datetime | None


def with_implied(roles: Iterable[Role], known: Iterable[Role]) -> tuple[Role, ...]:
    """`roles` and the `known` roles they bring along, by name."""
    by_name = {role.name: role for role in known}
    found = {role.name: role for role in roles}
    waiting = list(found)
    while waiting:
        for name in IMPLIED.get(waiting.pop(), ()):
            if name in by_name and name not in found:
                found[name] = by_name[name]
                waiting.append(name)
    return tuple(sorted(found.values()))
