"""Live prices in a terminal, or one line a trade where the output is none."""

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from market_data.cli.console import output, progress
from market_data.cli.operate.price_table import Board, Trade
from market_data.cli.operate.service_client import address, open_client
from market_data.cli.operate.sse_client import Event, read_stream

DRAWINGS_A_SECOND = 4


class _Prices(msgspec.Struct):
    prices: list[Trade]


class _Gap(msgspec.Struct):
    reason: str = "the stream could not be resumed"


def watch(url: str, symbols: Sequence[str]) -> int:
    """Show the trades of symbols (none: of all) until a signal ends it.

    Raises:
        CommandFailed: Nothing answers there, or a symbol is unknown.
    """
    chosen = list(dict.fromkeys(symbol.upper() for text in symbols for symbol in text.split(",") if symbol))
    parameters = {"symbols": ",".join(chosen)} if chosen else {}
    console = Console()
    with open_client(url) as client:
        stream = read_stream(client, {**parameters, "channels": "trades"})
        events = chain([next(stream)], stream)  # what is wrong from the start is told before the screen is taken
        if not sys.stdout.isatty() or console.is_dumb_terminal:
            return _print(events)
        board = Board(address(client.base_url), chosen)
        with Live(
            console=console,
            screen=True,
            refresh_per_second=DRAWINGS_A_SECOND,
            get_renderable=lambda: board.draw(console.height),
        ):
            _follow(board, client, parameters, events)
    return 0


def _follow(board: Board, client: httpx.Client, parameters: dict[str, str], events: Iterator[Event]) -> None:
    behind = True
    for event in events:
        behind |= not _take(board, event)
        if behind and event.name not in {"lost", "trade"}:
            behind = not _catch_up(board, client, parameters)


def _take(board: Board, event: Event) -> bool:
    """Show an event. False where prices may have changed without one."""
    match event.name:
        case "trade":
            board.add(msgspec.json.decode(event.data, type=Trade))
        case "gap":
            board.miss(msgspec.json.decode(event.data, type=_Gap).reason)
            return False
        case "open":
            board.find()
            return False
        case "lost":
            board.lose(event.data)
        case _:
            pass
    return True


def _catch_up(board: Board, client: httpx.Client, parameters: dict[str, str]) -> bool:
    """Read the newest prices; the stream must be open already, so that no trade falls between the two."""
    try:
        answer = client.get("/prices/latest", params=parameters)
    except httpx.TransportError:
        return False
    if answer.is_success:
        board.start_from(msgspec.json.decode(answer.content, type=_Prices).prices)
    return answer.is_success


def _print(events: Iterator[Event]) -> int:
    """A line for each trade, for as long as somebody reads them."""
    lost = False
    try:
        for event in events:
            match event.name:
                case "trade":
                    trade = msgspec.json.decode(event.data, type=Trade)
                    time = trade.timestamp.isoformat().replace("+00:00", "Z")
                    output(f"{trade.symbol}\t{trade.price:f}\t{trade.volume:f}\t{time}")
                case "gap":
                    progress(f"trades are missing: {msgspec.json.decode(event.data, type=_Gap).reason}")
                case "lost" if not lost:
                    progress(f"the stream is lost ({event.data}); reconnecting")
                    lost = True
                case "open" if lost:
                    progress("the stream is back")
                    lost = False
                case _:
                    pass
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it flushes at its end
    return 0
