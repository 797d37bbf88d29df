"""The keys of the HTTP interface: made, listed, replaced and revoked, while the service runs or not."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.rows import args_row, scalar_row
from rich.console import Console
from rich.table import Table

from market_data.auth.api_keys import hash_of, make_key, prefix_of
from market_data.cli.console import output, progress
from market_data.cli.durations import format_short
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed

PIPED_WIDTH = 200
"""Columns where the output is no terminal."""


class Listed(NamedTuple):
    """What may be shown of a key."""

    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    state: str
    """valid, expired, revoked, or replaced: one that holds for the grace after its rotation."""


STORE_KEY = """
    INSERT INTO api_keys (name, prefix, hash, scopes, expires_at)
    VALUES (%(name)s, %(prefix)s, %(hash)s, %(scopes)s, now() + %(lasts)s::interval)
"""


async def create_key(database_url: str, name: str, scopes: Sequence[str], lasts: timedelta | None) -> int:
    """Make a key and print it.

    Raises:
        CommandFailed: There is one of this name.
    """
    secret = make_key()
    async with await connect(database_url, 0) as connection:
        await _store(connection, secret, name, scopes, lasts)
    progress(f"the key {name} ({', '.join(scopes)}) {_for_how_long(lasts)}; it is not shown again")
    output(secret)
    return 0


async def _store(connection: Connection, secret: str, name: str, scopes: Sequence[str], lasts: timedelta | None) -> None:
    stored = {"name": name, "prefix": prefix_of(secret), "hash": hash_of(secret), "scopes": list(scopes), "lasts": lasts}
    try:
        await connection.execute(STORE_KEY, stored)
    except psycopg.errors.UniqueViolation:
        raise CommandFailed(
            f"There is a key {name} already; `market-data keys rotate {name}` replaces it, `keys revoke {name}` ends it."
        ) from None


LIST_KEYS = """
    SELECT name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at,
        CASE
            WHEN revoked_at <= now() THEN 'revoked'
            WHEN expires_at <= now() THEN 'expired'
            WHEN revoked_at IS NOT NULL THEN 'replaced'
            ELSE 'valid'
        END
    FROM api_keys
    ORDER BY name, id
"""


async def list_keys(database_url: str, *, as_json: bool) -> int:
    """Show all keys that there were, but for what would let somebody in."""
    async with await connect(database_url, 0) as connection:
        cursor = connection.cursor(row_factory=args_row(Listed))
        await cursor.execute(LIST_KEYS)
        keys = await cursor.fetchall()
    if as_json:
        output(json.dumps([key._asdict() for key in keys], indent=2, default=_written))
    elif keys:
        _show(keys)
    else:
        output("there are no keys; `market-data keys create NAME` makes one")
    return 0


def _show(keys: list[Listed]) -> None:
    table = Table(
        *("name", "prefix", "scopes", "created", "expires", "last use", "state"),
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for column in table.columns:
        column.no_wrap = True
    for key in keys:
        ends = [moment for moment in (key.expires_at, key.revoked_at) if moment]
        times = _moment(key.created_at), _moment(min(ends, default=None)), _moment(key.last_used_at)
        table.add_row(key.name, key.prefix, ", ".join(key.scopes), *times, key.state)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    with console.capture() as capture:
        console.print(table)
    output("\n".join(line.rstrip() for line in capture.get().splitlines()))


# The key itself keeps its name until its successor can take it, in one transaction.
REPLACE_KEY = """
    UPDATE api_keys
    SET revoked_at = now() + %(grace)s::interval
    WHERE name = %(name)s AND revoked_at IS NULL
    RETURNING scopes, expires_at - created_at
"""


async def rotate_key(database_url: str, name: str, grace: timedelta) -> int:
    """Make another key of the same name, scopes and life, and print it. The one before holds for the grace.

    Raises:
        CommandFailed: There is none of this name.
    """
    secret = make_key()
    async with await connect(database_url, 0) as connection, connection.transaction():
        replaced = await (await connection.execute(REPLACE_KEY, {"name": name, "grace": grace})).fetchone()
        if replaced is None:
            raise CommandFailed(_unknown(name))
        scopes, lasts = replaced
        await _store(connection, secret, name, scopes, lasts)
    ends = f"holds for another {format_short(grace)}" if grace else "does not hold any more"
    progress(f"the key {name} ({', '.join(scopes)}) {_for_how_long(lasts)}; it is not shown again. The one before {ends}")
    output(secret)
    return 0


# A name is that of one key, and of those before it that hold for the grace after their rotation.
REVOKE_KEYS = """
    UPDATE api_keys
    SET revoked_at = now()
    WHERE %(given)s IN (name, prefix) AND (revoked_at IS NULL OR revoked_at > now())
    RETURNING name || ' (' || prefix || ')'
"""


async def revoke_keys(database_url: str, given: str) -> int:
    """End the keys of a name, or the one with a prefix.

    Raises:
        CommandFailed: There is none that is not revoked.
    """
    async with await connect(database_url, 0) as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(REVOKE_KEYS, {"given": given})
        revoked: list[str] = await cursor.fetchall()
    if not revoked:
        raise CommandFailed(_unknown(given))
    output(f"revoked: {', '.join(revoked)}; running services refuse it within a second")
    return 0


def _unknown(given: str) -> str:
    return f"There is no key {given} that could still be used; `market-data keys list` shows those that there are."


def _for_how_long(lasts: timedelta | None) -> str:
    return f"holds for {format_short(lasts)}" if lasts else "holds until it is revoked"


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _written(value: object) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)
