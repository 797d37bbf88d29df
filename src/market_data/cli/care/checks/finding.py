"""Context and findings of the checks."""

from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from msgspec import Struct
from psycopg.abc import Params
from psycopg.abc import QueryNoTemplate as Query

from market_data.settings import Settings

Severity = Literal["ok", "warning", "error"]

QUERY_SECONDS = 10
"""Statement time-out of a check."""

Row = tuple[Any, ...]


class Finding(Struct, frozen=True):
    """Line of the report."""

    level: Severity
    check: str
    finding: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<7}  {self.check} — {self.finding}{remedy}"


def ok(check: str, finding: str) -> Finding:
    """Return a finding without a problem."""
    return Finding("ok", check, finding)


def warning(check: str, finding: str, remedy: str) -> Finding:
    """Return a problem that degrades the service, or will break it."""
    return Finding("warning", check, finding, remedy)


def error(check: str, finding: str, remedy: str) -> Finding:
    """Return a problem that breaks the service."""
    return Finding("error", check, finding, remedy)


@dataclass(frozen=True)
class CheckContext:
    """Connection to the database, and the settings of the service."""

    connection: psycopg.Connection[Row]
    """In autocommit mode."""
    settings: Settings
    workers: int
    """Worker processes of all services on this database."""
    embedded: bool
    """True for the embedded engine."""

    def rows(self, query: Query, parameters: Params | None = None) -> list[Row]:
        """Return the rows of a query, in a read-only transaction.

        The settings are those of the transaction, because PgBouncer would pass on those of a session to other clients.
        """
        with self.connection.transaction():
            self.connection.execute(f"SET LOCAL statement_timeout = {QUERY_SECONDS * 1000}".encode())
            self.connection.execute("SET LOCAL transaction_read_only = on")
            return self.connection.execute(query, parameters).fetchall()

    def row(self, query: Query, parameters: Params | None = None) -> Row:
        """Return the only row of a query."""
        (row,) = self.rows(query, parameters)
        return row
