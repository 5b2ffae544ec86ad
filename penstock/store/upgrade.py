"""Bring a database to the present schema, or say that it is not there.

Alembic is for bringing it there alone: importing it takes a tenth of a second, which every start would pay.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from penstock.errors import Conflict
from penstock.store.database import Database, Transaction, hold, whole_connection

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(database: Database) -> tuple[str | None, str]:
    """Run what is missing, in one transaction; returns the revision before and after. Safe to repeat.

    Raises Conflict when the database was made by a later version.
    """
    from alembic import command

    with database.begin() as tx:
        hold(tx, "schema")
        before = _revision(tx)
        if before is not None and before not in _revisions():
            raise Conflict(f"The database has schema {before}, which this version does not know: a later one made it.")
        command.upgrade(_config(tx), "head")
        return before, head()


def check(database: Database) -> None:
    """Raise Conflict, saying what to run, when the schema is not the present one."""
    with database.read() as tx:
        found = _revision(tx)
    if found != head():
        has = "is empty" if found is None else f"has schema {found}"
        raise Conflict(f"The database {has}, this version needs {head()}: run 'penstock db upgrade'.")


def _revision(tx: Transaction) -> str | None:
    if not inspect(whole_connection(tx)).has_table("alembic_version"):
        return None
    found: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def head() -> str:
    """The revision of the present schema."""
    return max(_revisions())


def _revisions() -> set[str]:
    """Every revision there is: a file each, called by it. They follow each other in a line, a test holds them to it."""
    return {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")}


def _config(tx: Transaction) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = whole_connection(tx)
    return config
