"""The REST protocol: which handler answers which request, sessions, and faults in the appliance's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import structlog

from penstock.appliance import finding, luns, projects, replication, san, snapshots
from penstock.appliance.faults import Missing, NoSession, Refusal, refusal_of
from penstock.appliance.replication import Replication
from penstock.appliance.requests import Arguments
from penstock.appliance.sessions import Sessions
from penstock.appliance.site import Site
from penstock.errors import Fault
from penstock.zfs.flavour import Flavour

ACCESS = "/api/access/v1"
VERSION = "2013.06.05.8.63,1-1.0"  # the firmware whose protocol this is

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a JSON body, or none."""

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[..., Reply]


class Service:
    """Answers requests for one site. Threads may share it."""

    def __init__(self, site: Site, sessions: Sessions, sending: Replication) -> None:
        self.site = site
        self.sessions = sessions
        self.sending = sending
        self._routes = [
            (method, re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", path)), handler)
            for method, path, handler in self._table()
        ]

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer; faults too. `path` as it came, with its escapes."""
        try:
            if path == ACCESS:
                return self._access(method, headers)
            self._authenticate(headers)
            handler, names = self._find(method, path)
            return handler(**names, arguments=Arguments.of(body))
        except Fault as fault:
            refusal = refusal_of(fault)
            if refusal.status == 500:
                log.warning("appliance.fault", method=method, path=path, fault=type(fault).__name__, why=fault.message)
            return fault_reply(refusal)

    def _access(self, method: str, headers: Mapping[str, str]) -> Reply:
        if method == "POST":
            token = self.sessions.log_in(headers.get("authorization", ""))
            services = [{"name": name, "uri": f"/api/{name}/v1"} for name in ("san", "storage", "system")]
            return Reply(201, {"access": {"services": services}}, {"X-Auth-Session": token, "X-Zfssa-Version": VERSION})
        if method == "DELETE":
            self.sessions.log_out(headers.get("x-auth-session", ""))
            return Reply(204)
        raise Missing(f"{method} is nothing that can be done here")

    def _authenticate(self, headers: Mapping[str, str]) -> None:
        if token := headers.get("x-auth-session"):
            self.sessions.use(token)
        elif basic := headers.get("authorization"):
            self.sessions.check(basic)
        else:
            raise NoSession("log in first")

    def _find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        for known, pattern, handler in self._routes:
            found = pattern.fullmatch(path) if known == method else None
            if found is not None:
                return handler, {name: unquote(value) for name, value in found.groupdict().items()}
        raise Missing("there is nothing of that name")

    # --- the table ---------------------------------------------------------------------------------------------------

    def _table(self) -> list[tuple[str, str, Handler]]:
        return [*self._machine(), *self._projects(), *self._luns(), *self._san(), *self._replication()]

    def _machine(self) -> list[tuple[str, str, Handler]]:
        site = self.site
        return [
            ("GET", "/api/system/v1/version", lambda arguments: Reply(200, {"version": _version(site)})),
            ("GET", "/api/hardware/v1/cluster", lambda arguments: Reply(200, {"cluster": _cluster(site)})),
            (
                "GET",
                "/api/service/v1/services/replication",
                lambda arguments: Reply(200, {"service": {"<status>": "online"}}),
            ),
        ]

    def _projects(self) -> list[tuple[str, str, Handler]]:
        site = self.site
        pools, at = "/api/storage/v1/pools", "/api/storage/v1/pools/<pool>"

        def delete(pool: str, project: str, arguments: Arguments) -> Reply:
            projects.destroy_project(site, pool, project, lambda dataset: luns.destroy_all(site, pool, dataset))
            return Reply(204)

        return [
            (
                "GET",
                pools,
                lambda arguments: Reply(200, {"pools": [projects.pool_view(site, pool) for pool in site.pools]}),
            ),
            ("GET", at, lambda pool, arguments: Reply(200, {"pool": projects.pool_view(site, pool)})),
            (
                "GET",
                at + "/projects/<project>",
                lambda pool, project, arguments: Reply(200, {"project": projects.project_view(site, pool, project)}),
            ),
            (
                "POST",
                at + "/projects",
                lambda pool, arguments: Reply(201, {"project": projects.create_project(site, pool, arguments)}),
            ),
            ("DELETE", at + "/projects/<project>", delete),
            (
                "GET",
                "/api/storage/v1/schema/<name>",
                lambda name, arguments: Reply(200, {"schema": projects.schema_view(site, name)}),
            ),
            (
                "POST",
                "/api/storage/v1/schema",
                lambda arguments: Reply(201, {"schema": projects.create_schema(site, arguments)}),
            ),
        ]

    def _luns(self) -> list[tuple[str, str, Handler]]:
        site = self.site
        many = "/api/storage/v1/pools/<pool>/projects/<project>/luns"
        # a LUN may be addressed as a filesystem, too: the page says where the driver does
        one = "/api/storage/v1/pools/<pool>/projects/<project>/(?:luns|filesystems)/<lun>"

        def changed(pool: str, project: str, lun: str, arguments: Arguments) -> Reply:
            return Reply(202, {"lun": luns.change(site, pool, site.lun(pool, project, lun), arguments)})

        def deleted(pool: str, project: str, lun: str, arguments: Arguments) -> Reply:
            luns.destroy(site, pool, site.lun(pool, project, lun))
            return Reply(204)

        def unsnapped(pool: str, project: str, lun: str, snapshot: str, arguments: Arguments) -> Reply:
            snapshots.destroy(site, pool, site.lun(pool, project, lun), snapshot)
            return Reply(204)

        def cloned(pool: str, project: str, lun: str, snapshot: str, arguments: Arguments) -> Reply:
            at = site.lun(pool, project, lun)
            return Reply(201, {"lun": snapshots.clone(site, pool, at, snapshot, arguments)})

        return [
            (
                "POST",
                many,
                lambda pool, project, arguments: Reply(201, {"lun": luns.create(site, pool, project, arguments)}),
            ),
            ("GET", many, lambda pool, project, arguments: Reply(200, {"luns": luns.listing(site, pool, project)})),
            (
                "GET",
                one,
                lambda pool, project, lun, arguments: Reply(
                    200, {"lun": luns.view(site, pool, finding.find(site, site.lun(pool, project, lun)))}
                ),
            ),
            ("PUT", one, changed),
            ("DELETE", one, deleted),
            (
                "POST",
                one + "/snapshots",
                lambda pool, project, lun, arguments: Reply(
                    201, {"snapshot": snapshots.create(site, pool, site.lun(pool, project, lun), arguments)}
                ),
            ),
            (
                "GET",
                one + "/snapshots",
                lambda pool, project, lun, arguments: Reply(
                    200, {"snapshots": snapshots.listing(site, pool, site.lun(pool, project, lun))}
                ),
            ),
            (
                "GET",
                one + "/snapshots/<snapshot>",
                lambda pool, project, lun, snapshot, arguments: Reply(
                    200, {"snapshot": snapshots.view(site, pool, site.lun(pool, project, lun), snapshot)}
                ),
            ),
            ("DELETE", one + "/snapshots/<snapshot>", unsnapped),
            ("PUT", one + "/snapshots/<snapshot>/clone", cloned),
        ]

    def _san(self) -> list[tuple[str, str, Handler]]:
        site, at = self.site, "/api/san/v1/iscsi"

        def gone(remove: Callable[[Site, str], None]) -> Handler:
            def handler(name: str, arguments: Arguments) -> Reply:
                remove(site, name)
                return Reply(204)

            return handler

        def one(key: str, find: Callable[[Site, str], dict[str, Any]]) -> Handler:
            return lambda name, arguments: Reply(200, {key: find(site, name)})

        def many(key: str, find: Callable[[Site], list[dict[str, Any]]]) -> Handler:
            return lambda arguments: Reply(200, {key: find(site)})

        def made(key: str, create: Callable[[Site, Arguments], dict[str, Any]]) -> Handler:
            return lambda arguments: Reply(201, {key: create(site, arguments)})

        return [
            ("GET", f"{at}/initiators", many("initiators", san.initiators)),
            ("GET", f"{at}/initiators/<name>", one("initiator", san.initiator)),
            ("POST", f"{at}/initiators", made("initiator", san.create_initiator)),
            ("DELETE", f"{at}/initiators/<name>", gone(san.delete_initiator)),
            ("GET", f"{at}/initiator-groups", many("groups", san.initiator_groups)),
            ("GET", f"{at}/initiator-groups/<name>", one("group", san.initiator_group)),
            ("POST", f"{at}/initiator-groups", made("group", san.create_initiator_group)),
            (
                "PUT",
                f"{at}/initiator-groups/<name>",
                lambda name, arguments: Reply(202, {"group": san.change_initiator_group(site, name, arguments)}),
            ),
            ("DELETE", f"{at}/initiator-groups/<name>", gone(san.delete_initiator_group)),
            ("GET", f"{at}/targets", many("targets", san.targets)),
            ("GET", f"{at}/targets/<name>", one("target", san.target)),
            ("POST", f"{at}/targets", made("target", san.create_target)),
            ("GET", f"{at}/target-groups", many("groups", san.target_groups)),
            ("GET", f"{at}/target-groups/<name>", one("group", san.target_group)),
            ("POST", f"{at}/target-groups", made("group", _new_target_group)),
            (
                "PUT",
                f"{at}/target-groups/<name>",
                lambda name, arguments: Reply(
                    202, {"group": san.write_target_group(site, name, arguments, is_new=False)}
                ),
            ),
        ]

    def _replication(self) -> list[tuple[str, str, Handler]]:
        site, sending, at = self.site, self.sending, "/api/storage/v1/replication"

        def inherit(pool: str, project: str, lun: str, arguments: Arguments) -> Reply:
            return Reply(202, {"replication": sending.inherit(pool, project, lun, arguments)})

        def send(action: str, arguments: Arguments) -> Reply:
            arguments.end()
            sending.send_update(action)
            return Reply(202)

        def forget(action: str, arguments: Arguments) -> Reply:
            sending.delete(action)
            return Reply(204)

        def sever(source: str, package: str, arguments: Arguments) -> Reply:
            replication.sever(site, source, package, arguments)
            return Reply(202)

        def give_up(source: str, package: str, arguments: Arguments) -> Reply:
            replication.delete_package(site, source, package)
            return Reply(204)

        return [
            (
                "PUT",
                "/api/storage/v1/pools/<pool>/projects/<project>/(?:luns|filesystems)/<lun>/replication",
                inherit,
            ),
            ("GET", f"{at}/targets", lambda arguments: Reply(200, {"targets": sending.targets()})),
            ("GET", f"{at}/actions", lambda arguments: Reply(200, {"actions": sending.actions()})),
            ("POST", f"{at}/actions", lambda arguments: Reply(201, {"action": sending.create(arguments)})),
            ("GET", f"{at}/actions/<action>", lambda action, arguments: Reply(200, {"action": sending.view(action)})),
            ("PUT", f"{at}/actions/<action>/sendupdate", send),
            ("DELETE", f"{at}/actions/<action>", forget),
            ("GET", f"{at}/sources", lambda arguments: Reply(200, {"sources": replication.sources(site)})),
            ("PUT", f"{at}/sources/<source>/packages/<package>/sever", sever),
            ("DELETE", f"{at}/sources/<source>/packages/<package>", give_up),
        ]


def fault_reply(refusal: Refusal) -> Reply:
    """``fault``, as appliances say it."""
    body = {
        "fault": {"message": refusal.name, "details": refusal.message, "code": refusal.status, "name": refusal.name}
    }
    return Reply(refusal.status, body)


def _new_target_group(site: Site, arguments: Arguments) -> dict[str, Any]:
    return san.write_target_group(site, arguments.text("name"), arguments, is_new=True)


def _version(site: Site) -> dict[str, str]:
    flavour: Flavour = site.zfs.flavour
    return {
        "asn": site.asn,
        "nodename": site.name,
        "product": "Penstock appliance",
        "version": VERSION,
        "zfs": f"{flavour.name} {flavour.version}",
    }


def _cluster(site: Site) -> dict[str, str]:
    peer = site.peer
    return {"peer_asn": peer.asn, "peer_hostname": peer.name, "peer_state": peer.state, "state": "AKCS_OWNER"}
