"""The schema's migrations, run by alembic."""
