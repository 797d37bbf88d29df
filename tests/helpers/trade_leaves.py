"""Leaves of trades in the log, computed apart from the database."""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from market_data.proof.entries import microseconds
from market_data.proof.merkle import leaf_hash, root_of


class LoggedTrade(NamedTuple):
    """A trade as a commit stored it."""

    symbol: str
    time: datetime
    trade_id: int
    price: Decimal
    volume: Decimal


def trade_leaf(trade: LoggedTrade) -> bytes:
    """Return the leaf of a trade, as the function `log_trade_leaf` of the database does."""
    numbers = (_plain(trade.price), _plain(trade.volume))
    return json.dumps(["trade", trade.symbol, microseconds(trade.time), trade.trade_id, *numbers]).encode()


def _plain(number: Decimal) -> str:
    """Return a number without exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def root_of_trades(trades: Iterable[LoggedTrade]) -> bytes:
    """Return the root over the trades of a commit, sorted by symbol (as bytes), time and `trade_id`."""
    return root_of(leaf_hash(trade_leaf(each)) for each in trades)
