"""What the statements answer against the structs of `models`, which the OpenAPI document is made of."""

import json
from datetime import timedelta
from typing import Any, LiteralString

import msgspec
import pytest
from msgspec import Struct
from support import T0, Connection, store, trade

from market_data import queries
from market_data.models import Candle, FilledCandle, LatestPrice, Symbol, Trade

WEEK = timedelta(weeks=1)

# A week that begins on a Monday, with T0 in it, of which `fill` makes one bucket at the least.
START = queries.WEEK_START + (T0 - queries.WEEK_START) // WEEK * WEEK
RANGE = {"symbol": "AAPL", "start": START, "start_id": 0, "end": START + WEEK, "end_id": 0, "limit": 10}


def test_columns_of_symbols_are_the_fields_in_order_and_type(connection: Connection):
    columns = connection.execute(queries.SYMBOLS).description or []
    assert tuple(column.name for column in columns) == Symbol.__struct_fields__
    assert [connection.adapters.types[column.type_code].name for column in columns] == [
        "text",
        "text",
        "timestamptz",
        "bool",
    ]


@pytest.mark.parametrize(
    ("statement", "parameters", "struct"),
    [
        (queries.LATEST_PRICE, ("AAPL",), LatestPrice),
        (queries.LATEST_PRICES, (), LatestPrice),
        (queries.LATEST_PRICES_OF, (["AAPL", "MSFT"],), LatestPrice),
        *((statement, RANGE, Trade) for (*_, form), statement in queries.TRADES.items() if form == "json"),
        *((statement, RANGE, Candle) for (*_, form), statement in queries.CANDLES.items() if form == "json"),
        *((statement, RANGE, FilledCandle) for (*_, form), statement in queries.FILLED_CANDLES.items() if form == "json"),
    ],
)
@pytest.mark.parametrize(("seconds", "volume"), [(0, "0"), (1.5, "12.50"), (59.999999, "0.000000000001")])
def test_json_of_the_database_is_that_of_the_struct(
    connection: Connection,
    statement: LiteralString,
    parameters: tuple[Any, ...] | dict[str, Any],
    struct: type[Struct],
    seconds: float,
    volume: str,
):
    store(connection, trade(seconds, "104.90", volume, trade_id=-7))
    (text, *_) = connection.execute(statement, parameters).fetchone() or ("",)
    rows = json.loads(f"[{text}]")
    assert {tuple(row) for row in rows} == {struct.__struct_fields__}
    read = msgspec.json.decode(f"[{text}]", type=list[struct])
    # Written as the encoder would write it, but for whole numbers, which it gives a fraction.
    assert json.loads(msgspec.json.encode(read)) == rows
