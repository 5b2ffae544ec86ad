"""What every IscsiExports promises: simulated, tgt, and LIO; by initiators that really log in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from lab.hosts import Lab
from penstock.errors import Conflict, Unavailable, Unsupported
from penstock.exports import tgt_agent
from penstock.exports.iscsi import ANYBODY, Chap, Initiator, IscsiTarget, Lun, Portal
from penstock.host.runner import Host
from penstock.images.lun_server import writes_zeros_one_by_one
from penstock.images.nodes import iscsi_node
from tests.contract.iscsi_sites import IscsiSite, LioFilesSite, LioSite, RealIscsiSite, SimulatedTgtSite, TgtSite

ALICE, BOB = "iqn.2026-11.lab.c1:alice", "iqn.2026-11.lab.c2:bob"
CHAP = Chap("alice", "open-Sesame-1234")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def tgt_site(request: Any) -> TgtSite:
    lab = request.getfixturevalue("lab")
    return TgtSite(lab.host("h1"), lab.address("h1"), *clients(lab))


@pytest.fixture(scope="module")
def lio_site(request: Any) -> LioSite:
    return on_the_kernel(request, LioSite)


@pytest.fixture(scope="module")
def lio_files_site(request: Any) -> LioSite:
    return on_the_kernel(request, LioFilesSite)


def on_the_kernel(request: Any, kind: type[LioSite]) -> LioSite:
    host, machines = request.getfixturevalue("kernel_host"), request.getfixturevalue("kernel_lab")
    request.getfixturevalue("lab_clients")
    return kind(host, machines.address("k1"), *clients(request.getfixturevalue("lab_space")))


def clients(lab: Lab) -> tuple[dict[str, Host], dict[str, str], dict[str, str]]:
    """c1 and c2: what runs there, their addresses, their namespaces."""
    names = ("c1", "c2")
    return (
        {name: lab.client(name) for name in names},
        {name: lab.address(name) for name in names},
        {name: lab.network.namespace(name) for name in names},
    )


@pytest.fixture(
    params=[
        "simulated",
        pytest.param("tgt_site", marks=pytest.mark.lab),
        pytest.param("lio_site", marks=pytest.mark.kernel),
        pytest.param("lio_files_site", marks=pytest.mark.kernel),
    ]
)
def site(request: Any) -> Iterator[IscsiSite]:
    found: IscsiSite = SimulatedTgtSite() if request.param == "simulated" else request.getfixturevalue(request.param)
    yield found
    found.server.apply([], remove=list(found.server.observe().configured))


def made(site: IscsiSite, *initiators: Initiator, size_mib: int = 16, **rest: Any) -> IscsiTarget:
    """A target with one LUN, not applied yet."""
    number = next(NUMBERS)
    lun = Lun(site.first_lun, site.backing(size_mib), f"serial-{number}")
    return IscsiTarget(f"iqn.2026-11.lab.test:t{number}", (lun,), initiators, **rest)


def test_only_who_is_named_gets_in(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c1", target.iqn, BOB) is None
    site.server.apply([target.allowing(Initiator(BOB)).refusing(ALICE)])
    assert site.login("c1", target.iqn, ALICE) is None
    assert site.login("c1", target.iqn, BOB) == 16


def test_without_initiators_nobody_gets_in(site: IscsiSite) -> None:
    target = made(site)
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) is None
    site.server.apply([target.allowing(Initiator(ALICE))])
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) is None
    assert site.server.get(target.iqn) == target
    assert target.iqn in site.server.observe().in_force


def test_anybody(site: IscsiSite) -> None:
    target = made(site, Initiator(ANYBODY))
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c2", target.iqn, BOB) == 16
    site.server.apply([target.allowing(Initiator(ALICE))])
    assert site.login("c2", target.iqn, BOB) is None


@pytest.mark.parametrize("name", [ALICE, ANYBODY])
def test_a_wrong_secret_is_refused(site: IscsiSite, name: str) -> None:
    target = made(site, Initiator(name, CHAP))
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c1", target.iqn, ALICE, chap=Chap(CHAP.username, "another-Secret-1")) is None
    assert site.login("c1", target.iqn, ALICE, chap=Chap("bob", CHAP.secret)) is None
    assert site.login("c1", target.iqn, ALICE) is None


def test_the_server_is_told_by_what_it_says_of_itself(site: IscsiSite) -> None:
    """`lun_server` asks it as any initiator does, which has to log in."""
    if not isinstance(site, RealIscsiSite):
        pytest.skip("nobody can log in there")
    target = made(site, Initiator(ALICE, CHAP))
    site.server.apply([target])

    def is_slow(secret: str) -> bool:
        portal = f"{site.address}:3260"
        lun = iscsi_node(portal, target.iqn, site.first_lun, initiator=ALICE, user=CHAP.username, password=secret)
        return writes_zeros_one_by_one(site.clients["c1"], lun)

    assert is_slow(CHAP.secret) is site.writes_zeros_one_by_one
    assert not is_slow("another-Secret-1")


def test_a_changed_secret_counts_at_once(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE, CHAP))
    site.server.apply([target])
    new = Chap(CHAP.username, "another-Secret-1")
    site.server.apply([target.allowing(Initiator(ALICE, new))])
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) is None
    assert site.login("c1", target.iqn, ALICE, chap=new) == 16
    site.server.apply([target.allowing(Initiator(ALICE))])
    assert site.login("c1", target.iqn, ALICE) == 16


def test_both_prove_themselves(site: IscsiSite) -> None:
    mutual = Chap("target", "its-own-Secret-12")
    target = made(site, Initiator(ALICE, CHAP), mutual=mutual)
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE, chap=CHAP, mutual=mutual) == 16
    if not isinstance(site, SimulatedTgtSite):
        assert site.login("c1", target.iqn, ALICE, chap=CHAP, mutual=Chap("target", "not-the-Secret-12")) is None


def test_an_address_that_is_not_listed_is_refused(site: IscsiSite) -> None:
    if not site.has_addresses:
        with pytest.raises(Unsupported):
            site.server.apply([made(site, Initiator(ANYBODY), addresses=(site.addresses["c1"],))])
        return
    target = made(site, Initiator(ANYBODY), addresses=(site.addresses["c1"],))
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c2", target.iqn, ALICE) is None


def test_several_luns_and_one_gone(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    second = Lun(7, site.backing(32), "second")
    more = IscsiTarget(target.iqn, (*target.luns, second), target.initiators)
    site.server.apply([more])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c1", target.iqn, ALICE, lun=7) == 32
    site.server.apply([IscsiTarget(target.iqn, (second,), target.initiators)])
    assert site.login("c1", target.iqn, ALICE, lun=7) == 32
    assert site.login("c1", target.iqn, ALICE) is None


def test_what_was_applied_is_what_is_shown_and_again_is_once(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE, CHAP), mutual=Chap("target", "its-own-Secret-12"))
    for _ in range(2):
        site.server.apply([target])
        seen = site.server.observe()
        assert seen.configured == {target.iqn: target}
        assert seen.in_force == {target.iqn}
    assert site.server.put_back() == frozenset()


def test_removed_is_gone_and_again_is_fine(site: IscsiSite) -> None:
    kept, gone = made(site, Initiator(ALICE)), made(site, Initiator(ALICE))
    site.server.apply([kept, gone])
    for _ in range(2):
        site.server.apply([], remove=[gone.iqn])
        assert site.login("c1", gone.iqn, ALICE) is None
        assert site.server.get(gone.iqn) is None
    assert site.login("c1", kept.iqn, ALICE) == 16
    assert site.server.observe().configured == {kept.iqn: kept}


def test_nothing_asked_is_nothing_done(site: IscsiSite) -> None:
    site.server.apply([])
    assert site.server.observe().configured == {}


def test_many_in_one_command(site: IscsiSite) -> None:
    targets = [made(site, Initiator(ALICE)) for _ in range(20)]
    site.server.apply(targets)
    assert site.server.observe().in_force == {target.iqn for target in targets}
    site.server.apply([], remove=[target.iqn for target in targets[1:]])
    assert set(site.server.observe().configured) == {targets[0].iqn}


def test_edit_sees_what_is_configured(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    asked: list[IscsiTarget | None] = []

    def change(found: IscsiTarget | None) -> IscsiTarget | None:
        asked.append(found)
        if len(asked) == 2:  # somebody is quicker
            site.server.apply([target.allowing(Initiator(BOB))])
        return target if found is None else found.refusing(ALICE)

    assert site.server.edit(target.iqn, change) == target
    left = site.server.edit(target.iqn, change)
    assert asked == [None, target, target.allowing(Initiator(BOB))]
    assert left == site.server.get(target.iqn)
    assert left is not None
    assert left.names == [BOB]
    assert site.server.edit(target.iqn, lambda _: None) is None
    assert site.server.get(target.iqn) is None


def test_added_where_none_is_and_discarded_where_it_is_exactly_so(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    other = target.allowing(Initiator(BOB))
    assert not site.server.discard(target)
    assert site.server.add(target)
    assert site.login("c1", target.iqn, ALICE) == 16
    for one in (target, other):
        assert not site.server.add(one)
    assert not site.server.discard(other)
    assert site.server.get(target.iqn) == target
    assert site.login("c1", target.iqn, BOB) is None
    assert site.server.discard(target)
    assert site.login("c1", target.iqn, ALICE) is None
    assert site.server.get(target.iqn) is None
    assert target.iqn not in site.server.observe().foreign
    assert site.server.add(other)
    assert site.login("c2", target.iqn, BOB) == 16


@pytest.mark.parametrize("has_our_name", [True, False])
def test_what_somebody_has_made_there_meanwhile_is_seen(site: IscsiSite, has_our_name: bool) -> None:
    if not site.has_numbers:
        pytest.skip("its targets have no numbers")
    first, second = made(site, Initiator(ALICE)), made(site, Initiator(BOB))
    site.server.apply([first])
    site.intrude(second.iqn if has_our_name else f"{second.iqn}-of-somebody")
    assert site.server.add(second)
    assert site.login("c2", second.iqn, BOB) == 16
    assert site.login("c1", second.iqn, ALICE) is None
    assert site.login("c1", first.iqn, ALICE) == 16
    assert site.server.observe().in_force == {first.iqn, second.iqn}
    site.server.apply([], remove=[first.iqn, second.iqn])


def test_many_one_after_the_other_after_the_server_was_lost(site: IscsiSite) -> None:
    """Its numbers begin anew, and it listens where it does by itself."""
    before = made(site, Initiator(ALICE))
    site.server.apply([before])
    site.lose()
    targets = [made(site, Initiator(BOB)) for _ in range(3)]
    for target in targets:
        assert site.server.add(target)
        assert site.login("c2", target.iqn, BOB) == 16
    assert site.server.put_back() == {before.iqn}
    assert site.login("c1", before.iqn, ALICE) == 16
    site.server.apply([], remove=[before.iqn, *(target.iqn for target in targets)])


def test_a_new_target_is_made_without_a_look_at_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    site = SimulatedTgtSite()
    first, second = made(site, Initiator(ALICE)), made(site, Initiator(BOB))
    call, calls = site.tgt.call, list[tuple[int, int]]()

    def noted(mode: int, op: int, *rest: Any, **more: Any) -> tuple[int, str]:
        calls.append((mode, op))
        return call(mode, op, *rest, **more)

    monkeypatch.setattr(site.tgt, "call", noted)
    show = (tgt_agent.TARGET, tgt_agent.SHOW)
    assert site.server.add(first)
    assert show in calls  # nobody knew what is there
    calls.clear()
    assert site.server.add(second)
    assert show not in calls
    assert site.login("c2", second.iqn, BOB) == 16


def test_a_grown_lun_is_seen_in_its_new_size(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    site.server.apply([target])
    with site.staying("c1", target.iqn, ALICE):
        site.resize(target.luns[0].path, 48)
        site.server.apply([target])
        assert site.login("c1", target.iqn, ALICE) == 48
        assert [one.initiator for one in site.server.sessions(target.iqn)] == [ALICE]


def test_sessions_of_others_go_on_and_who_lost_its_leave_is_logged_out(site: IscsiSite) -> None:
    target, other = made(site, Initiator(ALICE), Initiator(BOB)), made(site, Initiator(ALICE))
    site.server.apply([target, other])
    with (
        site.staying("c1", target.iqn, ALICE),
        site.staying("c2", target.iqn, BOB),
        site.staying("c1", other.iqn, ALICE),
    ):
        before = {one.initiator: one for one in site.server.sessions(target.iqn)}
        assert {ALICE, BOB} == before.keys()
        assert before[BOB].address in (site.addresses["c2"], "")
        site.server.apply([target.refusing(BOB)])
        assert [one.initiator for one in site.server.sessions(target.iqn)] == [ALICE]
        site.server.apply([], remove=[target.iqn])
        assert [one.initiator for one in site.server.sessions(other.iqn)] == [ALICE]


def test_what_the_server_lost_is_visible_and_put_back(site: IscsiSite) -> None:
    target, other = made(site, Initiator(ALICE, CHAP)), made(site, Initiator(BOB))
    site.server.apply([target, other])
    site.forget(target.iqn)
    assert site.server.observe().in_force == {other.iqn}
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) is None
    assert site.server.put_back() == {target.iqn}
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16
    site.lose()
    assert site.server.put_back() == {target.iqn, other.iqn}
    assert site.login("c2", other.iqn, BOB) == 16


def test_what_lies_nowhere_hinders_nobody(site: IscsiSite) -> None:
    target, lost = made(site, Initiator(ALICE)), made(site, Initiator(BOB))
    site.server.apply([target, lost])
    site.lose()
    site.remove(lost.luns[0].path)
    assert site.server.put_back() == {target.iqn}
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.server.observe().in_force == {target.iqn}
    site.server.apply([], remove=[lost.iqn])


def test_a_restarted_server_serves_the_same_without_us(site: IscsiSite) -> None:
    target, closed = made(site, Initiator(ALICE, CHAP)), made(site)
    site.server.apply([target, closed])
    site.restart()
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c1", target.iqn, BOB, chap=CHAP) is None
    assert site.login("c1", target.iqn, ALICE) is None
    assert site.login("c1", closed.iqn, ALICE) is None
    assert site.server.observe().in_force == {target.iqn, closed.iqn}
    site.server.apply([target, closed])
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16


def test_a_backing_path_that_is_not_there(site: IscsiSite) -> None:
    target = IscsiTarget("iqn.2026-11.lab.test:none", (Lun(site.first_lun, "/tank/nothing", "none"),))
    with pytest.raises(Unavailable, match="/tank/nothing"):
        site.server.apply([target])
    site.server.apply([], remove=[target.iqn])


def test_one_user_name_has_one_secret(site: IscsiSite) -> None:
    first, second = (
        made(site, Initiator(ALICE, CHAP)),
        made(site, Initiator(ALICE, Chap(CHAP.username, "other-Secret-12"))),
    )
    site.server.apply([first])
    try:
        site.server.apply([second])
    except Conflict:
        site.server.apply([], remove=[second.iqn])  # tgt's accounts are of the whole daemon
    else:
        assert site.login("c1", second.iqn, ALICE, chap=CHAP) is None
    assert site.login("c1", first.iqn, ALICE, chap=CHAP) == 16


def test_two_secrets_of_one_user_name_hinder_nobody_else(site: IscsiSite) -> None:
    other = Chap(CHAP.username, "other-Secret-12")
    first, second, third = made(site, Initiator(ALICE, CHAP)), made(site, Initiator(BOB, other)), made(site)
    holds_both, fault_text = False, ""
    for target in (third, third.allowing(Initiator(BOB))):
        try:
            site.server.apply([first, second, target])
            holds_both = True
        except Conflict as fault:
            fault_text = fault.message
    assert holds_both or second.iqn in fault_text
    assert site.login("c1", third.iqn, BOB) == 16
    assert site.login("c1", first.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c1", second.iqn, BOB, chap=CHAP) is None
    assert site.login("c1", second.iqn, BOB, chap=other) == (16 if holds_both else None)
    assert site.server.put_back() == frozenset()
    site.restart()
    assert site.login("c1", first.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c1", second.iqn, BOB, chap=CHAP) is None
    assert site.login("c1", second.iqn, BOB) is None
    site.server.apply([], remove=[first.iqn])
    site.server.apply([second])
    assert site.login("c1", second.iqn, BOB, chap=other) == 16


def test_another_portal(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE), portals=(Portal(site.address, 3261), Portal(site.address)))
    for _ in range(2):
        site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c1", target.iqn, ALICE, port=3261) == 16


def test_initiators_see_their_own_luns(site: IscsiSite) -> None:
    target = made(site)
    second = Lun(7, site.backing(32), f"{target.iqn[-4:]}-second")
    masked = IscsiTarget(
        target.iqn,
        (*target.luns, second),
        (Initiator(ALICE, None, (target.luns[0].number,)), Initiator(BOB, None, (7,))),
    )
    if not site.has_lun_masks:
        with pytest.raises(Unsupported):
            site.server.apply([masked])
        return
    site.server.apply([masked])
    assert site.login("c1", target.iqn, ALICE) == 16
    assert site.login("c1", target.iqn, ALICE, lun=7) is None
    assert site.login("c1", target.iqn, BOB, lun=7) == 32


def test_verify(site: IscsiSite) -> None:
    site.server.verify()
