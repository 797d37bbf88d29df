"""What the commands take on the command line. Each imports what it does only when it is run."""

import argparse
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from market_data.cli.care import parsers
from market_data.cli.durations import duration_between
from market_data.cli.operate.key_parsers import add_keys
from market_data.feed.random_walk import LISTINGS, Listing

if TYPE_CHECKING:
    from market_data.settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # type: ignore[reportPrivateUsage]  # has no public name

FORMATS = ("csv", "ndjson", "parquet")

LONGEST_REACH_DAYS = 36_500

read_kept = duration_between("8d", "100y")


def add_parsers(commands: "Commands") -> None:
    """Add all but `serve` and `migrate` to the program's commands."""
    _add_watch(commands)
    _add_status(commands)
    _add_psql(commands)
    _add_backfill(commands)
    _add_import(commands)
    _add_retention(commands)
    parsers.add_parsers(commands)
    add_keys(commands)


def _add_watch(commands: "Commands") -> None:
    parser = commands.add_parser(
        "watch",
        help="show live prices",
        description=(
            "Show the prices of symbols as they change, from the stream of a running service; Ctrl-C ends it. Where the "
            "output is no terminal: a line for each trade, with tabs between symbol, price, volume and time."
        ),
    )
    parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="what to show (default: all, the last traded first)")
    _add_url(parser)
    parser.set_defaults(command=_watch)


def _watch(_: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.operate import watch

    return watch.watch(parsed.url, parsed.symbols)


def _add_status(commands: "Commands") -> None:
    parser = commands.add_parser(
        "status",
        help="show how a running service is",
        description=(
            "Show whether a running service is ready, how fresh its trades are, how far its candles are materialized, and "
            "what its jobs did. The exit status is 0 where it is ready and its trades are not stale, else 1."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print what the service answers, as one JSON object")
    _add_url(parser)
    parser.set_defaults(command=_status)


def _status(_: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.operate import status

    return status.show_status(parsed.url, as_json=parsed.json)


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        type=_url,
        default=os.environ.get("MARKET_DATA_URL", "").strip() or "http://127.0.0.1:8000",
        help=(
            "the service (default: MARKET_DATA_URL, else http://127.0.0.1:8000); its key, where it wants one, is "
            "taken from MARKET_DATA_KEY"
        ),
    )


def _add_psql(commands: "Commands") -> None:
    parser = commands.add_parser(
        "psql",
        usage="market-data psql [--help] [ARGUMENT ...]",
        help="open psql on the database",
        description=(
            "Open psql on DATABASE_URL, or on the embedded engine where that is not set: on the one that runs, or on one "
            "that runs as long as psql does. All arguments are psql's, such as -c 'SELECT count(*) FROM trades'."
        ),
        add_help=False,
        prefix_chars="\0",  # so that argparse takes none of psql's options for its own
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="for psql")
    parser.set_defaults(command=_psql, parser=parser)


def _psql(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli.operate import psql

    arguments: list[str] = parsed.arguments
    if arguments == ["--help"]:
        parsed.parser.print_help()
        return 0
    return psql.psql(settings, arguments[1:] if arguments[:1] == ["--"] else arguments)


def _add_backfill(commands: "Commands") -> None:
    parser = commands.add_parser(
        "backfill",
        help="write synthetic history before the earliest trades",
        description=(
            "Write one trade a symbol each RATE, back from the earliest one that is stored (or from now, where there is "
            "none), with the volatility of the feed, and make its candles. After an interruption the same command goes on "
            "where it stopped; once the history is complete it does nothing. The service may run and feed meanwhile."
        ),
    )
    parser.add_argument("--days", type=_days, required=True, help="how many days before now the history begins")
    parser.add_argument(
        "--rate",
        type=duration_between("1ms", "7d"),
        required=True,
        help="time between two trades of a symbol: a number with ms, s, m, h or d, such as 1s or 500ms",
    )
    parser.add_argument("--seed", type=_seed, help="makes the prices repeatable")
    parser.add_argument(
        "--symbols",
        type=_listings,
        default=LISTINGS,
        help=f"symbols to write, with commas between them (default: {','.join(item.symbol for item in LISTINGS)})",
    )
    parser.set_defaults(command=_backfill)


def _backfill(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.data import backfill

    history = backfill.History(parsed.symbols, parsed.days, parsed.rate, parsed.seed)
    with runner.migrated_database(settings) as database_url:
        return runner.run(backfill.backfill(database_url, history), again=backfill.AGAIN)


def _add_import(commands: "Commands") -> None:
    parser = commands.add_parser(
        "import",
        help="store the trades of a file",
        description=(
            "Store the trades of a CSV (with a header line), NDJSON or Parquet file, and make their candles. Columns or "
            "fields, in any order: symbol, timestamp (or time; with a zone), price, volume and, if there is one, trade_id; "
            "others are ignored. Without trade_id, the trades of one symbol and instant are numbered in the order of the "
            "file. Trades that are stored already stay as they are, so a file may be imported again. Rows that can't be "
            "stored go into a file, with their line and the reason, and make the exit status 1."
        ),
    )
    parser.add_argument("file", metavar="FILE", help="the file, or - for standard input; may end in .gz")
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the file (default: by its name; of standard input by its beginning)"
    )
    parser.add_argument(
        "--rejects",
        type=Path,
        metavar="FILE",
        help="where rows go that can't be stored (default: <name>.rejected.csv in the current folder)",
    )
    parser.set_defaults(command=_import)


def _import(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.data import import_trades, trade_files

    rejects = import_trades.rejects_of(parsed.file, parsed.rejects)
    with trade_files.open_source(parsed.file, parsed.format) as source, runner.migrated_database(settings) as database_url:
        return runner.run(import_trades.import_trades(database_url, source, rejects), again=import_trades.AGAIN)


def _add_retention(commands: "Commands") -> None:
    parser = commands.add_parser(
        "retention",
        help="show or set how long trades are kept",
        description=(
            "Show how long trades are kept, and how far back they go; with --trades, set it. Candles are kept for ever."
        ),
    )
    parser.add_argument(
        "--trades",
        type=_kept,
        default=argparse.SUPPRESS,
        metavar="DURATION",
        help="drop trades older than this, such as 90d, 12w or 2y (of 365 days), 8d at the least; off keeps them for ever",
    )
    parser.set_defaults(command=_retention)


def _retention(settings: "Settings", parsed: argparse.Namespace) -> int:
    from market_data.cli import runner
    from market_data.cli.data import retention

    with runner.migrated_database(settings) as database_url:
        if "trades" in parsed:
            return runner.run(retention.set_retention(database_url, parsed.trades), again="the same command sets it")
        return runner.run(retention.show_retention(database_url), again="the same command shows it")


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.port != 0 and text.isprintable() and " " not in text:
            (parts.hostname or "").encode("idna")  # as whoever connects will
            if parts.hostname:
                return text.rstrip("/")
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no address of a service; give one such as http://127.0.0.1:8000")


def _days(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= LONGEST_REACH_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} days are not possible; give a number from 1 to {LONGEST_REACH_DAYS}")
    return timedelta(days=int(text))


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a number of up to 18 digits")
    return int(text)


def _listings(text: str) -> tuple[Listing, ...]:
    known = {listing.symbol: listing for listing in LISTINGS}
    wanted = dict.fromkeys(symbol.strip().upper() for symbol in text.split(","))
    if unknown := [symbol for symbol in wanted if symbol not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no symbol of the feed, which has {', '.join(known)}")
    return tuple(known[symbol] for symbol in wanted)


def _kept(text: str) -> timedelta | None:
    return None if text == "off" else read_kept(text)
