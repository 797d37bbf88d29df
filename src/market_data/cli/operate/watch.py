"""Show live prices: a table on a terminal, one line per trade in a pipe."""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import chain

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from market_data.cli.console import output, progress
from market_data.cli.operate.price_table import PriceTable, Trade
from market_data.cli.operate.service_client import add_url_argument, display_url, open_client
from market_data.cli.operate.sse_client import Event, read_stream
from market_data.errors import CommandFailed
from market_data.server.signals import stop_in_order
from market_data.settings import Settings

REFRESHES_PER_SECOND = 4

INTERRUPTIONS = {"lost": "connection to the stream lost", "refused": "the service refuses the stream for now"}
"""Messages for events of the client."""

NEWEST = {"X-Read-After": str(2**63 - 1)}
"""With a replica, reads go to the primary server: a replica may lack trades committed before the stream began."""

READ_SECONDS = 1.0
"""Minimum of seconds between two readings of the latest prices."""


class _Prices(msgspec.Struct):
    prices: list[Trade]


class _Gap(msgspec.Struct):
    reason: str = "the stream could not be resumed"


class _Reload(msgspec.Struct):
    symbol: str
    start: str
    end: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show the prices of symbols live, from the stream of a running service; Ctrl-C ends it. If the output is not a "
        "terminal, and in a replay, print a line per trade: symbol, price, volume and time, separated by tabs; a further "
        "field says that a stored trade was corrected (to these values) or cancelled."
    )
    parser.add_argument(
        "symbols", nargs="*", metavar="SYMBOL", help="symbols to show (default: all, the most recently traded first)"
    )
    add_url_argument(parser)
    replay = parser.add_argument_group("replay", "The past instead of the present; the command ends with it.")
    replay.add_argument(
        "--replay",
        metavar="FROM",
        help="begin at this time, such as 2026-02-08T10:30:00Z, 2026-02-08 (midnight UTC) or now-1h",
    )
    replay.add_argument("--to", metavar="TIME", help="end at this time (default: now, at the start)")
    replay.add_argument("--speed", metavar="N", help="seconds of the past a second, such as 1 (the default) or 60, or max")
    replay.add_argument(
        "--order", metavar="ORDER", help="known: as the service learned it (the default); time: as it happened"
    )
    parser.set_defaults(command=_run)


def _run(_: Settings, parsed: argparse.Namespace) -> int:
    stop_in_order(0)
    chosen = list(
        dict.fromkeys(symbol.strip().upper() for text in parsed.symbols for symbol in text.split(",") if symbol.strip())
    )
    parameters = {"symbols": ",".join(chosen)} if chosen else {}
    replay = _replay_parameters(parsed)
    console = Console()
    with open_client(parsed.url) as client:
        stream = read_stream(client, {**parameters, **replay, "channels": "trades"})
        events = chain([next(stream)], stream)  # a failed first connection is reported before the screen is cleared
        if replay or not sys.stdout.isatty() or console.is_dumb_terminal:
            return _print_trades(events)
        table = PriceTable(display_url(client.base_url), chosen)
        with Live(
            console=console,
            screen=True,
            refresh_per_second=REFRESHES_PER_SECOND,
            get_renderable=lambda: table.render(console.height),
        ):
            _update_table(table, client, parameters, events)
    return 0


def _replay_parameters(parsed: argparse.Namespace) -> dict[str, str]:
    """Return the parameters of a replay; none for the live stream.

    Raises:
        CommandFailed: An option of a replay is given without `--replay`.
    """
    given = {"from": parsed.replay, "to": parsed.to, "speed": parsed.speed, "order": parsed.order}
    parameters = {name: value for name, value in given.items() if value is not None}
    if parameters and "from" not in parameters:
        raise CommandFailed(f"--{next(iter(parameters))} belongs to a replay; give --replay FROM as well.")
    return parameters


def _update_table(table: PriceTable, client: httpx.Client, parameters: dict[str, str], events: Iterator[Event]) -> None:
    outdated, next_read = True, time.monotonic()
    for event in events:
        outdated |= not _apply(table, event)
        # Not at "open" yet: the stream delivers what is committed after its first heartbeat.
        if outdated and event.name not in {"open", "lost", "refused"} and time.monotonic() >= next_read:
            outdated = not _read_latest_prices(table, client, parameters)
            next_read = time.monotonic() + READ_SECONDS


def _apply(table: PriceTable, event: Event) -> bool:
    """Apply an event to the table. Returns False if prices may have changed without an event."""
    match event.name:
        case "trade":
            table.add_trade(msgspec.json.decode(event.data, type=Trade))
        case "gap":
            table.report_gap(msgspec.json.decode(event.data, type=_Gap).reason)
            return False
        case "reload":
            return False
        case "open":
            table.set_connected()
            return False
        case "lost" | "refused":
            table.set_disconnected(event.data)
        case _:
            pass
    return True


def _read_latest_prices(table: PriceTable, client: httpx.Client, parameters: dict[str, str]) -> bool:
    """Read the latest prices; return False if that failed."""
    try:
        response = client.get("/prices/latest", params=parameters, headers=NEWEST)
    except httpx.TransportError:
        return False
    if response.is_success:
        table.set_prices(msgspec.json.decode(response.content, type=_Prices).prices)
    return response.is_success


def _print_trades(events: Iterator[Event]) -> int:
    """Print a line per trade until the reader closes the pipe."""
    interrupted = ""
    for event in events:
        match event.name:
            case "trade":
                trade = msgspec.json.decode(event.data, type=Trade)
                moment = trade.timestamp.isoformat().replace("+00:00", "Z")
                change = f"\t{trade.change}" if trade.change else ""
                output(f"{trade.symbol}\t{trade.price:f}\t{trade.volume:f}\t{moment}{change}")
            case "reload":
                loaded = msgspec.json.decode(event.data, type=_Reload)
                progress(f"trades of {loaded.symbol} from {loaded.start} to {loaded.end} were loaded or deleted in bulk")
            case "gap":
                progress(f"trades are missing: {msgspec.json.decode(event.data, type=_Gap).reason}")
            case "lost" | "refused" if event.name != interrupted:
                progress(f"{INTERRUPTIONS[event.name]} ({event.data}); reconnecting")
                interrupted = event.name
            case "open" if interrupted:
                progress("connected to the stream again")
                interrupted = ""
            case _:
                pass
    return 0
