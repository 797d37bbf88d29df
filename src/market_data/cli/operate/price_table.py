"""Table of live prices."""

import heapq
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from market_data.cli.durations import format_short

RESERVED_LINES = 4
"""Lines besides the symbols: state, headings, rule, and the number of hidden symbols."""


class Trade(msgspec.Struct, frozen=True):
    """A trade, a change of one, or the latest price of a symbol, with exact numbers."""

    symbol: str
    price: Decimal
    volume: Decimal
    timestamp: datetime
    trade_id: int | None = None
    """None of a latest price."""
    change: Literal["corrected", "cancelled"] | None = None
    latest: "Trade | None" = None
    """After a change: the latest price of the symbol, None if it has no trade any more."""

    def may_be(self, other: "Trade") -> bool:
        """True unless it is known to be another trade of the symbol."""
        return self.timestamp == other.timestamp and (
            None in {self.trade_id, other.trade_id} or self.trade_id == other.trade_id
        )

    def is_before(self, other: "Trade") -> bool:
        """True if it is earlier; of two at the same time, the one with the higher id is the later one."""
        if self.timestamp != other.timestamp or self.trade_id is None or other.trade_id is None:
            return self.timestamp < other.timestamp
        return self.trade_id < other.trade_id


@dataclass
class SymbolRow:
    """Latest price of a symbol, and totals of the trades stored since the start."""

    latest: Trade
    first: Trade
    """The latest one at the start."""
    decimals: int = 0
    """Maximum decimal places of its prices; each price is shown with as many."""
    step: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    trades: int = 0

    def set_latest(self, trade: Trade) -> None:
        """Set the price."""
        self.decimals = max(self.decimals, -int(trade.price.as_tuple().exponent))
        self.step = trade.price - self.latest.price
        self.latest = trade


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
        """Set the latest prices of all symbols that have one, without counting trades."""
        with self._lock:
            before, self._rows = self._rows, {}
            for price in prices:
                row = self._rows[price.symbol] = before.get(price.symbol, SymbolRow(price, price))
                row.set_latest(price)

    def add_trade(self, trade: Trade) -> None:
        """Count a stored trade, or follow the change of one."""
        with self._lock:
            row = self._rows.setdefault(trade.symbol, SymbolRow(trade, trade))
            if trade.change:
                self._follow_change(row, trade)
                return
            if not trade.is_before(row.latest):
                row.set_latest(trade)
            row.volume += trade.volume
            row.trades += 1

    def _follow_change(self, row: SymbolRow, changed: Trade) -> None:
        if changed.latest is None:
            del self._rows[changed.symbol]
            return
        if row.first.may_be(changed):
            row.first = changed if changed.change == "corrected" else changed.latest
        row.set_latest(changed.latest)

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
        newest = heapq.nlargest(count, self._rows.values(), key=lambda row: row.latest.timestamp)
        return [row.latest.symbol for row in newest], len(self._rows) - len(newest)

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
    name = Text(symbol)  # a string would be read as markup, in which colons begin emoji
    if row is None:
        return name, "-", "", "", "", "", "none yet"
    change = row.latest.price - row.first.price
    base = row.first.price
    return (
        name,
        Text(f"{row.latest.price:,.{row.decimals}f}", style=_style(row.step)),
        Text(f"{change:+,.{row.decimals}f}", style=_style(change)),
        Text(f"{100 * change / base:+.2f}" if base > 0 else "-", style=_style(change)),
        f"{row.volume:,f}",
        f"{row.trades:,}",
        f"{format_short(now - row.latest.timestamp)} ago",
    )


def _style(change: Decimal) -> str:
    return "green" if change > 0 else "red" if change < 0 else ""


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
