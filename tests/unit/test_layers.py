"""Imports point one way: every edge between rooms of the house is in this table, or it is an error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "penstock"

BASE = {"errors", "ids", "units"}
EDGES: dict[str, set[str]] = {
    "errors": set(),
    "ids": set(),
    "units": set(),
    "dotted_names": {"errors"},
    "clock": set(),
    "log": set(),
    "secret_box": {"errors"},
    "full_pool": {"errors"},
    "metrics": set(),
    "context": {"ids"},
    "domain": BASE,
    "config": {"errors"},
    "store": BASE | {"domain", "clock"},
    "operations": BASE | {"store", "domain", "clock", "context", "log", "metrics", "full_pool"},
    "scheduler": {"domain", "errors", "units"},
    "identity": BASE | {"store", "domain", "config", "clock", "context"},
    "services": BASE
    | {"store", "domain", "scheduler", "operations", "images", "clock", "context", "config", "metrics", "log"},
    "client": {"errors"},
    "api": BASE | {"services", "identity", "domain", "context", "config", "log", "metrics", "clock", "full_pool"},
    "host": {"errors", "log", "metrics", "clock"},
    "zfs": {"host", "errors", "ids", "units", "clock"},
    "exports": {"host", "errors", "clock"},
    "appliance": BASE | {"secret_box", "zfs", "host", "exports", "identity", "config", "clock", "log"},
    "share.locks": set(),
    "share.models": {"domain", "ids"},
    "share.inventory": {"domain", "ids", "share.models", "share.replication"},
    "share.migrating": set(),
    "share.data_mover": {"errors", "share.file_comparing", "share.file_copying"},
    "share.file_comparing": {"errors"},
    "share.file_copying": {"errors"},
    "share.replication": {"domain", "ids", "share.models"},
    "share.driver": BASE | {"domain", "config", "share.models", "share.interface"},
    "share.interface": BASE | {"domain", "config", "share.models"},
    "share.loading": {"errors", "config", "dotted_names", "share.driver", "share.hook"},
    "share.hook": {"errors", "config", "context"},
    "share.drivers": BASE
    | {
        "share.driver",
        "share.locks",
        "share.models",
        "share.inventory",
        "share.replication",
        "zfs",
        "host",
        "exports",
        "domain",
        "config",
        "clock",
        "log",
        "context",
    },
    "share.manager": BASE
    | {
        "share.driver",
        "share.models",
        "share.replication",
        "share.migrating",
        "share.data_mover",
        "share.interface",
        "share.inventory",
        "share.loading",
        "share.locks",
        "share.hook",
        "store",
        "domain",
        "operations",
        "clock",
        "context",
        "config",
        "log",
        "metrics",
    },
    "backups": {"errors"},
    "volume.models": {"domain", "ids"},
    "images": {"errors", "ids", "units", "clock", "host", "domain", "config"},
    "volume.errors": {"errors", "images"},
    "volume.interface": {"domain", "volume.models"},
    "volume.inventory": {"ids", "volume.models"},
    "volume.listing": BASE | {"volume.driver", "volume.interface", "volume.inventory", "volume.models"},
    "volume.replication": {"volume.interface", "volume.models"},
    "volume.looking": {"volume.models"},
    "volume.iscsi": {"volume.errors", "volume.models"},
    "volume.records": {"volume.interface", "volume.models"},
    "volume.data_path": {"dotted_names", "errors", "ids", "images"},
    "volume.generic": BASE
    | {
        "config",
        "host",
        "images",
        "volume.data_path",
        "volume.errors",
        "volume.interface",
        "volume.models",
        "volume.records",
    },
    "volume.driver": BASE
    | {
        "config",
        "volume.errors",
        "volume.generic",
        "volume.interface",
        "volume.iscsi",
        "volume.models",
        "volume.records",
    },
    "volume.manager": BASE
    | {
        "backups",
        "units",
        "volume.data_path",
        "volume.driver",
        "volume.fallback",
        "volume.errors",
        "volume.interface",
        "volume.inventory",
        "volume.loading",
        "volume.models",
        "volume.records",
        "volume.replication",
        "volume.looking",
        "store",
        "domain",
        "operations",
        "clock",
        "context",
        "config",
        "images",
        "log",
        "metrics",
    },
    "volume.loading": {"errors", "config", "dotted_names", "volume.driver", "volume.records"},
    # what the manager does where a driver does not know how
    "volume.fallback": BASE
    | {
        "images",
        "volume.data_path",
        "volume.driver",
        "volume.errors",
        "volume.generic",
        "volume.interface",
        "volume.models",
        "volume.records",
    },
    "volume.drivers": BASE
    | {
        "client",
        "clock",
        "config",
        "domain",
        "dotted_names",
        "exports",
        "host",
        "images",
        "log",
        "volume.data_path",
        "volume.driver",
        "volume.errors",
        "volume.generic",
        "volume.interface",
        "volume.inventory",
        "volume.iscsi",
        "volume.models",
        "volume.records",
        "volume.replication",
        "zfs",
    },
}
# they put the rooms together
ANYTHING = {
    "cli",
    "daemon",
    "doctor",
    "recovery",
    "backend_service",
    "share_site",
    "backend_work",
    "first_start",
    "share_backend",
    "site_work",
    "volume_backend",
    "volume_site",
}
SQLALCHEMY_ALLOWED = {"store"}


def room(module: str) -> str:
    """The room a dotted module name (without ``penstock.``) stands in."""
    parts = module.split(".")
    if parts[0] in ("share", "volume") and len(parts) > 1:
        return f"{parts[0]}.{parts[1]}"
    return parts[0]


def imported(path: Path) -> set[str]:
    """Dotted names imported anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__").removesuffix("__init__")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_are_in_the_table(path: Path) -> None:
    here = room(module_of(path))
    if here in ANYTHING or not here or here in ("share", "volume"):
        return
    allowed = EDGES[here] | {here}
    for name in imported(path):
        if name.startswith("penstock."):
            there = room(name.removeprefix("penstock."))
            assert there in allowed, f"{here} may not import {there} ({name})"
        if name.split(".")[0] == "sqlalchemy":
            assert here in SQLALCHEMY_ALLOWED, "only store imports SQLAlchemy"


def test_the_table_has_no_edge_that_closes_a_circle() -> None:
    def reach(start: str, seen: tuple[str, ...] = ()) -> None:
        assert start not in seen, " → ".join((*seen, start))
        for there in EDGES.get(start, set()):
            reach(there, (*seen, start))

    for start in EDGES:
        reach(start)
