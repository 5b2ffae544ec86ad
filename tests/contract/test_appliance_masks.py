"""Who sees what, where the iSCSI server has no masks, and with records that it cannot hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.appliance import presenting
from penstock.errors import Conflict
from penstock.exports.iscsi import OtherSecret
from tests.contract.appliance_boxes import FLAVOURS, simulated_box
from tests.contract.test_appliance_server import IQN, ISCSI, LUNS, Client, with_lun, with_target

OTHER = "iqn.2026-11.org.example:other"
TARGET = {"auth": "none", "interfaces": [], "chapuser": "", "secret": ""}


@pytest.fixture(params=list(FLAVOURS))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    found = Client(simulated_box("box", tmp_path, request.param), tmp_path)
    found.good("POST", "/api/storage/v1/pools/tank/projects", {"name": "p"})
    return found


@pytest.fixture
def unmasked(tmp_path: Path) -> Client:
    """Its iSCSI server shows every LUN of a target to all its initiators. `OTHER` is in the group ``h``."""
    found = Client(simulated_box("box", tmp_path), tmp_path)
    found.box.site.shows_some = False
    found.good("POST", "/api/storage/v1/pools/tank/projects", {"name": "p"})
    with_target(found)
    found.good("POST", f"{ISCSI}/initiators", {"initiator": OTHER, "alias": "other"})
    found.good("POST", f"{ISCSI}/initiator-groups", {"name": "h", "initiators": [OTHER]})
    return found


def test_without_masks_a_target_is_for_one_set_of_groups(unmasked: Client) -> None:
    with_lun(unmasked, "a", targetgroup="t", initiatorgroup="g")
    with_lun(unmasked, "b", targetgroup="t", initiatorgroup=["g"])
    unmasked.good("POST", f"{LUNS}/a/snapshots", {"name": "s"})
    for method, path, body in (
        ("PUT", f"{LUNS}/b", {"initiatorgroup": "h"}),
        ("PUT", f"{LUNS}/b", {"initiatorgroup": ["g", "h"]}),
        ("PUT", f"{LUNS}/b", {"initiatorgroup": "default"}),
        ("POST", LUNS, {"name": "c", "volsize": "1g", "targetgroup": "t", "initiatorgroup": "h"}),
        ("PUT", f"{LUNS}/a/snapshots/s/clone", {"share": "c", "initiatorgroup": "h"}),
    ):
        refused = unmasked.ask(method, path, body)
        assert (refused.status, (refused.body or {})["fault"]["message"]) == (403, "ERR_DENIED"), body
        assert "tgt_unmasked" in refused.body["fault"]["details"]  # type: ignore[index]
    assert unmasked.ask("GET", f"{LUNS}/c").status == 404
    assert {name: sorted(seen) for name, seen in unmasked.box.exports.seen.items()} == {IQN: [1, 2]}
    unmasked.good("PUT", f"{LUNS}/b", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"})
    unmasked.good("PUT", f"{LUNS}/a", {"initiatorgroup": ["g", "h"]})
    assert sorted(unmasked.box.exports.seen) == sorted([IQN, OTHER])


def test_without_masks_a_lun_does_not_come_to_a_target_of_others(unmasked: Client) -> None:
    with_lun(unmasked, "a", targetgroup="t", initiatorgroup="g")
    with_lun(unmasked, "b", targetgroup="u", initiatorgroup="h")
    (target,) = unmasked.good("GET", f"{ISCSI}/targets")["targets"]
    assert unmasked.ask("POST", f"{ISCSI}/target-groups", {"name": "u", "targets": [target["iqn"]]}).status == 403
    assert unmasked.ask("PUT", f"{LUNS}/b", {"targetgroup": "t"}).status == 403
    unmasked.box.site.allows_unmasked = True
    unmasked.good("PUT", f"{LUNS}/b", {"targetgroup": "t"})
    assert {name: sorted(seen) for name, seen in unmasked.box.exports.seen.items()} == {IQN: [1, 2], OTHER: [1, 2]}
    unmasked.box.site.allows_unmasked = False
    presenting.put_back(unmasked.box.site)  # allowed no longer: the LUN of others is shown to nobody
    assert {name: sorted(seen) for name, seen in unmasked.box.exports.seen.items()} == {IQN: [1]}


def test_a_name_the_server_cannot_hold_is_refused_and_not_kept(client: Client) -> None:
    short = "iqn.2026-11.local:host"
    for kind, body in (("initiators", {"initiator": short}), ("targets", {"alias": "x", "iqn": short})):
        refused = client.ask("POST", f"{ISCSI}/{kind}", body)
        assert (refused.status, (refused.body or {})["fault"]["message"]) == (400, "ERR_INVALID_ARG")
        assert client.good("GET", f"{ISCSI}/{kind}")[kind] == []


def test_a_second_secret_of_a_user_is_refused_where_the_server_holds_one(unmasked: Client) -> None:
    def ask(number: int, secret: str) -> int:
        body = {"initiator": f"{IQN}{number}", "chapuser": "box", "chapsecret": secret}
        return unmasked.ask("POST", f"{ISCSI}/initiators", body).status

    asked = ((1, "the-first-secret"), (2, "another-secret"), (3, "the-first-secret"))
    assert [ask(number, secret) for number, secret in asked] == [201, 400, 201]
    target = {"alias": "c", "auth": "chap", "targetchapuser": "box", "targetchapsecret": "another-secret"}
    assert unmasked.ask("POST", f"{ISCSI}/targets", target).status == 400
    unmasked.box.site.shows_some = True  # as LIO
    assert ask(2, "another-secret") == 201


def test_a_second_secret_of_before_hinders_nothing(client: Client) -> None:
    """Kept while LIO served; with tgt whoever has it is left out, and requests about others succeed."""
    with_target(client)
    client.box.exports.fault = OtherSecret("box has another secret")
    with_lun(client, "a", targetgroup="t", initiatorgroup="g")
    presenting.put_back(client.box.site)
    client.box.exports.fault = Conflict("the serial number is another's")
    assert client.ask("PUT", f"{LUNS}/a", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"}).status == 409


def test_a_record_that_cannot_be_served_leaves_the_others_alone(client: Client) -> None:
    """One of another server, and a target that asks for a secret that one of its initiators does not have."""
    with_target(client)
    client.box.site.records.put("initiator", "iqn.2026-11.local:host", {"alias": "h", "chapuser": "", "secret": ""})
    client.good("PUT", f"{ISCSI}/initiator-groups/g", {"initiators": [IQN, "iqn.2026-11.local:host"]})
    iqn = client.good("POST", f"{ISCSI}/targets", {"alias": "chap", "auth": "chap"})["target"]["iqn"]
    client.good("POST", f"{ISCSI}/target-groups", {"name": "c", "targets": [iqn]})
    with_lun(client, "a", targetgroup="c", initiatorgroup="g")
    with_lun(client, "b", targetgroup="t", initiatorgroup="g")
    plain, asking = (client.box.exports.targets[name] for name in sorted(client.box.exports.targets, key=[iqn].count))
    assert (plain.names, [lun.number for lun in plain.luns]) == ([IQN], [2])
    assert asking.names == []
    client.box.site.records.put("target", "iqn.2026-11.local:target", {**TARGET, "alias": "short"})
    client.good("PUT", f"{LUNS}/b", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"})
    assert client.box.exports.seen == {}
