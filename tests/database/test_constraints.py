"""Constraints of the tables."""

from typing import Any, LiteralString

import psycopg
import pytest
from helpers.support import T0, Connection, store, trade
from psycopg import errors

INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"


@pytest.fixture
def aapl(connection: Connection) -> Connection:
    store(connection, trade(0, "1"))
    return connection


@pytest.mark.parametrize(
    ("column", "value", "error", "constraint"),
    [
        ("price", "0", errors.CheckViolation, "trades_price_positive"),
        ("price", "-0.01", errors.CheckViolation, "trades_price_positive"),
        ("price", "NaN", errors.CheckViolation, "trades_price_in_range"),
        ("price", "Infinity", errors.CheckViolation, "trades_price_in_range"),
        ("price", "-Infinity", errors.CheckViolation, "trades_price_in_range"),
        ("price", None, errors.NotNullViolation, None),
        ("volume", "-0.01", errors.CheckViolation, "trades_volume_not_negative"),
        ("volume", "NaN", errors.CheckViolation, "trades_volume_not_negative"),
        ("volume", "Infinity", errors.CheckViolation, "trades_volume_not_negative"),
        ("volume", None, errors.NotNullViolation, None),
        ("symbol", "ACME", errors.ForeignKeyViolation, "trades_symbol_fkey"),
        ("symbol", "aapl", errors.ForeignKeyViolation, "trades_symbol_fkey"),
        ("symbol", None, errors.NotNullViolation, None),
        ("trade_id", None, errors.NotNullViolation, None),
        ("time", None, errors.NotNullViolation, None),
        # Times that neither RFC 3339 nor Python can represent.
        ("time", "infinity", errors.CheckViolation, None),
        ("time", "10000-01-01 00:00:00Z", errors.CheckViolation, None),
        ("time", "0044-03-15 12:00:00Z BC", errors.CheckViolation, None),
    ],
)
def test_impossible_trade_is_rejected(
    aapl: Connection, column: str, value: str | None, error: type[psycopg.Error], constraint: str | None
):
    good = {"time": T0, "symbol": "AAPL", "trade_id": 1, "price": "1", "volume": "1"}
    with pytest.raises(error) as caught:
        aapl.execute(INSERT, [*(good | {column: value}).values()])
    if constraint:
        assert (caught.value.diag.constraint_name or "").endswith(constraint)


@pytest.mark.parametrize("number", ["0.000000000000000000000000000001", "123456789012345678901234567890.5", "1.10"])
def test_numbers_are_stored_exactly(aapl: Connection, number: str):
    stored = aapl.execute(f"{INSERT} RETURNING price::text, volume::text", (T0, "AAPL", 1, number, number)).fetchone()
    assert stored == (number, number)


def test_trade_is_identified_by_symbol_time_and_trade_id(aapl: Connection):
    again: LiteralString = f"{INSERT} ON CONFLICT (symbol, time, trade_id) DO NOTHING"
    for _ in range(2):
        aapl.execute(again, (T0, "AAPL", 7, "2", "2"))
    with pytest.raises(errors.UniqueViolation):
        aapl.execute(INSERT, (T0, "AAPL", 7, "3", "3"))
    assert aapl.execute("SELECT trade_id, price FROM trades ORDER BY trade_id").fetchall() == [(0, 1), (7, 2)]


def test_trade_id_is_optional(aapl: Connection):
    row = aapl.execute("""
        INSERT INTO trades (time, symbol, price, volume) VALUES ('2026-01-01T00:00:00Z', 'AAPL', 1, 1)
        RETURNING trade_id, write_id = currval('write_ids')
    """).fetchone()
    assert row == (0, True)


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "aapl",
        "-A",
        "A  B",
        "A ",
        "A\n",
        "Ä",
        "A" * 65,
        " A",
        "A,B",
        "A;B",
        "A'B",
        'A"B',
        "A\\B",
        "A%B",
        "A?B",
        "=A",
        "+A",
        "@A",
        "#A",
        "..",
        "./A",
    ],
)
def test_invalid_symbol_is_rejected(connection: Connection, symbol: str):
    with pytest.raises(errors.CheckViolation):
        connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, 'x')", (symbol,))


@pytest.mark.parametrize(
    "symbol",
    [
        "A",
        "1",
        "BRK.B",
        "EUR/USD",
        "BTC-USD",
        "ES=F",
        "A^B",
        "A_B",
        "^",
        "BINANCE:BTCUSDT",
        "ES 03-26",
        "AAPL US EQUITY",
        ".SPX",
        "$TICK",
        "ES #F",
        "M&M",
        "ES1!",
        "BAC+A",
        "A" * 64,
    ],
)
def test_valid_symbol_is_accepted(connection: Connection, symbol: str):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, 'x')", (symbol,))


def test_symbol_with_trades_can_not_be_dropped(aapl: Connection):
    with pytest.raises(errors.ForeignKeyViolation):
        aapl.execute("DELETE FROM symbols")


@pytest.mark.parametrize("values", [{"name": None}, {"created_at": None}])
def test_columns_of_a_symbol_are_required(connection: Connection, values: dict[str, Any]):
    row = {"symbol": "A", "name": "x", "created_at": T0} | values
    with pytest.raises(errors.NotNullViolation):
        connection.execute("INSERT INTO symbols (symbol, name, created_at) VALUES (%s, %s, %s)", [*row.values()])
