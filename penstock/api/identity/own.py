"""What users do about themselves: ``/v3/users/{user_id}/password``, ``projects`` and ``groups``."""

from __future__ import annotations

from penstock.api.bodies import Lenient
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_self
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Forbidden
from penstock.identity import accounts
from penstock.identity.plane import IdentityPlane


class PasswordFields(Lenient):
    """A change of one's own password."""

    original_password: str
    password: str


class PasswordBody(Lenient):
    """Body of ``POST /v3/users/{id}/password``."""

    user: PasswordFields


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.post("users/{user_id}/password")
    def change_password(request: ApiRequest) -> Answer:
        if request.context.user_id != request.params["user_id"]:
            raise Forbidden("Only the user can do this; an administrator sets a password with PATCH.")
        wanted = request.body_as(PasswordBody).user
        accounts.change_own_password(
            plane, request.params["user_id"], original=wanted.original_password, password=wanted.password
        )
        return NO_CONTENT

    @found.get("users/{user_id}/projects")
    def projects(request: ApiRequest) -> Answer:
        user_id = request.params["user_id"]
        require_self(request, user_id)
        shown = [views.project(item, request.url) for item in accounts.list_projects(plane, of_user=user_id)]
        return Answer(views.listed("projects", shown, f"{request.url}/users/{user_id}/projects"))

    @found.get("users/{user_id}/groups")
    def groups(request: ApiRequest) -> Answer:
        require_self(request, request.params["user_id"])
        accounts.get_user(plane, request.params["user_id"])
        return Answer(views.listed("groups", [], f"{request.url}/users/{request.params['user_id']}/groups"))

    return found
