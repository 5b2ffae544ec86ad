"""``/v3/roles``."""

from __future__ import annotations

from penstock.api.bodies import Lenient, Name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid
from penstock.identity import accounts
from penstock.identity.plane import IdentityPlane


class RoleFields(Lenient):
    """What of a role can be given."""

    name: Name


class RoleBody(Lenient):
    """Body of create."""

    role: RoleFields


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("roles")
    def index(request: ApiRequest) -> Answer:
        require_admin(request)
        shown = [views.role(role, request.url) for role in accounts.list_roles(plane, name=request.query.get("name"))]
        return Answer(views.listed("roles", shown, f"{request.url}/roles"))

    @found.post("roles")
    def create(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = request.body_as(RoleBody).role
        if not wanted.name.strip():
            raise Invalid("A role needs a 'name'.")
        return Answer({"role": views.role(accounts.create_role(plane, wanted.name), request.url)}, 201)

    @found.get("roles/{role_id}")
    def show(request: ApiRequest) -> Answer:
        require_admin(request)
        return Answer({"role": views.role(accounts.get_role(plane, request.params["role_id"]), request.url)})

    @found.delete("roles/{role_id}")
    def delete(request: ApiRequest) -> Answer:
        require_admin(request)
        accounts.delete_role(plane, request.params["role_id"])
        return NO_CONTENT

    return found
