"""Find problems of the database and report remedies."""

import argparse
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data import embedded
from market_data.cli.care.checks import CHECKS, PREREQUISITES
from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok
from market_data.cli.console import output, progress
from market_data.cli.durations import number_between
from market_data.database.connection import BlockingConnection
from market_data.database.migrations import CONNECT_SECONDS
from market_data.database.refusals import Refusal, explain_refusal
from market_data.embedded import EngineError
from market_data.embedded.home import Home
from market_data.errors import first_line
from market_data.settings import Settings

SEVERITY = ("ok", "warning", "error")

# True for the embedded engine, which does not list its own session.
IS_EMBEDDED = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid())"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check the database and its surroundings. Prints a line per check: ok, warning or error, the finding, and the "
        "remedy. Changes nothing. The exit status is 1 if there is an error, else 0."
    )
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.add_argument(
        "--workers",
        type=number_between(1, 10_000),
        help="worker processes of all services, which share the server's connections (default: WORKERS, else 1)",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    found: list[Finding] = []
    for finding in run_checks(settings, parsed.workers or settings.workers):
        found.append(finding)
        if not parsed.json:
            output(str(finding))
    worst = max((finding.level for finding in found), key=SEVERITY.index)
    if parsed.json:
        report = {"status": worst, "checks": found}
        output(msgspec.json.format(msgspec.json.encode(report)).decode())
    return 1 if worst == "error" else 0


def run_checks(settings: Settings, workers: int) -> Iterator[Finding]:
    """Run the checks, if the database can be reached. The first finding is about the connection itself."""
    try:
        with _database(settings) as database_url:
            if database_url is None:
                finding = f"there is none in {settings.home} yet"
                yield error("database", finding, "start `market-data serve`, or set DATABASE_URL")
                return
            with BlockingConnection.connect(
                database_url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=None,
                application_name="market-data doctor",
            ) as connection:
                with connection.first_reply():
                    row = connection.execute(IS_EMBEDDED).fetchone()
                context = CheckContext(connection, settings, workers, bool(row and row[0]))
                name = "the embedded engine" if context.embedded else "a server"
                yield ok("database", f"{name} responds at {_address(database_url)}")
                yield from _check_all(context)
    except psycopg.OperationalError as failure:
        refusal = explain_refusal(failure, settings.direct_url or "")
        if refusal is None:
            refusal = Refusal(f"it can't be reached: {first_line(failure)}", "start it, or correct DATABASE_URL")
        yield error("database", *refusal)
    except EngineError as failure:
        yield error("database", str(failure), "stop the process that uses its folder, or set MARKET_DATA_HOME")


def _check_all(context: CheckContext) -> Iterator[Finding]:
    for check in (*PREREQUISITES, *CHECKS):
        blocked = False
        try:
            for finding in check(context):
                yield finding
                blocked |= check in PREREQUISITES and finding.level == "error"
        except psycopg.OperationalError:
            if context.connection.closed:
                raise
            yield error(check.__name__, "the database did not respond in time", "see pg_stat_activity for what it executes")
        except psycopg.Error as failure:  # a check that fails must not prevent the others
            remedy = "run it as the owner of the tables, on a schema without manual changes"
            yield error(check.__name__, f"the check failed: {first_line(failure)}", remedy)
        if blocked:
            return


@contextmanager
def _database(settings: Settings) -> Generator[str | None]:
    """Yield the URL (None: no database). Create and migrate nothing."""
    if settings.direct_url:
        yield settings.direct_url
    elif Home(settings.home).data.exists():
        with embedded.attached_engine(settings.home, report=progress) as database_url:
            yield database_url
    else:
        yield None


def _address(database_url: str) -> str:
    given = conninfo_to_dict(database_url)
    return f"{given.get('host') or 'the local socket'} port {given.get('port') or 5432}, database {given.get('dbname')}"
