"""Refresh of calendars at the start of the service, in a process of its own: the library imports pandas."""

import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg

from market_data.calendars import library
from market_data.cli.console import progress
from market_data.database.connection import BlockingConnection, connection_parameters

USED: Final = """
    SELECT EXISTS (
        SELECT FROM symbols JOIN calendars ON calendars.code = symbols.calendar
        WHERE calendars.source = 'exchange_calendars'
    )
"""

CHECK_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0


@contextmanager
def refreshed_calendars(database_url: str) -> Generator[None]:
    """Refresh the calendars of exchanges that symbols use, without waiting; stop that at the end of the block.

    Nothing happens without such symbols. Without the library, calendars stay as they are. The process reads its settings
    from the environment.
    """
    if not _are_used(database_url):
        yield
        return
    if not library.is_installed():
        progress(f"calendars are not refreshed: {library.REMEDY}")
        yield
        return
    command = [sys.executable, "-m", "market_data.cli.main", "calendars", "refresh", "--used"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - its own program
    threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay as a zombie
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _are_used(database_url: str) -> bool:
    """Return True if a symbol has the calendar of an exchange. False after an error, which the service reports itself."""
    try:
        parameters = connection_parameters(database_url, CHECK_SECONDS)
        with BlockingConnection.connect(database_url, **parameters) as connection, connection.first_reply():
            row = connection.execute(USED).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])
