"""What `market-data keys` takes on the command line."""

import argparse
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from market_data.cli.durations import duration_between

if TYPE_CHECKING:
    from market_data.auth.api_keys import Scope
    from market_data.settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # type: ignore[reportPrivateUsage]  # has no public name

SCOPES: tuple["Scope", ...] = ("read", "write", "admin")
"""The same as `keys.SCOPES`, of which the help is to know without the rest of it."""

AGAIN = "`market-data keys list` shows what was done"

NAME_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
PREFIX_FORM = re.compile(r"[0-9a-f]{8}")


def add_keys(commands: "Commands") -> None:
    """Add `keys` to the program's commands."""
    parser = commands.add_parser(
        "keys",
        help="make, list, rotate and revoke keys",
        description=(
            "The keys with which others may write, or read where AUTH=required. The service may run meanwhile: it knows of "
            "every change within a second."
        ),
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_create(actions)
    _add_list(actions)
    _add_rotate(actions)
    _add_revoke(actions)


def _add_create(actions: "Commands") -> None:
    parser = actions.add_parser(
        "create",
        help="make a key and print it",
        description="Make a key and print it, alone on standard output. It is stored nowhere, so it can't be shown again.",
    )
    parser.add_argument("name", type=_name, metavar="NAME", help="whose key it is: up to 64 letters, digits, . _ and -")
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        action="append",
        help="what it may do: read (the default), write (and read) or admin (everything); may be given more than once",
    )
    parser.add_argument(
        "--expires",
        type=duration_between("1s", "100y"),
        metavar="DURATION",
        help="how long it holds: a number with s, m, h, d, w or y, such as 90d (default: until it is revoked)",
    )
    parser.set_defaults(command=_create)


def _create(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.operate import keys

    scopes = [scope for scope in SCOPES if scope in (parsed.scope or ["read"])]
    with runner.migrated_database(settings) as database_url:
        return runner.run(keys.create_key(database_url, parsed.name, scopes, parsed.expires), again=AGAIN)


def _add_list(actions: "Commands") -> None:
    parser = actions.add_parser(
        "list",
        help="show the keys",
        description="Show all keys that there are or were, by their name and prefix: what follows md_ in the key itself.",
    )
    parser.add_argument("--json", action="store_true", help="print them as a JSON array")
    parser.set_defaults(command=_list)


def _list(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.operate import keys

    with runner.migrated_database(settings) as database_url:
        return runner.run(keys.list_keys(database_url, as_json=parsed.json), again=AGAIN)


def _add_rotate(actions: "Commands") -> None:
    parser = actions.add_parser(
        "rotate",
        help="replace a key and print the new one",
        description="Make a key with the name, the scopes and the life of another one, which ends, and print it.",
    )
    parser.add_argument("name", type=_name, metavar="NAME", help="whose key is to be replaced")
    parser.add_argument(
        "--grace",
        type=duration_between("1s", "1y"),
        default=timedelta(0),
        metavar="DURATION",
        help="how long the old one still holds, such as 1h (default: it ends at once)",
    )
    parser.set_defaults(command=_rotate)


def _rotate(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.operate import keys

    with runner.migrated_database(settings) as database_url:
        return runner.run(keys.rotate_key(database_url, parsed.name, parsed.grace), again=AGAIN)


def _add_revoke(actions: "Commands") -> None:
    parser = actions.add_parser(
        "revoke",
        help="end a key",
        description="End the keys of a name, or the one with a prefix. Open streams that it let in are ended as well.",
    )
    parser.add_argument("given", metavar="NAME|PREFIX", help="whose keys, or the eight digits of one")
    parser.set_defaults(command=_revoke)


def _revoke(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.operate import keys

    with runner.migrated_database(settings) as database_url:
        return runner.run(keys.revoke_keys(database_url, parsed.given), again=AGAIN)


def _name(text: str) -> str:
    if not NAME_FORM.fullmatch(text) or PREFIX_FORM.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a key; give up to 64 letters, digits, . _ and -, but not eight digits from 0 to f"
        )
    return text
