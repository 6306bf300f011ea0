"""Alembic's environment: runs the migrations on the connection that `podium.db.migrate` hands over."""

from alembic import context

from podium.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction holds all of it
)
context.run_migrations()
