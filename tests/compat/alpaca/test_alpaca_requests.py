"""Requests at `/alpaca` that alpaca-py does not send: one symbol, bad input, and bounds of ranges."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from helpers.support import T0, Connection, Trade, now_within_minute, store, trade

DAY = {"start": "2026-02-08", "end": "2026-02-08"}


def at_midnight(days: int, price: str) -> Trade:
    time = T0.replace(hour=0, minute=0) + timedelta(days=days)
    return (time, *trade(0, price)[1:])


@pytest.fixture
def stocks(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{base}/alpaca/v2/stocks") as client:
        yield client


def times(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["t"] for rows in (answer.json().get("trades") or answer.json()["bars"]).values() for row in rows]


@pytest.mark.parametrize("path", ["BTC/USD", "BTC%2FUSD", "btc/usd", "BRK.B"])
def test_one_symbol(stocks: httpx.Client, connection: Connection, path: str):
    name = path.upper().replace("%2F", "/")
    store(connection, trade(0, "1.50", symbol=name), trade(61, "2", symbol=name))
    several: dict[str, Any] = {}
    for kind in ("bars", "trades"):
        parameters = {**DAY, "limit": "1", **({"timeframe": "1Min"} if kind == "bars" else {})}
        several = stocks.get(f"/{kind}", params={"symbols": name, **parameters}).json()
        one = stocks.get(f"/{path}/{kind}", params=parameters).json()
        assert one == {kind: several[kind][name], "symbol": name, "next_page_token": one["next_page_token"]}
        assert len(one[kind]) == 1
        second = stocks.get(f"/{path}/{kind}", params={**parameters, "page_token": one["next_page_token"]}).json()
        assert (len(second[kind]), second["next_page_token"]) == (1, None)
    for kind, key in (("bars", "bar"), ("trades", "trade")):
        latest = stocks.get(f"/{kind}/latest", params={"symbols": name}).json()[kind][name]
        assert stocks.get(f"/{path}/{kind}/latest").json() == {"symbol": name, key: latest}
    snapshot = stocks.get("/snapshots", params={"symbols": name}).json()[name]
    assert stocks.get(f"/{path}/snapshot").json() == {"symbol": name, **snapshot}
    assert stocks.get(f"/{path}/quotes").json() == {"quotes": [], "symbol": name, "next_page_token": None}


def test_one_symbol_without_data(stocks: httpx.Client):
    empty = {"symbol": "NOPE", "next_page_token": None}
    assert stocks.get("/NOPE/bars", params={"timeframe": "1Day"}).json() == {"bars": [], **empty}
    assert stocks.get("/NOPE/trades").json() == {"trades": [], **empty}
    for kind in ("bars/latest", "trades/latest", "quotes/latest", "snapshot"):
        answer = stocks.get(f"/NOPE/{kind}")
        assert answer.status_code == 404
        assert answer.json()["code"] == 40410000


def test_both_ends_of_a_range_are_inclusive(stocks: httpx.Client, connection: Connection):
    store(connection, at_midnight(0, "1"), trade(0, "2"), trade(0.000001, "3"), at_midnight(1, "4"))
    midnight, noon = "2026-02-08T00:00:00Z", "2026-02-08T10:30:00Z"

    def listed(start: str, end: str) -> list[str]:
        return times(stocks.get("/trades", params={"symbols": "AAPL", "start": start, "end": end}))

    assert listed(noon, noon) == [noon]
    assert listed(midnight, "2026-02-08T11:30:00.0000009+01:00") == [midnight, noon]
    assert listed("2026-02-08", "2026-02-08") == [midnight, noon, "2026-02-08T10:30:00.000001Z"]
    assert listed("2026-02-08", "2026-02-09T00:00:00Z")[-1] == "2026-02-09T00:00:00Z"
    bars = stocks.get("/bars", params={"symbols": "AAPL", "timeframe": "1Min", "start": midnight, "end": noon})
    assert times(bars) == [midnight, noon]


def test_a_range_starts_today_and_ends_now_by_default(stocks: httpx.Client, connection: Connection):
    today = now_within_minute().replace(hour=0, minute=0, second=0, microsecond=0)
    store(connection, *((time, *trade(0, "1")[1:]) for time in (today - timedelta(microseconds=1), today)))
    found = stocks.get("/trades", params={"symbols": "AAPL"})
    assert times(found) == [f"{today:%Y-%m-%dT%H:%M:%SZ}"]


def test_numbers_have_every_stored_digit(stocks: httpx.Client, connection: Connection):
    price, volume = "12345678901234567890.123456789", "0.000000000000000000123"
    store(connection, trade(0, price, volume))
    for path in ("/bars?timeframe=1Min&", "/trades?", "/trades/latest?", "/snapshots?", "/bars/latest?"):
        text = stocks.get(f"{path}symbols=AAPL&start=2026-02-08&end=2026-02-08").text
        assert price in text, path
        assert volume in text, path


BAD = (
    ("/bars", "timeframe"),
    ("/bars?symbols=AAPL", "timeframe"),
    ("/bars?timeframe=1Min", "symbols"),
    ("/bars?symbols=&timeframe=1Min", "symbols"),
    ("/bars?symbols=,&timeframe=1Min", "symbols"),
    ("/bars?symbols=AAPL%00&timeframe=1Min", "symbols"),
    ("/bars?symbols=AAPL&timeframe=7Min", "30Min"),
    ("/bars?symbols=AAPL&timeframe=0Min", "timeframe"),
    ("/bars?symbols=AAPL&timeframe=1Fortnight", "timeframe"),
    ("/bars?symbols=AAPL&timeframe=%F0%9F%92%A91Min", "timeframe"),
    ("/trades?symbols=AAPL&limit=0", "limit"),
    ("/trades?symbols=AAPL&limit=10001", "limit"),
    ("/trades?symbols=AAPL&limit=-1", "limit"),
    ("/trades?symbols=AAPL&limit=1e3", "limit"),
    ("/trades?symbols=AAPL&limit=99999999999999999999999999", "limit"),
    ("/trades?symbols=AAPL&start=yesterday", "start"),
    ("/trades?symbols=AAPL&start=-62135596801", "start"),
    ("/trades?symbols=AAPL&start=2026-02-30", "start"),
    ("/trades?symbols=AAPL&start=2026-02-08T10:30:00", "start"),
    ("/trades?symbols=AAPL&end=99999-01-01", "end"),
    ("/trades?symbols=AAPL&start=2026-02-09&end=2026-02-07", "end"),
    ("/trades?symbols=AAPL&start=2026-02-09T00:00:00Z&end=2026-02-08T23:59:59.999999Z", "end"),
    ("/trades?symbols=AAPL&sort=up", "sort"),
    ("/trades?symbols=AAPL&asof=yesterday", "asof"),
    ("/bars?symbols=AAPL&timeframe=1Day&adjustment=none", "adjustment"),
    ("/bars?symbols=AAPL&timeframe=1Day&adjustment=split,dividend", "adjustment"),
    ("/trades?symbols=AAPL&page_token=nonsense", "page_token"),
    ("/trades?symbols=AAPL&page_token=%00", "page_token"),
    ("/trades/latest", "symbols"),
    ("/quotes/latest", "symbols"),
    ("/snapshots?symbols=" + ",".join(["A"] * 10_001), "symbols"),
    ("/A%00B/trades", "symbol"),
    ("/A,B/trades", "symbol"),
)
"""Paths, each with a part of the error."""


def test_bad_input_is_the_error_of_the_protocol(stocks: httpx.Client):
    for path, named in BAD:
        answer = stocks.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json"), path
        assert answer.json().keys() == {"code", "message"}
        assert answer.json()["code"] == 40010000
        assert named in answer.json()["message"]


def test_extreme_ranges_are_read(stocks: httpx.Client, connection: Connection):
    store(connection, trade(0, "1"))
    ranges = (
        {"start": "0001-01-01", "end": "9999-12-31"},
        {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59.999999Z"},
        {"start": "2026-01-01", "adjustment": "all", "feed": "sip", "asof": "-", "unknown": "1", "page_token": ""},
    )
    starts = {"1Min": "02-08T10:30", "1T": "02-08T10:30", "12Month": "01-01T00:00", "1W": "02-02T00:00", "3M": "01-01T00:00"}
    for parameters in ranges:
        for timeframe, start in starts.items():
            answer = stocks.get("/bars", params={"symbols": "AAPL", "timeframe": timeframe, **parameters})
            assert times(answer) == [f"2026-{start}:00Z"], (timeframe, parameters)


def test_unknown_paths_are_the_error_of_the_protocol(stocks: httpx.Client):
    for path in ("", "/", "/AAPL", "/AAPL/nothing", "/AAPL/bars/latest/x", "/../../v3/nothing"):
        answer = stocks.get(path)
        assert (answer.status_code, answer.json().get("code")) == (404, 40410000), path
    assert stocks.post("/bars").json()["code"] == 40510000


def test_thousands_of_symbols_are_read(stocks: httpx.Client, connection: Connection):
    store(connection, trade(0, "1", symbol="S9"))
    symbols = ",".join(f"S{number}" for number in range(3000))
    assert stocks.get("/trades/latest", params={"symbols": symbols}).json()["trades"].keys() == {"S9"}
    for kind, names, expected in (
        ("trades", symbols, {"S9"}),
        ("bars", symbols, {"S9"}),
        ("bars", symbols.replace("S9,", ""), set()),
    ):
        answer = stocks.get(f"/{kind}", params={"symbols": names, "timeframe": "1Min", **DAY})
        assert answer.json()[kind].keys() == expected
