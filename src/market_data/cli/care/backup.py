"""Save the database: a server with pg_dump, the embedded engine as a copy of its folder."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg

from market_data import embedded
from market_data.cli.care import snapshots
from market_data.cli.care.atomic_files import atomic_path, size
from market_data.cli.care.doctor import IS_EMBEDDED
from market_data.cli.care.pg_tools import find_tool, run_tool
from market_data.cli.console import output, progress
from market_data.database.migrations import CONNECT_SECONDS, REVISION, is_too_old
from market_data.embedded.errors import EngineBusy
from market_data.embedded.home import Home
from market_data.errors import CommandFailed, first_line
from market_data.server.signals import INTERRUPTED
from market_data.settings import Settings

NOT_MIGRATED = "The database is not migrated, so there is nothing to save; check DATABASE_URL."

NOT_A_SERVER = (
    "DATABASE_URL is an embedded engine, which can't be dumped: stop its service, and run this command "
    "without DATABASE_URL (and with its MARKET_DATA_HOME)."
)


class Server(NamedTuple):
    """Properties of a server and its database."""

    version: str
    major: int
    superuser: bool
    embedded: bool
    revision: str | None
    """Schema revision; None if the database is not migrated."""
    extension: str | None
    """Release of TimescaleDB in the database; None if it is not created."""
    foreign: str | None
    """Name of a table or view that is not part of TimescaleDB; None if the database is empty."""


SERVER = f"""
    SELECT
        current_setting('server_version'),
        current_setting('server_version_num')::integer / 10000,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
        ({IS_EMBEDDED}),
        to_regclass('public.alembic_version')::text,
        (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
        (
            SELECT format('%I.%I', nspname, relname)
            FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
                AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
            ORDER BY nspname = 'public' DESC, relname
            LIMIT 1
        )
"""


def inspect(database_url: str) -> Server:
    """Read the properties of a server.

    Raises:
        CommandFailed: The server can't be reached.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_SECONDS) as connection:
            row = connection.execute(SERVER).fetchone() or ()
            server = Server(*row)
            if server.revision:
                (revision,) = connection.execute(REVISION).fetchone() or (None,)
                server = server._replace(revision=revision)
            return server
    except psycopg.Error as error:
        raise CommandFailed(f"The database can't be reached: {first_line(error)}") from None


def run_interruptible(work: Callable[[], None], consequence: str) -> int:
    """Run the work and return its exit status. If a signal ends it, report the consequence."""
    try:
        work()
    except (SystemExit, KeyboardInterrupt):
        progress(f"interrupted; {consequence}")
        return INTERRUPTED
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Save DATABASE_URL with pg_dump while the service runs or, if that is not set, copy the folder of the embedded "
        "engine, whose service must be stopped. The file gets its name only when it is complete."
    )
    parser.add_argument(
        "path", type=Path, metavar="FILE", help="file to write; for the embedded engine a folder, unless it ends in .tar.gz"
    )
    parser.add_argument(
        "--with-log-key",
        action="store_true",
        help="also copy the private key of the transparency log, to FILE.log-key.pem; otherwise it is in no backup",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    url = settings.direct_url
    work = partial(_dump, url) if url else partial(_copy, Home(settings.home))
    status = run_interruptible(partial(work, parsed.path), "nothing was saved")
    if parsed.with_log_key and not status:
        _copy_key(settings.log_key_path, parsed.path.with_name(f"{parsed.path.name}.log-key.pem"))
    return status


def _copy_key(source: Path, path: Path) -> None:
    try:
        with atomic_path(path) as partial:
            partial.touch(0o600, exist_ok=False)
            partial.write_bytes(source.read_bytes())
    except OSError as error:
        raise CommandFailed(f"The private key of the log, {source}, can't be copied to {path}: {error.strerror}.") from None


def _dump(database_url: str, path: Path) -> None:
    server = inspect(database_url)
    if server.embedded:
        raise CommandFailed(NOT_A_SERVER)
    if server.revision is None:
        raise CommandFailed(NOT_MIGRATED)
    program = find_tool("pg_dump", server.major)
    with atomic_path(path) as partial:
        partial.touch(0o600, exist_ok=False)
        run_tool(program, ["--format=custom", "--file", partial], database_url)
    _report(path, server.revision)


def _copy(home: Home, path: Path) -> None:
    if not home.data.exists():
        raise CommandFailed(f"There is no database in {home.path} yet; `market-data serve` creates one.")
    try:
        # Starting the engine recovers from a kill.
        with embedded.owned_engine(home.path, report=progress, wait=0) as database_url:
            server = inspect(database_url)
        if server.revision is None:
            raise CommandFailed(NOT_MIGRATED)
        manifest = snapshots.Manifest(datetime.now(UTC), server.revision, server.version, server.extension or "")
        with atomic_path(path) as partial, home.locked():
            snapshots.save(home.data, manifest, partial, tar=path.name.endswith(snapshots.TAR_SUFFIXES))
    except EngineBusy as busy:
        raise CommandFailed(f"The embedded engine can't be copied while it runs: {busy}.") from None
    _report(path, server.revision)


def _report(path: Path, revision: str) -> None:
    output(f"{path}: {size(path) / 1e6:,.1f} MB, schema {revision}")
    if is_too_old(revision):
        progress(f"only the version of market-data that wrote schema {revision} can restore this backup")
