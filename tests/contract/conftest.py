"""What is under contract: databases (SQLite in memory and in a file, PostgreSQL), and ZFS (simulated and real)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.store.database import Database
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.contract.zfs_machines import Machine, RealMachine, SimulatedMachine
from tests.databases import in_file, in_memory, in_postgres
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

DATASET_NUMBERS = itertools.count()


# Of few tests that take long: begun last (xdist sorts files by their number of tests) they would keep one worker alone.
LONG = (
    "test_zfs_volume_failover_steps",
    "test_zfs_volume_replication_real",
    "test_zfssa_iscsi",
    "test_nfs_appliance_lab",
    "test_replica_driver",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; `--no-loadscope-reorder` keeps that order."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(params=["memory", "file", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: Any, tmp_path: Path) -> Iterator[Database]:
    """An empty database with the present schema."""
    if request.param == "postgres":
        with in_postgres(request.getfixturevalue("postgres_url")) as found:
            yield found
    else:
        found = in_memory() if request.param == "memory" else in_file(tmp_path / "penstock.db")
        yield found
        found.close()


@pytest.fixture(
    params=[
        "simulated-openzfs",
        "simulated-zfs-fuse",
        pytest.param("zfs-fuse", marks=pytest.mark.lab),
        pytest.param("openzfs", marks=pytest.mark.kernel),
    ]
)
def machine(request: Any) -> Machine:
    """A machine with a pool tank."""
    match request.param:
        case "zfs-fuse":
            return RealMachine(request.getfixturevalue("lab_host"))
        case "openzfs":
            return RealMachine(request.getfixturevalue("kernel_host"))
        case name:
            flavour = OPENZFS if name.endswith("openzfs") else ZFS_FUSE
            return SimulatedMachine(SimulatedHost(name, flavour=flavour, pools={"tank": GIB}))


@pytest.fixture
def top(machine: Machine) -> Iterator[Dataset]:
    """A filesystem of this test's own, gone afterwards with everything in it."""
    dataset = Dataset("tank").child(f"t{next(DATASET_NUMBERS)}")
    machine.zfs.create(dataset, {}, parents=False)
    yield dataset
    for name, found in machine.zfs.tree(dataset, ["origin"]).items():
        if found["origin"].is_set:
            machine.zfs.destroy(Dataset(name), recursive=True)
    machine.zfs.destroy(dataset, recursive=True)
