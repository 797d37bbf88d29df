"""Run a command: migrate the database first, clean up after a signal, report an error in one line."""

import argparse
import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg

from market_data import embedded
from market_data.cli.console import progress
from market_data.cli.misspelt_settings import find_misspelt
from market_data.database import migrations
from market_data.database.refusals import check_direct_connection
from market_data.embedded import EngineError
from market_data.errors import CommandFailed, MarketDataError, StartError, first_line
from market_data.server.signals import INTERRUPTED, configure_logging, stop_in_order
from market_data.settings import Settings, read_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_command(parsed: argparse.Namespace) -> int:
    """Run a command. Returns the exit status: 1 if it failed."""
    stop_in_order()
    try:
        settings = read_settings()
        configure_logging()
        for name, meant in find_misspelt(os.environ):
            progress(f"{name} is not a setting, and is ignored; did you mean {meant}?")
        status: int = parsed.command(settings, parsed)
    except (MarketDataError, EngineError) as error:
        progress(str(error))
        return 1
    except BrokenPipeError:
        return _end_without_reader()
    return status


def _end_without_reader() -> int:
    """Return 0 if the reader of standard output, such as `head`, has read enough; 1 if that of standard error has ended."""
    pipe = select.poll()
    pipe.register(sys.stderr.fileno(), 0)  # reports an error, which is a reader that has ended
    failed = bool(pipe.poll(0))
    for stream in (sys.stdout, sys.stderr) if failed else (sys.stdout,):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else Python fails when it flushes at its exit
    return int(failed)


@contextmanager
def migrated_database(settings: Settings) -> Generator[str]:
    """Yield the URL of the migrated database. Starts the embedded engine if there is no server and none runs."""
    url = settings.direct_url
    with nullcontext(url) if url else embedded.attached_engine(settings.home, report=progress) as database_url:
        migrate_when_reachable(database_url, settings)
        yield database_url


def migrate_when_reachable(database_url: str, settings: Settings) -> None:
    """Migrate the database, after waiting until its server can be reached.

    Raises:
        StartError: The server can't be reached in time, or never will be.
    """
    when_reachable(lambda: migrations.upgrade(database_url), settings.database_start_timeout_seconds)
    when_reachable(lambda: check_direct_connection(settings), settings.database_start_timeout_seconds)


def when_reachable(work: Callable[[], None], timeout_seconds: float) -> None:
    """Do work on the database; repeat it until the server can be reached.

    Raises:
        StartError: The server can't be reached in time, or never will be.
    """
    deadline = time.monotonic() + timeout_seconds
    reported = ""
    while True:
        try:
            work()
        except psycopg.OperationalError as error:
            reason = first_line(error)
            if time.monotonic() >= deadline:
                raise StartError(f"The database can't be reached: {reason}") from None
            if reason != reported:
                progress(f"waiting for the database: {reason}")
                reported = reason
            time.sleep(0.5)
        else:
            return


def run_async(work: Coroutine[Any, Any, int], *, again: str) -> int:
    """Run a command's coroutine. Returns its exit status. A signal cancels it and rolls its transaction back.

    `again` tells the user what the same command does after an interruption or a lost connection.

    Raises:
        CommandFailed: The database rejected a statement, or the connection was lost.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            task = loop.create_task(work)

            def cancel() -> None:  # later signals must not interrupt the rollback
                for number in SIGNALS:
                    loop.remove_signal_handler(number)
                    signal.signal(number, signal.SIG_IGN)
                task.cancel()

            for number, handler in before.items():
                if handler is not signal.SIG_IGN:
                    loop.add_signal_handler(number, cancel)
            return loop.run_until_complete(task)
    except asyncio.CancelledError:
        progress(f"interrupted; {again}")
        return INTERRUPTED
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise CommandFailed(f"The connection to the database was lost ({first_line(error)}); {again}.") from None
    except psycopg.Error as error:
        raise CommandFailed(f"The database rejected a statement: {first_line(error)}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
