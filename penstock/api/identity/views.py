"""How accounts are written in answers of Identity v3."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from penstock.domain.identity import DOMAIN_ID, DOMAIN_NAME, Project, Role, User

DOMAIN = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


def stamp(moment: datetime | None) -> str | None:
    """A time as Identity v3 writes it: with microseconds and Z."""
    return None if moment is None else f"{moment.isoformat(timespec='microseconds')}Z"


def listed(name: str, items: Sequence[dict[str, Any]], url: str) -> dict[str, Any]:
    """A whole list: there are no parts."""
    return {name: list(items), "links": {"self": url, "previous": None, "next": None}}


def project(value: Project, url: str) -> dict[str, Any]:
    """A project."""
    return {
        "id": value.id,
        "name": value.name,
        "description": value.description,
        "enabled": value.enabled,
        "domain_id": DOMAIN_ID,
        "parent_id": DOMAIN_ID,
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{url}/projects/{value.id}"},
    }


def user(value: User, url: str) -> dict[str, Any]:
    """A user."""
    view: dict[str, Any] = {
        "id": value.id,
        "name": value.name,
        "domain_id": DOMAIN_ID,
        "enabled": value.enabled,
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{url}/users/{value.id}"},
    }
    if value.email is not None:
        view["email"] = value.email
    if value.default_project_id is not None:
        view["default_project_id"] = value.default_project_id
    return view


def role(value: Role, url: str) -> dict[str, Any]:
    """A role."""
    return {
        "id": value.id,
        "name": value.name,
        "domain_id": None,
        "description": None,
        "options": {},
        "links": {"self": f"{url}/roles/{value.id}"},
    }


def role_names(roles: Sequence[Role]) -> list[dict[str, Any]]:
    """Roles as tokens and credentials hold them."""
    return [{"id": value.id, "name": value.name} for value in roles]
