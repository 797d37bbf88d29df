"""The table of live prices."""

import heapq
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from market_data.cli.durations import format_short

AROUND = 4
"""Lines around the rows: the state, the heading with its rule, and the count of what did not fit."""


class Trade(msgspec.Struct, frozen=True):
    """A trade, or the newest price of a symbol, with its numbers as exact as they came."""

    symbol: str
    price: Decimal
    volume: Decimal
    timestamp: datetime


@dataclass
class Row:
    """A symbol: its newest price, and what has been seen of it since the start."""

    symbol: str
    price: Decimal
    traded: datetime
    first: Decimal
    places: int = 0
    """Decimals that its prices have had at the most, so that all of them are written with as many."""
    step: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    trades: int = 0

    def move(self, trade: Trade) -> None:
        """Take over a price, unless it is older than ours."""
        self.places = max(self.places, -int(trade.price.as_tuple().exponent))
        if trade.timestamp >= self.traded:
            self.step = trade.price - self.price
            self.price, self.traded = trade.price, trade.timestamp


class Board:
    """What is known of the market. Fed by one thread, drawn by another."""

    def __init__(self, url: str, symbols: Sequence[str]) -> None:
        self._url = url
        self._symbols = symbols
        self._rows: dict[str, Row] = {}
        self._since = datetime.now(UTC)
        self._lost: tuple[datetime, str] | None = None
        self._gap = ""
        self._lock = threading.Lock()

    def start_from(self, prices: Iterable[Trade]) -> None:
        """Take newest prices over, of trades that are not counted."""
        with self._lock:
            for price in prices:
                self._row(price).move(price)

    def add(self, trade: Trade) -> None:
        """Count a trade."""
        with self._lock:
            row = self._row(trade)
            row.move(trade)
            row.volume += trade.volume
            row.trades += 1

    def _row(self, trade: Trade) -> Row:
        return self._rows.setdefault(trade.symbol, Row(trade.symbol, trade.price, trade.timestamp, first=trade.price))

    def lose(self, reason: str) -> None:
        """The stream is gone; it stays so since the first time that this is said."""
        with self._lock:
            self._lost = (self._lost[0] if self._lost else datetime.now(UTC), reason)

    def find(self) -> None:
        """The stream is there."""
        with self._lock:
            self._lost = None

    def miss(self, reason: str) -> None:
        """Some trades have not come."""
        with self._lock:
            self._gap = reason

    def draw(self, height: int, now: datetime | None = None) -> Group:
        """The table, in so many lines."""
        now = now or datetime.now(UTC)
        with self._lock:
            rows, hidden = self._shown(max(1, height - AROUND))
            table = _table("dim" if self._lost else "")
            for symbol in rows:
                table.add_row(*_cells(symbol, self._rows.get(symbol), now))
            parts = [self._state(now), table]
        if hidden:
            parts.append(Text(f"and {hidden:,} more, traded before these", style="dim", no_wrap=True))
        return Group(*parts)

    def _shown(self, places: int) -> tuple[list[str], int]:
        if self._symbols:
            return list(self._symbols[:places]), max(0, len(self._symbols) - places)
        newest = heapq.nlargest(places, self._rows.values(), key=lambda row: row.traded)
        return [row.symbol for row in newest], len(self._rows) - len(newest)

    def _state(self, now: datetime) -> Text:
        text = Text(no_wrap=True, overflow="crop")
        if self._lost:
            since, reason = self._lost
            text.append(f"reconnecting since {_clock(since)} ({format_short(now - since)}): {reason}", style="bold red")
            text.append(f"  {self._url}", style="dim")
            return text
        text.append("live", style="bold green")
        text.append(f"  {self._url}  watching since {_clock(self._since)}; Ctrl-C ends it", style="dim")
        if self._gap:
            text.append(f"  trades were missed: {self._gap}", style="yellow")
        return text


def _table(style: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, style=style, row_styles=[style], header_style="bold")
    table.add_column("symbol", no_wrap=True)
    for heading in ("price", "since start", "%", "volume seen", "trades seen", "last trade"):
        table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
    return table


def _cells(symbol: str, row: Row | None, now: datetime) -> tuple[Text | str, ...]:
    if row is None:
        return symbol, "-", "", "", "", "", "none yet"
    change = row.price - row.first
    return (
        symbol,
        Text(f"{row.price:,.{row.places}f}", style=_colour(row.step)),
        Text(f"{change:+,.{row.places}f}", style=_colour(change)),
        Text(f"{100 * change / row.first:+.2f}", style=_colour(change)),
        f"{row.volume:,f}",
        f"{row.trades:,}",
        f"{format_short(now - row.traded)} ago",
    )


def _colour(change: Decimal) -> str:
    return "green" if change > 0 else "red" if change < 0 else ""


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
