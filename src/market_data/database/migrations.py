"""Run Alembic in-process, one process at a time."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from market_data.database.connection import BlockingConnection
from market_data.database.refusals import explain_refusal
from market_data.errors import StartError, first_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

MIGRATION_LOCK = """
DO $$
BEGIN
    IF to_regclass('public.alembic_version') IS NULL THEN
        SET LOCAL lock_timeout = '60s';
        PERFORM pg_advisory_xact_lock(7164051126);
    END IF;
    IF to_regclass('public.alembic_version') IS NOT NULL THEN
        SET LOCAL lock_timeout = 0;
        LOCK TABLE public.alembic_version IN SHARE ROW EXCLUSIVE MODE;
    END IF;
END
$$
"""
"""Serialize the migrations of one database; held until the end of the transaction.

A lock on a table, which only its owner can take, because any role could take an advisory lock and keep it. Before the first
migration there is no table.
"""

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
"""From here on, a migration that can't get a table lock fails before readers queue up behind it."""

CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS timescaledb"

LICENSE = "SELECT current_setting('timescaledb.license')"

CONNECT_SECONDS = 20
"""Connection time-out: a connection to the embedded engine waits for another process's migration."""

MIN_VERSION = (2, 23)
"""Oldest TimescaleDB that the tests run on: the embedded engine's."""

EXTENSION_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"

READABLE = "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
"""NULL if the table does not exist yet."""

REVISION = "SELECT max(version_num) FROM alembic_version"

BASELINE = "0012"
"""Oldest revision that can be migrated."""

EXPORT = (
    "With the version of market-data that wrote it, serve that database (restore a backup first), list the symbols with "
    "`curl http://127.0.0.1:8000/symbols`, and export the trades of each one with `curl -f -o trades.csv "
    "'http://127.0.0.1:8000/trades?symbol=AAPL&start=0001-01-01T00:00:00Z&end=9999-12-31T23:59:59Z&format=csv'`. With this "
    "version, set DATABASE_URL or MARKET_DATA_HOME to a new database, and run `market-data import trades.csv` for each "
    "file. Names of symbols, API keys and the audit trail are not exported."
)
"""Way from a database that is too old to a new one."""

TOO_OLD = f"{{}} has schema {{}}, which is older than {BASELINE} and can't be migrated. {EXPORT}"

LOCKED = "another session holds a lock on a table of the service; end it (pg_stat_activity lists the sessions)"

# Without the role pg_read_all_stats, the sessions of others have no state, and none is ended.
END_IDLE_READERS = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity AS session
    JOIN pg_roles ON rolname = usename
    WHERE datname = current_database() AND usename <> current_user AND NOT rolsuper
        AND state LIKE 'idle in transaction%%' AND state_change < clock_timestamp() - make_interval(secs => %s)
        AND EXISTS (
            SELECT FROM pg_locks
            JOIN pg_class ON pg_class.oid = relation
            WHERE pg_locks.pid = session.pid AND relnamespace = 'public'::regnamespace
        )
"""

IDLE_SECONDS = 10
"""Time after which a session of another role that is idle in a transaction does not keep a migration waiting any longer."""

UNKNOWN_REVISION = (
    "The database has schema {}, which this version does not know: run the newer version of market-data that wrote it; or, "
    "if another program wrote it, set DATABASE_URL to a database of its own, such as one made by `createdb market_data`."
)

FOREIGN_OBJECTS = (
    "the database has tables that are not of this service: set DATABASE_URL to a database of its own, such as one made by "
    "`createdb market_data`"
)

REMEDIES: Mapping[type[psycopg.Error], str] = {
    psycopg.errors.DuplicateTable: FOREIGN_OBJECTS,
    psycopg.errors.DuplicateObject: FOREIGN_OBJECTS,
    psycopg.errors.DuplicateFunction: FOREIGN_OBJECTS,
    psycopg.errors.InsufficientPrivilege: (
        "migrate with a URL of the role that owns the database and its tables, or let a superuser run "
        "ALTER DATABASE … OWNER TO the role of the URL and, for existing tables, REASSIGN OWNED BY their owner TO that role"
    ),
}
"""Remedies for errors of a migration."""

REMEDY = "use the image timescale/timescaledb:2.29.2-pg17, or install TimescaleDB's own packages"


def upgrade(database_url: str) -> None:
    """Migrate a database to the newest revision, after any migration that another process is running.

    Raises:
        StartError: The server does not meet the requirements, or the migration failed.
        psycopg.OperationalError: The server can't be reached.
    """
    revision = check_server(database_url)
    if is_next(revision):
        logger.warning("the schema is revision %s; this version, of revision %s, can use it", revision, revisions()[-1])
    elif revision != revisions()[-1]:
        _migrate(database_url)


def _with_remedy(error: psycopg.Error) -> str:
    remedy = REMEDIES.get(type(error), "`market-data doctor` examines the database; a backup can be restored into a new one")
    return f"{first_line(error)}; {remedy}."


def is_too_old(revision: str | None) -> bool:
    """True if a schema of this revision can't be migrated."""
    return revision is not None and revision.isdecimal() and revision < BASELINE


def is_next(revision: str | None) -> bool:
    """True if a schema is one revision ahead of this version, which can use it: services are updated one after another."""
    return revision is not None and revision.isdecimal() and int(revision) == int(revisions()[-1]) + 1


def _migrate(database_url: str) -> None:
    # Imported here because it takes half a second, and most starts find the newest revision.
    import sqlalchemy.exc  # noqa: PLC0415
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    try:
        command.upgrade(config, "head")
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            _end_idle_readers(database_url)
            raise psycopg.OperationalError(LOCKED) from None
        if isinstance(error.orig, psycopg.Error) and not isinstance(error.orig, psycopg.OperationalError):
            raise StartError(f"The migration failed and was rolled back: {_with_remedy(error.orig)}") from error
        raise error.orig or error from None


def _end_idle_readers(database_url: str) -> None:
    """End sessions that keep locks on tables of the service without working, for the next attempt."""
    with suppress(psycopg.Error), BlockingConnection.connect(database_url, autocommit=True) as connection:
        if ended := connection.execute(END_IDLE_READERS, (IDLE_SECONDS,)).rowcount:
            logger.warning("ended %d sessions that were idle in a transaction and kept the migration waiting", ended)


def scripts() -> Path:
    """Return the folder of the migrations: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def revisions() -> list[str]:
    """Return the revisions that this version knows, newest last; files are named after their revision."""
    return sorted(path.name.partition("_")[0] for path in (scripts() / "versions").glob("*.py"))


def engine(database_url: str) -> "Engine":
    """Return a SQLAlchemy engine for Alembic whose connections psycopg opens from the unchanged URL."""
    from sqlalchemy import NullPool, create_engine  # noqa: PLC0415 - as in `_migrate`

    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: BlockingConnection.connect(
            database_url, connect_timeout=CONNECT_SECONDS, application_name="market-data-migrate"
        ),
        poolclass=NullPool,
    )


def check_server(database_url: str) -> str | None:
    """Check the database: UTF-8, TimescaleDB of at least `MIN_VERSION`, Community edition.

    Returns the revision of its schema after any running migration has ended; None if it has none.

    Raises:
        StartError: The database fails a check; the message says what to run instead.
        psycopg.OperationalError: The server can't be reached.
    """
    try:
        with BlockingConnection.connect(database_url, connect_timeout=CONNECT_SECONDS) as connection:
            _check(connection)
            revision = _revision(connection)
    except psycopg.OperationalError as error:
        if refusal := explain_refusal(error, database_url):
            raise StartError(f"The database can't be used: {refusal}.") from None
        raise
    except psycopg.Error as error:
        raise StartError(f"The database server can't be prepared: {_with_remedy(error)}") from error
    if is_too_old(revision):
        raise StartError(TOO_OLD.format("The database", revision))
    if revision is not None and revision not in revisions() and not is_next(revision):
        raise StartError(UNKNOWN_REVISION.format(revision))
    return revision


def _check(connection: psycopg.Connection) -> None:
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise StartError(f"The database is encoded in {encoding}; create it with ENCODING 'UTF8' TEMPLATE template0.")
    connection.execute(MIGRATION_LOCK)
    version = connection.execute(EXTENSION_VERSION).fetchone()
    if version is None:
        _create_extension(connection)
        version = connection.execute(EXTENSION_VERSION).fetchone() or ("0",)
    if tuple(int(part) for part in version[0].split("-")[0].split(".")[:2]) < MIN_VERSION:
        needed = ".".join(map(str, MIN_VERSION))
        raise StartError(f"TimescaleDB {version[0]} is too old, {needed} or newer is needed: {REMEDY}.")
    (edition,) = connection.execute(LICENSE).fetchone() or ("",)
    if edition != "timescale":
        raise StartError(
            f"This TimescaleDB is the {edition.capitalize()} edition, which has no continuous aggregates: {REMEDY}."
        )


def _revision(connection: psycopg.Connection) -> str | None:
    (readable,) = connection.execute(READABLE).fetchone() or (None,)
    row = connection.execute(REVISION).fetchone() if readable else None
    return row[0] if row else None


def _create_extension(connection: psycopg.Connection) -> None:
    try:
        connection.execute(CREATE_EXTENSION)
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
        raise StartError(f"The database server does not have the extension timescaledb: {REMEDY}.") from None
    except psycopg.errors.InternalError_:
        raise StartError(
            "The server does not preload timescaledb: add it to shared_preload_libraries, and restart the server."
        ) from None
    except psycopg.errors.InsufficientPrivilege:
        raise StartError(
            "This role may not create the extension timescaledb: "
            "let a superuser run CREATE EXTENSION timescaledb in this database once."
        ) from None
