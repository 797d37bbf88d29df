"""Comparison of the database, the API and the copies of stream clients with the model."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from helpers.candle_scenarios import INTERVALS, Row
from helpers.chaos.model import SYMBOLS, Model, TradeKey, Values, candles
from helpers.chaos.stage import Stage, connect
from helpers.follower import CandleKey, Follower, Market, Price, read_market
from helpers.follower import TradeKey as CopiedTradeKey
from helpers.support import Connection

ACTOR = "chaos"
"""Name of the API key of the writers."""

TRADES = "SELECT symbol, time, trade_id, price, volume FROM trades"
DROPPED_BEFORE = "SELECT nullif(dropped_before, '-infinity') FROM retention"
CANDLES = {
    interval: f"""
        SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count, (turnover / nullif(volume, 0))::float8
        FROM candles_{interval}
        ORDER BY symbol, bucket
    """
    for interval in INTERVALS
}
LATEST = "SELECT symbol, time, trade_id, price, volume FROM latest_trades"
CHANGES = f"SELECT id, action, symbol, time, trade_id FROM trade_changes WHERE actor = '{ACTOR}' ORDER BY id"
COUNTS = "SELECT (SELECT sum(trade_count) FROM data_version), (SELECT count(*) FROM trades)"
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


def differences(stage: Stage, model: Model, followers: Mapping[str, Follower]) -> list[str]:
    """Return everything in which the service differs from the model."""
    with connect(stage) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ((dropped_before,),) = connection.execute(DROPPED_BEFORE).fetchall()
        found, stored = _compare_database(connection, model, dropped_before or LONG_AGO)
    with httpx.Client(base_url=stage.environment.address, timeout=60) as api:
        answered = read_market(api)
    found += labelled("API", answered.differences(stored))
    for name, follower in followers.items():
        copied = without_dropped(follower.copy.market, dropped_before or LONG_AGO)
        found += labelled(f"copy over {name}", copied.differences(answered))
    return found


def _compare_database(connection: Connection, model: Model, dropped_before: datetime) -> tuple[list[str], Market]:
    """Return the differences of the database from the model, and the market that the database has."""
    rows = connection.execute(TRADES.encode()).fetchall()
    stored = {TradeKey(*row[:3]): Values(*row[3:]) for row in rows}
    fed = {key: values for key, values in stored.items() if key.symbol not in SYMBOLS}
    kept = {key: values for key, values in model.trades.items() if key.time >= dropped_before}
    found = compare("trade", kept | fed, stored)
    market = Market({CopiedTradeKey(*key): floats(values) for key, values in stored.items()})
    for interval, query in CANDLES.items():
        expected = by_bucket(candles((model.trades | fed).items(), interval))
        rows = connection.execute(query.encode()).fetchall()
        found += compare(f"candle of {interval}", expected, by_bucket(row[:-1] for row in rows))
        market.candles |= {CandleKey(row[0], interval, row[1]): candle_values(row) for row in rows}
    newest = {key.symbol: (key, values) for key, values in sorted((model.trades | fed).items())}
    rows = connection.execute(LATEST.encode()).fetchall()
    latest = {row[0]: (TradeKey(*row[:3]), Values(*row[3:])) for row in rows}
    found += compare("latest trade", newest, latest)
    market.prices = {symbol: Price(key.time, *floats(values)) for symbol, (key, values) in latest.items()}
    changes = {(row[0], row[1], TradeKey(*row[2:])): 1 for row in connection.execute(CHANGES.encode()).fetchall()}
    found += compare("change", {tuple(each): 1 for each in model.changes}, changes)
    ((counted, present),) = connection.execute(COUNTS.encode()).fetchall()
    if counted != present:
        found.append(f"data_version counts {counted} trades of {present}")
    return found, market


def compare(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    return [
        f"{what} {key}: {found.get(key)} instead of {expected.get(key)}"
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    ]


def labelled(label: str, found: Iterable[str]) -> list[str]:
    return [f"{label}: {each}" for each in found]


def by_bucket(rows: Iterable[Row]) -> dict[tuple[str, datetime], tuple[Any, ...]]:
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def floats(values: Values) -> tuple[float, float]:
    return float(values.price), float(values.volume)


def candle_values(row: Any) -> tuple[Any, ...]:
    """Return the values of a candle as the API has them."""
    *_, volume, _, trade_count, vwap = row
    return (*map(float, row[2:6]), float(volume), vwap, trade_count)


def without_dropped(market: Market, dropped_before: datetime) -> Market:
    """Return a copy without the trades that were dropped: no event says so."""
    kept = {key: values for key, values in market.trades.items() if key.time >= dropped_before}
    return Market(kept, market.candles, market.prices)
