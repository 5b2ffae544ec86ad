"""An independent copy of a snapshot on the same host: send, receive, finish; the same call again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.errors import Conflict, NotFound
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import Properties, is_user_property, local_value, options

if TYPE_CHECKING:
    from penstock.zfs.client import Zfs


class Copy:
    """One copy to be made. The received snapshot stays until the end: its GUID proves that the dataset is our copy."""

    def __init__(self, zfs: Zfs, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        self._zfs = zfs
        self._snapshot = snapshot
        self._dataset = dataset
        self._properties = properties

    def make(self, *, timeout_s: float) -> None:
        """See `Zfs.copy`."""
        received = self._dataset.snapshot(self._snapshot.name)
        marks = ["guid", *filter(is_user_property, self._properties)]
        seen = self._zfs.get_many([self._snapshot, self._dataset, received], marks)
        source, target, proof = (seen.get(str(name)) for name in (self._snapshot, self._dataset, received))
        if target is None:
            if source is None:
                raise NotFound(f"there is no snapshot {self._snapshot}")
            self._transfer(timeout_s)
        elif source is None or proof is None or proof["guid"] != source["guid"]:
            self._refuse_strangers(target, unmarked=False)
            self._mount()
            return  # it was finished before: its properties and snapshots are its user's now
        else:
            self._refuse_strangers(target, unmarked=True)
        self._finish()

    def _transfer(self, timeout_s: float) -> None:
        receive = ["receive", "-u"]
        if self._zfs.flavour.receive_sets_properties:
            receive += options(self._properties)
        self._zfs.commands.transfer(["send", str(self._snapshot)], [*receive, str(self._dataset)], timeout_s=timeout_s)

    def _refuse_strangers(self, target: Properties, *, unmarked: bool) -> None:
        """With the received snapshot it may be `unmarked` yet; else only our finished copy has all our marks."""
        marks = {name: value for name, value in self._properties.items() if is_user_property(name)}
        found = {name: local_value(target, name) for name in marks}
        ours = all(found[name] == value or (unmarked and found[name] is None) for name, value in marks.items())
        if not ours or not (marks or unmarked):
            raise Conflict(f"{self._dataset} exists and is not a copy of {self._snapshot}")

    def _finish(self) -> None:
        if not self._zfs.flavour.receive_sets_properties:
            self._zfs.set(self._dataset, self._properties)
        self._mount()
        self._zfs.destroy_snapshots(self._dataset, [self._snapshot.name], deferred=False)

    def _mount(self) -> None:
        now = self._zfs.get(self._dataset, ["canmount", "mountpoint"])
        if now["canmount"].value == "on" and now["mountpoint"].value.startswith("/"):
            self._zfs.mount(self._dataset)
