"""Whether the database is well, and what to do where it is not."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data import embedded
from market_data.cli.care.checks import REST, SERVER, CheckContext, Finding, error, ok
from market_data.cli.console import output, progress
from market_data.database.migrations import CONNECT_SECONDS
from market_data.embedded import EngineError
from market_data.embedded.home import Home
from market_data.errors import first_line
from market_data.settings import Settings

SEVERITY = ("ok", "warning", "error")

# Nobody can see a session of the embedded engine in there.
EMBEDDED = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid())"


def examine(settings: Settings, *, workers: int, as_json: bool) -> int:
    """Tell what every check finds. The exit status: 1 where something is an error."""
    found: list[Finding] = []
    for finding in findings(settings, workers):
        found.append(finding)
        if not as_json:
            output(str(finding))
    worst = max((finding.level for finding in found), key=SEVERITY.index)
    if as_json:
        report = {"status": worst, "checks": found}
        output(msgspec.json.format(msgspec.json.encode(report)).decode())
    return 1 if worst == "error" else 0


def findings(settings: Settings, workers: int) -> Iterator[Finding]:
    """What every check finds, as far as there is something to check."""
    try:
        with _database(settings) as (database_url, woken):
            if database_url is None:
                finding = f"there is none in {settings.home} yet"
                yield error("database", finding, "start `market-data serve`, or set DATABASE_URL")
                return
            with psycopg.connect(
                database_url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=None,
                application_name="market-data doctor",
            ) as connection:
                row = connection.execute(EMBEDDED).fetchone()
                patient = CheckContext(connection, settings, workers, bool(row and row[0]), woken)
                yield ok(
                    "database",
                    f"{'the embedded engine' if patient.embedded else 'a server'} answers at {_where(database_url)}",
                )
                yield from _examined(patient)
    except psycopg.OperationalError as failure:
        yield error("database", f"it can't be reached: {first_line(failure)}", "start it, or correct DATABASE_URL")
    except EngineError as failure:
        yield error("database", str(failure), "stop what has its folder, or set MARKET_DATA_HOME")


def _examined(patient: CheckContext) -> Iterator[Finding]:
    for check in (*SERVER, *REST):
        blocked = False
        try:
            for finding in check(patient):
                yield finding
                blocked |= check in SERVER and finding.level == "error"
        except psycopg.OperationalError:
            if patient.connection.closed:
                raise
            yield error(
                check.__name__, "the database gave no answer in time", "look at pg_stat_activity for what it is busy with"
            )
        except psycopg.Error as failure:  # one check that can't be made is no reason to make no other
            remedy = "run it as the role that owns the tables, on a schema that nobody has changed by hand"
            yield error(check.__name__, f"it can't be found out: {first_line(failure)}", remedy)
        if blocked:
            return


@contextmanager
def _database(settings: Settings) -> Generator[tuple[str | None, bool]]:
    """The URL, and whether the embedded engine was started for this. Nothing is created, nor migrated."""
    if settings.direct_url:
        yield settings.direct_url, False
        return
    home = Home(settings.home)
    if not home.data.exists():
        yield None, False
        return
    woken = home.reachable() is None
    with embedded.attached_engine(settings.home, say=progress) as database_url:
        yield database_url, woken


def _where(database_url: str) -> str:
    given = conninfo_to_dict(database_url)
    return f"{given.get('host') or 'the local socket'} port {given.get('port') or 5432}, database {given.get('dbname')}"
