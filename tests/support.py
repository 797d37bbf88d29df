"""What tests of several groups share."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

PROJECT = Path(__file__).resolve().parents[1]

Connection = psycopg.Connection[Any]
Trade = tuple[datetime, str, int, Decimal, Decimal]
"""time, symbol, trade_id, price, volume"""

T0 = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)
"""An arbitrary minute that the tests' trades happen around."""


def store(connection: Connection, *trades: Trade) -> None:
    """Store trades, and first the symbols that they need."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO symbols (symbol, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [(symbol, f"{symbol} Ltd.") for symbol in {trade[1] for trade in trades}],
        )
        cursor.executemany("INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)", trades)


def trade(seconds: float, price: str, volume: str = "1", *, symbol: str = "AAPL", trade_id: int = 0) -> Trade:
    """A trade so many seconds after T0."""
    return (T0 + timedelta(seconds=seconds), symbol, trade_id, Decimal(price), Decimal(volume))
