"""Run the migrations: on DATABASE_URL for the `alembic` command, on the database of the service within the service."""

import logging

import psycopg
from alembic import context
from alembic.util import CommandError

from market_data.database import migrations
from market_data.errors import MarketDataError, first_line
from market_data.settings import read_settings


def run_offline() -> None:
    """Print the SQL of the migrations, for psql."""
    context.configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
    run_migrations()


def run_online() -> None:
    """Migrate the database that `migrations.upgrade` was called with, or that of the command line."""
    database_url = context.config.attributes.get("database_url") or command_line_database()
    if database_url is None:
        return
    with migrations.engine(database_url).connect() as connection:
        context.configure(connection=connection)
        run_migrations()


def run_migrations() -> None:
    """Migrate in one transaction, which begins by waiting for any other migration to end."""
    with context.begin_transaction():
        context.execute(migrations.MIGRATION_LOCK)
        context.execute(migrations.LOCK_TIMEOUT)
        context.run_migrations()


def command_line_database() -> str | None:
    """Return DATABASE_DIRECT_URL or DATABASE_URL, after the checks that the service makes, too.

    None if there is nothing to do: `alembic upgrade head` of this version, and the schema is of the next one.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("alembic.util.messaging").disabled = True  # the command prints its errors itself
    try:
        url = read_settings().direct_url
        if url is None:
            raise CommandError(
                "Set DATABASE_URL to the server to migrate (the embedded engine is migrated by `market-data serve`)."
            )
        revision = migrations.check_server(url)
    except (MarketDataError, psycopg.OperationalError) as error:
        raise CommandError(first_line(error)) from None
    if migrations.is_next(revision) and getattr(context.config.cmd_opts, "revision", None) == "head":
        logging.info("The schema is revision %s already, which this version can use.", revision)
        return None
    return url


if context.is_offline_mode():
    run_offline()
else:
    run_online()
