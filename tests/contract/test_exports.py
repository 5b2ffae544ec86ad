"""What every NfsServer promises: simulated, NFS-Ganesha, and the kernel's."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from penstock.exports import ganesha_files, kernel_files, shards
from penstock.exports.ganesha_bus import GaneshaBus
from penstock.exports.ganesha_files import Numbered
from penstock.exports.model import ClientRule, Export, Squash
from penstock.exports.nfs import Preference, choose
from penstock.exports.nfs_ganesha import GaneshaNfs, free_id
from penstock.exports.nfs_kernel import KernelNfs
from tests.contract.nfs_sites import GaneshaSite, KernelSite, ReachedByBus, RealSite, SimulatedSite, Site
from tests.simulation.nfs_host import ETAB
from tests.waiting import until


@pytest.fixture(scope="module")
def ganesha_site(request: Any) -> GaneshaSite:
    lab = request.getfixturevalue("lab")
    names = ("c1", "c2")
    return GaneshaSite(
        lab.host("h1"),
        lab.address("h1"),
        {name: lab.client(name) for name in names},
        {name: lab.address(name) for name in names},
    )


@pytest.fixture(scope="module")
def ganesha_by_bus(request: Any, ganesha_site: GaneshaSite) -> GaneshaSite:
    lab = request.getfixturevalue("lab")
    host = ReachedByBus(lab.host("h1"), lab._pid("h1"))
    return GaneshaSite(host, ganesha_site.address, ganesha_site.clients, ganesha_site.addresses)


@pytest.fixture(scope="module")
def kernel_site(request: Any) -> KernelSite:
    host, clients = request.getfixturevalue("kernel_host"), request.getfixturevalue("lab_clients")
    lab, machines = request.getfixturevalue("lab_space"), request.getfixturevalue("kernel_lab")
    return KernelSite(host, machines.address("k1"), clients, {name: lab.address(name) for name in clients})


@pytest.fixture(
    params=[
        "simulated",
        pytest.param("ganesha_site", marks=pytest.mark.lab),
        pytest.param("ganesha_by_bus", marks=pytest.mark.lab),
        pytest.param("kernel_site", marks=pytest.mark.kernel),
    ]
)
def site(request: Any) -> Iterator[Site]:
    found: Site = SimulatedSite() if request.param == "simulated" else request.getfixturevalue(request.param)
    yield found
    found.server.remove(list(found.server.all()))


@pytest.fixture
def real(site: Site) -> RealSite:
    if not isinstance(site, RealSite):
        pytest.skip("needs clients that really mount")
    return site


def rule(client: str, *, writable: bool = True, squash: Squash = Squash.ROOT_SQUASH) -> ClientRule:
    return ClientRule(client, writable, squash)


def seen(site: Site, path: str) -> list[str | None]:
    """What c1 and c2 may do, by each version."""
    return [site.allows(client, path, version) for client in ("c1", "c2") for version in site.versions]


def test_only_who_has_a_rule_gets_in(site: Site) -> None:
    path = site.directory()
    site.server.put([Export(path, "i1", (rule(site.addresses["c1"]),))])
    assert seen(site, path) == ["rw", "rw", None, None]
    site.server.put([Export(path, "i1", (rule(site.addresses["c2"], writable=False),))])
    assert seen(site, path) == [None, None, "ro", "ro"]


def test_without_rules_nobody_gets_in(site: Site) -> None:
    path = site.directory()
    export = Export(path, "i1")
    site.server.put([export])
    assert seen(site, path) == [None] * 4
    assert site.server.get(path) == export
    assert site.server.in_force() == {path}


@pytest.mark.parametrize("network_writes", [True, False])
def test_the_most_specific_rule_decides(site: Site, network_writes: bool) -> None:
    path = site.directory()
    rules = (
        rule(site.network, writable=network_writes),
        rule(site.addresses["c1"], writable=not network_writes),
        rule("0.0.0.0/0", writable=not network_writes),
    )
    site.server.put([Export(path, "i1", rules)])
    wide, narrow = ("rw", "ro") if network_writes else ("ro", "rw")
    assert seen(site, path) == [narrow, narrow, wide, wide]


def test_everybody(site: Site) -> None:
    path = site.directory()
    export = Export(path, "i1", (rule("0.0.0.0/0"), rule("::/0")))
    site.server.put([export])
    assert seen(site, path) == ["rw"] * 4
    assert site.server.in_force() == {path}


def test_what_was_put_is_what_is_shown(site: Site) -> None:
    rules = (
        rule("10.9.0.0/16", squash=Squash.ALL_SQUASH),
        rule("10.9.0.1", writable=False, squash=Squash.NO_ROOT_SQUASH),
        rule("fd00:9::/64"),
        rule("fd00:9::1", writable=False),
        rule("fd00:9::10/124", writable=False),
    )
    first, second = Export(site.directory(), "i1", rules), Export(site.directory(), "i2", rules[:1])
    site.server.put([first, second])
    assert site.server.get(first.path) == first
    assert site.server.all() == {first.path: first, second.path: second}
    assert site.server.in_force() == {first.path, second.path}


def test_put_again_is_put_once(site: Site) -> None:
    path = site.directory()
    export = Export(path, "i1", (rule(site.addresses["c1"]),))
    site.server.put([export])
    site.server.put([export])
    assert site.server.all() == {path: export}
    assert site.server.in_force() == {path}
    assert seen(site, path) == ["rw", "rw", None, None]


def test_others_are_untouched(site: Site) -> None:
    kept, changed = site.directory(), site.directory()
    site.server.put([Export(path, "i", (rule(site.addresses["c1"]),)) for path in (kept, changed)])
    site.server.put([Export(changed, "i", ())])
    assert seen(site, kept) == ["rw", "rw", None, None]
    site.server.remove([changed])
    assert seen(site, kept) == ["rw", "rw", None, None]
    assert set(site.server.all()) == site.server.in_force() == {kept}


def test_removed_is_gone_and_again_is_fine(site: Site) -> None:
    path = site.directory()
    site.server.put([Export(path, "i1", (rule(site.network),))])
    assert seen(site, path) == ["rw"] * 4
    for _ in range(2):
        site.server.remove([path, "/tank/never/was"])
        assert seen(site, path) == [None] * 4
        assert site.server.get(path) is None
    assert site.server.all() == {}


def test_nothing_asked_is_nothing_done(site: Site) -> None:
    site.server.put([])
    site.server.remove([])
    assert site.server.all() == {}


def test_many_in_one_batch(site: Site) -> None:
    top = site.directory()
    paths = [f"{top}/n{index}" for index in range(40)]
    if isinstance(site, RealSite):
        site.ran("mkdir", *paths)
    exports = [Export(path, f"i{index}", (rule(f"10.9.0.{index}"),)) for index, path in enumerate(paths)]
    site.server.put(exports)
    assert site.server.in_force() == set(paths)
    site.server.remove(paths[1:])
    assert site.server.in_force() == {paths[0]}


def test_two_processes_lose_nothing(site: Site) -> None:
    other_host = copy.copy(site.host)
    other_host.name += ", for a process with locks of its own"
    servers = (site.server, type(site.server)(other_host))  # type: ignore[call-arg]
    top = site.directory()
    paths = [f"{top}/n{index}" for index in range(16)]
    if isinstance(site, RealSite):
        site.ran("mkdir", *paths)

    def put_one_by_one(number: int) -> None:
        for path in paths[number::2]:
            servers[number].put([Export(path, f"i{number}", (rule("10.9.0.1"),))])
            servers[number].put([Export(path, f"i{number}", (rule("10.9.0.2"),))])

    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(2) as pool,
    ):
        patch.setattr(shards, "COUNT", 1)  # all in one file
        list(pool.map(put_one_by_one, range(2)))
        assert set(site.server.all()) == site.server.in_force() == set(paths)
        servers[1].remove(paths)
        assert site.server.all() == {}


def test_what_the_server_lost_is_visible_and_put_back(site: Site) -> None:
    path = site.directory()
    export = Export(path, "i1", (rule(site.addresses["c1"]),))
    site.server.put([export])
    site.forget(path)
    assert site.server.all() == {path: export}
    assert site.server.in_force() == set()
    assert seen(site, path) == [None] * 4
    site.server.put([export])
    assert site.server.in_force() == {path}
    assert seen(site, path) == ["rw", "rw", None, None]


def test_a_restarted_server_serves_the_same(site: Site) -> None:
    paths = [site.directory(), site.directory()]
    rules = (rule(site.addresses["c1"], writable=False), rule("fd00::/8", squash=Squash.ALL_SQUASH))
    site.server.put([Export(paths[0], "i1", rules), Export(paths[1], "i2")])
    site.restart()
    assert site.server.in_force() == set(paths)
    assert seen(site, paths[0]) == ["ro", "ro", None, None]
    assert seen(site, paths[1]) == [None] * 4


def test_verify(site: Site) -> None:
    site.server.verify()


def test_choose(site: Site) -> None:
    assert isinstance(choose(site.host), GaneshaNfs if isinstance(site, GaneshaSite) else KernelNfs)
    assert isinstance(choose(site.host, Preference.GANESHA), GaneshaNfs)


@pytest.mark.parametrize(
    ("squash", "owner_is_root"),
    [(Squash.NO_ROOT_SQUASH, True), (Squash.ROOT_SQUASH, False), (Squash.ALL_SQUASH, False)],
)
def test_squash(real: RealSite, squash: Squash, owner_is_root: bool) -> None:
    path = real.directory()
    real.server.put([Export(path, "i1", (rule(real.addresses["c1"], squash=squash),))])
    for version in real.versions:
        assert real.allows("c1", path, version) == "rw"
    owners = real.ran("find", path, "-name", "new*", "-printf", "%U\\n").stdout.split()
    assert len(owners) == 2
    assert {owner == "0" for owner in owners} == {owner_is_root}


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("change", ["rule lost", "export removed"])
def test_a_mounted_client_that_lost_its_rule_is_refused_at_once(
    real: RealSite, tmp_path: Path, version: int, change: str
) -> None:
    path = real.directory()
    mine, other = rule(real.addresses["c1"]), rule(real.addresses["c2"])
    real.server.put([Export(path, "i1", (mine, other))])

    def lose() -> None:
        if change == "export removed":
            real.server.remove([path])
        else:
            real.server.put([Export(path, "i1", (other,))])

    answers = real.session("c1", path, version, tmp_path, lose)
    assert min(answers["before"].values()) >= 0, answers
    assert max(answers["after"].values()) < 0, answers


@pytest.mark.parametrize("version", [3, 4])
def test_what_a_mounted_client_had_open_can_be_destroyed(real: RealSite, tmp_path: Path, version: int) -> None:
    path = real.directory()
    real.server.put([Export(path, "i1", (rule(real.addresses["c1"]),))])

    def destroy() -> None:
        real.server.remove([path])
        real.server.let_go(path)
        until(lambda: real.host.run(["zfs", "destroy", path.lstrip("/")], timeout_s=60).exit_code == 0, timeout_s=15)

    answers = real.session("c1", path, version, tmp_path, destroy)
    assert min(answers["before"].values()) >= 0, answers
    assert max(answers["after"].values()) < 0, answers


@pytest.mark.parametrize("version", [3, 4])
def test_a_mounted_client_that_may_only_read_now_cannot_write(real: RealSite, tmp_path: Path, version: int) -> None:
    path = real.directory()
    real.server.put([Export(path, "i1", (rule(real.addresses["c1"]),))])
    read_only = Export(path, "i1", (rule(real.addresses["c1"], writable=False),))
    answers = real.session("c1", path, version, tmp_path, lambda: real.server.put([read_only]))
    assert answers["after"]["read"] > 0, answers
    assert answers["after"]["create"] < 0, answers


@pytest.mark.parametrize("version", [3, 4])
def test_a_mounted_client_does_not_notice_changes_for_others(real: RealSite, tmp_path: Path, version: int) -> None:
    path = real.directory()
    mine, other = rule(real.addresses["c1"]), rule(real.addresses["c2"])
    real.server.put([Export(path, "i1", (mine, other))])
    answers = real.session("c1", path, version, tmp_path, lambda: real.server.put([Export(path, "i1", (mine,))]))
    assert min(answers["after"].values()) >= 0, answers


def test_our_etab_is_what_exportfs_writes(real: RealSite) -> None:
    if not isinstance(real, KernelSite):
        pytest.skip("only the kernel's server has an etab")
    plain = real.directory()
    odd = f"{plain}/a b#ü("
    real.ran("mkdir", odd)
    rules = tuple(
        rule(f"10.9.{index}.0/24", writable=writable, squash=squash)
        for index, (writable, squash) in enumerate(
            (writable, squash) for writable in (True, False) for squash in Squash
        )
    )
    exports = [Export(path, "i1", (*rules, rule("fd00::1"), rule("0.0.0.0/0"))) for path in (plain, odd)]
    real.server.put(exports)
    ours = etab(real)
    real.ran("exportfs", "-ra")
    assert etab(real) == ours == {line for export in exports for line in lines_of(export)}
    assert real.server.in_force() == {plain, odd}


@pytest.mark.parametrize("is_mounted_at_boot", [False, True])
def test_a_server_that_starts_before_the_filesystem_is_there_does_not_serve_the_directory_below(
    real: RealSite, is_mounted_at_boot: bool
) -> None:
    """The kernel's server never does; Ganesha cannot tell, so it does not know of what nobody mounts at boot."""
    if is_mounted_at_boot and isinstance(real, GaneshaSite):
        pytest.skip("Ganesha does not look whether something is mounted")
    path = real.directory()
    dataset = path.lstrip("/")
    if not is_mounted_at_boot:
        real.ran("zfs", "set", "canmount=noauto", dataset)
    export = Export(path, "i1", (rule(real.addresses["c1"], squash=Squash.NO_ROOT_SQUASH),), is_mounted_at_boot)
    real.server.put([export])
    assert seen(real, path) == ["rw", "rw", None, None]
    unmount = ["zfs", "unmount", dataset]  # a server lets go of what clients had open a moment after
    real.restart(lambda: until(lambda: real.host.run(unmount, timeout_s=60).exit_code == 0))
    assert real.server.all() == {path: export}
    assert seen(real, path) == [None] * 4
    assert real.ran("find", path).stdout.split() == [path]
    real.ran("zfs", "mount", dataset)
    real.server.put([export])
    assert seen(real, path) == ["rw", "rw", None, None]


def test_a_number_that_ganesha_gave_to_somebody_else_is_not_taken(site: Site) -> None:
    if not isinstance(site, GaneshaSite):
        pytest.skip("only Ganesha numbers its exports")
    path, foreign = site.directory(), site.directory()
    export = Export(path, "i1", (rule(site.addresses["c1"]),))
    number = free_id(export, set())
    theirs = Export(foreign, "theirs", (rule(site.addresses["c2"]),))
    site.host.write_file("/etc/ganesha/theirs.conf", ganesha_files.render([Numbered(number, theirs)]))
    bus = GaneshaBus(site.host)
    bus.update("/etc/ganesha/theirs.conf", f"EXPORT(Export_Id={number})", 1)
    try:
        site.server.put([export])
        assert site.server.in_force() == {path}
        assert seen(site, path) == ["rw", "rw", None, None]
        assert bus.served_paths()[number] == foreign
    finally:
        bus.remove(number)


def etab(site: KernelSite) -> set[tuple[str, str]]:
    return {split(line) for line in site.ran("cat", ETAB).stdout.splitlines()}


def lines_of(export: Export) -> set[tuple[str, str]]:
    return {split(line) for line in kernel_files.etab_lines(export)}


def split(line: str) -> tuple[str, str]:
    """Path, which exportfs escapes less than we do, and the rest, which must be the same to the letter."""
    name, _, rest = line.partition("\t")
    return kernel_files.unescaped(name), rest
