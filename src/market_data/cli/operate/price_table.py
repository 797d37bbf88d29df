"""Table of live prices."""

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

RESERVED_LINES = 4
"""Lines besides the symbols: state, headings, rule, and the number of hidden symbols."""


class Trade(msgspec.Struct, frozen=True):
    """A trade, or the latest price of a symbol, with exact numbers."""

    symbol: str
    price: Decimal
    volume: Decimal
    timestamp: datetime


@dataclass
class SymbolRow:
    """Latest price of a symbol, and totals since the start."""

    symbol: str
    price: Decimal
    time: datetime
    first_price: Decimal
    decimals: int = 0
    """Maximum decimal places of its prices; each price is shown with as many."""
    step: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    trades: int = 0

    def update(self, trade: Trade) -> None:
        """Set the price, unless the trade is older than the present one."""
        self.decimals = max(self.decimals, -int(trade.price.as_tuple().exponent))
        if trade.timestamp >= self.time:
            self.step = trade.price - self.price
            self.price, self.time = trade.price, trade.timestamp


class PriceTable:
    """State and rendering of the table. Thread-safe: one thread updates it, another renders it."""

    def __init__(self, url: str, symbols: Sequence[str]) -> None:
        self._url = url
        self._symbols = symbols
        self._rows: dict[str, SymbolRow] = {}
        self._since = datetime.now(UTC)
        self._lost: tuple[datetime, str] | None = None
        self._gap = ""
        self._lock = threading.Lock()

    def set_prices(self, prices: Iterable[Trade]) -> None:
        """Set latest prices without counting trades."""
        with self._lock:
            for price in prices:
                self._row(price).update(price)

    def add_trade(self, trade: Trade) -> None:
        """Count a trade."""
        with self._lock:
            row = self._row(trade)
            row.update(trade)
            row.volume += trade.volume
            row.trades += 1

    def _row(self, trade: Trade) -> SymbolRow:
        return self._rows.setdefault(
            trade.symbol, SymbolRow(trade.symbol, trade.price, trade.timestamp, first_price=trade.price)
        )

    def set_disconnected(self, reason: str) -> None:
        """Show that the stream is lost, since the first call after `set_connected`."""
        with self._lock:
            self._lost = (self._lost[0] if self._lost else datetime.now(UTC), reason)

    def set_connected(self) -> None:
        """Show that the stream is connected."""
        with self._lock:
            self._lost = None

    def report_gap(self, reason: str) -> None:
        """Show that trades were missed."""
        with self._lock:
            self._gap = reason

    def render(self, height: int, now: datetime | None = None) -> Group:
        """Return the table in `height` lines."""
        now = now or datetime.now(UTC)
        with self._lock:
            symbols, hidden = self._visible_symbols(max(1, height - RESERVED_LINES))
            table = _empty_table("dim" if self._lost else "")
            for symbol in symbols:
                table.add_row(*_cells(symbol, self._rows.get(symbol), now))
            parts = [self._state(now), table]
        if hidden:
            parts.append(Text(f"and {hidden:,} more, traded before these", style="dim", no_wrap=True))
        return Group(*parts)

    def _visible_symbols(self, count: int) -> tuple[list[str], int]:
        if self._symbols:
            return list(self._symbols[:count]), max(0, len(self._symbols) - count)
        newest = heapq.nlargest(count, self._rows.values(), key=lambda row: row.time)
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


def _empty_table(style: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, style=style, row_styles=[style], header_style="bold")
    table.add_column("symbol", no_wrap=True)
    for heading in ("price", "since start", "%", "volume seen", "trades seen", "last trade"):
        table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
    return table


def _cells(symbol: str, row: SymbolRow | None, now: datetime) -> tuple[Text | str, ...]:
    if row is None:
        return symbol, "-", "", "", "", "", "none yet"
    change = row.price - row.first_price
    return (
        symbol,
        Text(f"{row.price:,.{row.decimals}f}", style=_style(row.step)),
        Text(f"{change:+,.{row.decimals}f}", style=_style(change)),
        Text(f"{100 * change / row.first_price:+.2f}", style=_style(change)),
        f"{row.volume:,f}",
        f"{row.trades:,}",
        f"{format_short(now - row.time)} ago",
    )


def _style(change: Decimal) -> str:
    return "green" if change > 0 else "red" if change < 0 else ""


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
