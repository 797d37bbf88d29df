"""The database saved: of a server with pg_dump, of the embedded engine as a copy of its folder."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg

from market_data import embedded
from market_data.cli.care import snapshots
from market_data.cli.care.atomic_files import draft, own_file, size
from market_data.cli.care.doctor import EMBEDDED
from market_data.cli.care.pg_tools import find_tool, run_tool
from market_data.cli.console import output, progress
from market_data.cli.runner import INTERRUPTED
from market_data.database.migrations import CONNECT_SECONDS, REVISION
from market_data.embedded.errors import EngineBusy
from market_data.embedded.home import Home
from market_data.errors import CommandFailed, first_line
from market_data.settings import Settings

NO_DUMP = (
    "DATABASE_URL leads to an embedded engine, which can't be dumped: stop its service, and run this "
    "without DATABASE_URL (and with its MARKET_DATA_HOME)."
)


class Server(NamedTuple):
    """What must be known of a server before anything is done with it."""

    version: str
    major: int
    superuser: bool
    embedded: bool
    revision: str | None
    """Of the schema; None where there is none."""
    extension: str | None
    """The release of TimescaleDB in the database; None where it is not."""
    foreign: str | None
    """A table or view that is not TimescaleDB's own, where there is one."""


SERVER = f"""
    SELECT
        current_setting('server_version'),
        current_setting('server_version_num')::integer / 10000,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
        ({EMBEDDED}),
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
    """Look at a server.

    Raises:
        CommandFailed: It can't be reached.
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


def unless_interrupted(work: Callable[[], None], otherwise: str) -> int:
    """The exit status of a piece of work. A signal ends it in order, but not well: what it was to do is not done."""
    try:
        work()
    except (SystemExit, KeyboardInterrupt):
        progress(f"interrupted; {otherwise}")
        return INTERRUPTED
    return 0


def back_up(settings: Settings, path: Path) -> int:
    """Save the database. Returns the exit status.

    Raises:
        CommandFailed: It can't be saved; then there is nothing at `path`.
    """
    direct_url = settings.direct_url
    if direct_url:
        return unless_interrupted(lambda: _dump(direct_url, path), "nothing was saved")
    return unless_interrupted(lambda: _copy(settings.home, path), "nothing was saved")


def _dump(database_url: str, path: Path) -> None:
    server = inspect(database_url)
    if server.embedded:
        raise CommandFailed(NO_DUMP)
    if server.revision is None:
        raise CommandFailed("The database is not migrated, so there is nothing to save.")
    program = find_tool("pg_dump", server.major)
    with draft(path) as beside:
        own_file(beside)
        run_tool(program, ["--format=custom", "--file", beside], database_url)
    _tell(path, server.revision)


def _copy(home: Path, path: Path) -> None:
    place = Home(home)
    if not place.data.exists():
        raise CommandFailed(f"There is no database in {place.path} yet; `market-data serve` makes one.")
    try:
        # The engine also ends whatever a kill has left unfinished.
        with embedded.owned_engine(place.path, say=progress, wait=0) as database_url:
            server = inspect(database_url)
        if server.revision is None:
            raise CommandFailed("The database is not migrated, so there is nothing to save.")
        manifest = snapshots.Manifest(datetime.now(UTC), server.revision, server.version, server.extension or "")
        with draft(path) as beside, place.claim():
            snapshots.save(place.data, manifest, beside, packed=snapshots.is_packed(path))
    except EngineBusy as busy:
        raise CommandFailed(f"The embedded engine can't be copied while it runs: {busy}.") from None
    _tell(path, server.revision)


def _tell(path: Path, revision: str) -> None:
    output(f"{path}: {size(path) / 1e6:,.1f} MB, schema {revision}")
