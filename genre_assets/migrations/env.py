"""Alembic's entry: runs the versions on the connection that it is given, in the caller's transaction."""

from alembic import context

from genre_assets.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
