"""The words of ``zfs send``: which snapshots, and in which form both ends understand; and how much that will be."""

from __future__ import annotations

import re

from penstock.errors import BackendFault, Unsupported
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import Flavour
from penstock.zfs.incremental import Full, Increment, Plan
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, bytes_of

ENCRYPTION = "encryption"
NOT_ENCRYPTED = frozenset({"off", "-"})

# what must be enabled on the receiving pool; zpool-features(7), OpenZFS 2.1
_LARGE = "large_blocks"
_EMBEDDED = "embedded_data"
_COMPRESSIONS = frozenset({"lz4_compress", "zstd_compress"})
_WANTED = frozenset({_LARGE, _EMBEDDED, ENCRYPTION}) | _COMPRESSIONS
# a feature that is enabled stays so, but a pool may be made anew under the name of another
FEATURES_FOR_S = 300.0
_FEATURE = "feature@"
_SIZE = re.compile(r"^size\t(\d+)$", re.MULTILINE)


def form(source: Flavour, target: Flavour, *, encryption: str, target_features: frozenset[str]) -> tuple[str, ...]:
    """Options of ``zfs send`` so that blocks travel as they lie on disk where the target can take them so.

    An encrypted source is sent raw: the target never needs its key. Raises Unsupported when it cannot be, because the
    only other way is to send it decrypted.
    """
    is_encrypted = encryption not in NOT_ENCRYPTED
    if is_encrypted and ENCRYPTION not in target_features:
        raise Unsupported("the source is encrypted, and the target's pool cannot keep encrypted data")
    if is_encrypted:
        return ("-w",)
    if not (source.has_features and target.has_features):
        return ()
    compressed = ("-c",) if target_features >= _COMPRESSIONS else ()
    embedded = ("-e",) if _EMBEDDED in target_features else ()
    large = ("-L",) if _LARGE in target_features else ()
    return (*large, *embedded, *compressed)


def send(source: Dataset, plan: Full | Increment, options: tuple[str, ...]) -> tuple[str, ...]:
    """``zfs send`` of one stream: of a Full only `first`, whole; the rest is an increment afterwards."""
    if isinstance(plan, Full):
        return ("zfs", "send", *options, f"{source}@{plan.first.name}")
    many = "-I" if plan.between else "-i"
    return ("zfs", "send", *options, many, f"@{plan.base.name}", f"{source}@{plan.to.name}")


def form_between(source: Zfs, target: Zfs, properties: Properties, target_pool: str) -> tuple[str, ...]:
    """The `form` between two hosts; `properties` are those of the source's dataset (its ``encryption``)."""
    found = properties.get(ENCRYPTION)
    encryption = found.value if found is not None else "off"
    features = frozenset[str]()
    if target.flavour.has_features and (source.flavour.has_features or encryption not in NOT_ENCRYPTED):
        features = enabled_features(target, target_pool)
    return form(source.flavour, target.flavour, encryption=encryption, target_features=features)


def enabled_features(zfs: Zfs, pool: str) -> frozenset[str]:
    """The features of an OpenZFS pool that may be used. Raises NotFound.

    Remembered for `FEATURES_FOR_S` once it has all that streams ask for: most streams are short, and this would be one
    command of five.
    """
    now = zfs.commands.clock.monotonic_s()
    known, until = zfs.pool_features.get(pool, (frozenset[str](), now))
    if now < until:
        return known
    features = _asked_features(zfs, pool)
    if features >= _WANTED:
        zfs.pool_features[pool] = features, now + FEATURES_FOR_S
    return features


def _asked_features(zfs: Zfs, pool: str) -> frozenset[str]:
    found = set()
    for line in zfs.commands.zpool("get", "-H", "-o", "property,value", "all", pool).splitlines():
        name, _, value = line.partition("\t")
        if name.startswith(_FEATURE) and value in ("enabled", "active"):
            found.add(name.removeprefix(_FEATURE))
    return frozenset(found)


def estimate(zfs: Zfs, dataset: Dataset, plan: Plan, options: tuple[str, ...]) -> int:
    """About how many bytes the plan will send: by a dry run on OpenZFS, by what the snapshots refer to on zfs-fuse.

    The latter counts growth only: what was overwritten does not show.
    """
    if isinstance(plan, Full) and plan.first != plan.to:
        rest = Increment(plan.first, plan.to, (plan.first,), plan.first)  # -I, whatever is between
        return estimate(zfs, dataset, Full(plan.first, plan.first), options) + estimate(zfs, dataset, rest, options)
    if not isinstance(plan, Full | Increment):
        return 0
    if zfs.flavour.send_reports:
        words = send(dataset, plan, options)
        found = _SIZE.search(zfs.commands.zfs("send", "-nvP", *words[2:]))
        if found is None:
            raise BackendFault(f"zfs send -nvP of {dataset} does not tell a size")
        return int(found[1])
    ends = [plan.to] if isinstance(plan, Full) else [plan.to, plan.base]
    names = [dataset.snapshot(point.name) for point in ends]
    sizes = [bytes_of(each, "referenced") for each in zfs.get_many(names, ["referenced"]).values()]
    return sizes[0] if isinstance(plan, Full) else abs(sizes[0] - sizes[1])
