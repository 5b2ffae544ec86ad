"""Role assignments: ``/v3/projects/{p}/users/{u}/roles`` and ``/v3/role_assignments``."""

from __future__ import annotations

from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.identity import Grant
from penstock.errors import NotFound
from penstock.identity import accounts
from penstock.identity.plane import IdentityPlane
from penstock.ids import ProjectId, UserId

ONE = "projects/{project_id}/users/{user_id}/roles/{role_id}"


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("projects/{project_id}/users/{user_id}/roles")
    def index(request: ApiRequest) -> Answer:
        require_admin(request)
        roles = accounts.roles_in(plane, request.params["user_id"], request.params["project_id"])
        shown = [views.role(role, request.url) for role in roles]
        return Answer(views.listed("roles", shown, f"{request.url}/{request.path}"))

    @found.put(ONE)
    def give(request: ApiRequest) -> Answer:
        require_admin(request)
        accounts.grant(plane, _grant(request))
        return NO_CONTENT

    @found.get(ONE)
    def check(request: ApiRequest) -> Answer:
        require_admin(request)
        if not accounts.is_granted(plane, _grant(request)):
            raise NotFound("The user does not have this role in the project.")
        return NO_CONTENT

    @found.delete(ONE)
    def take(request: ApiRequest) -> Answer:
        require_admin(request)
        accounts.revoke(plane, _grant(request))
        return NO_CONTENT

    @found.get("role_assignments")
    def assignments(request: ApiRequest) -> Answer:
        query = request.query
        user_id = query.get("user.id")
        if user_id is None or user_id != request.context.user_id:
            require_admin(request)
        grants = accounts.list_grants(
            plane, user_id=user_id, project_id=query.get("scope.project.id"), role_id=query.get("role.id")
        )
        names = _names(plane) if "include_names" in query and query["include_names"] != "0" else {}
        shown = [_assignment(grant, names, request.url) for grant in grants]
        return Answer(views.listed("role_assignments", shown, f"{request.url}/role_assignments"))

    return found


def _grant(request: ApiRequest) -> Grant:
    params = request.params
    return Grant(UserId(params["user_id"]), ProjectId(params["project_id"]), params["role_id"])


def _names(plane: IdentityPlane) -> dict[str, str]:
    people: dict[str, str] = {user.id: user.name for user in accounts.list_users(plane)}
    places: dict[str, str] = {project.id: project.name for project in accounts.list_projects(plane)}
    return {**people, **places, **{role.id: role.name for role in accounts.list_roles(plane)}}


def _assignment(grant: Grant, names: dict[str, str], url: str) -> dict[str, object]:
    def shown(thing_id: str, *, in_domain: bool = True) -> dict[str, object]:
        if thing_id not in names:
            return {"id": thing_id}
        domain = {"domain": views.DOMAIN} if in_domain else {}
        return {"id": thing_id, "name": names[thing_id], **domain}

    link = f"{url}/projects/{grant.project_id}/users/{grant.user_id}/roles/{grant.role_id}"
    return {
        "user": shown(grant.user_id),
        "role": shown(grant.role_id, in_domain=False),
        "scope": {"project": shown(grant.project_id)},
        "links": {"assignment": link},
    }
