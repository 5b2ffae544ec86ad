"""Penstock's own share service as the appliance, by its Shared File Systems API: one daemon can serve both halves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from penstock.client.resources import Document, awaited
from penstock.client.session import Credentials, Session
from penstock.client.shares import pages, reason, settled, settled_rule
from penstock.config.backend import BackendConfiguration
from penstock.domain.attachments import is_same_address
from penstock.errors import BackendFault, Conflict, Forbidden, InsufficientCapacity, Invalid, NotFound, Unavailable
from penstock.volume.drivers.nfs_appliance.appliance import ApplianceShare, ApplianceSnapshot, Room

log = structlog.get_logger(__name__)

NEEDED = ("snapshot_support", "create_share_from_snapshot_support")
GOING = frozenset({"deleting", "error_deleting", "error"})  # a share in error is none: its maker deletes it
REVERT = "revert_to_snapshot_support"


class PenstockShares:
    """Shares of project ``nas_project`` of a Shared File Systems v2 service, as user ``nas_user``.

    Labels are the shares' metadata. A rule for root says ``squash`` in its metadata, as our service understands it.
    """

    def __init__(self, configuration: BackendConfiguration) -> None:
        conf = configuration.conf
        here = f"http://{_host(conf.osapi_share_listen)}:{conf.osapi_share_listen_port}"
        self._session = Session(
            Credentials(
                auth_url=configuration.nas_auth_url or here,
                user=configuration.nas_user,
                password=configuration.nas_password,
                project=configuration.nas_project,
            )
        )
        self._share_type = configuration.nas_share_type
        self._timeout_s = float(configuration.nas_timeout)

    def check(self) -> None:
        found = self._type()
        specs = {**found.get("extra_specs", {}), **found.get("required_extra_specs", {})}
        missing = [name for name in NEEDED if not _is_true(specs.get(name))]
        if missing:
            raise Invalid(f"Share type {found['name']} lacks {' and '.join(missing)} = True, which volumes need.")
        if self._pools() == []:
            raise Unavailable("The share service has no pool yet: its backends are starting, or none is enabled.")

    def share(self, share_id: str) -> ApplianceShare | None:
        try:
            return self._share(self._session.get(f"shares/{share_id}")["share"])
        except NotFound:
            return None

    def shares(self) -> Sequence[ApplianceShare]:
        found = [_share(row, None) for row in pages(self._session, "shares")]
        return sorted(found, key=lambda share: (share.name, share.id))

    def shares_labelled(self, label: str, value: str) -> Sequence[ApplianceShare]:
        query = {"metadata": repr({label: value})}
        rows = self._session.get("shares/detail", **query)["shares"]
        found = [_share(row, None) for row in rows if row["status"] not in GOING]
        return [share for share in found if share.labels.get(label) == value]

    def make_share(
        self, name: str, size_gib: int, labels: Mapping[str, str], *, snapshot_id: str | None = None
    ) -> ApplianceShare:
        body: dict[str, Any] = {
            "share_proto": "NFS",
            "size": size_gib,
            "name": name,
            "metadata": dict(labels),
            "share_type": self._share_type,
            "snapshot_id": snapshot_id,
        }
        asked = {key: value for key, value in body.items() if value is not None}
        share_id = self._session.post("shares", {"share": asked})["share"]["id"]
        return self.ready_share(share_id)

    def ready_share(self, share_id: str) -> ApplianceShare:
        """The share once it can be used. One that ended in error is deleted, and the reason raised."""
        try:
            row = settled(self._session, "shares", share_id, timeout_s=self._timeout_s, progress=_quiet)
        except BackendFault as err:
            placed = self._session.get(f"shares/{share_id}")["share"].get("host", "somewhere")
            self.delete_share(share_id)
            if not placed:  # no pool took it
                raise InsufficientCapacity(str(err)) from err
            raise
        if row is None:
            raise BackendFault(f"Share {share_id} was deleted by somebody while it was made.")
        return self._share(row)

    def delete_share(self, share_id: str) -> None:
        try:
            row = self._session.get(f"shares/{share_id}")["share"]
            if row["status"] != "deleting":
                self._session.delete(f"shares/{share_id}")
        except NotFound:
            return
        self._gone("shares", share_id)

    def grow_share(self, share_id: str, size_gib: int) -> None:
        row = self._settled_share(share_id)
        if row["size"] < size_gib:
            self._session.post(f"shares/{share_id}/action", {"extend": {"new_size": size_gib}})
            self._settled_share(share_id)

    def label_share(self, share_id: str, labels: Mapping[str, str | None]) -> None:
        kept = {key: value for key, value in labels.items() if value is not None}
        if kept:
            self._session.post(f"shares/{share_id}/metadata", {"metadata": kept})
        known = self._session.get(f"shares/{share_id}/metadata")["metadata"]
        for key in [key for key, value in labels.items() if value is None and key in known]:
            self._session.delete(f"shares/{share_id}/metadata/{key}")

    def snapshots(self, share_id: str) -> Sequence[ApplianceSnapshot]:
        rows = sorted(pages(self._session, "snapshots", share_id=share_id), key=lambda row: row["created_at"])
        return [_snapshot(row) for row in rows]

    def make_snapshot(self, share_id: str, name: str) -> ApplianceSnapshot:
        known = pages(self._session, "snapshots", share_id=share_id, name=name)
        usable = [row for row in known if row["status"] in ("available", "creating")]
        if usable:
            return _snapshot(self._settled_snapshot(usable[0]["id"]))
        body = {"snapshot": {"share_id": share_id, "name": name}}
        made = self._session.post("snapshots", body)["snapshot"]["id"]
        return _snapshot(self._settled_snapshot(made))

    def delete_snapshot(self, snapshot_id: str) -> None:
        try:
            row = self._session.get(f"snapshots/{snapshot_id}")["snapshot"]
            if row["status"] != "deleting":
                self._session.delete(f"snapshots/{snapshot_id}")
        except NotFound:
            return
        self._gone("snapshots", snapshot_id)

    def can_revert(self) -> bool:
        found = self._type()
        return _is_true({**found.get("extra_specs", {})}.get(REVERT))

    def revert_share(self, share_id: str, snapshot_id: str) -> None:
        self._session.post(f"shares/{share_id}/action", {"revert": {"snapshot_id": snapshot_id}})
        self._settled_share(share_id)

    def clients(self, share_id: str) -> frozenset[str]:
        return frozenset(rule["access_to"] for rule in self._rules(share_id) if rule["access_type"] == "ip")

    def allow(self, share_id: str, address: str, *, as_root: bool) -> None:
        known = [rule for rule in self._rules(share_id) if is_same_address(rule["access_to"], address)]
        if known:
            settled_rule(self._session, known[0]["id"], timeout_s=self._timeout_s, progress=_quiet)
            return
        body: dict[str, Any] = {"access_type": "ip", "access_to": address, "access_level": "rw"}
        if as_root:
            body["metadata"] = {"squash": "no_root_squash"}
        rule = self._session.post(f"shares/{share_id}/action", {"allow_access": body})["access"]
        settled_rule(self._session, rule["id"], timeout_s=self._timeout_s, progress=_quiet)

    def deny(self, share_id: str, address: str) -> None:
        for rule in self._rules(share_id):
            if not is_same_address(rule["access_to"], address):
                continue
            if rule["state"] not in ("queued_to_deny", "denying"):
                self._session.post(f"shares/{share_id}/action", {"deny_access": {"access_id": rule["id"]}})

            def look(rule_id: str = rule["id"]) -> Document | None:
                return dict(self._session.get(f"share-access-rules/{rule_id}")["access"])

            passing = frozenset({"active", "queued_to_deny", "denying"})
            left = awaited(look, "state", passing, timeout_s=self._timeout_s, progress=_quiet)
            if left is not None:
                raise BackendFault(f"Share {share_id} still lets in {address}. {reason(self._session, share_id)}")

    def room(self) -> Room:
        """Of the pools, which only administrators are told of; unknown to others."""
        sizes = [pool["capabilities"] for pool in self._pools() or ()]
        totals = [size["total_capacity_gb"] for size in sizes if _is_number(size.get("total_capacity_gb"))]
        frees = [size["free_capacity_gb"] for size in sizes if _is_number(size.get("free_capacity_gb"))]
        return Room(sum(totals) if totals else None, max(frees) if frees else None)

    def _pools(self) -> list[Document] | None:
        """None for those whom pools are not told."""
        try:
            return list(self._session.get("scheduler-stats/pools/detail")["pools"])
        except Forbidden:
            return None

    def _rules(self, share_id: str) -> list[Document]:
        try:
            return list(self._session.get("share-access-rules", share_id=share_id)["access_list"])
        except NotFound:
            return []

    def _share(self, row: Mapping[str, Any]) -> ApplianceShare:
        found = self._session.get(f"shares/{row['id']}/export_locations")["export_locations"]
        ordered = sorted(found, key=lambda item: (not item.get("preferred"), item["path"]))
        return _share(row, ordered[0]["path"] if ordered else None)

    def _settled_share(self, share_id: str) -> Document:
        return self._there(settled(self._session, "shares", share_id, timeout_s=self._timeout_s, progress=_quiet))

    def _settled_snapshot(self, snapshot_id: str) -> Document:
        try:
            found = settled(self._session, "snapshots", snapshot_id, timeout_s=self._timeout_s, progress=_quiet)
        except BackendFault:
            self.delete_snapshot(snapshot_id)
            raise
        return self._there(found)

    def _there(self, row: Document | None) -> Document:
        if row is None:
            raise NotFound("It was deleted by somebody meanwhile.")
        return row

    def _gone(self, plural: str, thing_id: str) -> None:
        left = settled(self._session, plural, thing_id, timeout_s=self._timeout_s, progress=_quiet)
        if left is not None:
            raise Conflict(
                f"{plural.removesuffix('s').capitalize()} {thing_id} was not deleted but is {left['status']}."
            )

    def _type(self) -> Document:
        """The share type of our shares. Raises Invalid when there is none of that name."""
        if not self._share_type:
            return dict(self._session.get("types/default")["share_type"])
        for found in self._session.get("types")["share_types"]:
            if self._share_type in (found["name"], found["id"]):
                return dict(found)
        raise Invalid(f"There is no share type '{self._share_type}' (nas_share_type).")


def _share(row: Mapping[str, Any], export: str | None) -> ApplianceShare:
    return ApplianceShare(row["id"], row["name"] or "", int(row["size"]), export, dict(row.get("metadata") or {}))


def _snapshot(row: Mapping[str, Any]) -> ApplianceSnapshot:
    return ApplianceSnapshot(row["id"], row["name"] or "", row["share_id"], int(row.get("share_size") or row["size"]))


def _host(address: str) -> str:
    """Where a listener is reached from this machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - names of listeners, not a listener
    return everywhere.get(address, f"[{address}]" if ":" in address else address)


def _is_true(value: object) -> bool:
    return str(value).removeprefix("<is>").strip().lower() == "true"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _quiet(_state: str) -> None:
    """Nobody watches: the volume's own state tells."""
