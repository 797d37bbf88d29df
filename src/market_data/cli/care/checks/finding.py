"""What the checks are about, and what they find."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from msgspec import Struct
from psycopg.abc import Params
from psycopg.abc import QueryNoTemplate as Query

from market_data.settings import Settings

Severity = Literal["ok", "warning", "error"]

QUERY_SECONDS = 10
"""How long a check may wait for the database's answer."""

Row = tuple[Any, ...]


class Finding(Struct, frozen=True):
    """One line of the report."""

    level: Severity
    check: str
    finding: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<7}  {self.check} — {self.finding}{remedy}"


def ok(check: str, finding: str) -> Finding:
    """All is well."""
    return Finding("ok", check, finding)


def warning(check: str, finding: str, remedy: str) -> Finding:
    """It works, but not as it should, or not for long."""
    return Finding("warning", check, finding, remedy)


def error(check: str, finding: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding("error", check, finding, remedy)


@dataclass(frozen=True)
class CheckContext:
    """A database that has let us in, and the service that is to use it."""

    connection: psycopg.Connection[Row]
    """In autocommit mode."""
    settings: Settings
    workers: int
    """Of all services on it."""
    embedded: bool
    """Whether it is the embedded engine."""
    woken: bool = False
    """Whether the embedded engine runs for this only, so that its jobs have had no time to run."""

    def rows(self, query: Query, parameters: Params | None = None) -> list[Row]:
        """All rows of a query, which may not change anything."""
        with self._briefly():
            return self.connection.execute(query, parameters).fetchall()

    def row(self, query: Query, parameters: Params | None = None) -> Row:
        """The only row of a query."""
        (row,) = self.rows(query, parameters)
        return row

    @contextmanager
    def _briefly(self) -> Generator[None]:
        """A transaction, so that what is set for it stays nobody's behind PgBouncer."""
        with self.connection.transaction():
            self.connection.execute(f"SET LOCAL statement_timeout = {QUERY_SECONDS * 1000}".encode())
            self.connection.execute("SET LOCAL transaction_read_only = on")
            yield
