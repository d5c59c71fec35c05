"""Run by Alembic: migrates over the connection that the store hands in, inside its transaction."""

from alembic import context

from chatwright.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
