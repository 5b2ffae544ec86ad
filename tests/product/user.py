"""What a user of the product does, by plain HTTP, and waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.product.caller import Caller
from tests.waiting import PAUSE_S, until

WAIT_S = 60.0
Row = dict[str, Any]


class User:
    """One who asks for shares. Everything is waited for unless the method's name says that it only asks."""

    def __init__(self, caller: Caller, *, wait_s: float = WAIT_S, pause_s: float = PAUSE_S) -> None:
        self.caller = caller
        self._wait_s = wait_s
        self._pause_s = pause_s

    # -- asking

    def ask_share(self, size: int = 1, **fields: Any) -> str:
        return str(
            self.caller.ok("POST", "/shares", {"share": {"share_proto": "NFS", "size": size, **fields}})["share"]["id"]
        )

    def ask_snapshot(self, share: str, **fields: Any) -> str:
        return str(self.caller.ok("POST", "/snapshots", {"snapshot": {"share_id": share, **fields}})["snapshot"]["id"])

    def ask_rule(self, share: str, client: str, level: str = "rw", **fields: Any) -> str:
        body = {"access_type": "ip", "access_to": client, "access_level": level, **fields}
        return str(self.act(share, "allow_access", body)["access"]["id"])

    def act(self, share: str, action: str, arguments: object) -> Any:
        return self.caller.ok("POST", f"/shares/{share}/action", {action: arguments})

    def ask_delete(self, share: str) -> None:
        self.caller.ok("DELETE", f"/shares/{share}")

    # -- asking, and waiting

    def share(self, size: int = 1, **fields: Any) -> str:
        share = self.ask_share(size, **fields)
        self.until_share(share)
        return share

    def snapshot(self, share: str, **fields: Any) -> str:
        snapshot = self.ask_snapshot(share, **fields)
        self.until_snapshot(snapshot)
        return snapshot

    def clone(self, snapshot: str, size: int = 1, **fields: Any) -> str:
        return self.share(size, snapshot_id=snapshot, **fields)

    def allow(self, share: str, client: str, level: str = "rw", **fields: Any) -> str:
        rule = self.ask_rule(share, client, level, **fields)
        self.until_rule(rule)
        return rule

    def deny(self, share: str, rule: str) -> None:
        self.act(share, "deny_access", {"access_id": rule})
        self.until(lambda: self.rules(share).get(rule), lambda found: found is None)

    def resize(self, share: str, size: int) -> Row:
        """The share afterwards; a shrink that would lose data leaves it as it was."""
        action = "extend" if size > self.show(share)["size"] else "shrink"
        self.act(share, action, {"new_size": size})
        return self.until_share(share)

    def revert(self, share: str, snapshot: str) -> None:
        self.act(share, "revert", {"snapshot_id": snapshot})
        self.until_share(share)

    def delete(self, share: str) -> None:
        self.ask_delete(share)
        self.until_gone(f"/shares/{share}")

    def delete_snapshot(self, snapshot: str) -> None:
        self.caller.ok("DELETE", f"/snapshots/{snapshot}")
        self.until_gone(f"/snapshots/{snapshot}")

    def manage(self, path: str, host: str, wanted: str = "available", **options: Any) -> str:
        body = {"protocol": "NFS", "export_path": path, "service_host": host, "driver_options": options}
        share = str(self.caller.ok("POST", "/shares/manage", {"share": body})["share"]["id"])
        self.until_share(share, wanted)
        return share

    def unmanage(self, share: str) -> None:
        self.act(share, "unmanage", None)
        self.until_gone(f"/shares/{share}")

    def delete_all(self) -> None:
        """Nothing of any project stays."""
        for replica in self.caller.ok("GET", "/share-replicas/detail?all_tenants=1")["share_replicas"]:
            if replica["replica_state"] != "active":
                self.caller.ok("POST", f"/share-replicas/{replica['id']}/action", {"force_delete": None})
                self.until_gone(f"/share-replicas/{replica['id']}")
        for kind in ("snapshots", "shares"):
            rows = self.all(kind)
            for row in rows:
                self.caller.ok("POST", f"/{kind}/{row['id']}/action", {"force_delete": None})
            self.until(lambda kind=kind: self.all(kind), lambda rows: not rows)  # type: ignore[misc]

    # -- seeing

    def show(self, share: str) -> Row:
        return dict(self.caller.ok("GET", f"/shares/{share}")["share"])

    def show_snapshot(self, snapshot: str) -> Row:
        return dict(self.caller.ok("GET", f"/snapshots/{snapshot}")["snapshot"])

    def all(self, kind: str) -> list[Row]:
        """Shares or snapshots of all projects."""
        return list(self.caller.ok("GET", f"/{kind}/detail?all_tenants=1")[kind])

    def locations(self, share: str) -> list[str]:
        found = self.caller.ok("GET", f"/shares/{share}/export_locations")["export_locations"]
        return [location["path"] for location in sorted(found, key=lambda one: not one["preferred"])]

    def location(self, share: str) -> str:
        """The preferred export location, ``10.0.0.5:/tank/share``."""
        return self.locations(share)[0]

    def path(self, share: str) -> str:
        """Where the share is mounted on its host."""
        return "/" + self.location(share).partition(":/")[2]

    def rules(self, share: str) -> dict[str, Row]:
        found = self.caller.ok("GET", f"/share-access-rules?share_id={share}")["access_list"]
        return {rule["id"]: rule for rule in found}

    def messages(self, resource: str) -> list[str]:
        found = self.caller.ok("GET", f"/messages?resource_id={resource}")["messages"]
        return [message["user_message"] for message in found]

    # -- waiting

    def until(self, fetch: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
        return until(fetch, is_so, timeout_s=self._wait_s, pause_s=self._pause_s)

    def until_share(self, share: str, wanted: str = "available") -> Row:
        found = self.until(lambda: self.show(share), lambda row: row["status"] == wanted or "error" in row["status"])
        assert found["status"] == wanted, (self.messages(share), found)
        return dict(found)

    def until_snapshot(self, snapshot: str, wanted: str = "available") -> None:
        found = self.until(
            lambda: self.show_snapshot(snapshot), lambda row: row["status"] == wanted or "error" in row["status"]
        )
        assert found["status"] == wanted, (found, self.messages(snapshot))

    def until_rule(self, rule: str, wanted: str = "active") -> None:
        found = self.until(
            lambda: self.caller.ok("GET", f"/share-access-rules/{rule}")["access"],
            lambda row: row["state"] in (wanted, "error"),
        )
        assert found["state"] == wanted, found

    def until_gone(self, path: str) -> None:
        self.until(
            lambda: self.caller.call("GET", path),
            lambda answer: answer.status == 404 or "error" in next(iter(answer.json().values()))["status"],
        )
        assert self.caller.call("GET", path).status == 404, self.caller.call("GET", path)
