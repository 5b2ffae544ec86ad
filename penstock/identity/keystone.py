"""A real Keystone: tokens are checked with keystonemiddleware as ``[keystone_authtoken]`` says."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import webob
from keystoneauth1.exceptions import ClientException
from keystonemiddleware.auth_token import AuthProtocol
from oslo_config import cfg

from penstock.errors import Unauthorized, Unavailable
from penstock.identity.callers import Caller

ANSWER = "keystone.token_info"  # where the middleware leaves Keystone's answer in the WSGI environment


class KeystoneTokens:
    """Asks Keystone, through the middleware's own cache and session. Nothing is asked before the first token."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        options = {"oslo_config_config": conf, "delay_auth_decision": False}
        self._protocol = AuthProtocol(webob.Response(), options)

    def check(self, token: str) -> Caller:
        """Who holds the token. Raises Unauthorized, or Unavailable when Keystone does not answer."""
        request = webob.Request.blank("/", headers={"X-Auth-Token": token})
        try:
            status = request.get_response(self._protocol).status_int
        except ClientException as err:
            raise Unavailable("The Keystone service does not answer as it should.") from err
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable("The Keystone service does not answer.")
        if status != HTTPStatus.OK or ANSWER not in request.environ:
            raise Unauthorized("Keystone does not know the token, or it has expired.")
        return caller_of(request.environ[ANSWER])


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
