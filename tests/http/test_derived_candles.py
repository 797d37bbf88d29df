"""Candles that are computed at read time: intervals that are not stored, and days, weeks and months of a time zone."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from helpers.support import T0, Connection, Trade, store, trade
from litestar.testing import TestClient

MONDAY = datetime(2000, 1, 3, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIXED = {
    "1s": SECOND,
    "5s": 5 * SECOND,
    "15s": 15 * SECOND,
    "3m": 3 * MINUTE,
    "2h": 2 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "3d": 3 * DAY,
}
ZONES = {
    "America/New_York": [(2026, 3, 8), (2025, 11, 2)],
    "Australia/Lord_Howe": [(2026, 4, 5)],  # half an hour of summer time
    "Asia/Kolkata": [(2026, 2, 8)],
    "Asia/Kathmandu": [(2026, 2, 8)],
    "America/Sao_Paulo": [(2018, 11, 4)],  # a day that begins at 01:00
    "America/Havana": [(2022, 11, 6)],  # a day with two midnights
    "Pacific/Apia": [(2011, 12, 30)],  # a day that did not happen
    "UTC": [(2026, 2, 8)],
}

Body = dict[str, Any]


def random_trades(first: datetime, until: datetime, count: int, seed: int = 1) -> list[Trade]:
    """Return trades at random times, a third of them close together."""
    draw = random.Random(seed)
    length = until - first
    times = [first + draw.random() * length for _ in range(count)]
    times += [draw.choice(times) + timedelta(milliseconds=draw.randrange(3000)) for _ in range(count // 2)]
    return [
        (time, "AAPL", number, Decimal(draw.randrange(1, 10_000)) / 100, Decimal(draw.randrange(0, 500)) / 10)
        for number, time in enumerate(times)
    ]


def expected_candles(trades: Iterable[Trade], key: Callable[[datetime], Any]) -> dict[Any, tuple[Any, ...]]:
    """Return open, high, low, close, volume and number of trades by bucket, grouped in Python."""
    groups: dict[Any, list[Trade]] = {}
    for each in sorted(trades, key=lambda each: (each[0], each[2])):
        groups.setdefault(key(each[0]), []).append(each)
    return {
        bucket: (
            float(group[0][3]),
            float(max(each[3] for each in group)),
            float(min(each[3] for each in group)),
            float(group[-1][3]),
            float(sum(each[4] for each in group)),
            len(group),
        )
        for bucket, group in groups.items()
    }


def values(row: Body) -> tuple[Any, ...]:
    return row["open"], row["high"], row["low"], row["close"], row["volume"], row["trade_count"]


def start_of(row: Body) -> datetime:
    return datetime.fromisoformat(row["timestamp"])


def pages(client: TestClient, parameters: Body) -> Iterator[list[Body]]:
    url = str(client.build_request("GET", "/candles", params=parameters).url)
    while url:
        response = client.get(url)
        yield response.json()["candles"]
        url = response.links.get("next", {}).get("url")


def in_pages(client: TestClient, parameters: Body, limit: int) -> Sequence[Body]:
    return [row for page in pages(client, parameters | {"limit": limit}) for row in page]


@pytest.mark.parametrize("interval", FIXED)
def test_candles_of_fixed_intervals_are_those_of_a_plain_grouping(client: TestClient, connection: Connection, interval: str):
    width = FIXED[interval]
    first, until = T0 - 40 * width, T0 + 40 * width
    trades = random_trades(first, until, 120)
    store(connection, *trades, trade(0, "999", symbol="MSFT"))
    expected = expected_candles(trades, lambda time: time - (time - MONDAY) % width)
    parameters = {"symbol": "AAPL", "interval": interval, "start": first.isoformat(), "end": until.isoformat()}
    rows = client.get("/candles", params=parameters).json()["candles"]
    expected = {bucket: candle for bucket, candle in expected.items() if first <= bucket < until}
    assert {start_of(row): values(row) for row in rows} == expected
    assert [start_of(row) for row in rows] == sorted(expected)
    assert in_pages(client, parameters, 17) == rows
    assert in_pages(client, parameters | {"order": "desc"}, 17) == rows[::-1]


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_reach_over_long_gaps(client: TestClient, connection: Connection, order: str, limit: int):
    gaps = [0, 3, 2000, 2003, 90_000]
    store(connection, *(trade(60.0 * minute, "5") for minute in gaps))
    for interval in ("3m", "2h", "1M"):
        parameters = {"symbol": "AAPL", "interval": interval, "start": "2020-01-01", "end": "2027-12-01", "order": order}
        whole = client.get("/candles", params=parameters).json()["candles"]
        assert in_pages(client, parameters, limit) == whole
        assert sum(row["trade_count"] for row in whole) == len(gaps)
        newest = in_pages(client, {"symbol": "AAPL", "interval": interval, "end": "2027-12-01", "order": "desc"}, limit)
        assert newest == sorted(whole, key=start_of, reverse=True)


@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, days in ZONES.items() for day in days])
@pytest.mark.parametrize("interval", ["1d", "1w", "1M"])
def test_days_weeks_and_months_of_a_zone_begin_at_its_midnights(
    client: TestClient, connection: Connection, zone: str, day: tuple[int, int, int], interval: str
):
    tz = ZoneInfo(zone)
    middle = datetime(*day, tzinfo=UTC)
    trades = random_trades(middle - 9 * DAY, middle + 9 * DAY, 200)
    trades += [
        (middle + timedelta(minutes=minute), "AAPL", 9000 + minute, Decimal(5), Decimal(1))
        for minute in range(-900, 2400, 29)
    ]
    store(connection, *trades)

    def bucket(time: datetime) -> date:
        local = time.astimezone(tz).date()
        if interval == "1M":
            return local.replace(day=1)
        return local - timedelta(days=(local - MONDAY.date()).days % {"1d": 1, "3d": 3, "1w": 7}[interval])

    parameters = {"symbol": "AAPL", "interval": interval, "tz": zone.lower(), "start": "2000-01-01", "end": "2027-01-01"}
    rows = client.get("/candles", params=parameters).json()["candles"]
    assert {bucket(start_of(row)): values(row) for row in rows} == expected_candles(trades, bucket)
    for row in rows:  # the first instant of its bucket
        start = start_of(row)
        assert bucket(start) != bucket(start - timedelta(microseconds=1))
    assert in_pages(client, parameters | {"order": "desc"}, 3) == rows[::-1]


@pytest.mark.parametrize("fill", ["previous", "null"])
@pytest.mark.parametrize(("interval", "zone"), [("15s", None), ("3m", None), ("1M", None), ("1d", "America/New_York")])
def test_fill_adds_each_bucket_that_is_empty(
    client: TestClient, connection: Connection, interval: str, zone: str | None, fill: str
):
    width = {"15s": 15 * SECOND, "3m": 3 * MINUTE, "1M": 31 * DAY, "1d": DAY}[interval]
    store(connection, *((T0 + number * width, "AAPL", 0, Decimal(number + 10), Decimal(1)) for number in (-9, 0, 3, 4)))
    parameters = {"symbol": "AAPL", "interval": interval, "fill": fill, **({"tz": zone} if zone else {})}
    parameters |= {"start": (T0 - 2 * width).isoformat(), "end": (T0 + 5 * width).isoformat()}
    rows = client.get("/candles", params=parameters).json()["candles"]
    stored = client.get("/candles", params={name: value for name, value in parameters.items() if name != "fill"}).json()
    assert [{**row, "filled": False} for row in stored["candles"]] == [row for row in rows if not row["filled"]]
    lengths = {later - earlier for earlier, later in pairwise(map(start_of, rows))}
    assert len(rows) >= 6
    assert max(lengths) <= width + HOUR
    price = 1 if fill == "previous" else None
    for row in rows:
        if row["filled"]:
            assert values(row) == (price, price, price, price, 0, 0)
        elif fill == "previous":
            price = row["close"]
    assert in_pages(client, parameters, 2) == rows
    assert in_pages(client, parameters | {"order": "desc"}, 2) == rows[::-1]


def test_seconds_need_a_short_range_and_trades(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"), trade(1, "2"))
    hour = {"symbol": "AAPL", "interval": "1s", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
    assert client.get("/candles", params=hour).json()["count"] == 2
    long = client.get("/candles", params=hour | {"start": "2026-02-01T10:59:59Z"})
    assert long.status_code == 400
    assert long.json()["errors"][0]["name"] == "start"
    connection.execute("UPDATE retention SET dropped_before = '2026-02-08T10:30:00Z'")
    try:
        gone = client.get("/candles", params=hour)
        assert gone.status_code == 410
        assert "2026-02-08T10:30:00" in gone.json()["detail"]
        assert client.get("/candles", params=hour | {"start": "2026-02-08T10:30:00Z"}).json()["count"] == 2
        assert client.get("/candles", params=hour | {"interval": "3m"}).status_code == 200
        newest = client.get("/candles", params={"symbol": "AAPL", "interval": "1s", "end": hour["end"]}).json()
        assert (newest["start"], newest["count"]) == ("2026-02-08T10:30:00Z", 2)
    finally:
        connection.execute("UPDATE retention SET dropped_before = '-infinity'")


def test_open_bucket_is_not_closed_and_not_cached(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    store(connection, (now, "AAPL", 0, Decimal(5), Decimal(1)))
    for interval in ("15s", "12h", "3d", "1M"):
        start = "now-40d" if interval == "1M" else "now-6d"
        response = client.get("/candles", params={"symbol": "AAPL", "interval": interval, "start": start})
        assert response.json()["candles"][-1]["closed"] is False
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "1900-01-01"])
@pytest.mark.parametrize("interval", ["3m", "3d", "1M"])
def test_bounds_may_be_far_away(client: TestClient, connection: Connection, start: str, interval: str):
    store(connection, trade(0, "1"))
    for more in ({}, {"tz": "America/New_York"}, {"fill": "previous", "limit": 5}):
        if "tz" in more and interval == "3m":
            continue
        parameters = {"symbol": "AAPL", "interval": interval, "start": start, "end": "9999-12-31T23:59:59.999999Z", **more}
        response = client.get("/candles", params=parameters)
        assert response.status_code == 200
        if "fill" not in more:
            assert response.json()["count"] == 1
