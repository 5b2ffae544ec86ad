"""Images of an OpenStack image service, by the real openstacksdk, against a small service that speaks Image v2."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openstack
import pytest

from penstock.context import RequestContext, admin_context
from penstock.errors import BackendFault, Forbidden, Unavailable
from penstock.images.copying import Checked
from penstock.images.errors import ImageNotFound, ImageUnacceptable
from penstock.images.openstack import OpenstackImages

ADMIN = admin_context("req-images")
DATA = b"penstock" * 4096
FAILING = "00000000-0000-0000-0000-000000000500"


def user(project: str) -> RequestContext:
    return RequestContext("u", project)


class Glance(BaseHTTPRequestHandler):
    """As much of Image v2 as volumes need."""

    records: dict[str, dict[str, Any]]
    files: dict[str, bytes]
    members: dict[str, list[dict[str, Any]]]

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts in (["v2"], [""]):
            here = f"http://{self.headers['Host']}/v2/"
            self._say({"versions": [{"id": "v2.9", "status": "CURRENT", "links": [{"rel": "self", "href": here}]}]})
        elif parts == ["v2", "images"]:
            self._say({"images": list(self.records.values())})
        elif parts[-1] == FAILING:
            self._say({}, 503)
        elif parts[-1] == "file":
            self._bytes(self.files.get(parts[2]))
        elif parts[-1] == "members":
            self._say({"members": self.members.get(parts[2], [])})
        else:
            found = self.records.get(parts[2])
            self._say(found or {}, 200 if found else 404)

    def do_POST(self) -> None:
        record = {"status": "queued", "visibility": "private", "protected": False, "owner": None, **self._body()}
        record["id"] = record.get("id") or f"made-{len(self.records)}"
        self.records[record["id"]] = record
        self._say(record, 201)

    def do_PATCH(self) -> None:
        record = self.records[self.path.split("/")[3]]
        for change in self._body():
            record[change["path"].strip("/")] = change["value"]
        self._say(record)

    def do_PUT(self) -> None:
        image_id = self.path.split("/")[3]
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.files[image_id] = data
        self.records[image_id].update(status="active", size=len(data))
        self._say(None, 204)

    def do_DELETE(self) -> None:
        found = self.records.pop(self.path.split("/")[3], None)
        self._say(None, 204 if found else 404)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, document: Any, status: int = 200) -> None:
        self._bytes(b"" if document is None else json.dumps(document).encode(), status, "application/json")

    def _bytes(self, data: bytes | None, status: int = 200, kind: str = "application/octet-stream") -> None:
        self.send_response(404 if data is None else status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def glance() -> Iterator[type[Glance]]:
    def record(image_id: str, **fields: Any) -> dict[str, Any]:
        known = {"id": image_id, "name": image_id, "status": "active", "disk_format": "raw", "container_format": "bare"}
        return {**known, "size": len(DATA), "owner": "mine", "visibility": "private", "min_disk": 1, **fields}

    digest = hashlib.sha512(DATA).hexdigest()
    records = {
        "public": record("public", visibility="public", os_hash_algo="sha512", os_hash_value=digest, os_type="linux"),
        "private": record("private"),
        "shared": record("shared", visibility="shared"),
        "damaged": record("damaged", visibility="public", os_hash_algo="sha512", os_hash_value="0" * 128),
    }
    members = {"shared": [{"member_id": "friend", "status": "accepted"}, {"member_id": "other", "status": "pending"}]}
    files = dict.fromkeys(records, DATA)
    return type("Service", (Glance,), {"records": records, "files": files, "members": members})


@pytest.fixture
def images(glance: type[Glance]) -> Iterator[OpenstackImages]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), glance)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    connection = openstack.connect(
        load_envvars=False, load_yaml_config=False, auth_type="none", endpoint=url, image_endpoint_override=f"{url}/v2/"
    )
    yield OpenstackImages("test", connection)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_record_is_told_in_the_published_words(images: OpenstackImages) -> None:
    found = images.show(user("anybody"), "public")
    assert (found.disk_format, found["size"], found.min_disk, found.owner) == ("raw", len(DATA), 1, "mine")
    assert found.os_hash_algo == "sha512"


def test_what_is_downloaded_is_checked(images: OpenstackImages, tmp_path: Path) -> None:
    for name, good in (("public", True), ("damaged", False)):
        with (tmp_path / name).open("wb") as file:
            checked = Checked(file, images.show(ADMIN, name))
            images.download(ADMIN, name, checked)
        if good:
            checked.verify()
            assert (tmp_path / name).read_bytes() == DATA
        else:
            with pytest.raises(ImageUnacceptable, match="checksum"):
                checked.verify()


@pytest.mark.parametrize(
    ("project", "name", "seen"),
    [
        ("mine", "private", True),
        ("yours", "private", False),
        ("yours", "public", True),
        ("friend", "shared", True),
        ("other", "shared", False),
        ("yours", "shared", False),
        ("yours", "no-such", False),
    ],
)
def test_whose_images_they_are(images: OpenstackImages, project: str, name: str, seen: bool) -> None:
    """The service is asked with our own rights; the caller's are decided here."""
    if seen:
        assert images.show(user(project), name).id == name
    else:
        for call in (images.show, images.get_location):
            with pytest.raises(ImageNotFound):
                call(user(project), name)


def test_a_volume_becomes_an_image(images: OpenstackImages, glance: type[Glance], tmp_path: Path) -> None:
    made = images.create(user("mine"), {"name": "of a volume", "disk_format": "qcow2", "properties": {"os": "x"}})
    assert (made.status, made.owner) == ("queued", "mine")
    path = tmp_path / "data"
    path.write_bytes(DATA)
    done = images.update(user("mine"), made.id, {"name": "renamed", "disk_format": "qcow2"}, path)
    assert (done.status, done.size, done.name) == ("active", len(DATA), "renamed")
    assert glance.files[made.id] == DATA
    with pytest.raises((Forbidden, ImageNotFound)):
        images.update(user("yours"), made.id, {"name": "stolen"})
    for _ in range(2):
        images.delete(user("mine"), made.id)


def test_a_service_that_does_not_answer(images: OpenstackImages) -> None:
    with pytest.raises((Unavailable, BackendFault)):
        images.show(ADMIN, FAILING)
    nowhere = openstack.connect(
        load_envvars=False,
        load_yaml_config=False,
        auth_type="none",
        endpoint="http://127.0.0.1:9",
        image_endpoint_override="http://127.0.0.1:9/v2/",
    )
    with pytest.raises(Unavailable):
        OpenstackImages("test", nowhere).show(ADMIN, "public")
