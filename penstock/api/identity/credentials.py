"""``/v3/users/{user_id}/application_credentials``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.api.bodies import Lenient, Name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_self
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.identity import ApplicationCredential, Role
from penstock.errors import Forbidden, Invalid
from penstock.identity import credentials
from penstock.identity.credentials import NewCredential
from penstock.identity.plane import IdentityPlane
from penstock.ids import ProjectId, UserId


class CredentialFields(Lenient):
    """What of a credential can be given. Roles are always those of the user in the project."""

    name: Name
    secret: str | None = None
    expires_at: str | None = None
    description: str | None = None


class CredentialBody(Lenient):
    """Body of create."""

    application_credential: CredentialFields


ALL = "users/{user_id}/application_credentials"
ONE = f"{ALL}/{{credential_id}}"


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get(ALL)
    def index(request: ApiRequest) -> Answer:
        user_id = request.params["user_id"]
        require_self(request, user_id)
        mine = credentials.list_of(plane, user_id, name=request.query.get("name"))
        shown = [_view(item, credentials.roles_of(plane, item), request.url) for item in mine]
        return Answer(views.listed("application_credentials", shown, f"{request.url}/{request.path}"))

    @found.post(ALL)
    def create(request: ApiRequest) -> Answer:
        user_id, project_id = request.params["user_id"], request.context.project_id
        if user_id != request.context.user_id or project_id is None:
            raise Forbidden("Only the user, with a token for the project, can make an application credential.")
        wanted = request.body_as(CredentialBody).application_credential
        if not wanted.name.strip():
            raise Invalid("An application credential needs a 'name'.")
        made, secret, roles = credentials.create(
            plane,
            NewCredential(
                wanted.name, UserId(user_id), ProjectId(project_id), wanted.secret, _moment(wanted.expires_at)
            ),
        )
        body = {**_view(made, roles, request.url), "description": wanted.description, "secret": secret}
        return Answer({"application_credential": body}, 201)

    @found.get(ONE)
    def show(request: ApiRequest) -> Answer:
        require_self(request, request.params["user_id"])
        item = credentials.get(plane, request.params["user_id"], request.params["credential_id"])
        return Answer({"application_credential": _view(item, credentials.roles_of(plane, item), request.url)})

    @found.delete(ONE)
    def delete(request: ApiRequest) -> Answer:
        require_self(request, request.params["user_id"])
        credentials.delete(plane, request.params["user_id"], request.params["credential_id"])
        return NO_CONTENT

    return found


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise Invalid(f"'expires_at' must be a time such as 2027-01-31T12:00:00Z, not '{text[:64]}'.") from err
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _view(item: ApplicationCredential, roles: Sequence[Role], url: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "description": None,
        "user_id": item.user_id,
        "project_id": item.project_id,
        "roles": views.role_names(roles),
        "expires_at": None if item.expires_at is None else item.expires_at.isoformat(timespec="microseconds"),
        "unrestricted": False,
        "links": {"self": f"{url}/users/{item.user_id}/application_credentials/{item.id}"},
    }
