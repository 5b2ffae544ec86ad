"""``/v3/auth``: logging in, looking at a token, ending it, and what the caller can reach."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from penstock.api.bodies import Lenient
from penstock.api.http import Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.identity import DOMAIN_ID
from penstock.errors import Forbidden, Invalid, NotFound, Unauthorized
from penstock.identity import accounts, tokens
from penstock.identity.catalogue import SERVICES, endpoints
from penstock.identity.login import (
    CredentialProof,
    DomainRef,
    LoginRequest,
    PasswordProof,
    Proof,
    Ref,
    TokenProof,
    log_in,
)
from penstock.identity.plane import IdentityPlane
from penstock.identity.tokens import Session


class Domain(Lenient):
    """A domain by id or name."""

    id: str | None = None
    name: str | None = None


class Named(Lenient):
    """A project or user by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: Domain | None = None


class PasswordUser(Lenient):
    """The user who logs in."""

    password: str
    id: str | None = None
    name: str | None = None
    domain: Domain | None = None


class ByPassword(Lenient):
    """Method ``password``."""

    user: PasswordUser


class ByToken(Lenient):
    """Method ``token``."""

    id: str


class ByCredential(Lenient):
    """Method ``application_credential``."""

    secret: str
    id: str | None = None
    name: str | None = None
    user: Named | None = None


class Identity(Lenient):
    """Who somebody claims to be."""

    methods: list[str]
    password: ByPassword | None = None
    token: ByToken | None = None
    application_credential: ByCredential | None = None


class Scope(Lenient):
    """What the token is to be good for."""

    project: Named | None = None
    domain: Domain | None = None
    system: dict[str, Any] | None = None


class Auth(Lenient):
    """The login itself."""

    identity: Identity
    scope: Scope | Literal["unscoped"] | UnsetType = UNSET


class LoginBody(Lenient):
    """Body of ``POST /v3/auth/tokens``."""

    auth: Auth


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.post("auth/tokens")
    def create(request: ApiRequest) -> Answer:
        secret, session = log_in(plane, login_request(request))
        body = token_view(session, catalogue_view(request, plane) if session.project else None)
        return Answer({"token": body}, 201, {"X-Subject-Token": secret})

    @found.get("auth/tokens")
    def show(request: ApiRequest) -> Answer:
        session = _subject_session(plane, request)
        if session.user.id != request.context.user_id and "service" not in request.context.roles:
            require_admin(request)
        with_catalogue = session.project and "nocatalog" not in request.query
        body = token_view(session, catalogue_view(request, plane) if with_catalogue else None)
        return Answer({"token": body}, 200, {"X-Subject-Token": _subject(request)})

    @found.delete("auth/tokens")
    def revoke(request: ApiRequest) -> Answer:
        session = _subject_session(plane, request)
        if session.user.id != request.context.user_id:
            require_admin(request)
        tokens.revoke(plane, _subject(request))
        return Answer(None, 204)

    @found.get("auth/projects")
    def projects(request: ApiRequest) -> Answer:
        mine = accounts.list_projects(plane, of_user=request.context.user_id)
        items = [views.project(project, request.url) for project in mine if project.enabled]
        return Answer(views.listed("projects", items, f"{request.url}/auth/projects"))

    @found.get("auth/domains")
    def domains(request: ApiRequest) -> Answer:
        return Answer(views.listed("domains", [], f"{request.url}/auth/domains"))

    @found.get("auth/catalog")
    def catalogue(request: ApiRequest) -> Answer:
        if request.context.project_id is None:
            raise Forbidden("An unscoped token has no catalogue; ask for one with a project scope.")
        return Answer({"catalog": catalogue_view(request, plane), "links": {"self": f"{request.url}/auth/catalog"}})

    return found


def login_request(request: ApiRequest) -> LoginRequest:
    """The login in the body. Raises Invalid, Unauthorized for a method or scope that is not served."""
    auth = request.body_as(LoginBody).auth
    scope = auth.scope
    is_unscoped = scope == "unscoped"
    project = None
    if isinstance(scope, Scope):
        if scope.project is None:
            raise Unauthorized("Tokens are for a project; domain and system scopes are not served.")
        project = _ref(scope.project)
    return LoginRequest(_proof(auth.identity), project, is_unscoped, request.http.client)


def _proof(identity: Identity) -> Proof:
    match identity.methods:
        case ["password"] if identity.password:
            user = identity.password.user
            if user.id is None and user.name is None:
                raise Invalid("Give 'id' or 'name' of the user, in 'auth.identity.password.user'.")
            return PasswordProof(Ref(user.id, user.name, _domain(user.domain)), user.password)
        case ["token"] if identity.token:
            return TokenProof(identity.token.id)
        case ["application_credential"] if identity.application_credential:
            by = identity.application_credential
            return CredentialProof(Ref(by.id, by.name), _ref(by.user) if by.user else None, by.secret)
        case [("password" | "token" | "application_credential") as method]:
            raise Invalid(f"Expecting to find '{method}' in 'auth.identity'.")
    raise Unauthorized("Give exactly one of the methods password, token and application_credential.")


def _ref(named: Named) -> Ref:
    if named.id is None and named.name is None:
        raise Invalid("Give an 'id' or a 'name' with its domain.")
    return Ref(named.id, named.name, _domain(named.domain))


def _domain(domain: Domain | None) -> DomainRef:
    return DomainRef() if domain is None else DomainRef(domain.id, domain.name)


def _subject(request: ApiRequest) -> str:
    subject = request.http.headers.get("x-subject-token", "")
    if not subject:
        raise Invalid("Name the token in the header X-Subject-Token.")
    try:
        subject.encode("ascii")
    except UnicodeEncodeError as err:
        raise NotFound("There is no such token.") from err
    return subject


def _subject_session(plane: IdentityPlane, request: ApiRequest) -> Session:
    """The session of the token asked about. Raises NotFound as published: 401 would be about the caller's own."""
    subject = _subject(request)
    try:
        return tokens.look_up(plane, subject)
    except Unauthorized as err:
        raise NotFound("There is no such token, or it has expired.") from err


def token_view(session: Session, catalogue: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The published form of a token, without the token."""
    view: dict[str, Any] = {
        "methods": list(session.token.methods),
        "user": {
            "id": session.user.id,
            "name": session.user.name,
            "domain": views.DOMAIN,
            "password_expires_at": None,
        },
        "audit_ids": [session.token.audit_id],
        "issued_at": views.stamp(session.token.issued_at),
        "expires_at": views.stamp(session.token.expires_at),
    }
    if session.project is not None:
        view["project"] = {"id": session.project.id, "name": session.project.name, "domain": views.DOMAIN}
        view["is_domain"] = False
        view["roles"] = views.role_names(session.roles)
    if catalogue is not None:
        view["catalog"] = catalogue
    return view


def catalogue_view(request: ApiRequest, plane: IdentityPlane) -> list[dict[str, Any]]:
    """The catalogue at the address under which this client sees us."""
    found = endpoints(request.http.base_url, plane.region)
    return [
        {
            "id": service.id,
            "type": service.type,
            "name": service.name,
            "endpoints": [
                {
                    "id": endpoint.id,
                    "interface": endpoint.interface,
                    "region": endpoint.region,
                    "region_id": endpoint.region,
                    "url": endpoint.url,
                }
                for endpoint in found
                if endpoint.service is service
            ],
        }
        for service in SERVICES
    ]


def check_domain(domain_id: str | None) -> None:
    """Raise NotFound for any domain but the one there is."""
    if domain_id not in (None, DOMAIN_ID):
        raise NotFound(f"Could not find domain: {domain_id[:64] if domain_id else ''}.")
