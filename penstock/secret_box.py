"""CHAP secrets sealed with a key in a file: in properties of ZFS, which any local user may read, and in rows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from penstock.errors import Invalid, Unavailable


class SecretBox:
    """Seals and opens. The key's file is made on first use, readable by nobody else."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._fernet: Fernet | None = None

    def seal(self, secret: str) -> str:
        """A text that says nothing without the key; empty stays empty."""
        return self._key().encrypt(secret.encode()).decode() if secret else ""

    def open(self, sealed: str) -> str:
        """The secret. Raises Invalid when it was sealed with another key."""
        try:
            return self._key().decrypt(sealed.encode()).decode() if sealed else ""
        except InvalidToken as err:
            raise Invalid(f"a secret cannot be opened with {self._key_file}: put the old key back") from err

    def _key(self) -> Fernet:
        if self._fernet is None:
            self._fernet = Fernet(self._read() or self._make())
        return self._fernet

    def _read(self) -> bytes | None:
        try:
            return self._key_file.read_bytes().strip()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise Unavailable(f"the key file cannot be read: {err}") from err

    def _make(self) -> bytes:
        key = Fernet.generate_key()
        try:
            self._key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, beside = tempfile.mkstemp(dir=self._key_file.parent, prefix=f".{self._key_file.name}.")  # mode 0600
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(key)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(beside, self._key_file)  # whole, or not there
            finally:
                Path(beside).unlink()
            folder = os.open(self._key_file.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # what is sealed must not outlive its key
            finally:
                os.close(folder)
        except FileExistsError:  # another process was faster
            return self._key_file.read_bytes().strip()
        except OSError as err:
            raise Unavailable(f"no key file can be made: {err}") from err
        return key
