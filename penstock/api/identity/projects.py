"""``/v3/projects``."""

from __future__ import annotations

from penstock.api.bodies import Lenient, Name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin
from penstock.api.identity.tokens import check_domain
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid
from penstock.identity import accounts
from penstock.identity.accounts import Change
from penstock.identity.plane import IdentityPlane


class ProjectFields(Lenient):
    """What of a project can be given."""

    name: Name | None = None
    description: Name | None = None
    enabled: bool | None = None
    domain_id: str | None = None


class ProjectBody(Lenient):
    """Body of create and update."""

    project: ProjectFields


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("projects")
    def index(request: ApiRequest) -> Answer:
        require_admin(request)
        items = accounts.list_projects(plane, name=request.query.get("name"))
        if request.query.get("domain_id", "default") != "default":
            items = []
        enabled = request.query.get("enabled")
        if enabled is not None:
            items = [item for item in items if item.enabled == (enabled.lower() in ("true", "1", ""))]
        shown = [views.project(item, request.url) for item in items]
        return Answer(views.listed("projects", shown, f"{request.url}/projects"))

    @found.post("projects")
    def create(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = request.body_as(ProjectBody).project
        check_domain(wanted.domain_id)
        if not wanted.name or not wanted.name.strip():
            raise Invalid("A project needs a 'name'.")
        made = accounts.create_project(
            plane, wanted.name, description=wanted.description or "", enabled=wanted.enabled is not False
        )
        return Answer({"project": views.project(made, request.url)}, 201)

    @found.get("projects/{project_id}")
    def show(request: ApiRequest) -> Answer:
        if request.params["project_id"] != request.context.project_id:
            require_admin(request)
        project = accounts.get_project(plane, request.params["project_id"])
        return Answer({"project": views.project(project, request.url)})

    @found.patch("projects/{project_id}")
    def update(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = request.body_as(ProjectBody).project
        change = Change(name=wanted.name, description=wanted.description, enabled=wanted.enabled)
        project = accounts.update_project(plane, request.params["project_id"], change)
        return Answer({"project": views.project(project, request.url)})

    @found.delete("projects/{project_id}")
    def delete(request: ApiRequest) -> Answer:
        require_admin(request)
        accounts.delete_project(plane, request.params["project_id"])
        return NO_CONTENT

    return found
