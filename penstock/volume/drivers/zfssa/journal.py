"""What a migration has begun on two appliances, kept on disk until it ends: so that a crash leaves no orphans."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from penstock.errors import Unavailable

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to migrate one volume. `action` is also the name of the package and of the project it becomes."""

    volume_id: str
    action: str
    source_asn: str
    target_host: str
    target_pool: str


class Journal:
    """One file for each attempt under way, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def attempt(self, volume_id: str) -> Attempt | None:
        """What an earlier try began, None when nothing is left of one. Raises Unavailable."""
        try:
            return msgspec.json.decode(self._path(volume_id).read_bytes(), type=Attempt)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as err:
            raise Unavailable(f"{self._path(volume_id)} cannot be read: {err}") from err

    def begin(self, attempt: Attempt) -> None:
        """Remember it, on disk when this returns. Raises Unavailable."""
        path = self._path(attempt.volume_id)
        beside = path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(msgspec.json.encode(asdict(attempt)))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as err:
            raise Unavailable(f"{path} cannot be written: {err}") from err

    def end(self, volume_id: str) -> None:
        """Forget it. Safe to repeat. Raises Unavailable."""
        try:
            self._path(volume_id).unlink(missing_ok=True)
        except OSError as err:
            raise Unavailable(f"{self._path(volume_id)} cannot be removed: {err}") from err

    def _path(self, volume_id: str) -> Path:
        if not _ID.fullmatch(volume_id):
            raise Unavailable(f"{volume_id!r} is not a volume's id")
        return self._folder / f"{volume_id}.json"
