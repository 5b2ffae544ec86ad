"""The calls of protocol section 2, one method per row; the number of the row is in each docstring.

Every method raises the faults of `Session.call`; those named are what the caller should think of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from penstock.clock import Clock, SystemClock
from penstock.errors import Unavailable
from penstock.volume.drivers.zfssa import values
from penstock.volume.drivers.zfssa.connection import Address
from penstock.volume.drivers.zfssa.session import Answer, Login, Session
from penstock.volume.drivers.zfssa.values import MASK_ALL, Lun, Snapshot

POOLS = "/api/storage/v1/pools"
SCHEMA = "/api/storage/v1/schema"
REPLICATION = "/api/storage/v1/replication"
ISCSI = "/api/san/v1/iscsi"


def _path(*parts: str) -> str:
    return "/".join((parts[0], *(quote(part, safe="=:") for part in parts[1:])))


class Appliance:
    """One appliance, as this user may use it, once `connect` said where it is. Threads may share it."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._session: Session | None = None

    def connect(self, address: Address, login: Login) -> Appliance:
        """Log in. Raises as `Session.log_in`."""
        session = Session(address, login, clock=self.clock)
        session.log_in()
        self._session = session
        return self

    @property
    def session(self) -> Session:
        """The conversation. Raises Unavailable before `connect`."""
        if self._session is None:
            raise Unavailable("the appliance was not connected to; do_setup has not run, or failed")
        return self._session

    def log_out(self) -> None:
        """2: end the session; never a fault. Safe to repeat."""
        if self._session is not None:
            self._session.log_out()

    def _get(self, path: str, key: str) -> tuple[Any, str]:
        answer = self.session.call("GET", path, 200)
        return answer.body.get(key), answer.what

    def _exists(self, path: str) -> bool:
        """Any refusal but 404 is a fault: what could not be seen is not absent."""
        return self.session.call("GET", path, 200, also_good=404).status == 200

    def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self.session.call("POST", path, 201, body)

    def _put(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        self.session.call("PUT", path, 202, body)

    def _delete(self, path: str) -> None:
        self.session.call("DELETE", path, 204)

    # --- the machine ---------------------------------------------------------------------------------------------

    def version(self) -> values.Node:
        """3: this head."""
        return values.node(*self._get("/api/system/v1/version", "version"))

    def cluster(self) -> values.Peer:
        """4: the other head."""
        return values.peer(*self._get("/api/hardware/v1/cluster", "cluster"))

    def replication_service(self) -> str:
        """5: ``online`` when replication works."""
        found, what = self._get("/api/service/v1/services/replication", "service")
        return values.text(values.mapping(found, what), "<status>", what)

    # --- pools and projects --------------------------------------------------------------------------------------

    def verify_pool(self, pool: str) -> None:
        """6: raises Absent."""
        self.session.call("GET", _path(POOLS, pool), 200)

    def pool(self, pool: str) -> values.Pool:
        """6: raises Absent."""
        return values.pool(*self._get(_path(POOLS, pool), "pool"))

    def project_exists(self, pool: str, project: str) -> bool:
        """7."""
        return self._exists(_path(POOLS, pool, "projects", project))

    def verify_project(self, pool: str, project: str) -> None:
        """7: raises Absent."""
        self.session.call("GET", _path(POOLS, pool, "projects", project), 200)

    def space(self, pool: str, project: str) -> values.Space:
        """7: raises Absent."""
        return values.space(*self._get(_path(POOLS, pool, "projects", project), "project"))

    def create_project(self, pool: str, project: str, properties: Mapping[str, Any]) -> None:
        """8: raises Taken."""
        self._post(_path(POOLS, pool, "projects"), {"name": project, **properties})

    def delete_project(self, pool: str, project: str) -> None:
        """9: raises Absent."""
        self._delete(_path(POOLS, pool, "projects", project))

    def schema_exists(self, name: str) -> bool:
        """10."""
        return self._exists(_path(SCHEMA, name))

    def create_schema(self, name: str, description: str, kind: str) -> None:
        """11: raises Taken."""
        self._post(SCHEMA, {"property": name, "description": description, "type": kind})

    # --- initiators and targets ----------------------------------------------------------------------------------

    def initiator_alias_exists(self, alias: str) -> bool:
        """12."""
        return self._exists(_path(f"{ISCSI}/initiators", f"alias={alias}"))

    def create_initiator(self, iqn: str, alias: str, user: str, secret: str) -> None:
        """13: raises Taken when the name is known under another alias."""
        chap = {"chapuser": user, "chapsecret": secret} if user and secret else {}
        self._post(f"{ISCSI}/initiators", {"initiator": iqn, "alias": alias, **chap})

    def verify_initiator(self, iqn: str) -> None:
        """14: raises Absent."""
        self.session.call("GET", _path(f"{ISCSI}/initiators", iqn), 200)

    def initiator_group(self, name: str) -> values.Group | None:
        """15: None when there is none."""
        answer = self.session.call("GET", _path(f"{ISCSI}/initiator-groups", name), 200, also_good=404)
        return None if answer.status == 404 else values.group(answer.body.get("group"), answer.what)

    def create_initiator_group(self, name: str, initiators: Sequence[str]) -> None:
        """16: raises Taken."""
        self._post(f"{ISCSI}/initiator-groups", {"name": name, "initiators": list(initiators)})

    def set_initiator_group(self, name: str, initiators: Sequence[str]) -> None:
        """17: the whole list."""
        self._put(_path(f"{ISCSI}/initiator-groups", name), {"initiators": list(initiators)})

    def initiator_groups(self) -> tuple[values.Group, ...]:
        """18."""
        found, what = self._get(f"{ISCSI}/initiator-groups", "groups")
        return tuple(values.group(each, what) for each in values.rows(found, what))

    def target_iqn(self, alias: str) -> str | None:
        """19: None when there is no such target."""
        path = _path(f"{ISCSI}/targets", f"alias={alias}")
        answer = self.session.call("GET", path, 200, also_good=404)
        return None if answer.status == 404 else _iqn(answer)

    def create_target(self, alias: str, interfaces: Sequence[str], user: str, secret: str) -> str:
        """20: its name. Raises Taken."""
        body: dict[str, Any] = {"alias": alias}
        if interfaces:
            body["interfaces"] = list(interfaces)
        if user and secret:
            body |= {"targetchapuser": user, "targetchapsecret": secret, "auth": "chap"}
        return _iqn(self._post(f"{ISCSI}/targets", body))

    def target_group_exists(self, name: str) -> bool:
        """21."""
        return self._exists(_path(f"{ISCSI}/target-groups", name))

    def create_target_group(self, name: str, iqn: str) -> None:
        """22: raises Taken."""
        self._post(f"{ISCSI}/target-groups", {"name": name, "targets": [iqn]})

    def set_target_group(self, name: str, iqn: str) -> None:
        """23: replaces what was in it."""
        self._put(_path(f"{ISCSI}/target-groups", name), {"targets": [iqn]})

    # --- LUNs ----------------------------------------------------------------------------------------------------

    def create_lun(self, pool: str, project: str, body: Mapping[str, Any]) -> None:
        """24: raises Taken, OverLimit."""
        self._post(_path(POOLS, pool, "projects", project, "luns"), body)

    def lun(self, pool: str, project: str, name: str) -> Lun:
        """25: raises Absent."""
        return values.lun(*self._get(_path(POOLS, pool, "projects", project, "luns", name), "lun"))

    def luns(self, pool: str, project: str) -> tuple[Lun, ...]:
        """26: raises Absent (the project)."""
        found, what = self._get(_path(POOLS, pool, "projects", project, "luns"), "luns")
        return tuple(values.lun(each, what) for each in values.rows(found, what))

    def set_lun(self, pool: str, project: str, name: str, body: Mapping[str, Any]) -> None:
        """27: raises Absent."""
        self._put(_path(POOLS, pool, "projects", project, "luns", name), body)

    def present_lun(self, pool: str, project: str, name: str, groups: Sequence[str]) -> None:
        """28: to exactly these groups, to nobody when empty. Raises Absent, ApplianceFault (no such group)."""
        wanted = sorted(groups)
        value: str | list[str] = MASK_ALL if not wanted else wanted[0] if len(wanted) == 1 else wanted
        self.set_lun(pool, project, name, {"initiatorgroup": value})

    def delete_lun(self, pool: str, project: str, name: str) -> None:
        """29: with its snapshots and their clones. Raises Absent, Denied (protected, or a clone is)."""
        self._delete(_path(POOLS, pool, "projects", project, "luns", name))

    # --- snapshots -----------------------------------------------------------------------------------------------

    def _snapshots(self, pool: str, project: str, lun: str, *more: str) -> str:
        return _path(POOLS, pool, "projects", project, "luns", lun, "snapshots", *more)

    def create_snapshot(self, pool: str, project: str, lun: str, name: str) -> None:
        """30: raises Taken, Absent (the LUN)."""
        self._post(self._snapshots(pool, project, lun), {"name": name})

    def snapshot(self, pool: str, project: str, lun: str, name: str) -> Snapshot:
        """31: raises Absent."""
        return values.snapshot(*self._get(self._snapshots(pool, project, lun, name), "snapshot"))

    def delete_snapshot(self, pool: str, project: str, lun: str, name: str) -> None:
        """32: with its clones. Raises Absent, Denied (a clone is protected)."""
        self._delete(self._snapshots(pool, project, lun, name))

    def clone_snapshot(self, pool: str, project: str, lun: str, name: str, body: Mapping[str, Any]) -> None:
        """33: raises Absent, Taken (the clone's name)."""
        self.session.call("PUT", self._snapshots(pool, project, lun, name, "clone"), 201, body)

    # --- replication ---------------------------------------------------------------------------------------------

    def replication_targets(self) -> tuple[values.ReplicationTarget, ...]:
        """34."""
        found, what = self._get(f"{REPLICATION}/targets", "targets")
        return tuple(values.replication_target(each, what) for each in values.rows(found, what))

    def inherit_replication(self, pool: str, project: str, lun: str, *, inherited: bool) -> None:
        """35: whether the LUN replicates as its project does, or by itself."""
        self._put(_path(POOLS, pool, "projects", project, "filesystems", lun, "replication"), {"inherited": inherited})

    def create_replication_action(self, pool: str, project: str, lun: str, target: str, target_pool: str) -> str:
        """36: its id. Raises Taken where there is one for this LUN and target."""
        where = {"pool": pool, "project": project, "share": lun, "target": target, "target_pool": target_pool}
        answer = self._post(f"{REPLICATION}/actions", where)
        return values.text(values.mapping(answer.body.get("action"), answer.what), "id", answer.what)

    def replication_actions_of(self, pool: str, project: str, lun: str) -> tuple[str, ...]:
        """The ids of the actions that replicate this LUN (appliance REST guide; not in the page's table)."""
        found, what = self._get(f"{REPLICATION}/actions", "actions")
        rows = [values.mapping(each, what) for each in values.rows(found, what)]
        wanted = {"pool": pool, "project": project, "share": lun}
        ours = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
        return tuple(values.text(row, "id", what) for row in ours)

    def send_update(self, action: str) -> None:
        """37: begin to send."""
        self._put(_path(f"{REPLICATION}/actions", action, "sendupdate"))

    def replication_action(self, action: str) -> values.ReplicationAction:
        """38: raises Absent."""
        return values.replication_action(*self._get(_path(f"{REPLICATION}/actions", action), "action"))

    def delete_replication_action(self, action: str) -> None:
        """39: raises Absent."""
        self._delete(_path(f"{REPLICATION}/actions", action))

    def source_name(self, asn: str) -> str | None:
        """40: under which name this appliance knows the sender; None when it has nothing of it."""
        found, what = self._get(f"{REPLICATION}/sources", "sources")
        rows = [values.mapping(each, what) for each in values.rows(found, what)]
        return next((values.text(row, "name", what) for row in rows if row.get("asn") == asn), None)

    def sever_package(self, source: str, package: str) -> None:
        """41: the package becomes a project of the same name. Raises Absent."""
        path = _path(f"{REPLICATION}/sources", source, "packages", package, "sever")
        self._put(path, {"projname": package})

    def delete_package(self, source: str, package: str) -> None:
        """Give up what was received (appliance REST guide; not in the page's table). Raises Absent."""
        self._delete(_path(f"{REPLICATION}/sources", source, "packages", package))

    def move_lun(self, pool: str, from_project: str, lun: str, to_project: str) -> None:
        """42: raises Absent, Taken."""
        self._put(_path(POOLS, pool, "projects", from_project, "filesystems", lun), {"project": to_project})


def _iqn(answer: Answer) -> str:
    return values.text(values.mapping(answer.body.get("target"), answer.what), "iqn", answer.what)
