"""What every command does around its work: a migrated database, signals that end it in order, and one line for an error."""

import argparse
import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import psycopg

from market_data import embedded
from market_data.cli.console import progress
from market_data.database import migrations
from market_data.embedded import EngineError
from market_data.errors import CommandFailed, MarketDataError, StartError, first_line
from market_data.server.signals import configure_logging, stop_in_order
from market_data.settings import Settings, read_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell gives it."""


def perform(parsed: argparse.Namespace) -> int:
    """Do what was asked for. Returns the exit status: 1 with one line on standard error for what went wrong."""
    stop_in_order()
    try:
        settings = read_settings()
        configure_logging()
        status: int = parsed.command(settings, parsed)
    except (MarketDataError, EngineError) as error:
        progress(str(error))
        return 1
    return status


@contextmanager
def migrated_database(settings: Settings) -> Generator[str]:
    """The URL of a database with the newest schema: the server's, or the embedded engine's, running or started for this."""
    if settings.direct_url:
        migrate_when_there(settings.direct_url, settings.database_start_timeout_seconds)
        yield settings.direct_url
        return
    with embedded.attached_engine(settings.home, say=progress) as database_url:
        migrate_when_there(database_url, settings.database_start_timeout_seconds)
        yield database_url


def migrate_when_there(database_url: str, patience: float) -> None:
    """Migrate, after waiting for a server that can't be reached yet."""
    deadline = time.monotonic() + patience
    told = ""
    while True:
        try:
            migrations.upgrade(database_url)
        except psycopg.OperationalError as error:
            reason = first_line(error)
            if time.monotonic() >= deadline:
                raise StartError(f"The database can't be reached: {reason}") from None
            if reason != told:
                progress(f"waiting for the database: {reason}")
                told = reason
            time.sleep(0.5)
        else:
            return


def run(work: Coroutine[Any, Any, int], *, again: str) -> int:
    """Run a command's work; its exit status. Signals cancel it: its transaction is rolled back.

    `again` says what the same command does next time, for whom a signal or a lost connection has interrupted.

    Raises:
        CommandFailed: The database refused, or was lost.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            task = loop.create_task(work)
            for number, handler in before.items():
                if handler is not signal.SIG_IGN:
                    loop.add_signal_handler(number, _cancel_once(loop, task))
            return loop.run_until_complete(task)
    except asyncio.CancelledError:
        progress(f"interrupted; {again}")
        return INTERRUPTED
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise CommandFailed(f"The database was lost ({first_line(error)}); {again}.") from None
    except psycopg.Error as error:
        raise CommandFailed(f"The database refused: {first_line(error)}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cancel_once(loop: asyncio.AbstractEventLoop, task: asyncio.Task[int]) -> Callable[[], None]:
    def cancel() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        task.cancel()

    return cancel
