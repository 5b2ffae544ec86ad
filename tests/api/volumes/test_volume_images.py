"""Volumes of images and images of volumes, as the API takes and shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.domain.pools import PoolRef
from penstock.images.sidecar import id_of
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import calls
from tests.api.conftest import Client
from tests.api.volumes.arranging import act, add_volume_type, make_volume

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def type_id(plane: ControlPlane, vbackend: PoolRef) -> str:
    return add_volume_type(plane)


@pytest.fixture
def image(plane: ControlPlane) -> str:
    """A public image of 1 MiB that wants a disk of 2 GiB."""
    folder = Path(plane.conf.images.directory)
    folder.mkdir()
    (folder / "debian.raw").write_bytes(bytes(2**20))
    (folder / "debian.raw.json").write_text(json.dumps({"min_disk": 2}))
    (folder / "secret.raw").write_bytes(bytes(2**20))
    (folder / "secret.raw.json").write_text(json.dumps({"owner": "somebody"}))
    return id_of("debian.raw")


def test_a_volume_of_an_image(plane: ControlPlane, vmember: Client, image: str) -> None:
    answer = vmember.post("volumes", {"volume": {"size": 2, "imageRef": image}})
    assert answer.status_code == 202
    volume_id = answer.json()["volume"]["id"]
    assert calls(plane)[-1][3] == {"volume_id": volume_id, "image_id": image, "asked": {}}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"size": 1}, 400, "a disk of 2 GiB"),
        ({}, 400, "size"),
        ({"size": 2, "imageRef": UNKNOWN}, 404, "could not be found"),
        ({"size": 2, "imageRef": id_of("secret.raw")}, 404, "could not be found"),
    ],
)
def test_an_image_that_cannot_be(
    plane: ControlPlane, vmember: Client, image: str, body: dict[str, object], status: int, said: str
) -> None:
    answer = vmember.post("volumes", {"volume": {"imageRef": image, **body}})
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert vmember.get("volumes").json()["volumes"] == []


def test_an_image_of_a_volume(plane: ControlPlane, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember, name="mine")["id"]
    asked = {"image_name": "backup", "disk_format": "qcow2", "container_format": "bare", "force": False}
    answer = act(vmember, volume_id, "os-volume_upload_image", {**asked, "visibility": "shared", "protected": "True"})
    assert answer.status_code == 202, answer.text
    shown = answer.json()["os-volume_upload_image"]
    wanted = {"id": volume_id, "status": "uploading", "size": 2, "image_name": "backup", "disk_format": "qcow2"}
    assert wanted.items() <= shown.items()
    assert {"container_format": "bare", "visibility": "shared", "protected": True}.items() <= shown.items()
    meta = calls(plane)[-1][3]["image_meta"]
    assert (meta["id"], meta["disk_format"]) == (shown["image_id"], "qcow2")
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "uploading"
    assert act(vmember, volume_id, "os-volume_upload_image", asked).status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"image_name": "x", "disk_format": "ploop"}, 400),
        ({"image_name": "x", "container_format": "ova"}, 400),
        ({"image_name": "x", "visibility": "everybody"}, 400),
        ({"image_name": "x", "visibility": "public"}, 403),
        ({"image_name": "x", "protected": "perhaps"}, 400),
    ],
)
def test_an_image_that_cannot_be_made(
    plane: ControlPlane, vmember: Client, body: dict[str, object], status: int
) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert act(vmember, volume_id, "os-volume_upload_image", body).status_code == status
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"


def test_another_projects_volume_becomes_no_image(plane: ControlPlane, vmember: Client, vother: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert act(vother, volume_id, "os-volume_upload_image", {"image_name": "x"}).status_code == 404
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"


def test_another_image_on_a_volume(plane: ControlPlane, vmember: Client, image: str) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert act(vmember, volume_id, "os-reimage", {"image_id": UNKNOWN}).status_code == 404
    assert act(vmember, volume_id, "os-reimage", {"image_id": image}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "downloading"
    assert calls(plane)[-1][3] == {"volume_id": volume_id, "image_id": image}
    assert act(vmember, volume_id, "os-reimage", {"image_id": image}).status_code == 400
