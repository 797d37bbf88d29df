"""Prices of 0 and less: only trades of signed symbols have them, whoever writes; their candles are correct."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest
from helpers.candle_scenarios import MONDAY, connected_to_migrated, differing_intervals
from helpers.service import eventually
from helpers.support import SERVER, T0, Connection, Databases, one, store, trade
from psycopg import errors

INSERT: LiteralString = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    VALUES (%(time)s, %(symbol)s, 0, 1, 1), (%(time)s, %(symbol)s, 1, %(price)s, 1)
"""
UPSERT: LiteralString = """
    INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%(time)s, %(symbol)s, 9, 1, 1)
    ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = %(price)s
"""
WRITES: dict[str, LiteralString] = {
    "insert": INSERT,
    "update": "UPDATE trades SET price = %(price)s WHERE symbol = %(symbol)s",
    "upsert": UPSERT,
}
COPY = "COPY trades (time, symbol, trade_id, price, volume) FROM STDIN"
UNSIGN = "UPDATE symbols SET signed = false WHERE symbol = 'CL'"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def oil(connection: Connection) -> Connection:
    """Connect to a database with AAPL, and with CL, which is signed, each with a trade."""
    store(connection, trade(0, "10", trade_id=9), trade(0, "10", symbol="CL", trade_id=9))
    connection.execute("UPDATE symbols SET signed = true WHERE symbol = 'CL'")
    return connection


@pytest.mark.parametrize("price", ["0", "-37.63", "-0.000000000000000000000000000001"])
@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_only_signed_symbols_have_prices_of_zero_and_less(oil: Connection, statement: LiteralString, price: str):
    values = {"time": T0, "price": price}
    with pytest.raises(errors.CheckViolation) as rejected:
        oil.execute(statement, {**values, "symbol": "AAPL"})
    assert rejected.value.diag.constraint_name == "trades_price_positive"
    assert rejected.value.diag.message_primary == f"the price of a trade of AAPL must be greater than 0, not {price}"
    assert "UPDATE symbols SET signed = true WHERE symbol = 'AAPL'" in (rejected.value.diag.message_hint or "")
    oil.execute(statement, {**values, "symbol": "CL"})
    assert one(oil, "SELECT min(price) FROM trades WHERE symbol = 'CL'") == Decimal(price)
    assert one(oil, "SELECT count(*) FROM trades WHERE symbol = 'AAPL'") == 1


def test_copy_is_rejected_as_a_whole(oil: Connection):
    rows = "".join(f"{T0.isoformat()}\t{symbol}\t{n}\t-1\t1\n" for n, symbol in enumerate(["CL", "CL", "AAPL"]))
    with pytest.raises(errors.CheckViolation, match="AAPL must be greater than 0, not -1"), oil.cursor().copy(COPY) as copy:
        copy.write(rows)
    with oil.cursor().copy(COPY) as copy:
        copy.write(rows[: rows.rindex("\n", 0, -1) + 1])
    assert one(oil, "SELECT count(*) FROM trades WHERE price = -1") == 2


def test_trade_with_a_negative_price_can_not_move_to_another_symbol(oil: Connection):
    oil.execute("UPDATE trades SET price = -1 WHERE symbol = 'CL'")
    with pytest.raises(errors.CheckViolation, match="AAPL must be greater than 0"):
        oil.execute("UPDATE trades SET symbol = 'AAPL', trade_id = 5 WHERE symbol = 'CL'")


def test_symbol_stays_signed_while_it_has_such_prices(oil: Connection):
    oil.execute("UPDATE trades SET price = 0 WHERE symbol = 'CL'")
    with pytest.raises(errors.CheckViolation) as rejected:
        oil.execute(UNSIGN)
    assert rejected.value.diag.constraint_name == "symbols_signed_needed"
    oil.execute("UPDATE symbols SET name = 'Crude', signed = true WHERE symbol = 'CL'")
    oil.execute("UPDATE trades SET price = 1 WHERE symbol = 'CL'")
    oil.execute(UNSIGN)
    with pytest.raises(errors.CheckViolation, match="must be greater than 0"):
        oil.execute("UPDATE trades SET price = 0 WHERE symbol = 'CL'")


def test_late_trade_that_no_candle_shows_yet_keeps_its_symbol_signed(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        store(connection, trade(0, "10", symbol="CL"))
        connection.execute("UPDATE symbols SET signed = true")
        connection.execute("CALL refresh_candles()")
        store(connection, trade(1, "-37.63", symbol="CL"))
        assert one(connection, "SELECT low FROM candles_1w") == 10
        with pytest.raises(errors.CheckViolation, match="stays signed"):
            connection.execute(UNSIGN)
        connection.execute("CALL refresh_candles()")
        with pytest.raises(errors.CheckViolation, match="stays signed"):
            connection.execute(UNSIGN)


def test_candles_of_every_interval_are_correct_live_and_refreshed(new_migrated_database: Databases):
    prices = ["10.01", "0", "-37.63", "-0.5", "0.00", "3", "-13.10"]
    with connected_to_migrated(new_migrated_database) as connection:
        connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL', 'Crude oil', true)")
        trades = [trade(25 * n, price, str(n), symbol="CL", trade_id=n) for n, price in enumerate(prices)]
        store(connection, *trades)
        assert differing_intervals(connection, trades, MONDAY) == []
        connection.execute("CALL refresh_candles()")
        assert differing_intervals(connection, trades, MONDAY) == []
        low, high, volume, vwap = connection.execute(
            "SELECT low, high, volume, round(vwap, 10) FROM candles WHERE interval = '1h'"
        ).fetchall()[0]
        turnover = sum((Decimal(price) * n for n, price in enumerate(prices)), Decimal(0))
        assert (low, high, volume) == (Decimal("-37.63"), Decimal("10.01"), 21)
        assert vwap == round(turnover / 21, 10)


if SERVER:

    def test_symbol_waits_for_writers_before_it_is_unsigned(oil: Connection, other: Connection, database_url: str):
        other.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'CL', -1, 1)", (T0,))
        with psycopg.connect(database_url) as third, ThreadPoolExecutor(1) as threads:
            unsigned = threads.submit(third.execute, UNSIGN)
            eventually(lambda: one(oil, WAITING) == 1)
            other.commit()
            with pytest.raises(errors.CheckViolation, match="stays signed"):
                unsigned.result(10)

    def test_writer_waits_until_a_symbol_is_unsigned(oil: Connection, other: Connection):
        other.execute(UNSIGN)
        with ThreadPoolExecutor(1) as threads:
            insert = "INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'CL', -1, 1)"
            written = threads.submit(oil.execute, insert, (T0,))
            eventually(lambda: one(other, WAITING) == 1)
            other.commit()
            with pytest.raises(errors.CheckViolation, match="must be greater than 0"):
                written.result(10)
