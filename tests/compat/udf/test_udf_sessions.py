"""Sessions, adjustments and attributes of symbols in TradingView's data feed and in `/binance`."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from helpers.calendars import store_calendar
from helpers.support import Connection

LAST = 1_609_372_800
"""2020-12-31 as Unix time."""


@pytest.fixture
def client(listed: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{listed}/udf") as opened:
        yield opened


def symbol(client: httpx.Client, name: str) -> Any:
    return client.get("/symbols", params={"symbol": name}).json()


def own(client: httpx.Client, name: str, interval: str) -> dict[str, list[Any]]:
    parameters = {"symbol": name, "interval": interval, "start": "2020-08-01", "end": "2020-12-31"}
    more = {"session": "regular", "adjustment": "raw" if name == "PLAIN" else "split"}
    rows = httpx.get(str(client.base_url.join("/candles")), params={**parameters, **more}).json()["candles"]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    times = [int(datetime.fromisoformat(row["timestamp"]).timestamp()) for row in rows]
    return {"t": times, **{short: [row[long] for row in rows] for short, long in names.items()}}


@pytest.mark.parametrize("name", ["AAPL", "COIN", "PLAIN"])
@pytest.mark.parametrize(("resolution", "interval"), [("1", "1m"), ("60", "1h"), ("1D", "1d"), ("1W", "1w"), ("1M", "1M")])
def test_bars_are_those_of_the_sessions(client: httpx.Client, name: str, resolution: str, interval: str):
    given = {"symbol": name, "resolution": resolution, "from": 1_596_240_000, "to": LAST}
    assert client.get("/history", params=given).json() == {"s": "ok", **own(client, name, interval)}


def test_bars_of_hours_start_at_the_opening(client: httpx.Client):
    given = {"symbol": "AAPL", "resolution": "60", "to": LAST, "countback": 3}
    times = [f"{datetime.fromtimestamp(each, UTC):%d %H:%M}" for each in client.get("/history", params=given).json()["t"]]
    assert times == ["31 13:30", "31 19:30", "27 14:30"]
    days = client.get("/history", params={**given, "resolution": "1D"}).json()
    assert [datetime.fromtimestamp(each, UTC).date() for each in days["t"]] == [
        date(2020, 8, 28),
        date(2020, 8, 31),
        date(2020, 11, 27),
    ]
    empty = client.get("/history", params={"symbol": "AAPL", "resolution": "1D", "from": LAST - 86_400, "to": LAST}).json()
    assert empty == {"s": "no_data", "nextTime": days["t"][-1]}


def test_symbols_have_their_attributes(client: httpx.Client):
    found = {name: symbol(client, name) for name in ("AAPL", "COIN", "PLAIN")}
    members = ("type", "session", "timezone", "pricescale", "minmov")
    assert {name: [each[member] for member in members] for name, each in found.items()} == {
        "AAPL": ["stock", "0930-1600", "America/New_York", 100, 1],
        "COIN": ["crypto", "24x7", "Etc/UTC", 100, 25],
        "PLAIN": ["fund", "24x7", "Etc/UTC", 10**15, 1],
    }
    types = {each["value"] for each in client.get("/config").json()["symbols_types"]}
    assert {each["type"] for each in found.values()} < types
    assert [each["symbol"] for each in client.get("/search", params={"query": "", "type": "crypto"}).json()] == ["COIN"]


@pytest.mark.parametrize(("code", "hours"), [("XNYS", "0930-1600"), ("XTKS", "0900-1130,1230-1530")])
def test_hours_are_those_of_the_calendar(connection: Connection, base: str, code: str, hours: str):
    today = datetime.now(UTC).date()
    sessions = store_calendar(connection, code, today - timedelta(days=200), today + timedelta(days=200))
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('A', 'A', %s)", (code,))
    found = httpx.get(f"{base}/udf/symbols", params={"symbol": "A"}).json()
    assert found["session"] == hours
    holidays = {
        datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date() for text in found["session_holidays"].split(",")
    }
    days = {each.day for each in sessions}
    span = (sessions[0].day + timedelta(number) for number in range((sessions[-1].day - sessions[0].day).days + 1))
    assert holidays == {day for day in span if day.weekday() < 5 and day not in days}
    if code == "XNYS":
        other, _, early = found["corrections"].partition(":")
        assert other == "0930-1300"
        assert {f"{each.day:%Y%m%d}" for each in sessions if each.closes_at - each.opens_at < timedelta(hours=6)} == set(
            early.split(",")
        )


def test_steps_of_prices_in_exchange_information(client: httpx.Client):
    found = httpx.get(str(client.base_url.join("/binance/api/v3/exchangeInfo"))).json()["symbols"]
    steps = {each["symbol"]: each["filters"][0]["tickSize"] for each in found}
    assert steps == {"AAPL": "0.01", "COIN": "0.25", "PLAIN": "0.00000001"}
