"""Arguments of the command line that describe the file to import."""

import argparse
from zoneinfo import ZoneInfo

from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import COLUMNS, ReadOptions
from market_data.trade_validation import InvalidTrade, read_symbol


def add_read_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options. Each takes precedence over the preset."""
    parser.add_argument("--preset", choices=PRESETS, help="format of a data vendor's trade files")
    parser.add_argument(
        "--column",
        action="append",
        type=_column,
        default=[],
        metavar="COLUMN=NAME",
        help="name of a column in the file, such as timestamp=ts_event; its number, if the file has no header line; or two "
        "names that are joined, such as timestamp=date+time. May be repeated",
    )
    parser.add_argument("--symbol", type=_symbol, help="symbol of all rows, instead of a column")
    parser.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="form of times: s, ms, us or ns for epochs, or as in Python's strptime, such as '%%d.%%m.%%Y %%H:%%M:%%S'",
    )
    parser.add_argument(
        "--timezone",
        type=_timezone,
        metavar="ZONE",
        help="time zone of times without one, such as America/New_York. A time that clocks skip or repeat there is rejected",
    )
    parser.add_argument(
        "--decimal",
        choices=(".", ","),
        metavar="MARK",
        help="decimal mark, . or ,; the other one and spaces separate thousands (default: detected)",
    )


def read_options(parsed: argparse.Namespace) -> ReadOptions:
    """Return the parsed options."""
    return ReadOptions(
        parsed.preset, dict(parsed.column), parsed.symbol, parsed.time_format, parsed.timezone, parsed.decimal
    )


def _column(text: str) -> tuple[str, str]:
    column, _, name = text.partition("=")
    if column not in COLUMNS or not name:
        raise argparse.ArgumentTypeError(f"must be COLUMN=NAME with a column of {', '.join(COLUMNS)}, not {text!r}")
    return column, name


def _symbol(text: str) -> str:
    try:
        return read_symbol(text)
    except InvalidTrade as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _timezone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        raise argparse.ArgumentTypeError(f"must be a time zone such as America/New_York, not {text!r}") from None
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be a time zone such as America/New_York, not {text!r}") from None
