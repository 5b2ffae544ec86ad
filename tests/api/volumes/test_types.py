"""Volume types: extra specs, access, encryption, projects' defaults, QoS specs."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.services.control_plane import ControlPlane
from tests.api.arranging import message
from tests.api.conftest import OTHER_PROJECT, PROJECT, Client

IS_PUBLIC = "os-volume-type-access:is_public"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def make(vadmin: Client, name: str = "gold", **wanted: Any) -> dict[str, Any]:
    answer = vadmin.post("types", {"volume_type": {"name": name, **wanted}})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["volume_type"]
    return found


def test_life(vadmin: Client, vmember: Client) -> None:
    made = make(vadmin, description="fast", extra_specs={"multiattach": "<is> True", "volume_backend_name": "a"})
    assert made == {
        "id": made["id"],
        "name": "gold",
        "description": "fast",
        "is_public": True,
        IS_PUBLIC: True,
        "extra_specs": {"multiattach": "<is> True", "volume_backend_name": "a"},
    }
    path = f"types/{made['id']}"
    assert vadmin.get(path).json()["volume_type"] == {**made, "qos_specs_id": None}
    seen = vmember.get(path).json()["volume_type"]
    assert seen["extra_specs"] == {"multiattach": "<is> True"}  # where volumes go is not a project's business
    assert "qos_specs_id" not in seen
    changed = vadmin.put(path, {"volume_type": {"name": "silver", "description": "", "is_public": False}})
    assert changed.json()["volume_type"] == {
        "id": made["id"],
        "name": "silver",
        "description": None,
        "is_public": False,
        "extra_specs": made["extra_specs"],
    }
    assert vadmin.delete(path).status_code == 202
    assert vadmin.get(path).status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 256},
        {"name": "a\x00b"},
        {"name": 7},
        {"name": "ok", "description": "x" * 256},
        {"name": "ok", "colour": "red"},
        {"name": "ok", IS_PUBLIC: "perhaps"},
        {"name": "ok", "extra_specs": []},
        {"name": "ok", "extra_specs": {"": "x"}},
        {"name": "ok", "extra_specs": {"k ey": "x"}},
        {"name": "ok", "extra_specs": {"key": None}},
        {"name": "ok", "extra_specs": {"key": {}}},
        {"name": "ok", "extra_specs": {"provisioning:max_vol_size": "much"}},
        {"name": "ok", "extra_specs": {"RESKEY:availability_zones": "a,,b"}},
    ],
)
def test_what_cannot_be_a_type(vadmin: Client, fields: dict[str, Any]) -> None:
    answer = vadmin.post("types", {"volume_type": fields})
    assert answer.status_code == 400
    assert message(answer)
    assert vadmin.get("types").json() == {"volume_types": []}


def test_names_are_taken_once(vadmin: Client) -> None:
    make(vadmin)
    assert vadmin.post("types", {"volume_type": {"name": "gold"}}).status_code == 409
    other = make(vadmin, "silver")
    assert vadmin.put(f"types/{other['id']}", {"volume_type": {"name": "gold"}}).status_code == 409
    assert vadmin.put(f"types/{other['id']}", {"volume_type": {"name": "silver"}}).status_code == 200


def test_only_administrators_change_types(vadmin: Client, vmember: Client, vreader: Client) -> None:
    made = make(vadmin)
    path = f"types/{made['id']}"
    for caller in (vmember, vreader):
        assert caller.post("types", {"volume_type": {"name": "x"}}).status_code == 403
        assert caller.put(path, {"volume_type": {"name": "x"}}).status_code == 403
        assert caller.delete(path).status_code == 403
        assert caller.get(f"{path}/encryption").status_code == 403
        assert caller.get("qos-specs").status_code == 403
        assert caller.get("default-types").status_code == 403
        assert caller.get(path).status_code == 200


def test_private_types(vadmin: Client, vmember: Client, vother: Client) -> None:
    made = make(vadmin, **{IS_PUBLIC: False})
    path = f"types/{made['id']}"
    assert vmember.get(path).status_code == 404
    assert vmember.get("types").json()["volume_types"] == []
    assert vadmin.get("types").json()["volume_types"] == []
    assert [item["id"] for item in vadmin.get("types", is_public="None").json()["volume_types"]] == [made["id"]]
    assert [item["id"] for item in vadmin.get("types", is_public="false").json()["volume_types"]] == [made["id"]]
    assert vmember.get("types", is_public="None").json()["volume_types"] == []
    assert vadmin.get("types", is_public="maybe").status_code == 400
    add = {"addProjectAccess": {"project": PROJECT}}
    assert vadmin.post(f"{path}/action", add).status_code == 202
    assert vadmin.post(f"{path}/action", add).status_code == 409
    assert vmember.get(path).status_code == 200
    assert [item["id"] for item in vmember.get("types").json()["volume_types"]] == [made["id"]]
    assert vother.get(path).status_code == 404
    access = vadmin.get(f"{path}/os-volume-type-access").json()
    assert access == {"volume_type_access": [{"volume_type_id": made["id"], "project_id": PROJECT}]}
    remove = {"removeProjectAccess": {"project": PROJECT}}
    assert vadmin.post(f"{path}/action", remove).status_code == 202
    assert vadmin.post(f"{path}/action", remove).status_code == 404
    assert vadmin.post(f"{path}/action", {"addProjectAccess": {"project": " "}}).status_code == 400
    assert vadmin.post(f"{path}/action", {"dance": {}}).status_code == 400


def test_access_to_a_public_type(vadmin: Client) -> None:
    path = f"types/{make(vadmin)['id']}"
    assert vadmin.get(f"{path}/os-volume-type-access").status_code == 404
    assert vadmin.post(f"{path}/action", {"addProjectAccess": {"project": PROJECT}}).status_code == 409


def test_lists_in_parts(vadmin: Client) -> None:
    ids = {name: make(vadmin, name)["id"] for name in ("b", "c", "a")}

    def names(**query: Any) -> list[str]:
        answer = vadmin.get("types", **query)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["volume_types"]]

    assert names(sort="name:asc") == ["a", "b", "c"]
    assert names(sort="name") == ["c", "b", "a"]
    assert names(sort_key="name", sort_dir="asc", limit=2) == ["a", "b"]
    assert names(sort="name:asc", limit=2, marker=ids["b"]) == ["c"]
    assert names(sort="name:asc", offset=1) == ["b", "c"]
    assert names(limit=0) == []
    for bad in (
        {"sort": "colour"},
        {"sort": "name:up"},
        {"limit": "-1"},
        {"limit": "x"},
        {"sort": "name", "sort_key": "id"},
    ):
        assert vadmin.get("types", **bad).status_code == 400, bad
    assert vadmin.get("types", marker=UNKNOWN).status_code == 404


def test_types_by_extra_specs(vadmin: Client) -> None:
    make(vadmin, "plain")
    made = make(vadmin, "many", extra_specs={"multiattach": "<is> True"})
    query = {"extra_specs": '{"multiattach": "<is> True"}'}
    assert [item["id"] for item in vadmin.get("types", **query).json()["volume_types"]] == [made["id"]]
    assert len(vadmin.at("3.51").get("types", **query).json()["volume_types"]) == 2


def test_extra_specs(vadmin: Client, vmember: Client) -> None:
    path = f"types/{make(vadmin)['id']}/extra_specs"
    assert vadmin.post(path, {"extra_specs": {"a": "1", "multiattach": "<is> True"}}).json() == {
        "extra_specs": {"a": "1", "multiattach": "<is> True"}
    }
    assert vadmin.put(f"{path}/a", {"a": "2"}).json() == {"a": "2"}
    assert vadmin.get(f"{path}/a").json() == {"a": "2"}
    assert vmember.get(path).json() == {"extra_specs": {"multiattach": "<is> True"}}
    assert vmember.get(f"{path}/a").status_code == 404
    assert vadmin.put(f"{path}/a", {"b": "2"}).status_code == 400
    assert vadmin.post(path, {"extra_specs": {}}).status_code == 400
    assert vadmin.delete(f"{path}/a").status_code == 202
    assert vadmin.delete(f"{path}/a").status_code == 404
    assert vadmin.get(f"types/{UNKNOWN}/extra_specs").status_code == 404
    assert vmember.post(path, {"extra_specs": {"a": "1"}}).status_code == 403


def test_encryption(vadmin: Client) -> None:
    type_id = make(vadmin)["id"]
    path = f"types/{type_id}/encryption"
    assert vadmin.get(path).json() == {}
    wanted = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}
    made = vadmin.post(path, {"encryption": wanted}).json()["encryption"]
    assert made == {**wanted, "volume_type_id": type_id, "encryption_id": made["encryption_id"]}
    assert vadmin.post(path, {"encryption": wanted}).status_code == 409
    shown = vadmin.get(path).json()
    assert set(shown) == {*made, "created_at", "updated_at", "deleted_at", "deleted"}
    assert vadmin.get(f"{path}/cipher").json() == {"cipher": "aes-xts-plain64"}
    assert vadmin.get(f"{path}/colour").status_code == 404
    one = f"{path}/{made['encryption_id']}"
    change = {"encryption": {"key_size": 512, "cipher": None}}
    assert vadmin.put(one, change).json() == change
    shown = vadmin.get(path).json()
    assert (shown["key_size"], shown["cipher"], shown["provider"]) == (512, None, "luks")
    assert vadmin.put(f"{path}/{UNKNOWN}", change).status_code == 404
    assert vadmin.put(one, {"encryption": {}}).status_code == 400
    assert vadmin.delete(one).status_code == 202
    assert vadmin.get(path).json() == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": "luks"},
        {"control_location": "front-end"},
        {"provider": "luks", "control_location": "sideways"},
        {"provider": "", "control_location": "front-end"},
        {"provider": "luks", "control_location": "front-end", "key_size": -1},
        {"provider": "luks", "control_location": "front-end", "key_size": "big"},
    ],
)
def test_what_cannot_be_an_encryption(vadmin: Client, fields: dict[str, Any]) -> None:
    path = f"types/{make(vadmin)['id']}/encryption"
    assert vadmin.post(path, {"encryption": fields}).status_code == 400
    assert vadmin.get(path).json() == {}


def test_default_types(vadmin: Client, vmember: Client, plane: ControlPlane) -> None:
    assert vmember.get("types/default").status_code == 404
    plane.conf.set_override("default_volume_type", "gold")
    gold, silver = make(vadmin), make(vadmin, "silver")
    assert vmember.get("types/default").json()["volume_type"]["id"] == gold["id"]
    body = {"default_type": {"volume_type": "silver"}}
    wanted = {"default_type": {"project_id": PROJECT, "volume_type_id": silver["id"]}}
    assert vadmin.put(f"default-types/{PROJECT}", body).json() == wanted
    assert vadmin.get(f"default-types/{PROJECT}").json() == wanted
    assert vadmin.get("default-types").json() == {"default_types": [wanted["default_type"]]}
    assert vmember.get("types/default").json()["volume_type"]["id"] == silver["id"]
    assert vadmin.get(f"default-types/{OTHER_PROJECT}").status_code == 404
    for held in (gold, silver):
        assert vadmin.delete(f"types/{held['id']}").status_code == 400  # projects rely on it
    assert vadmin.put(f"default-types/{PROJECT}", {"default_type": {"volume_type": "none"}}).status_code == 404
    assert vadmin.put(f"default-types/{PROJECT}", {"default_type": {}}).status_code == 400
    assert vadmin.delete(f"default-types/{PROJECT}").status_code == 204
    assert vadmin.delete(f"default-types/{PROJECT}").status_code == 404
    assert vadmin.delete(f"types/{silver['id']}").status_code == 202


def test_qos_specs(vadmin: Client) -> None:
    made = vadmin.post("qos-specs", {"qos_specs": {"name": "slow", "consumer": "front-end", "read_iops_sec": "100"}})
    specs = made.json()["qos_specs"]
    assert specs == {"id": specs["id"], "name": "slow", "consumer": "front-end", "specs": {"read_iops_sec": "100"}}
    assert [link["rel"] for link in made.json()["links"]] == ["self", "bookmark"]
    path = f"qos-specs/{specs['id']}"
    assert vadmin.get("qos-specs").json() == {"qos_specs": [specs]}
    change = {"qos_specs": {"write_iops_sec": "50", "consumer": "both"}}
    assert vadmin.put(path, change).json() == change
    shown = vadmin.get(path).json()["qos_specs"]
    assert (shown["consumer"], shown["specs"]) == ("both", {"read_iops_sec": "100", "write_iops_sec": "50"})
    assert vadmin.put(f"{path}/delete_keys", {"keys": ["read_iops_sec", "none"]}).status_code == 404
    assert len(vadmin.get(path).json()["qos_specs"]["specs"]) == 2
    assert vadmin.put(f"{path}/delete_keys", {"keys": ["read_iops_sec"]}).status_code == 202
    assert vadmin.get(path).json()["qos_specs"]["specs"] == {"write_iops_sec": "50"}
    assert vadmin.post("qos-specs", {"qos_specs": {"name": "slow"}}).status_code == 409
    assert vadmin.delete(path).status_code == 202
    assert vadmin.get(path).status_code == 404


def test_qos_associations(vadmin: Client) -> None:
    type_id = make(vadmin)["id"]
    one, two = (
        vadmin.post("qos-specs", {"qos_specs": {"name": name}}).json()["qos_specs"]["id"] for name in ("one", "two")
    )
    assert vadmin.get(f"qos-specs/{one}/associate", vol_type_id=type_id).status_code == 202
    assert vadmin.get(f"qos-specs/{one}/associations").json() == {
        "qos_associations": [{"association_type": "volume_type", "name": "gold", "id": type_id}]
    }
    assert vadmin.get(f"types/{type_id}").json()["volume_type"]["qos_specs_id"] == one
    assert vadmin.get(f"qos-specs/{two}/associate", vol_type_id=type_id).status_code == 400
    assert vadmin.get(f"qos-specs/{one}/associate", vol_type_id=UNKNOWN).status_code == 404
    assert vadmin.get(f"qos-specs/{one}/associate").status_code == 400
    assert vadmin.delete(f"qos-specs/{one}").status_code == 400
    assert vadmin.get(f"qos-specs/{one}/disassociate", vol_type_id=type_id).status_code == 202
    assert vadmin.get(f"qos-specs/{two}/associate", vol_type_id=type_id).status_code == 202
    assert vadmin.get(f"qos-specs/{two}/disassociate_all").status_code == 202
    assert vadmin.get(f"qos-specs/{two}/associate", vol_type_id=type_id).status_code == 202
    assert vadmin.delete(f"qos-specs/{two}", force="true").status_code == 202
    assert vadmin.get(f"types/{type_id}").json()["volume_type"]["qos_specs_id"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"name": 3},
        {"name": "x", "consumer": "nobody"},
        {"name": "x", "k": 3},
        {"name": "x", "k": None},
    ],
)
def test_what_cannot_be_qos_specs(vadmin: Client, fields: dict[str, Any]) -> None:
    assert vadmin.post("qos-specs", {"qos_specs": fields}).status_code == 400
    assert vadmin.get("qos-specs").json() == {"qos_specs": []}
