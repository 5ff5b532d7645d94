"""What Alembic runs: every pending migration, in the one transaction that the caller has begun."""

from alembic import context
from sqlalchemy import Connection

from reference.schema import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
