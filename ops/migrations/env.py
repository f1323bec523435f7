"""What Alembic runs: ops/migrate.py opens the connection, takes the lock and owns the transaction."""

from alembic import context

from app.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
