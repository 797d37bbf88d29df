"""Rows of the statements, compared with the structs of `models`, from which the OpenAPI document is generated."""

import json
from datetime import timedelta
from typing import Any, LiteralString

import msgspec
import pytest
from helpers.support import T0, Connection, one, store, trade
from msgspec import Struct

from market_data.models import Candle, FilledCandle, LatestPrice, Symbol, Trade
from market_data.queries.candles import CANDLES
from market_data.queries.gapfilled_candles import GAPFILLED_CANDLES
from market_data.queries.intervals import WEEK_START
from market_data.queries.latest_prices import ALL_LATEST_PRICES, EACH_LATEST_PRICE, SOME_LATEST_PRICES
from market_data.queries.symbols import SYMBOLS
from market_data.queries.trades import TRADES

WEEK = timedelta(weeks=1)

# A week that begins on a Monday and contains T0, so that `fill` makes at least one bucket.
START = WEEK_START + (T0 - WEEK_START) // WEEK * WEEK
RANGE = {"symbol": "AAPL", "start": START, "start_id": 0, "end": START + WEEK, "end_id": 0, "limit": 10}


def test_columns_of_symbols_are_the_fields_in_order_and_type(connection: Connection):
    columns = connection.execute(SYMBOLS).description or []
    assert (*(column.name for column in columns), "names", "renamed_to") == Symbol.__struct_fields__
    assert [connection.adapters.types[column.type_code].name for column in columns] == [
        "text",
        "text",
        "timestamptz",
        "bool",
        "bool",
        "text",
        "text",
        "text",
        "text",
        "date",
        "date",
        "text",
        "text",
    ]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (EACH_LATEST_PRICE, {"symbols": "AAPL"}),
        (ALL_LATEST_PRICES, ()),
        (SOME_LATEST_PRICES, {"symbols": ["AAPL", "MSFT"]}),
    ],
)
def test_columns_of_latest_prices_are_the_fields_in_order(connection: Connection, statement: LiteralString, parameters: Any):
    columns = connection.execute(statement, parameters).description or []
    _version, *names = ["timestamp" if column.name == "time" else column.name for column in columns]
    assert (*names, "renamed_to") == LatestPrice.__struct_fields__


@pytest.mark.parametrize(
    ("statement", "parameters", "struct"),
    [
        *((statement, RANGE, Trade) for (past, *_, form), statement in TRADES.items() if form == "json" and not past),
        *((statement, RANGE, Candle) for (past, *_, form), statement in CANDLES.items() if form == "json" and not past),
        *(
            (statement, RANGE, FilledCandle)
            for (past, *_, form), statement in GAPFILLED_CANDLES.items()
            if form == "json" and not past
        ),
        (TRADES[True, "asc", "asc", "json"], RANGE, Trade),
        (CANDLES[True, False, "1h", "asc", "asc", "json"], RANGE, Candle),
        (GAPFILLED_CANDLES[True, "1h", "previous", "asc", "json"], RANGE, FilledCandle),
    ],
)
@pytest.mark.parametrize(("seconds", "volume"), [(0, "0"), (1.5, "12.50"), (59.999999, "0.000000000001")])
def test_json_from_the_database_has_the_fields_of_the_struct(
    connection: Connection,
    statement: LiteralString,
    parameters: dict[str, Any],
    struct: type[Struct],
    seconds: float,
    volume: str,
):
    store(connection, trade(seconds, "104.90", volume, trade_id=-7))
    as_of = {"as_of": one(connection, "SELECT newest_version()"), "now": START + WEEK}
    (text, *_) = connection.execute(statement, {**parameters, **as_of}).fetchone() or ("",)
    rows = json.loads(f"[{text}]")
    always = tuple(field.name for field in msgspec.structs.fields(struct) if field.required)
    assert {tuple(row) for row in rows} == {always}
    read = msgspec.json.decode(f"[{text}]", type=list[struct])
    # As the encoder would write it, except that the encoder gives whole numbers a fraction.
    assert json.loads(msgspec.json.encode(read)) == rows
