"""Run by Alembic: migrations over the connection that `autoloader_server.db.migrate` hands over."""

from alembic import context

from autoloader_server.db.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations by `autoloader db upgrade`, or autoloader_server.db.migrate.migrate(database)")

context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
