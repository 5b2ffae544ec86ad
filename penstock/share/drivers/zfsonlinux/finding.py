"""Where a share is: by what the driver called it, by its default name, and only then by looking for its mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from penstock.errors import NotFound, ShareResourceNotFound, Unavailable
from penstock.share.drivers.zfsonlinux import adopt, spec
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.lineage import is_half_copy
from penstock.share.drivers.zfsonlinux.observe import SeenShare, find_owner, observe_share, observe_tree
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.models import ShareModel
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset

log = structlog.get_logger(__name__)


class Finder:
    """Finds shares on one host. What it remembers are hints: every answer is checked against the marks."""

    def __init__(self, zfs: Zfs, settings: Settings) -> None:
        self._zfs = zfs
        self._settings = settings
        self._hints: dict[str, Dataset] = {}
        self._met: set[str] = set()  # instances whose dataset bore their mark when it was last looked at, in its place
        self._tombstones: list[SeenShare] = []

    def place(self, share: ShareModel) -> Dataset:
        """Where the share should be. Asks nobody."""
        return self._hints.get(share["id"]) or spec.known_dataset(share, self._settings)

    def known_place(self, share: ShareModel) -> Dataset | None:
        """Where this process has seen the share itself; None when it has not, and must look before it changes anything.

        For changes that harm nobody should the dataset have been swapped by hand meanwhile; the look comes after.
        """
        return self.place(share) if share["id"] in self._met else None

    def share(self, share: ShareModel) -> SeenShare | None:
        """The share's dataset, None when there is none. Usually one command.

        Raises Unavailable when its pool is not imported: then nobody can tell.
        """
        seen = self.marked(share)
        return seen if seen is not None and seen.kind is Kind.SHARE else None  # a tombstone is as good as gone

    def existing(self, share: ShareModel) -> SeenShare:
        """The share's dataset. Raises ShareResourceNotFound, Unavailable."""
        seen = self.share(share)
        if seen is None:
            raise ShareResourceNotFound(f"share {share['share_id']} is not on the backend")
        return seen

    def marked(self, share: ShareModel) -> SeenShare | None:
        """The same, also when it is a tombstone, or was let go by half."""
        seen = observe_share(self._zfs, self.place(share))
        if seen is not None and seen.owner_id == share["id"]:
            self._meet(seen)
            return seen
        self._met.discard(share["id"])
        root = spec.root_of(share["host"], self._settings)
        try:
            elsewhere = find_owner(self._zfs, root, share["id"])
        except NotFound as err:
            raise Unavailable(f"{root} is not there: its pool is not imported") from err
        if elsewhere is None:
            return None
        self._hints[share["id"]] = elsewhere
        return observe_share(self._zfs, elsewhere)

    def forget(self, share: ShareModel) -> None:
        """The share is no longer where it was."""
        self._met.discard(share["id"])
        self._hints.pop(share["id"], None)

    def _meet(self, seen: SeenShare) -> None:
        if seen.kind is Kind.SHARE and seen.owner_id:
            self._met.add(seen.owner_id)

    def shares(self, shares: Sequence[ShareModel]) -> Iterator[tuple[ShareModel, SeenShare | None]]:
        """Each share with its dataset, by one command per pool; those of a missing pool are left out."""
        trees: dict[str, dict[str, SeenShare] | None] = {}
        for share in shares:
            pool = spec.pool_name(share["host"])
            if pool not in trees:
                trees[pool] = self._tree(pool)
            owned = trees[pool]
            if owned is not None:
                yield share, owned.get(share["id"])

    def _tree(self, pool: str) -> dict[str, SeenShare] | None:
        root = self._settings.roots.get(pool)
        if root is None:
            log.warning("pool.not_configured", pool=pool)
            return None
        try:
            tree = observe_tree(self._zfs, root)
        except NotFound:
            log.warning("pool.missing", dataset=str(root))
            return None
        self._tombstones += [seen for seen in tree.values() if seen.kind is Kind.TOMBSTONE]
        owned = {seen.owner_id: seen for seen in tree.values() if seen.kind is Kind.SHARE and seen.owner_id}
        for owner, seen in owned.items():
            self._meet(seen)
            if seen.dataset != root.child(spec.dataset_name(owner, self._settings)):
                self._hints[owner] = seen.dataset
        return owned

    def take_tombstones(self) -> list[SeenShare]:
        """Those that `shares` came across."""
        found, self._tombstones = self._tombstones, []
        return found

    def tombstones(self, dataset: Dataset) -> list[SeenShare]:
        """The dataset, if it is one."""
        seen = observe_share(self._zfs, dataset)
        return [seen] if seen is not None and seen.kind is Kind.TOMBSTONE else []

    def new(self, want: spec.ShareSpec) -> tuple[SeenShare | None, bool]:
        """What is at the place of a share being made, and whether it is a copy that is not finished."""
        seen = observe_share(self._zfs, want.dataset)
        if seen is None or want.source is None or want.source.how is not spec.How.COPY:
            if seen is not None and seen.belongs_to(want.identity.id):
                self._meet(seen)
            return seen, False
        received = want.dataset.snapshot(want.source.snapshot.name)
        is_ours = seen.kind is None or seen.belongs_to(want.identity.id)
        return seen, is_ours and (seen.kind is None or self._zfs.exists(received))

    def made(self, want: spec.ShareSpec) -> None:
        """The share was just made there, by a command that put its marks on it."""
        self._met.add(want.identity.id)

    def half_copy(self, share: ShareModel) -> SeenShare | None:
        """What a crash left of making the share as a copy, before it was marked."""
        if not share.get("snapshot_id"):
            return None
        seen = observe_share(self._zfs, spec.new_dataset(share, self._settings))
        if seen is None or seen.kind is not None:
            return None
        is_ours = is_half_copy(self._zfs, seen.dataset, self._settings.roots.values())
        return seen if is_ours else None

    def adoptable(self, share: ShareModel) -> SeenShare:
        """What the administrator asks us to take over, also when an earlier attempt has renamed it.

        Raises ManageInvalidShare.
        """
        made = observe_share(self._zfs, spec.new_dataset(share, self._settings))
        if made is not None and made.belongs_to(share["id"]):
            return made
        root = spec.root_of(share["host"], self._settings)
        return adopt.find_by_path(self._zfs, root, adopt.location_of(share))
