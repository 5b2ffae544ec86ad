"""Images fetched from URLs that an administrator lists in a YAML file, such as distributions' cloud images."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import yaml

from penstock.domain.driver_words import Context
from penstock.errors import Invalid, Unavailable, Unsupported
from penstock.images.copying import CHUNK_BYTES
from penstock.images.errors import ImageNotFound
from penstock.images.model import ImageModel
from penstock.images.service import Location, Sink
from penstock.images.sidecar import image_of, may_see

TIMEOUT_S = 60.0


class UrlImages:
    """The images of the list at `path`: entries with ``url``, and the fields of an image's record beside it.

    ``sha256`` or ``sha512`` is what the bytes are checked by; an entry without one is taken only by https. The file is
    read anew for each request: an administrator's change needs no restart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def images(self, context: Context) -> list[ImageModel]:
        """All that the caller may see, in the list's order."""
        found = (image for _, image in self._entries())
        return [image for image in found if may_see(image, context.project_id, is_admin=context.is_admin)]

    def show(self, context: Context, image_id: str) -> ImageModel:
        return self._find(context, image_id)[1]

    def get_location(self, context: Context, image_id: str) -> Location:
        url, _ = self._find(context, image_id)
        return url, [{"url": url, "metadata": {}}]

    def local_file(self, context: Context, image_id: str) -> Path | None:
        self._find(context, image_id)
        return None

    def download(self, context: Context, image_id: str, data: Sink) -> None:
        url, _ = self._find(context, image_id)
        opener = build_opener(_SameSafety())
        try:
            with opener.open(Request(url), timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked where it was read
                promised = answer.headers.get("Content-Length")
                came = 0
                while chunk := answer.read(CHUNK_BYTES):
                    came += len(chunk)
                    data.write(chunk)
            if promised is not None and came != int(promised):  # http.client does not mind
                raise Unavailable(f"{url} ended after {came} of {promised} bytes.")
        except HTTPError as err:
            if err.code in (404, 410):
                raise ImageNotFound(f"There is no image at {url} any more.") from err
            raise Unavailable(f"{url} answers {err.code} {err.reason}.") from err
        except (URLError, HTTPException, TimeoutError, ConnectionError) as err:
            raise Unavailable(f"{url} cannot be fetched: {getattr(err, 'reason', None) or err}.") from err

    def create(self, context: Context, image_meta: Mapping[str, Any]) -> ImageModel:
        raise Unsupported("Images come from a list of URLs here; volumes cannot become images.")

    def update(
        self, context: Context, image_id: str, image_meta: Mapping[str, Any], data: Path | None = None
    ) -> ImageModel:
        raise Unsupported("Images come from a list of URLs here; they cannot be changed.")

    def delete(self, context: Context, image_id: str) -> None:
        raise Unsupported("Images come from a list of URLs here; they cannot be deleted.")

    def _find(self, context: Context, image_id: str) -> tuple[str, ImageModel]:
        for url, image in self._entries():
            if image.id == image_id and may_see(image, context.project_id, is_admin=context.is_admin):
                return url, image
        raise ImageNotFound(f"Image {image_id} could not be found.")

    def _entries(self) -> list[tuple[str, ImageModel]]:
        try:
            found = yaml.safe_load(self._path.read_text())
        except OSError as err:
            raise Unavailable(f"The list of images cannot be read: {err}.") from err
        except yaml.YAMLError as err:
            raise Invalid(f"{self._path} is not YAML: {err}.") from err
        if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
            raise Invalid(f"{self._path} is not a list of images.")
        return [self._entry(item) for item in found]

    def _entry(self, told: Mapping[str, Any]) -> tuple[str, ImageModel]:
        url = str(told.get("url", ""))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Invalid(f"{self._path}: '{url}' is not an http or https address.")
        known = dict(told)
        for algorithm in ("sha256", "sha512"):
            if algorithm in told:
                known.update(os_hash_algo=algorithm, os_hash_value=str(told[algorithm]).lower())
        if parts.scheme == "http" and "os_hash_value" not in known:
            raise Invalid(f"{self._path}: {url} needs a sha256 or sha512, as anybody can answer for an http address.")
        return url, image_of(known, Path(parts.path).name, told.get("size"))


class _SameSafety(HTTPRedirectHandler):
    """Follows redirections, but not from https to something less."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        schemes = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in schemes:
            raise Unavailable(f"{req.full_url} leads to {newurl}, which is less safe; it is not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
