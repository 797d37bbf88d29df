"""Restore a backup: into an empty database of a server, or into an empty folder of an embedded engine."""

import argparse
import re
import tempfile
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market_data import embedded
from market_data.cli.care import snapshots
from market_data.cli.care.atomic_files import sync_all
from market_data.cli.care.backup import NOT_A_SERVER, Server, inspect, run_interruptible
from market_data.cli.care.pg_tools import find_tool, run_tool
from market_data.cli.console import output, progress
from market_data.database import migrations
from market_data.embedded.errors import EngineBusy
from market_data.embedded.home import Home
from market_data.errors import CommandFailed, first_line
from market_data.queries.versions import START_NEW_VERSIONS
from market_data.settings import Settings

DUMP = b"PGDMP"
"""First bytes of a dump in pg_dump's custom format."""

NOT_ALLOWED = (
    "Only a superuser may restore, or the administrator of a managed server: use that role in DATABASE_URL. "
    "Restored tables keep their owners."
)

INCOMPLETE = "The database is incomplete now: drop it and create it again before the next attempt"

CREATE_EXTENSION = "CREATE EXTENSION timescaledb VERSION {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Restore a backup into DATABASE_URL or, if that is not set, into MARKET_DATA_HOME, which must be empty. Then "
        "migrate the schema."
    )
    parser.add_argument("path", type=Path, metavar="FILE", help="file or folder written by `market-data backup`")
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    path: Path = parsed.path
    if not path.exists():
        raise CommandFailed(f"{path} does not exist.")
    if url := settings.direct_url:
        return run_interruptible(partial(_restore_dump, url, path), INCOMPLETE)
    return run_interruptible(partial(_restore_copy, Home(settings.home), path), "nothing was restored")


def _restore_dump(database_url: str, path: Path) -> None:
    if path.is_dir() or path.open("rb").read(len(DUMP)) != DUMP:
        raise CommandFailed(
            f"{path} is not a backup of a server; restore a backup of an embedded engine without DATABASE_URL."
        )
    server = inspect(database_url)
    if server.embedded:
        raise CommandFailed(NOT_A_SERVER)
    if server.foreign:
        raise CommandFailed(
            f"The database is not empty, it has {server.foreign}: create a new one (createdb) and set DATABASE_URL to it."
        )
    program = find_tool("pg_restore", server.major)
    revision = _read_value(program, path, database_url, "alembic_version", r"^(\w+)$")
    _check_revision(path, revision)
    release = _read_value(program, path, database_url, "metadata", r"^timescaledb_version\t([^\t]+)")
    try:
        _prepare(database_url, server, release)
        _fill(program, path, database_url, server)
        _finish(database_url)
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(LIMIT_ROLES)
    except psycopg.Error as error:
        raise CommandFailed(f"The database rejected a statement: {first_line(error)}. {INCOMPLETE}.") from None
    _report(revision)


def _read_value(program: Path, path: Path, database_url: str, table: str, pattern: str) -> str:
    printed = run_tool(program, ["--data-only", f"--table={table}", "--file=-", path], database_url)
    rows = printed.partition("FROM stdin;\n")[2].partition("\n\\.")[0]
    found = re.search(pattern, rows, re.MULTILINE)
    if not found:
        raise CommandFailed(f"{path} is not a backup of this service: its table {table} is missing.")
    return found[1]


def _check_revision(path: Path, revision: str) -> None:
    if migrations.is_too_old(revision):
        raise CommandFailed(migrations.TOO_OLD.format(path, revision))
    if revision not in migrations.revisions():
        raise CommandFailed(
            f"{path} has the schema {revision}, which this version does not know; use a newer version of market-data."
        )


CREATE_ANALYST = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analyst') THEN
            CREATE ROLE analyst LOGIN CONNECTION LIMIT 20;
        END IF;
    END
    $$
"""


def _prepare(database_url: str, server: Server, release: str) -> None:
    """Create the extension, in the release whose tables the dump fills, and the role to which the dump grants."""
    if server.extension is None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                connection.execute(sql.SQL(CREATE_EXTENSION).format(release))
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile, psycopg.errors.InvalidParameterValue):
                raise CommandFailed(
                    f"The backup needs TimescaleDB {release}, which this server does not have: restore it on one with it "
                    f"(the image timescale/timescaledb:{release}-pg{server.major}), and update the extension there."
                ) from None
    elif server.extension != release:
        raise CommandFailed(
            f"The backup needs TimescaleDB {release}, the database has {server.extension}: "
            "run DROP EXTENSION timescaledb in it, then the same command."
        )
    migrations.check_server(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CREATE_ANALYST)


def _fill(program: Path, path: Path, database_url: str, server: Server) -> None:
    """Run pg_restore after timescaledb_pre_restore(), which disables triggers and jobs."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        try:
            connection.execute("SELECT timescaledb_pre_restore()")
        except psycopg.errors.InsufficientPrivilege:
            raise CommandFailed(NOT_ALLOWED) from None
    name = make_conninfo(dbname=str(conninfo_to_dict(database_url).get("dbname") or ""))
    owner = [] if server.superuser else ["--no-owner"]
    entries = run_tool(program, ["--list", path], database_url)
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
        # The extension exists already, and only its owner may comment on it.
        chosen.writelines(f"{line}\n" for line in entries.splitlines() if " EXTENSION " not in line)
        chosen.flush()
        try:
            run_tool(
                program, ["--exit-on-error", *owner, f"--use-list={chosen.name}", f"--dbname={name}", path], database_url
            )
        except CommandFailed as error:
            raise CommandFailed(f"{error}. {INCOMPLETE}.") from None


# A dump contains no grants and settings of the database itself.
LIMIT_ROLES = "CALL limit_roles()"


def _finish(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT timescaledb_post_restore()")
        connection.execute(START_NEW_VERSIONS)
        connection.execute("ANALYZE")


def _restore_copy(home: Home, path: Path) -> None:
    manifest = snapshots.read_manifest(path)
    _check_revision(path, manifest.revision)
    try:
        with home.locked():
            if home.data.exists():
                raise CommandFailed(f"There is a database in {home.path} already; set MARKET_DATA_HOME to another folder.")
            _make_copy(path, home)
    except EngineBusy as busy:
        raise CommandFailed(f"The folder is in use: {busy}.") from None
    except psycopg.Error as error:
        raise CommandFailed(f"The backup can't be used, and nothing was restored: {first_line(error)}.") from None
    _report(manifest.revision)


def _make_copy(path: Path, home: Home) -> None:
    """Restore into a temporary folder, which becomes the data folder once it is complete."""
    with tempfile.TemporaryDirectory(dir=home.path, prefix="restoring-") as folder:
        draft = Home(Path(folder))
        snapshots.unpack(path, draft.data)
        with embedded.owned_engine(draft.path, report=progress) as database_url:
            migrations.upgrade(database_url)
            with psycopg.connect(database_url, autocommit=True, connect_timeout=migrations.CONNECT_SECONDS) as connection:
                connection.execute(START_NEW_VERSIONS)
        sync_all(draft.data)
        draft.data.rename(home.data)


def _report(revision: str) -> None:
    newest = migrations.revisions()[-1]
    migrated = "" if revision == newest else f" and migrated from schema {revision} to {newest}"
    output(f"the backup is restored{migrated}; stream clients with older event ids receive a gap")
