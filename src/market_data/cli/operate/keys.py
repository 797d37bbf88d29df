"""Create, list, rotate and revoke API keys. The service may run meanwhile."""

import argparse
import json
import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import args_row, scalar_row

from market_data.auth.api_keys import SCOPES, generate_key, hash_key, parse_prefix
from market_data.cli import runner
from market_data.cli.console import output, progress
from market_data.cli.durations import duration_between, format_short
from market_data.cli.operate.text_tables import format_time, plain_table, render
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.settings import Settings

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
PREFIX = re.compile(r"[0-9a-f]{8}")

_Action = Callable[[str, argparse.Namespace], Coroutine[Any, Any, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "API keys allow clients to write, and to read if AUTH=required. A running service applies every change within a "
        "second."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)

    def add_action(name: str, action: _Action, summary: str, description: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=description)
        added.set_defaults(command=_run, action=action)
        return added

    text = "Create a key and print it to standard output. Only its hash is stored, so it can't be shown again."
    create = add_action("create", _create, "create a key and print it", text)
    create.add_argument("name", type=_read_name, metavar="NAME", help="name of the key: 1 to 64 letters, digits, . _ or -")
    create.add_argument(
        "--scope",
        choices=SCOPES,
        action="append",
        help="read (the default), write (includes read) or admin (includes write); may be repeated",
    )
    create.add_argument(
        "--expires",
        type=duration_between("1s", "100y"),
        metavar="DURATION",
        help="lifetime: a number with s, m, h, d, w or y, such as 90d (default: valid until it is revoked)",
    )

    text = "List all keys, present and past, by name and prefix: the eight digits after md_ in the key."
    listing = add_action("list", _list, "list the keys", text)
    listing.add_argument("--json", action="store_true", help="print the keys as a JSON array")

    text = "Replace a key by a new one with the same name, scopes and lifetime, and print the new one."
    rotate = add_action("rotate", _rotate, "replace a key and print the new one", text)
    rotate.add_argument("name", type=_read_name, metavar="NAME", help="name of the key to replace")
    rotate.add_argument(
        "--grace",
        type=duration_between("1s", "1y"),
        default=timedelta(0),
        metavar="DURATION",
        help="time for which the old key stays valid, such as 1h (default: it ends immediately)",
    )

    text = "Revoke the keys of a name, or the key with a prefix. Open streams that use them are closed."
    revoke = add_action("revoke", _revoke, "revoke a key", text)
    revoke.add_argument("key", metavar="NAME|PREFIX", help="name of the key, or its prefix of eight digits")


def _read_name(text: str) -> str:
    if not NAME.fullmatch(text) or PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be the name of a key; give 1 to 64 letters, digits, . _ or -, but not eight digits from 0 to f"
        )
    return text


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(
            parsed.action(database_url, parsed), again="`market-data keys list` shows if the change was made"
        )


class ListedKey(NamedTuple):
    """Properties of a key, without its hash."""

    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    state: str
    """valid, expired, revoked, or replaced: rotated, but valid until the end of its grace period."""


STORE_KEY = """
    INSERT INTO api_keys (name, prefix, hash, scopes, expires_at)
    VALUES (%(name)s, %(prefix)s, %(hash)s, %(scopes)s, now() + %(lifetime)s::interval)
"""


async def _create(database_url: str, parsed: argparse.Namespace) -> int:
    scopes = [scope for scope in SCOPES if scope in (parsed.scope or ["read"])]
    async with await connect(database_url, 0) as connection:
        secret = await _store_new_key(connection, parsed.name, scopes, parsed.expires)
    progress(f"the key {parsed.name} ({', '.join(scopes)}) is valid {_validity(parsed.expires)}; it is not shown again")
    output(secret)
    return 0


async def _store_new_key(connection: Connection, name: str, scopes: Sequence[str], lifetime: timedelta | None) -> str:
    secret = generate_key()
    row = {
        "name": name,
        "prefix": parse_prefix(secret),
        "hash": hash_key(secret),
        "scopes": list(scopes),
        "lifetime": lifetime,
    }
    try:
        await connection.execute(STORE_KEY, row)
    except psycopg.errors.UniqueViolation:
        raise CommandFailed(
            f"There is a key {name} already; replace it with `market-data keys rotate {name}`, or end it with `keys revoke`."
        ) from None
    return secret


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


async def _list(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        cursor = connection.cursor(row_factory=args_row(ListedKey))
        await cursor.execute(LIST_KEYS)
        keys = await cursor.fetchall()
    if parsed.json:
        output(json.dumps([key._asdict() for key in keys], indent=2, default=_to_json))
        return 0
    if not keys:
        output("there are no keys; create one with `market-data keys create NAME`")
        return 0
    table = plain_table("name", "prefix", "scopes", "created", "expires", "last use", "state")
    for key in keys:
        ends = [moment for moment in (key.expires_at, key.revoked_at) if moment]
        times = key.created_at, min(ends, default=None), key.last_used_at
        table.add_row(key.name, key.prefix, ", ".join(key.scopes), *map(format_time, times), key.state)
    output(render(table))
    return 0


# Ends the old key before the new one is stored, because the name of a valid key is unique.
REPLACE_KEY = """
    UPDATE api_keys
    SET revoked_at = now() + %(grace)s::interval
    WHERE name = %(name)s AND revoked_at IS NULL
    RETURNING scopes, expires_at - created_at
"""


async def _rotate(database_url: str, parsed: argparse.Namespace) -> int:
    name, grace = parsed.name, parsed.grace
    async with await connect(database_url, 0) as connection, connection.transaction():
        replaced = await (await connection.execute(REPLACE_KEY, {"name": name, "grace": grace})).fetchone()
        if replaced is None:
            raise CommandFailed(_unknown(name))
        scopes, lifetime = replaced
        secret = await _store_new_key(connection, name, scopes, lifetime)
    old = f"is valid for another {format_short(grace)}" if grace else "is no longer valid"
    progress(
        f"the key {name} ({', '.join(scopes)}) is valid {_validity(lifetime)}; it is not shown again. The old key {old}"
    )
    output(secret)
    return 0


# A key and its predecessors in their grace period have the same name.
REVOKE_KEYS = """
    UPDATE api_keys
    SET revoked_at = now()
    WHERE %(key)s IN (name, prefix) AND (revoked_at IS NULL OR revoked_at > now())
    RETURNING name || ' (' || prefix || ')'
"""


async def _revoke(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(REVOKE_KEYS, {"key": parsed.key})
        revoked: list[str] = await cursor.fetchall()
    if not revoked:
        raise CommandFailed(_unknown(parsed.key))
    output(f"revoked: {', '.join(revoked)}; running services reject it within a second")
    return 0


def _unknown(key: str) -> str:
    return f"There is no valid key {key}; `market-data keys list` shows all keys."


def _validity(lifetime: timedelta | None) -> str:
    return f"for {format_short(lifetime)}" if lifetime else "until it is revoked"


def _to_json(value: object) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)
