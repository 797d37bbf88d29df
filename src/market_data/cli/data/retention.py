"""Show or set how long trades are kept."""

import argparse
from datetime import datetime

from market_data.cli import runner
from market_data.cli.console import output
from market_data.cli.data import statements
from market_data.cli.durations import duration_between, format_long
from market_data.database.connection import connect
from market_data.settings import Settings

_read_duration = duration_between("8d", "100y")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show how long trades are kept and the time of the earliest trade; with --trades, set it first. "
        "Candles are kept forever."
    )
    parser.add_argument(
        "--trades",
        type=lambda text: None if text == "off" else _read_duration(text),
        default=argparse.SUPPRESS,
        metavar="DURATION",
        help="drop trades older than this, such as 90d, 12w or 2y (of 365 days), at least 8d; off keeps them forever",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(_retention(database_url, parsed), again="the same command sets and shows the retention")


async def _retention(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        if "trades" in parsed:
            await statements.set_retention(connection, parsed.trades)
        retention = await statements.read_retention(connection)
    if retention.drop_after is None:
        output("trades are kept forever")
    else:
        output(f"trades older than {format_long(retention.drop_after)} are dropped within the hour; candles stay")
    if retention.drop_after and retention.pins:
        output(f"no trades are dropped while there are pins: {', '.join(retention.pins)}")
    output(f"the earliest trade is of {_date(retention.earliest)}" if retention.earliest else "there are no trades")
    if retention.dropped_before:
        output(f"trades before {_date(retention.dropped_before)} have been dropped, and new ones are rejected")
    return 0


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
