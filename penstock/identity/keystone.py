"""A real Keystone: tokens are checked with keystonemiddleware as ``[keystone_authtoken]`` says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import webob.exc
from keystoneauth1.exceptions import ClientException
from keystonemiddleware.auth_token import AuthProtocol
from keystonemiddleware.exceptions import KeystoneMiddlewareException
from oslo_config import cfg

from penstock.errors import Unauthorized, Unavailable
from penstock.identity.callers import Caller


class KeystoneTokens:
    """Asks Keystone, through the middleware's own cache and session. Nothing is asked before the first token."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._protocol = AuthProtocol(None, {"oslo_config_config": conf, "delay_auth_decision": False})

    def check(self, token: str) -> Caller:
        """Who holds the token. Raises Unauthorized, or Unavailable when Keystone does not answer."""
        try:
            found = self._protocol.fetch_token(token)
        except (webob.exc.HTTPServiceUnavailable, ClientException) as err:
            raise Unavailable("The Keystone service does not answer.") from err
        except KeystoneMiddlewareException as err:
            raise Unauthorized("Keystone does not know the token, or it has expired.") from err
        return caller_of(found)


def caller_of(found: dict[str, Any]) -> Caller:
    """The caller in Keystone's answer to ``GET /v3/auth/tokens``. Raises Unauthorized when the time is over."""
    token = found["token"]
    expires_at = datetime.fromisoformat(token["expires_at"]).astimezone(UTC).replace(tzinfo=None)
    if expires_at <= datetime.now(UTC).replace(tzinfo=None):
        raise Unauthorized("The token has expired.")
    project = token.get("project") or {}
    return Caller(
        user_id=token["user"]["id"],
        user_name=token["user"]["name"],
        project_id=project.get("id"),
        project_name=project.get("name"),
        roles=tuple(role["name"] for role in token.get("roles", ())),
        expires_at=expires_at,
    )
