"""What the statements answer against the structs of `models`, which the OpenAPI document is made of."""

import json
from datetime import timedelta
from typing import Any, LiteralString

import msgspec
import pytest
from msgspec import Struct
from support import T0, Connection, store, trade

from market_data import queries
from market_data.models import Candle, LatestPrice, Symbol, Trade

LATER = T0 + timedelta(hours=1)


def test_columns_of_symbols_are_the_fields_in_order_and_type(connection: Connection):
    columns = connection.execute(queries.SYMBOLS).description or []
    assert tuple(column.name for column in columns) == Symbol.__struct_fields__
    assert [connection.adapters.types[column.type_code].name for column in columns] == ["text", "text", "timestamptz"]


@pytest.mark.parametrize(
    ("statement", "parameters", "struct"),
    [
        (queries.LATEST_PRICE, ("AAPL",), LatestPrice),
        (queries.TRADES, ("AAPL", T0, LATER, 10), Trade),
        (queries.TRADES_BELOW, ("AAPL", T0, LATER, LATER, 0, 10), Trade),
        *((statement, ("AAPL", T0, LATER, 10), Candle) for statement in queries.CANDLES.values()),
    ],
)
@pytest.mark.parametrize(("seconds", "volume"), [(0, "0"), (1.5, "12.50"), (59.999999, "0.000000000001")])
def test_json_of_the_database_is_that_of_the_struct(
    connection: Connection,
    statement: LiteralString,
    parameters: tuple[Any, ...],
    struct: type[Struct],
    seconds: float,
    volume: str,
):
    store(connection, trade(seconds, "104.90", volume, trade_id=-7))
    (text, *_) = connection.execute(statement, parameters).fetchone() or ("",)
    body: dict[str, Any] = json.loads(text)
    assert tuple(body) == struct.__struct_fields__
    read = msgspec.json.decode(text, type=struct)
    # Written as the encoder would write it, but for whole numbers, which it gives a fraction.
    assert json.loads(msgspec.json.encode(read)) == body
