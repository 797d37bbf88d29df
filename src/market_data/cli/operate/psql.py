"""Open psql on the database of the service."""

import argparse
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from market_data import embedded
from market_data.cli.console import progress
from market_data.embedded.home import Home
from market_data.errors import CommandFailed
from market_data.server.signals import stop_in_order
from market_data.settings import Settings

NOT_INSTALLED = (
    "psql is not installed; install it with `apt-get install postgresql-client`, `dnf install postgresql` "
    "or `brew install libpq && brew link --force libpq`."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--help] [ARGUMENT ...]"
    parser.description = (
        "Open psql on DATABASE_URL or, if that is not set, on the embedded engine, which is started for psql if it does "
        "not run. All arguments are passed to psql, such as -c 'SELECT count(*) FROM trades'."
    )
    parser.prefix_chars = "\0"  # argparse must not interpret psql's options
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="passed to psql")
    parser.set_defaults(command=_run, print_help=parser.print_help)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    """Replace this process by psql. If the engine must be started for psql, wait for psql and return its exit status."""
    stop_in_order(0)
    arguments: list[str] = parsed.arguments
    if arguments in (["--help"], ["-h"]):
        parsed.print_help()
        return 0
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    program = shutil.which("psql")
    if program is None:
        raise CommandFailed(NOT_INSTALLED)
    home = Home(settings.home)
    if database_url := settings.direct_url or home.running_dsn():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and psql would inherit that
        os.execve(program, ["psql", *arguments], connection_environment(database_url))  # noqa: S606 - no shell on purpose
    if not home.data.exists():
        raise CommandFailed(f"There is no database in {home.path} yet; `market-data serve` creates one.")
    with (
        embedded.attached_engine(settings.home, report=progress) as address,
        _ignored_signals(signal.SIGINT, signal.SIGQUIT),
        subprocess.Popen([program, *arguments], env=connection_environment(address)) as process,  # noqa: S603 - user's input
    ):
        try:
            return process.wait()
        finally:
            process.terminate()  # if a signal to this process has ended the wait


def connection_environment(database_url: str, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return environment variables with which psql, pg_dump and pg_restore connect to the database.

    Every user of the machine could read a password on the command line, and options such as `-U analyst` could not override
    a URL there. A service file would override the variables, so PGSERVICE is removed.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    variables = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    base = {name: value for name, value in (inherited or os.environ).items() if name != "PGSERVICE"}
    added = {variables[name]: value for name, value in given.items() if name in variables}
    return {**base, **added, "PGAPPNAME": "market-data psql"}


@contextmanager
def _ignored_signals(*numbers: signal.Signals) -> Generator[None]:
    """Ignore signals that the terminal sends to both processes: in psql, Ctrl-C cancels a query.

    SIG_IGN would be inherited by psql, so an empty handler is used.
    """
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
