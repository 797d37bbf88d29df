"""Snapshots of symbols, at a fixed time."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from helpers.support import Connection, Trade, store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_data.models import Candle, Last24Hours, LatestPrice, Snapshot
from market_data.queries.snapshots import read_snapshots

NOW = datetime(2026, 2, 10, 10, 37, 20, tzinfo=UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0)
WINDOW = datetime(2026, 2, 9, 10, 45, tzinfo=UTC)
"""Start of the first 15-minute candle that began within the last 24 hours."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def traded(time: datetime, price: str, volume: str = "1", *, symbol: str = "AAPL", trade_id: int = 0) -> Trade:
    return (time, symbol, trade_id, Decimal(price), Decimal(volume))


def read(connection: Connection, symbols: Sequence[str] | None = None, now: datetime = NOW) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        url = connection.info.dsn
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as other:
            found = await read_snapshots(other, symbols, now=now)
            snapshots = json.loads(f"[{found.rows}]", parse_float=Decimal)
            assert len(snapshots) == found.symbol_count
            return snapshots

    return asyncio.run(run())


def read_one(connection: Connection, symbol: str = "AAPL", now: datetime = NOW) -> dict[str, Any]:
    (snapshot,) = read(connection, [symbol], now)
    return snapshot


def test_snapshot_has_the_latest_trade_the_candles_and_the_change(connection: Connection):
    store(
        connection,
        traded(TODAY - 30 * HOUR, "80"),
        traded(TODAY - DAY + HOUR, "90.50", "2"),
        traded(TODAY - HOUR, "110"),
        traded(TODAY + HOUR, "95"),
        traded(NOW - 10 * MINUTE, "99.55", "4"),
        traded(NOW - 10 * MINUTE + timedelta(seconds=1), "99.5", "0.50"),
    )
    assert read_one(connection) == {
        "symbol": "AAPL",
        "latest": {
            "symbol": "AAPL",
            "price": Decimal("99.5"),
            "volume": Decimal("0.5"),
            "timestamp": "2026-02-10T10:27:21Z",
        },
        "day": {
            "timestamp": "2026-02-10T00:00:00Z",
            "open": 95,
            "high": Decimal("99.55"),
            "low": 95,
            "close": Decimal("99.5"),
            "volume": Decimal("5.5"),
            "vwap": Decimal("98.71818181818182"),
            "trade_count": 3,
            "closed": False,
        },
        "previous_day": {
            "timestamp": "2026-02-09T00:00:00Z",
            "open": Decimal("90.5"),
            "high": 110,
            "low": Decimal("90.5"),
            "close": 110,
            "volume": 3,
            "vwap": 97,
            "trade_count": 2,
            "closed": True,
        },
        "minute": {
            "timestamp": "2026-02-10T10:27:00Z",
            "open": Decimal("99.55"),
            "high": Decimal("99.55"),
            "low": Decimal("99.5"),
            "close": Decimal("99.5"),
            "volume": Decimal("4.5"),
            "vwap": Decimal("99.54444444444445"),
            "trade_count": 2,
            "closed": True,
        },
        "change": 9,
        "change_percent": Decimal("9.9447513812154696"),
        "price_24h_ago": Decimal("90.5"),
        "previous_close": 110,
        "last_24h": {
            "open": 110,
            "high": 110,
            "low": 95,
            "volume": Decimal("6.5"),
            "turnover": Decimal("652.95"),
            "trade_count": 4,
        },
    }


def test_fields_are_those_of_the_struct_in_its_order(connection: Connection):
    store(connection, traded(TODAY - HOUR, "1"), traded(NOW, "2"))
    snapshot = read_one(connection)
    assert list(snapshot) == list(Snapshot.__struct_fields__)
    candles = dict.fromkeys(("day", "previous_day", "minute"), Candle)
    for field, kind in {"latest": LatestPrice, "last_24h": Last24Hours, **candles}.items():
        assert list(snapshot[field]) == [name for name in kind.__struct_fields__ if name not in ("settled", "renamed_to")]


def test_symbol_that_was_not_traded_before_has_no_change(connection: Connection):
    store(connection, traded(WINDOW, "10"), traded(NOW, "12"))
    snapshot = read_one(connection)
    assert [snapshot[name] for name in ("change", "change_percent", "price_24h_ago")] == [None, None, None]
    assert (snapshot["last_24h"]["open"], snapshot["previous_close"]) == (10, 10)
    store(connection, traded(NOW, "5", symbol="MSFT"))
    assert read_one(connection, "MSFT")["previous_close"] is None
    assert read_one(connection, "MSFT")["previous_day"] is None


@pytest.mark.parametrize("ago", [timedelta(seconds=1), 2 * HOUR, 3 * DAY, 60 * DAY], ids=str)
def test_price_24_hours_ago_is_the_last_close_before_however_old(connection: Connection, ago: timedelta):
    store(connection, traded(WINDOW - ago - HOUR, "7"), traded(WINDOW - ago, "8"), traded(WINDOW, "9"), traded(NOW, "10"))
    snapshot = read_one(connection)
    assert (snapshot["price_24h_ago"], snapshot["change"], snapshot["change_percent"]) == (8, 2, 25)


@pytest.mark.parametrize("ago", [2 * DAY, 60 * DAY], ids=str)
def test_symbol_that_has_not_been_traded_for_days_has_not_changed(connection: Connection, ago: timedelta):
    store(connection, traded(NOW - ago - MINUTE, "7"), traded(NOW - ago, "8"))
    snapshot = read_one(connection)
    assert (snapshot["day"], snapshot["previous_day"], snapshot["minute"]["close"]) == (None, None, 8)
    assert (snapshot["change"], snapshot["change_percent"], snapshot["previous_close"]) == (0, 0, 8)
    assert snapshot["last_24h"] == {"open": None, "high": None, "low": None, "volume": 0, "turnover": 0, "trade_count": 0}


def test_previous_close_is_that_of_the_last_day_with_a_trade(connection: Connection):
    store(connection, traded(TODAY - 3 * DAY, "7"), traded(TODAY - 3 * DAY + HOUR, "8"), traded(TODAY + HOUR, "9"))
    snapshot = read_one(connection)
    assert (snapshot["previous_day"], snapshot["previous_close"], snapshot["price_24h_ago"]) == (None, 8, 8)


def test_symbols_are_in_alphabetical_order_without_those_that_have_no_trade(connection: Connection):
    store(connection, *(traded(NOW, "1", symbol=symbol) for symbol in ("MSFT", "AAPL", "TSLA")))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'Never traded')")
    assert [each["symbol"] for each in read(connection)] == ["AAPL", "MSFT", "TSLA"]
    assert [each["symbol"] for each in read(connection, ["IDLE", "MSFT", "TSLA"])] == ["MSFT", "TSLA"]
    assert read(connection, ["IDLE"]) == []


def test_candles_and_figures_that_do_not_contain_all_trades_yet_are_not_settled(connection: Connection):
    store(connection, traded(NOW - DAY, "1"), traded(NOW - HOUR, "2"))
    connection.execute("DELETE FROM stale_ranges")
    connection.execute("SELECT setval('refreshed_until', (extract(epoch FROM %s) * 1000000)::bigint)", (NOW,))

    def unsettled() -> set[str]:
        snapshot = read_one(connection)
        names = ("day", "previous_day", "minute", "last_24h")
        assert all(snapshot[name].get("settled", False) is False for name in names)
        return {name for name in names if "settled" in snapshot[name]}

    def expire(time: datetime) -> None:
        connection.execute(
            "INSERT INTO stale_ranges (level, since, until, write_id) VALUES (1, %(at)s, %(at)s, 1)", {"at": time}
        )

    assert unsettled() == set()
    expire(TODAY + HOUR)
    assert unsettled() == {"day", "last_24h"}
    expire(NOW - HOUR)
    assert unsettled() == {"day", "last_24h", "minute"}
    expire(TODAY - DAY)
    assert unsettled() == {"day", "last_24h", "minute", "previous_day"}


TIMES = st.integers(0, 4 * 24 * 60).map(lambda minutes: NOW - minutes * MINUTE)


def expected(trades: Sequence[Trade], now: datetime) -> dict[str, Any]:
    """Return the numbers of a snapshot, computed without a database."""
    by_time = sorted(trades, key=lambda each: (each[0], each[2]))
    today = now.replace(hour=0, minute=0, second=0)
    window = now - DAY + (-(now - DAY - today) % (15 * MINUTE))

    def last_price(before: datetime) -> Decimal | None:
        return next((price for time, _, _, price, _ in reversed(by_time) if time < before), None)

    def prices(start: datetime, end: datetime) -> list[Decimal]:
        return [price for time, _, _, price, _ in by_time if start <= time < end]

    price, before, within = by_time[-1][3], last_price(window), prices(window, now + DAY)
    return {
        "price": price,
        "day": [each(prices(today, now + DAY), default=None) for each in (max, min)],
        "previous_day": [each(prices(today - DAY, today), default=None) for each in (max, min)],
        "change": None if before is None else price - before,
        "price_24h_ago": before,
        "previous_close": last_price(today),
        "last_24h": (
            within[0] if within else None,
            max(within, default=None),
            min(within, default=None),
            *(len(within), sum(within), len(within)),
        ),
    }


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    trades=st.lists(st.tuples(TIMES, st.decimals(1, 1000, places=2)), min_size=1, max_size=12),
    now=st.integers(0, 1439).map(lambda minutes: NOW + minutes * MINUTE),
)
def test_numbers_are_those_of_the_trades(connection: Connection, trades: list[tuple[datetime, Decimal]], now: datetime):
    connection.execute("DELETE FROM trades")
    stored = [traded(time, str(price), trade_id=number) for number, (time, price) in enumerate(trades)]
    store(connection, *stored)
    snapshot = read_one(connection, now=now)

    def high_and_low(candle: dict[str, Any] | None) -> list[Any]:
        return [candle["high"], candle["low"]] if candle else [None, None]

    figures = snapshot["last_24h"]
    assert expected(stored, now) == {
        "price": snapshot["latest"]["price"],
        "day": high_and_low(snapshot["day"]),
        "previous_day": high_and_low(snapshot["previous_day"]),
        "change": snapshot["change"],
        "price_24h_ago": snapshot["price_24h_ago"],
        "previous_close": snapshot["previous_close"],
        "last_24h": tuple(figures[name] for name in ("open", "high", "low", "volume", "turnover", "trade_count")),
    }
