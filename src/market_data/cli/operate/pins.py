"""Pins: named versions that stay answerable in spite of retention."""

import argparse
import re
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import args_row

from market_data.cli import runner
from market_data.cli.console import output
from market_data.cli.operate.text_tables import format_time, plain_table, render
from market_data.database.connection import connect
from market_data.errors import CommandFailed
from market_data.settings import Settings

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

Action = Callable[[str, argparse.Namespace], Coroutine[Any, Any, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "A pin keeps a version answerable (as_of=VERSION): as long as there is one, retention drops no trades, and takes "
        "the more room. TRUNCATE is not prevented."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)

    def add_action(name: str, action: Action, summary: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.set_defaults(command=_run, action=action)
        return added

    create = add_action("create", _create, "pin a version under a name, by default the newest one, and print it")
    create.add_argument("name", type=_read_name, metavar="NAME", help="name of the pin: 1 to 64 letters, digits, . _ or -")
    create.add_argument(
        "--version", type=_read_version, dest="pinned", metavar="VERSION", help="version, as in Data-Version"
    )
    add_action("list", _list, "list the pins")
    delete = add_action("delete", _delete, "delete a pin, so that retention drops trades again")
    delete.add_argument("name", metavar="NAME", help="name of the pin")


def _read_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: use 1 to 64 letters, digits, . _ or -")
    return text


def _read_version(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version: give a whole number, as in Data-Version")
    return int(text)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    action: Action = parsed.action
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(action(database_url, parsed), again="`market-data pin list` shows the pins")


# The lock waits for a drop of trades, whose version is then known.
LOCK_PINS = "LOCK TABLE pins IN ROW EXCLUSIVE MODE"
CREATE_PIN = """
    INSERT INTO pins (name, version)
    SELECT %(name)s, chosen.version
    FROM (SELECT coalesce(%(version)s::bigint, newest_version()) AS version) AS chosen
    CROSS JOIN retention
    WHERE chosen.version BETWEEN greatest(dropped_version, truncated_version) AND newest_version()
    RETURNING version
"""
ANSWERABLE = "SELECT greatest(dropped_version, truncated_version), newest_version() FROM retention"


async def _create(database_url: str, parsed: argparse.Namespace) -> int:
    try:
        async with await connect(database_url, 0) as connection, connection.transaction():
            await connection.execute(LOCK_PINS)
            cursor = await connection.execute(CREATE_PIN, {"name": parsed.name, "version": parsed.pinned})
            pinned = await cursor.fetchone()
            if pinned is None:
                ((earliest, newest),) = await (await connection.execute(ANSWERABLE)).fetchall()
                raise CommandFailed(
                    f"Version {parsed.pinned} can't be pinned: the versions that can be answered in full are {earliest} to "
                    f"{newest}."
                )
    except psycopg.errors.UniqueViolation:
        raise CommandFailed(
            f"There is a pin {parsed.name} already; delete it with `market-data pin delete {parsed.name}`."
        ) from None
    output(str(pinned[0]))
    return 0


class ListedPin(NamedTuple):
    """A pin as listed."""

    name: str
    version: int
    created_at: datetime


LIST_PINS = "SELECT name, version, created_at FROM pins ORDER BY version, name"


async def _list(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        cursor = connection.cursor(row_factory=args_row(ListedPin))
        await cursor.execute(LIST_PINS)
        pins = await cursor.fetchall()
    if not pins:
        output("there are no pins; create one with `market-data pin create NAME`")
        return 0
    table = plain_table("name", "version", "created")
    for pin in pins:
        table.add_row(pin.name, str(pin.version), format_time(pin.created_at))
    output(render(table))
    return 0


DELETE_PIN = "DELETE FROM pins WHERE name = %s"


async def _delete(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        deleted = await connection.execute(DELETE_PIN, (parsed.name,))
    if not deleted.rowcount:
        raise CommandFailed(f"There is no pin {parsed.name}; `market-data pin list` shows the pins.")
    output(f"the pin {parsed.name} is deleted")
    return 0
