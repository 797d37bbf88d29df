"""Intervals that only foreign protocols have, and rows as arrays, read without HTTP."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from helpers.support import Connection, Trade, store

from market_data.queries.candles import CandleRange, read_candles
from market_data.queries.derived_candles import read_derived_candles
from market_data.queries.intervals import MULTIPLES, bucket_start, next_bucket
from market_data.queries.row_pages import RowFormat, RowKey
from market_data.queries.trades import TradeRange, read_trades

START = datetime(2024, 1, 31, 22, 59, 58, tzinfo=UTC)
MONDAY = datetime(2000, 1, 3, tzinfo=UTC)
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def read_all(url: str, read: Any, rows: Any, limit: int, row_format: RowFormat = "arrays") -> list[list[Any]]:
    """Return the rows of all pages."""

    async def pages() -> list[list[Any]]:
        found: list[list[Any]] = []
        after: RowKey | None = None
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            while True:
                page = await read(connection, rows, limit, after, row_format)
                found += msgspec.json.decode(f"[{page.rows}]")
                if not page.has_more:
                    return found
                after = page.last

    return asyncio.run(pages())


def bucket_of(time: datetime, interval: str) -> datetime:
    """Return the start of a bucket, computed without the code under test."""
    number, unit = int(interval[:-1]), interval[-1]
    if unit != "M":
        return time - (time - MONDAY) % (number * UNITS[unit])
    return datetime(time.year, time.month - (time.month - 1) % number, 1, tzinfo=UTC)


def plain(number: Decimal | int) -> str:
    return format(Decimal(number).normalize(), "f")


def micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize("interval", MULTIPLES)
def test_candles_of_each_multiple_are_those_of_the_trades(connection: Connection, database_url: str, interval: str):
    draw = random.Random(interval)
    length = {"s": timedelta(hours=1), "m": timedelta(days=3), "h": timedelta(days=20)}.get(
        interval[-1], timedelta(days=900)
    )
    trades: list[Trade] = [
        (START + draw.random() * length, "AAPL", number, Decimal(draw.randrange(1, 9999)) / 100, Decimal(number + 1))
        for number in range(60)
    ]
    store(connection, *trades)
    expected: dict[datetime, list[Trade]] = {}
    for each in sorted(trades):
        expected.setdefault(bucket_of(each[0], interval), []).append(each)
    candles = CandleRange("AAPL", interval, bucket_of(START, interval), START + length)
    found = read_all(database_url, read_derived_candles, candles, 7)
    assert [row[:6] for row in found] == [
        [
            micros(bucket),
            *(plain(price) for price in (group[0][3], max(e[3] for e in group), min(e[3] for e in group))),
            plain(group[-1][3]),
            plain(sum(each[4] for each in group)),
        ]
        for bucket, group in expected.items()
    ]
    assert [Decimal(row[-1]) for row in found] == [sum(each[3] * each[4] for each in g) for g in expected.values()]
    for bucket in expected:
        assert bucket_start(bucket, interval, None) == bucket
        following = next_bucket(bucket, interval, None)
        assert bucket_start(following - timedelta(microseconds=1), interval, None) == bucket
        assert bucket_start(following, interval, None) == following == bucket_of(following, interval)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_arrays_have_every_digit_on_all_pages(connection: Connection, database_url: str, order: Any):
    digits = "123456789012345.123456789012345"
    store(
        connection, *((START + timedelta(minutes=n), "AAPL", 2**53 + n, Decimal(digits), Decimal("0.5")) for n in range(5))
    )
    until = START + timedelta(hours=1)
    trades = read_all(database_url, read_trades, TradeRange("AAPL", START, until, order), 2)
    expected = [["AAPL", digits, "0.5", micros(START + timedelta(minutes=n)), 2**53 + n] for n in range(5)]
    assert trades == (expected if order == "asc" else expected[::-1])
    bars = read_all(database_url, read_candles, CandleRange("AAPL", "1m", START - timedelta(minutes=1), until, order), 2)
    assert len(bars) == 5
    assert all(bar[1:6] == [digits] * 4 + ["0.5"] for bar in bars)
    assert {bar[-1] for bar in bars} == {"61728394506172.5617283945061725"}
    newest = TradeRange("AAPL", START, until, "asc", from_end=True)
    assert read_all(database_url, read_trades, newest, 2)[:2] == expected[-2:]
