"""Pools, projects, and the properties that LUNs may have beside their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.appliance.faults import Exists, InvalidArgument, Missing
from penstock.appliance.names import KIND, label, schema_name
from penstock.appliance.requests import Arguments
from penstock.appliance.site import OWNER, OWNER_ASN, PROJECT, Site
from penstock.zfs.names import Dataset
from penstock.zfs.pools import health, space
from penstock.zfs.properties import local_value

SCHEMA = "schema"
KINDS = ("String", "Integer", "PositiveInteger", "Boolean", "EmailAddress", "Host")


def pool_view(site: Site, pool: str) -> dict[str, Any]:
    """``pool``. Raises Missing."""
    root = site.root(pool)
    found = site.zfs.get(root, [OWNER, OWNER_ASN])
    room = space(site.zfs, [root])[root]
    return {
        "name": pool,
        "status": health(site.zfs).get(root.pool, "UNKNOWN").lower(),
        "profile": "zfs",
        "owner": local_value(found, OWNER) or "",
        "asn": local_value(found, OWNER_ASN) or "",
        "usage": {
            "available": room.available_bytes,
            "used": room.used_bytes,
            "total": room.usable_bytes,
        },
        "href": f"/api/storage/v1/pools/{pool}",
    }


def find_project(site: Site, pool: str, project: str) -> Dataset:
    """Raises Missing for a dataset that is no project, too."""
    dataset = site.project(pool, project)
    found = site.zfs.get_many([dataset], [KIND]).get(str(dataset))
    if found is None or local_value(found, KIND) != PROJECT:
        raise Missing(f"there is no project {project} in {pool}")
    return dataset


def project_view(site: Site, pool: str, project: str) -> dict[str, Any]:
    """``project``. Raises Missing."""
    dataset = find_project(site, pool, project)
    room = space(site.zfs, [dataset])[dataset]
    shown = site.zfs.get(dataset, ["compression", "logbias"])
    return {
        "name": project,
        "pool": pool,
        "space_available": room.available_bytes,
        "space_total": room.used_bytes,
        "compression": shown["compression"].value,
        "logbias": shown["logbias"].value,
        "href": f"/api/storage/v1/pools/{pool}/projects/{project}",
    }


def create_project(site: Site, pool: str, arguments: Arguments) -> dict[str, Any]:
    """Raises Exists, InvalidArgument."""
    name = arguments.text("name")
    dataset = site.project(pool, name)
    native = native_properties(site, arguments)
    arguments.end()
    with site.changing:
        if site.zfs.exists(dataset):
            raise Exists(f"there is a project {name} already")
        site.zfs.create(dataset, {KIND: PROJECT, **native}, parents=False)
    return project_view(site, pool, name)


def native_properties(site: Site, arguments: Arguments) -> dict[str, str]:
    """``compression`` and ``logbias`` where they are given, as this ZFS has them. Raises InvalidArgument."""
    found: dict[str, str] = {}
    compression = arguments.optional_text("compression")
    if compression is not None:
        if compression not in site.zfs.flavour.compressions:
            raise InvalidArgument(f"compression: {compression!r:.40} is none that this ZFS has")
        found["compression"] = compression
    logbias = arguments.optional_text("logbias")
    if logbias is not None:
        if logbias not in ("latency", "throughput"):
            raise InvalidArgument(f"logbias: {logbias!r:.40} is neither latency nor throughput")
        found["logbias"] = logbias
    return found


def custom_kinds(site: Site) -> dict[str, str]:
    """What kind of value each schema property has."""
    return {name: str(found["type"]) for name, found in site.records.all(SCHEMA).items()}


def schema_view(site: Site, name: str) -> dict[str, Any]:
    """``schema``. Raises Missing."""
    found = site.records.get(SCHEMA, name)
    if found is None:
        raise Missing(f"the schema has no property {name!r:.80}")
    return {"property": name, **found, "href": f"/api/storage/v1/schema/{name}"}


def create_schema(site: Site, arguments: Arguments) -> dict[str, Any]:
    """Raises Exists, InvalidArgument."""
    name = schema_name(arguments.text("property"))
    description = label(arguments.optional_text("description") or name, "description")
    kind = arguments.optional_text("type") or "String"
    arguments.end()
    if kind not in KINDS:
        raise InvalidArgument(f"type: {kind!r:.40} is none of {', '.join(KINDS)}")
    with site.changing:
        if site.records.get(SCHEMA, name) is not None:
            raise Exists(f"the schema has the property {name} already")
        site.records.put(SCHEMA, name, {"description": description, "type": kind})
    return schema_view(site, name)


def destroy_project(site: Site, pool: str, project: str, destroy_luns: Callable[[Dataset], None]) -> None:
    """With its LUNs, by `destroy_luns`. Raises Missing, Denied when one is protected or shown."""
    with site.changing:
        dataset = find_project(site, pool, project)
        destroy_luns(dataset)
        site.zfs.destroy(dataset, recursive=False)
