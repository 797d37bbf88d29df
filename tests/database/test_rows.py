"""What the statements answer against the structs that describe it."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec import Raw, Struct
from support import T0, Connection, store, trade

from market_data import queries
from market_data.models import Candle, LatestPrice, Symbol, Trade

RANGE = (T0, T0 + timedelta(hours=1))


def run(database_url: str, query: Any, *arguments: Any) -> Any:
    async def ask() -> Any:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            return await query(connection, *arguments)

    return asyncio.run(ask())


def test_columns_of_symbols_are_the_fields_in_order(connection: Connection):
    columns = connection.execute(queries.SYMBOLS).description or []
    assert tuple(column.name for column in columns) == Symbol.__struct_fields__


@pytest.mark.parametrize(
    ("query", "arguments", "struct"),
    [
        (queries.trades, ("AAPL", *RANGE, 10), Trade),
        (queries.trades, ("AAPL", *RANGE, 10, (RANGE[1], 0)), Trade),
        *((queries.candles, ("AAPL", interval, *RANGE, 10), Candle) for interval in queries.INTERVALS),
    ],
)
def test_pages_are_the_json_of_structs(
    database_url: str, connection: Connection, query: Any, arguments: tuple[Any, ...], struct: type[Struct]
):
    store(connection, trade(0, "1.50"), trade(60.5, "2", "0", trade_id=3), trade(120.25, "99999999999999.9", "12.50"))
    page = run(database_url, query, *arguments)
    assert (page.count, page.last) == (3, None)
    assert_json_of(struct, page.json, 3)


def test_latest_price_is_the_json_of_a_struct(database_url: str, connection: Connection):
    store(connection, trade(0.000001, "1.50"))
    latest = run(database_url, queries.latest_price, "AAPL")
    assert_json_of(LatestPrice, Raw(b"[" + bytes(latest) + b"]"), 1)


def assert_json_of(struct: type[Struct], json: Raw, count: int) -> None:
    """It has the fields of the struct, in order, with values of their types."""
    rows = msgspec.json.decode(json)
    assert len(rows) == count
    assert all(tuple(row) == struct.__struct_fields__ for row in rows)
    assert msgspec.to_builtins(msgspec.json.decode(json, type=list[struct])) == rows
