"""Connections that a server refuses for good, with remedies, and the check of a service's own connections at its start.

libpq reports a refused connection as text alone, without the SQLSTATE. A server whose `lc_messages` is not English is
therefore taken for one that may accept the connection later.
"""

import re
import shlex
from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data.database.connection import BlockingConnection, connection_parameters
from market_data.errors import StartError
from market_data.settings import Settings

DIRECT_URL_NEEDED: Final = "set DATABASE_DIRECT_URL to the server itself, without the pooler"

REMEDIES: Final[Sequence[tuple[str, str]]] = (
    (r'database "(?P<name>.+)" does not exist', "create it with `createdb {server}{name}`, or correct the URL"),
    (
        r'role "(?P<name>.+)" does not exist',
        "let a superuser create it with `createuser {host}--pwprompt {name}`, or correct the URL",
    ),
    (r'role "(?P<name>.+)" is not permitted to log in', 'let a superuser run ALTER ROLE "{name}" LOGIN'),
    (r'permission denied for database "(?P<name>.+)"', 'let its owner run GRANT CONNECT ON DATABASE "{name}" TO the role'),
    (r"password authentication failed|no password supplied", "correct the user and the password in the URL"),
    (r"no pg_hba\.conf entry", "let the server's pg_hba.conf accept this client"),
    (r"unsupported startup parameter", f"the URL leads to a pooler such as PgBouncer: {DIRECT_URL_NEEDED}"),
    (r"no such (?:database|user)|bouncer config error", "add it to the configuration of the pooler, or correct the URL"),
)
"""Messages of PostgreSQL, libpq and PgBouncer, with what to do."""

REFUSAL: Final = re.compile(r"(?:FATAL|ERROR):\s+(?P<server>.+)|fe_sendauth: (?P<client>.+)")
HINT: Final = re.compile(r"^HINT:\s+(.+)", re.MULTILINE)

HAS_TIMEOUT = "SELECT current_setting('statement_timeout') <> '0'"


class Refusal(NamedTuple):
    """Why a connection is refused, and what to do."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        """Both as part of a sentence."""
        return f"{self.reason}; {self.remedy}"


def explain_refusal(error: psycopg.OperationalError, database_url: str) -> Refusal | None:
    """Return why a connection is refused for good, and the remedy; None if it may be accepted later."""
    refusal = REFUSAL.search(str(error))
    if refusal is None:
        return None
    reason = refusal["server"] or refusal["client"]
    for pattern, remedy in REMEDIES:
        if found := re.search(pattern, reason):
            hint = HINT.search(str(error))
            name = found.groupdict().get("name") or ""
            return Refusal(reason, hint[1].rstrip(".") if hint else remedy.format(name=name, **_options(database_url)))
    return None


def _options(database_url: str) -> dict[str, str]:
    """Return the options with which PostgreSQL's programs connect as the URL does."""
    given = conninfo_to_dict(database_url)
    options = {"host": "-h", "port": "-p", "user": "-U"}
    host, port, user = (
        f"{option} {shlex.quote(str(given[part]))} " if given.get(part) else "" for part, option in options.items()
    )
    return {"host": host + port, "server": host + port + user}


def check_direct_connection(settings: Settings) -> None:
    """Check that sessions of the server keep their settings, which a pooler refuses or drops.

    Raises:
        StartError: They never will.
        psycopg.OperationalError: The server can't be reached.
    """
    if settings.direct_url:
        variable = "DATABASE_DIRECT_URL" if settings.database_direct_url else "DATABASE_URL"
        _check(variable, settings.direct_url, settings.query_timeout_seconds)


def check_pooler(settings: Settings) -> None:
    """Check that requests can connect to PgBouncer, if DATABASE_DIRECT_URL says that DATABASE_URL goes through it.

    Raises:
        StartError: They never will.
        psycopg.OperationalError: PgBouncer can't be reached.
    """
    if settings.database_direct_url and settings.database_url:
        _check("DATABASE_URL", settings.database_url, settings.query_timeout_seconds, pgbouncer=True)


def _check(variable: str, database_url: str, query_timeout: float, *, pgbouncer: bool = False) -> None:
    parameters = connection_parameters(database_url, query_timeout, pgbouncer=pgbouncer)
    try:
        with BlockingConnection.connect(database_url, **parameters) as connection, connection.first_reply():
            row = connection.execute(HAS_TIMEOUT).fetchone()
    except psycopg.OperationalError as error:
        if refusal := explain_refusal(error, database_url):
            raise StartError(f"{variable} can't be used: {refusal}.") from None
        raise
    own_options = "statement_timeout" in str(conninfo_to_dict(database_url).get("options"))
    if row == (False,) and not pgbouncer and not own_options:
        raise StartError(f"{variable} leads to a pooler that drops the settings of a session: {DIRECT_URL_NEEDED}.")
