"""Alembic's entry: runs migrations on the connection `store.upgrade` gives."""

from alembic import context

from penstock.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
