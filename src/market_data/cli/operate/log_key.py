"""Show the key of the transparency log, or replace it."""

import argparse
from datetime import timedelta

from market_data.cli.console import output
from market_data.cli.durations import duration_between, format_long
from market_data.cli.runner import migrated_database, run_async
from market_data.database.connection import connect
from market_data.errors import CommandFailed
from market_data.queries.log_appends import read_log_keys, replace_log_key
from market_data.settings import Settings
from market_data.transparency.keys import add_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show the verifier keys of the transparency log and the file of its private keys. `rotate` adds a new key to that "
        "file; checkpoints are signed by the old one as well for some time, so that verifiers can learn the new one."
    )
    parser.add_argument("action", nargs="?", choices=["show", "rotate"], default="show")
    parser.add_argument(
        "--transition",
        metavar="DURATION",
        type=duration_between("1m", "10y"),
        default=timedelta(days=30),
        help="time for which the old key signs as well (default: 30d)",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with migrated_database(settings) as database_url:
        work = _log_key(database_url, settings, parsed.transition if parsed.action == "rotate" else None)
        return run_async(work, again="the same command shows the keys")


async def _log_key(database_url: str, settings: Settings, transition: timedelta | None) -> int:
    async with await connect(database_url, 0) as connection:
        keys = await read_log_keys(connection, signing=True)
        if not keys:
            raise CommandFailed("The log has no key yet; the service creates it when it starts.")
        if transition:
            key = add_key(settings.log_key_path)
            await replace_log_key(connection, keys[0].origin, key.public_key().public_bytes_raw(), transition)
            keys = await read_log_keys(connection, signing=True)
            output(f"the old key signs checkpoints for {format_long(transition)} more")
    for each in keys:
        output(str(each.verifier))
    output(f"private keys: {settings.log_key_path}")
    return 0
