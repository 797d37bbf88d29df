"""Plain model of the market: the trades that must be stored, and what follows from them."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from helpers.candle_scenarios import Row, group_trades
from helpers.support import Trade

SYMBOLS = ("ONE", "TWO", "THREE")
"""Symbols of the model. All writers write to all of them."""


class TradeKey(NamedTuple):
    symbol: str
    time: datetime
    trade_id: int


class Values(NamedTuple):
    price: Decimal
    volume: Decimal


class Change(NamedTuple):
    """An acknowledged change, as the audit trail must have it."""

    id: int
    action: str
    trade: TradeKey


@dataclass
class Model:
    """Acknowledged writes of one writer, whose trades no other writer changes."""

    trades: dict[TradeKey, Values] = field(default_factory=dict[TradeKey, Values])
    cancelled: dict[TradeKey, Values] = field(default_factory=dict[TradeKey, Values])
    """Trades that were cancelled, with their last values."""
    changes: list[Change] = field(default_factory=list[Change])
    """Changes over HTTP, which returns their ids."""

    def store(self, trades: dict[TradeKey, Values]) -> None:
        self.trades |= trades

    def correct(self, trade: TradeKey, values: Values) -> None:
        self.trades[trade] = values

    def cancel(self, trade: TradeKey) -> None:
        self.cancelled[trade] = self.trades.pop(trade)


def merged(models: Iterable[Model]) -> Model:
    """Return one model with the writes of all."""
    whole = Model()
    for model in models:
        whole.trades |= model.trades
        whole.cancelled |= model.cancelled
        whole.changes += model.changes
    return whole


def candles(trades: Iterable[tuple[TradeKey, Values]], interval: str) -> list[Row]:
    """Return the candles of trades by a plain grouping."""
    rows: list[Trade] = [(key.time, key.symbol, key.trade_id, values.price, values.volume) for key, values in trades]
    return group_trades(rows, interval)


class StepLog:
    """Steps of all actors of a run, in the order in which they happened."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.lines: list[str] = []

    def __call__(self, actor: str, step: str) -> None:
        with self._lock:
            self.lines.append(f"{time.monotonic() - self._began:7.2f} {actor:10} {step}")
