"""CHAP secrets in the database: sealed in the rows, as they were for who has the key."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from penstock.config.loading import load
from penstock.daemon import open_database
from penstock.domain.attachments import Attachment, AttachMode, AttachStatus
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Invalid
from penstock.ids import AttachmentId, new_id
from penstock.secret_box import SecretBox
from penstock.store import attachments, volumes
from penstock.store.database import Database
from penstock.store.schema import metadata

NOW = datetime(2026, 1, 1)
AUTH = "CHAP the-user the-password"
INFO = {"driver_volume_type": "iscsi", "auth_password": "the-password", "target_lun": 1}


def a_volume() -> Volume:
    return new_volume(
        project_id="p1", user_id="u1", pool=PoolRef("host", "b", "p"), zone="z", now=NOW, size_gib=1, volume_type=None,
        status=VolumeStatus.AVAILABLE,
    )  # fmt: skip


def store(database: Database) -> tuple[Volume, Attachment]:
    volume = a_volume()
    attachment = Attachment(
        AttachmentId(new_id()), volume.id, volume.project_id, "vm", None, None, AttachMode.RW, AttachStatus.ATTACHED,
        {"host": "h"}, None, None, None, NOW, None,
    )  # fmt: skip
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
        volumes.update_volume(tx, volume.id, now=NOW, provider_auth=AUTH)
        attachments.insert_attachment(tx, attachment)
        attachments.update_attachment(tx, attachment.id, now=NOW, connection_info=INFO)
    return volume, attachment


def kept(database: Database, volume: Volume, attachment: Attachment) -> tuple[object, object]:
    with database.read() as tx:
        found, connection = volumes.get(tx, volume.id), attachments.get(tx, attachment.id)
    assert found is not None
    assert connection is not None
    return found.provider_auth, connection.connection_info


def test_what_is_in_the_rows_says_nothing_without_the_key(tmp_path: Path) -> None:
    config = tmp_path / "penstock.conf"
    config.write_text(f"[DEFAULT]\nstate_path = {tmp_path}/state\n")
    database = open_database(load([config]))
    metadata.create_all(database.engine)
    for _ in range(3):  # also as prepared statements
        volume, attachment = store(database)
        assert kept(database, volume, attachment) == (AUTH, INFO)
    assert (tmp_path / "state" / "secret.key").stat().st_mode & 0o777 == 0o600
    with create_engine(database.url).connect() as raw:
        rows = raw.execute(text("SELECT provider_auth, connection_info FROM volumes, volume_attachments")).all()
    assert "password" not in str(rows)
    assert all(str(value).strip('"').startswith("sealed:") for row in rows for value in row)
    with pytest.raises(Invalid, match="without a key"):
        kept(Database(database.url), volume, attachment)
    with pytest.raises(Invalid, match="put the old key back"):
        kept(Database(database.url, SecretBox(tmp_path / "other.key")), volume, attachment)
    with database.begin() as tx:
        attachments.update_attachment(tx, attachment.id, now=NOW, connection_info=None)
        volumes.update_volume(tx, volume.id, now=NOW, provider_auth=None)
    assert kept(database, volume, attachment) == (None, None)


def test_rows_from_before_there_were_keys_are_read_and_sealed_when_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/penstock.sqlite"
    plain = Database(url)
    metadata.create_all(plain.engine)
    volume, attachment = store(plain)
    sealing = Database(url, SecretBox(tmp_path / "secret.key"))
    assert kept(sealing, volume, attachment) == (AUTH, INFO)
    with sealing.begin() as tx:
        attachments.update_attachment(tx, attachment.id, now=NOW, connection_info=INFO)
    with create_engine(url).connect() as raw:
        assert "password" not in str(raw.execute(text("SELECT connection_info FROM volume_attachments")).all())


def test_processes_that_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    one, two = (SecretBox(tmp_path / "new" / "secret.key") for _ in range(2))
    made = one._make()
    assert two._make() == made
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret.key"]
