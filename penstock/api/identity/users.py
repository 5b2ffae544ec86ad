"""``/v3/users``."""

from __future__ import annotations

from penstock.api.bodies import Lenient, Name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin, require_self
from penstock.api.identity.tokens import check_domain
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid
from penstock.identity import accounts
from penstock.identity.accounts import Change
from penstock.identity.plane import IdentityPlane


class UserFields(Lenient):
    """What of a user can be given."""

    name: Name | None = None
    password: str | None = None
    email: Name | None = None
    enabled: bool | None = None
    default_project_id: Name | None = None
    domain_id: str | None = None

    def change(self) -> Change:
        """The same for the use case."""
        return Change(
            name=self.name,
            enabled=self.enabled,
            email=self.email,
            default_project_id=self.default_project_id,
            password=self.password,
        )


class UserBody(Lenient):
    """Body of create and update."""

    user: UserFields


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("users")
    def index(request: ApiRequest) -> Answer:
        require_admin(request)
        users = accounts.list_users(plane, name=request.query.get("name"))
        shown = [views.user(user, request.url) for user in users]
        return Answer(views.listed("users", shown, f"{request.url}/users"))

    @found.post("users")
    def create(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = request.body_as(UserBody).user
        check_domain(wanted.domain_id)
        if not wanted.name or not wanted.name.strip():
            raise Invalid("A user needs a 'name'.")
        return Answer({"user": views.user(accounts.create_user(plane, wanted.change()), request.url)}, 201)

    @found.get("users/{user_id}")
    def show(request: ApiRequest) -> Answer:
        require_self(request, request.params["user_id"])
        return Answer({"user": views.user(accounts.get_user(plane, request.params["user_id"]), request.url)})

    @found.patch("users/{user_id}")
    def update(request: ApiRequest) -> Answer:
        require_admin(request)
        change = request.body_as(UserBody).user.change()
        return Answer({"user": views.user(accounts.update_user(plane, request.params["user_id"], change), request.url)})

    @found.delete("users/{user_id}")
    def delete(request: ApiRequest) -> Answer:
        require_admin(request)
        accounts.delete_user(plane, request.params["user_id"])
        return NO_CONTENT

    return found
