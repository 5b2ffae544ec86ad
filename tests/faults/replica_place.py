"""Three storage hosts that replicate to each other, a running product, and what has to be true of all its shares."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.errors import Unavailable
from penstock.host.runner import Host
from penstock.share.drivers.zfsonlinux.identity import HOSTS, KIND, ROLE
from penstock.zfs.properties import Property, parse_get
from penstock.zfs.reigns import EPOCH, FENCED, hold_tag
from tests.faults.acknowledged import Acknowledged
from tests.faults.two_writers import TwoWritersWatch, writable_on
from tests.product.pairs import ROOT, Machine
from tests.product.running import Product
from tests.product.user import Row, User

TYPE = "replicated"
STRANGER = f"{ROOT}/theirs"  # of somebody else, among ours
NONE = Property("-", "-")
SETTLED = "settled"  # ends of what was disturbed
TAKEN_BACK = "taken back"
LOST_SINCE = re.compile(r"It goes on from (\S+ \S+) UTC; what was written in the (\d+) seconds since then")


@dataclass
class ReplicaPlace:
    """The product, its hosts by name, and one client.

    `cut` is that of the lab; `cut_s` is longer than a command may take there, `settled_s` how long to wait for the end
    of what was disturbed, `actions_s` how long for it to have begun, `pause_s` how long to leave it alone between two
    looks. `options` are the product's. `spare` are shares that an operation left in order: with a replica, or without.
    """

    product: Product
    machines: dict[str, Machine]
    watch: TwoWritersWatch
    client: Host
    client_address: str
    cut: Callable[..., AbstractContextManager[None]]
    cut_s: float
    settled_s: float
    actions_s: float
    pause_s: float
    options: tuple[str, ...]
    theirs: dict[str, str] = field(default_factory=dict)
    own: list[Share] = field(default_factory=list)
    spare: dict[bool, list[Share]] = field(default_factory=lambda: {True: [], False: []})

    @property
    def user(self) -> User:
        return self.product.user

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.machines)

    def machine_of(self, host: str) -> Machine:
        """The machine that ``host@backend#pool`` is on."""
        return next(machine for machine in self.machines.values() if f"@{machine.backend}#" in host)

    def name_of(self, host: str) -> str:
        """The lab's name of that machine."""
        return next(name for name, machine in self.machines.items() if f"@{machine.backend}#" in host)

    def new_share(self) -> Share:
        share = Share(self, self.user.share(1, share_type=TYPE), Acknowledged(self.client))
        self.user.allow(share.id, self.client_address)
        self.own.append(share)
        return share

    def take_share(self, *, with_replica: bool) -> Share:
        """One that has been through other faults, or a new one."""
        try:
            return self.spare[with_replica].pop(0)
        except IndexError:
            share = self.new_share()
        if with_replica:
            share.add_replica()
        return share

    def is_tidy(self) -> bool:
        """Whether all shares are spare ones, so that the next fault may have them."""
        return len(self.own) == sum(map(len, self.spare.values()))

    def writers_of(self, share: Share) -> list[str]:
        """The hosts whose copy of the share accepts writes now."""
        return [name for name, machine in self.machines.items() if share.id in writable_on(machine)]

    def guids_of_theirs(self) -> dict[str, str]:
        """What the stranger has, by host: the data set's and its snapshot's GUID."""
        argv = ("zfs", "get", "-Hp", "-o", "value", "guid", STRANGER, f"{STRANGER}@kept")
        return {name: machine.ran(*argv) for name, machine in self.machines.items()}

    def check(self) -> None:
        """What holds at any time: the stranger's things are there, nobody saw two writers; the doctor finds nothing."""
        assert self.guids_of_theirs() == self.theirs
        assert not self.watch.caught, f"two copies accepted writes in one reign: {self.watch.caught}"

    def forget_shares(self) -> None:
        """Delete all shares: nothing is left on any host but what was set aside, which its owner was told of."""
        set_aside = {name for share in self.own for name in share.told_set_aside()}
        with ThreadPoolExecutor(max(1, len(self.own))) as threads:
            list(threads.map(Share.delete_replicas, self.own))
        self.user.delete_all()
        left = {}
        for name, machine in self.machines.items():
            listed = machine.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", ROOT).split()
            left[name] = [one for one in listed if one != ROOT and not one.startswith(STRANGER)]
            for dataset in [one for one in left[name] if "_diverged_" in one and "@" not in one]:
                assert dataset in set_aside, f"{dataset} on {name} was set aside, and nobody was told"
                machine.ran("zfs", "destroy", "-r", dataset)
                left[name] = [one for one in left[name] if not one.startswith(dataset)]
        assert not any(left.values()), left
        self.own.clear()
        for shares in self.spare.values():
            shares.clear()


@dataclass
class Share:
    """One replicated share, what its client was acknowledged, and what an unplanned promotion cost it."""

    place: ReplicaPlace
    id: str
    acknowledged: Acknowledged

    @property
    def user(self) -> User:
        return self.place.user

    # -- asking

    def ask_replica(self) -> str:
        body = {"share_replica": {"share_id": self.id}}
        return str(self.user.caller.ok("POST", "/share-replicas", body)["share_replica"]["id"])

    def add_replica(self) -> str:
        replica = self.ask_replica()
        self.settle()
        return replica

    def delete_replicas(self) -> None:
        """All but the active one."""
        for row in self.replicas():
            if row["replica_state"] != "active":
                self.user.caller.ok("DELETE", f"/share-replicas/{row['id']}")
                self.user.until_gone(f"/share-replicas/{row['id']}")

    def act(self, replica: str, action: str, words: object = None) -> None:
        self.user.caller.ok("POST", f"/share-replicas/{replica}/action", {action: words})

    def move(self, action: str, words: object = None) -> None:
        experimental = {"X-OpenStack-Manila-API-Experimental": "True"}
        answer = self.user.caller.call("POST", f"/shares/{self.id}/action", {action: words}, **experimental)
        assert answer.status in (200, 202), answer

    def act_if_it_can(self, replica: str, action: str) -> bool:
        """Whether it was accepted; a refusal says that something else is under way, or why it cannot be."""
        answer = self.user.caller.call("POST", f"/share-replicas/{replica}/action", {action: None})
        assert answer.status in (200, 202, 400, 409), answer
        return answer.status == 202

    def write_if_it_can(self, name: str) -> bool:
        """Whether it was acknowledged."""
        return self.acknowledged.write(self.user.location(self.id), name)

    def write(self, name: str) -> None:
        assert self.acknowledged.write(self.user.location(self.id), name), name

    # -- seeing

    def replicas(self) -> list[Row]:
        found = self.user.caller.ok("GET", f"/share-replicas/detail?share_id={self.id}")["share_replicas"]
        return list(found)

    def active(self) -> Row:
        (found,) = [row for row in self.replicas() if row["replica_state"] == "active"]
        return dict(found)

    def other_replica(self) -> str:
        """The one replica that is not active."""
        (found,) = [row["id"] for row in self.replicas() if row["replica_state"] != "active"]
        return str(found)

    def row(self, replica: str) -> Row:
        return dict(self.user.caller.ok("GET", f"/share-replicas/{replica}")["share_replica"])

    def dataset_of(self, row: Row) -> str:
        return dataset_at(self.location_of(row["id"]))

    def location_of(self, replica: str) -> str:
        found = self.user.caller.ok("GET", f"/share-replicas/{replica}/export-locations")["export_locations"]
        return str(next(row["path"] for row in found if row["preferred"]))

    def machine(self) -> Machine:
        """The one that serves it for writing."""
        return self.place.machine_of(self.user.show(self.id)["host"])

    def files_of(self, row: Row) -> set[str]:
        """What a replica's dataset holds, on its host."""
        return files_at(self.place.machine_of(row["host"]), f"/{self.dataset_of(row)}")

    def messages(self) -> list[str]:
        return [text for row in [{"id": self.id}, *self.replicas()] for text in self.user.messages(row["id"])]

    def told_set_aside(self) -> set[str]:
        """Datasets that messages name."""
        return {name for text in self.messages() for name in re.findall(r"\S+_diverged_\d+", text)}

    def recovery_points(self) -> list[datetime]:
        """Of unplanned promotions: since when writes were lost."""
        found = (LOST_SINCE.search(text) for text in self.messages())
        return [datetime.strptime(one[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for one in found if one]

    # -- the end

    def settle(self) -> list[Row]:
        """Wait until one replica is active, all others in sync, and nothing is under way. All of them then."""
        return list(self.until(self.replicas, is_settled))

    def until(self, fetch: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
        """As `User.until`, with the patience of who waits for a host to be back."""
        deadline = time.monotonic() + self.place.settled_s
        while True:
            try:
                if is_so(found := fetch()):
                    return found
            except Unavailable as fault:  # of a host that we look at ourselves
                found = fault.message
            assert time.monotonic() < deadline, (
                f"not after {self.place.settled_s:g} s: {json.dumps(found, default=str)}"
            )
            time.sleep(
                self.place.pause_s
            )  # not `tests.waiting`: a look that is refused is one of those that found nothing

    def check(self) -> str:
        """Wait for the end, and see that nothing is lost that must not be. How it ended, in a word."""
        rows = self.settle()
        self.user.until_share(self.id)
        points = self.recovery_points()
        wanted = self.acknowledged.until(min(points)) if points else set(self.acknowledged.files)
        active = next((row for row in rows if row["replica_state"] == "active"), None)
        if active is None or len(rows) == 1:  # it has no replicas
            path = self.user.path(self.id)
            # its host may have come back just now, with nothing mounted yet
            self.until(lambda: wanted - files_at(self.machine(), path), lambda missing: not missing)
            self.until(lambda: self._left_of_replication(path.lstrip("/")), lambda left: not left)
            return SETTLED
        ask = "zfs", "get", "-H", "-o", "value", "mounted", self.dataset_of(active)
        self.until(lambda: self.place.machine_of(active["host"]).ran(*ask), lambda mounted: mounted == "yes")
        held = self.files_of(active)
        assert wanted <= held, f"{wanted - held} acknowledged and lost: {self.picture()}"
        for row in rows:
            if row is not active:
                self.act(row["id"], "resync")
                self.until(lambda row=row: self.files_of(row) - {"ghost"}, lambda found: found >= held)
        self.settle()
        self._account(rows)
        if points:
            return "unplanned, told"
        return f"{SETTLED}, something set aside" if self.told_set_aside() else SETTLED

    def picture(self) -> str:
        """All there is to know, for who wonders."""
        names = ",".join(("mounted", "readonly", "canmount", ROLE, EPOCH, FENCED))
        seen = []
        for row in self.replicas():
            argv = ("zfs", "get", "-Hp", "-o", "property,value", names, self.dataset_of(row))
            done = self.place.machine_of(row["host"]).host.run(argv, timeout_s=20)
            seen.append((row["id"], row["host"], row["status"], row["replica_state"], done.stdout.split()))
        return f"share {self.id}: {seen} {self.messages()}"

    def _left_of_replication(self, dataset: str) -> set[str]:
        """Marks and snapshots that only a share with replicas has."""
        names = ",".join((KIND, HOSTS, ROLE))
        listed = self.machine().ran("zfs", "get", "-Hp", "-r", "-o", "name,property,value,source", names, dataset)
        found = parse_get(listed)
        marked = {key for key in (HOSTS, ROLE) if found[dataset].get(key, NONE).source == "local"}
        return marked | {name for name, one in found.items() if "@" in name and one.get(KIND, NONE).value == "sync"}

    def _account(self, rows: list[Row]) -> None:
        """Each sync snapshot is of use to somebody, at most one for each replica that follows, and so is each hold."""
        tags = {hold_tag(row["id"]) for row in rows}
        for row in rows:
            self.until(lambda row=row: self._holds_on(row), lambda held: held <= tags)
            self.until(lambda row=row: self._syncs_on(row), lambda syncs: len(syncs) <= max(1, len(rows) - 1))

    def _holds_on(self, row: Row) -> set[str]:
        """The tags of all holds on its snapshots; zfs-fuse has none."""
        machine, dataset = self.place.machine_of(row["host"]), self.dataset_of(row)
        names = machine.ran("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset).split()
        listed = machine.host.run(("zfs", "holds", "-H", *names), timeout_s=60).stdout
        # zfs-fuse says "internal error: /usr/lib/zfs/pyzfs.py not found" in their place
        return {line.split("\t")[1] for line in listed.splitlines() if "\t" in line}

    def _syncs_on(self, row: Row) -> list[str]:
        machine, dataset = self.place.machine_of(row["host"]), self.dataset_of(row)
        argv = ("zfs", "get", "-Hp", "-r", "-o", "name,property,value,source", f"{KIND},origin", ROOT)
        listed = parse_get(machine.host.run(argv, timeout_s=60).stdout)
        needed = {found["origin"].value for found in listed.values() if "origin" in found}  # by what was set aside
        kinds = {name: found[KIND].value for name, found in listed.items() if name.startswith(f"{dataset}@")}
        return [name for name, kind in kinds.items() if kind == "sync" and name not in needed]


def files_at(machine: Machine, path: str) -> set[str]:
    """The names of all files there; none while nothing is mounted there, as while it is set aside or not yet back."""
    argv = ("find", path, "-type", "f", "-printf", "%f\\n")
    return set(machine.host.run(argv, timeout_s=60).stdout.splitlines())


def dataset_at(location: str) -> str:
    """What is exported there: all shares of these hosts are mounted under their own names."""
    return location.partition(":/")[2]


def is_settled(rows: list[Row]) -> bool:
    """One active, the others in sync, nothing under way."""
    states = sorted(row["replica_state"] or "" for row in rows)
    is_well = all(row["status"] == "available" for row in rows)
    return not rows or (is_well and states == sorted(["active", *["in_sync"] * (len(rows) - 1)]))
