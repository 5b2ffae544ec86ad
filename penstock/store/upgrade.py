"""Bring a database to the present schema, or say that it is not there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from penstock.errors import Conflict
from penstock.store.database import Database, Transaction, hold

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(database: Database) -> tuple[str | None, str]:
    """Run what is missing, in one transaction; returns the revision before and after. Safe to repeat.

    Raises Conflict when the database was made by a later version.
    """
    with database.begin() as tx:
        hold(tx, "schema")
        before = _revision(tx)
        if before is not None and before not in {script.revision for script in _scripts().walk_revisions()}:
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
    return MigrationContext.configure(tx).get_current_revision()


def head() -> str:
    """The revision of the present schema."""
    return str(_scripts().get_current_head())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _config(tx: Transaction) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = tx
    return config
