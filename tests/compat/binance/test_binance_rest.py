"""Binance's REST API, compared with the service's own API."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from helpers.support import T0, Connection, store, trade

START = int(T0.timestamp() * 1000)
MINUTE = 60_000
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")


class Api:
    """The two APIs of a service."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def own(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(f"/binance/api/v3/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()


@pytest.fixture
def api(base: str) -> Iterator[Api]:
    with httpx.Client(base_url=base, timeout=60) as http:
        yield Api(http)


@pytest.fixture
def traded(connection: Connection) -> Connection:
    """Connect to a database with trades of AAPL every 20 seconds in two hours, and one of MSFT."""
    prices = [f"{100 + number / 7:.5f}" for number in range(360)]
    store(
        connection,
        *(trade(20 * number, price, f"1.{number:03}") for number, price in enumerate(prices)),
        trade(5, "7.000000000000000000000000000001", "0.000000000000000000000000000003", symbol="MSFT"),
    )
    return connection


def expected(candles: list[dict[str, Any]], ends: list[int]) -> list[list[Any]]:
    """Return candles of the own API in Binance's form, with numbers instead of texts and without the turnover."""
    return [
        [
            int(datetime.fromisoformat(each["timestamp"]).timestamp() * 1000),
            *(each[name] for name in ("open", "high", "low", "close", "volume")),
            end,
            each["trade_count"],
        ]
        for each, end in zip(candles, ends, strict=True)
    ]


def numbers(klines: list[list[Any]]) -> list[list[Any]]:
    assert all(kline[9:] == ["0", "0", "0"] for kline in klines)
    return [[kline[0], *map(float, kline[1:6]), kline[6], kline[8]] for kline in klines]


def test_klines_are_the_candles_of_each_interval(api: Api, traded: Connection):
    for interval in INTERVALS:
        check_interval(api, interval)


def check_interval(api: Api, interval: str) -> None:
    end = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-08T13:00:00Z"}
    start = datetime(2026, 2, 1, tzinfo=UTC) if interval == "1M" else datetime(2026, 2, 2, tzinfo=UTC)
    own = api.own("/candles", symbol="AAPL", interval=interval, limit=1000, **{**end, "start": start.isoformat()}).json()
    starts = [datetime.fromisoformat(each["timestamp"]) for each in own["candles"]]
    lengths = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 28 * 86400}
    length = timedelta(seconds=int(interval[:-1]) * lengths[interval[-1]])
    ends = [int((each + length).timestamp() * 1000) - 1 for each in starts]
    wanted = expected(own["candles"], ends)
    assert wanted
    parameters = {"symbol": "AAPL", "interval": interval, "limit": 1000}
    for path in ("klines", "uiKlines"):
        assert numbers(api.get(path, **parameters, startTime=int(start.timestamp() * 1000))) == wanted
    assert numbers(api.get("klines", **parameters, startTime=0)) == wanted
    assert numbers(api.get("klines", **parameters, endTime=START + 120 * MINUTE)) == wanted
    if interval != "1s":  # the newest ones of seconds are those of a few days
        assert numbers(api.get("klines", **parameters)) == wanted


def test_klines_have_every_digit_and_the_exact_turnover(api: Api, traded: Connection):
    (kline,) = api.get("klines", symbol="msft", interval="1m")
    price = "7.000000000000000000000000000001"
    assert kline[1:6] == [price] * 4 + ["0.000000000000000000000000000003"]
    assert kline[7] == "0.000000000000000000000000000021000000000000000000000000000003"


def test_bounds_of_klines_are_inclusive(api: Api, traded: Connection):
    def opens(**parameters: Any) -> list[int]:
        klines = api.get("klines", symbol="AAPL", interval="1m", **parameters)
        return [(kline[0] - START) // MINUTE for kline in klines]

    assert opens(startTime=START + 3 * MINUTE, endTime=START + 5 * MINUTE) == [3, 4, 5]
    assert opens(startTime=START + 3 * MINUTE + 1, endTime=START + 5 * MINUTE - 1) == [4]
    assert opens(startTime=START + 3 * MINUTE, limit=2) == [3, 4]
    assert opens(endTime=START + 3 * MINUTE, limit=2) == [2, 3]
    assert opens(limit=2) == [118, 119]
    assert opens(startTime=START + 120 * MINUTE) == []
    assert opens(startTime=10**18) == []
    assert opens(endTime=0) == []
    assert len(opens(limit=5000)) == 120
    assert opens(startTime=0, limit=1, timeZone="0") == [0]


def test_pages_of_klines_are_complete(api: Api, traded: Connection):
    pages = []
    start = 0
    while page := api.get("klines", symbol="AAPL", interval="1m", startTime=start, limit=50):
        pages.append(page)
        start = page[-1][0] + 1
    assert [len(page) for page in pages] == [50, 50, 20]
    assert [kline for page in pages for kline in page] == api.get("klines", symbol="AAPL", interval="1m")


def test_seconds_are_found_over_years(api: Api, connection: Connection):
    days = (-700, -30, 0)
    store(connection, *(trade(86400 * day + number, "5") for day in days for number in (0, 1)))
    opens = [START + 86_400_000 * day + 1000 * number for day in days for number in (0, 1)]
    klines = api.get("klines", symbol="AAPL", interval="1s", startTime=0)
    assert [kline[0] for kline in klines] == opens
    assert [kline[0] for kline in api.get("klines", symbol="AAPL", interval="1s", startTime=1, limit=3)] == opens[:3]
    later = api.get("klines", symbol="AAPL", interval="1s", startTime=opens[0] + 1, endTime=opens[3])
    assert [kline[0] for kline in later] == opens[1:4]


def test_trades_are_those_of_the_own_api(api: Api, traded: Connection):
    own = api.own("/trades", symbol="AAPL", limit=5).json()["trades"][::-1]
    times = [datetime.fromisoformat(each["timestamp"]).timestamp() for each in own]
    plain = api.get("trades", symbol="AAPL", limit=5)
    assert [(float(each["price"]), float(each["qty"]), each["time"]) for each in plain] == [
        (each["price"], each["volume"], int(time * 1000)) for each, time in zip(own, times, strict=True)
    ]
    assert [each["id"] for each in plain] == [int(time) * 1_000_000_000 for time in times]
    (tiny,) = api.get("trades", symbol="MSFT")
    assert tiny["quoteQty"] == "0.000000000000000000000000000021000000000000000000000000000003"
    assert api.get("historicalTrades", symbol="AAPL", limit=5) == plain
    aggregates = api.get("aggTrades", symbol="AAPL", limit=5)
    assert [(each["a"], each["f"], each["l"], each["p"], each["q"], each["T"]) for each in aggregates] == [
        (each["id"], each["id"], each["id"], each["price"], each["qty"], each["time"]) for each in plain
    ]
    assert (len(api.get("trades", symbol="AAPL")), len(api.get("trades", symbol="AAPL", limit=1000))) == (360, 360)


def test_bounds_of_trades_are_inclusive(api: Api, traded: Connection):
    def times(**parameters: Any) -> list[int]:
        return [(each["T"] - START) // 1000 for each in api.get("aggTrades", symbol="AAPL", **parameters)]

    assert times(startTime=START, endTime=START + 40_000) == [0, 20, 40]
    assert times(startTime=START + 1, limit=2) == [20, 40]
    assert times(endTime=START + 40_000, limit=2) == [20, 40]
    assert times(startTime=START + 7_200_000) == []


def test_ids_increase_within_an_instant_and_lead_back(api: Api, connection: Connection):
    ids = [-(2**63), -5, 0, 3, 2**63 - 1]
    store(
        connection,
        *(trade(second, f"{second + 1}.{rank}", trade_id=each) for second in (0, 1) for rank, each in enumerate(ids)),
    )
    store(connection, trade(0, "9", trade_id=1, symbol="MSFT"))
    first = START * 1_000_000
    wanted = [first + second * 1_000_000_000 + rank for second in (0, 1) for rank in range(5)]
    everything = api.get("trades", symbol="AAPL")
    assert [each["id"] for each in everything] == wanted
    assert [each["price"] for each in everything] == [f"{s}.{r}" if r else f"{s}" for s in (1, 2) for r in range(5)]
    for count in range(1, 11):  # pages may begin within an instant
        assert api.get("trades", symbol="AAPL", limit=count) == everything[-count:]
    for index, trade_id in enumerate(wanted):
        assert api.get("historicalTrades", symbol="AAPL", fromId=trade_id) == everything[index:]
        assert api.get("historicalTrades", symbol="AAPL", fromId=trade_id, limit=2) == everything[index : index + 2]
    assert api.get("historicalTrades", symbol="AAPL", fromId=wanted[4] + 1) == everything[5:]
    assert api.get("historicalTrades", symbol="AAPL", fromId=wanted[5] - 1) == everything[5:]
    assert api.get("historicalTrades", symbol="AAPL", fromId=0) == everything
    assert api.get("historicalTrades", symbol="AAPL", fromId=wanted[-1] + 1) == []
    assert api.get("historicalTrades", symbol="AAPL", fromId=10**20 - 1) == []
    connection.execute("DELETE FROM trades WHERE trade_id = -5 AND time = %s", (T0,))
    assert [each["id"] for each in api.get("trades", symbol="AAPL")] == [*wanted[:4], *wanted[5:]]


def test_more_trades_at_one_time_than_an_instant_has_ids(api: Api, connection: Connection):
    store(connection, trade(-1, "1"), *(trade(0, "2", trade_id=number) for number in range(2500)), trade(1, "3"))
    pages = []
    from_id = 0
    while page := api.get("aggTrades", symbol="AAPL", fromId=from_id, limit=700):
        pages.append(page)
        from_id = page[-1]["a"] + 1
    ids = [each["a"] for page in pages for each in page]
    second = 1_000_000_000
    first = START * 1_000_000
    assert ids == [first - second, *range(first, first + 2500), first + second]
    assert [each["id"] for each in api.get("trades", symbol="AAPL", limit=1000)] == ids[-1000:]


def test_prices_and_figures_of_24_hours_are_those_of_the_own_api(api: Api, connection: Connection):
    now = datetime.now(UTC)
    moments = (timedelta(hours=-30), timedelta(hours=-20), timedelta(hours=-10), timedelta(hours=-5))
    values = (("90", "1"), ("100", "2"), ("120.5", "1"), ("110", "3"))
    store(
        connection,
        *((now + moment, "AAPL", 0, *trade(0, *each)[3:]) for moment, each in zip(moments, values, strict=True)),
        trade(5, "7", symbol="MSFT"),
    )
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('NVDA', 'NVIDIA')")
    latest = {each["symbol"]: each["price"] for each in api.own("/prices/latest").json()["prices"]}
    assert {each["symbol"]: float(each["price"]) for each in api.get("ticker/price")} == latest
    assert api.get("ticker/price", symbol="AAPL") == {"symbol": "AAPL", "price": "110"}
    assert api.get("ticker/price", symbols='["AAPL"]') == [{"symbol": "AAPL", "price": "110"}]
    assert api.get("ticker/price", symbol="NVDA") == {"symbol": "NVDA", "price": "0"}
    ticker = api.get("ticker/24hr", symbol="AAPL")
    own = api.own("/snapshots", symbols="AAPL").json()["snapshots"][0]
    for name, field in (("openPrice", "open"), ("highPrice", "high"), ("lowPrice", "low"), ("volume", "volume")):
        assert float(ticker[name]) == own["last_24h"][field]
    assert (float(ticker["quoteVolume"]), ticker["count"]) == (650.5, 3)
    assert (ticker["openPrice"], ticker["lastPrice"], ticker["prevClosePrice"]) == ("100", "110", "90")
    assert (ticker["priceChange"], ticker["priceChangePercent"], ticker["lastQty"]) == ("10", "10.000", "3")
    assert ticker["weightedAvgPrice"] == "108.41666667"
    assert 0 <= ticker["closeTime"] - now.timestamp() * 1000 < 60_000
    assert 85_500_000 <= ticker["closeTime"] - ticker["openTime"] <= 86_400_000
    mini = api.get("ticker/24hr", symbols='["AAPL","MSFT"]', type="MINI")
    assert [each["symbol"] for each in mini] == ["AAPL", "MSFT"]
    assert mini[0].items() - {("closeTime", mini[0]["closeTime"])} <= ticker.items()
    assert (mini[1]["openPrice"], mini[1]["lastPrice"], mini[1]["count"]) == ("7", "7", 0)
    assert [each["symbol"] for each in api.get("ticker/24hr")] == ["AAPL", "MSFT"]
    assert api.get("ticker/24hr", symbol="NVDA")["lastPrice"] == "0"


def test_average_price_is_that_of_five_minutes(api: Api, connection: Connection):
    store(connection, trade(0, "7.5"))
    assert api.get("avgPrice", symbol="AAPL") == {"mins": 5, "price": "7.5", "closeTime": START}
    now = datetime.now(UTC)
    store(
        connection, *((now - timedelta(seconds=30 * n), "AAPL", n, *trade(0, f"{10 + n}", f"{n + 1}")[3:]) for n in (0, 1))
    )
    answer = api.get("avgPrice", symbol="AAPL")
    assert (answer["price"], answer["closeTime"]) == ("10.66666667", int(now.timestamp() * 1_000_000) // 1000)


def test_books_are_empty(api: Api, traded: Connection):
    zeros = {"bidPrice": "0", "bidQty": "0", "askPrice": "0", "askQty": "0"}
    assert api.get("ticker/bookTicker", symbol="AAPL") == {"symbol": "AAPL", **zeros}
    assert api.get("ticker/bookTicker") == [{"symbol": each, **zeros} for each in ("AAPL", "MSFT")]
    book = api.get("depth", symbol="AAPL", limit=5)
    assert (book["bids"], book["asks"]) == ([], [])


def test_exchange_information_has_bases_and_currencies(api: Api, connection: Connection):
    for symbol, currency, active in (("AAPL", "USD", True), ("BTC/EUR", "EUR", False), ("BRK-B", "USD", True)):
        connection.execute(
            "INSERT INTO symbols (symbol, name, currency, active) VALUES (%s, '', %s, %s)", (symbol, currency, active)
        )
    answer = api.get("exchangeInfo")
    fields = ("symbol", "baseAsset", "quoteAsset", "status")
    markets = {each["symbol"]: tuple(each[field] for field in fields) for each in answer["symbols"]}
    assert markets == {
        "AAPL": ("AAPL", "AAPL", "USD", "TRADING"),
        "BRK-B": ("BRK-B", "BRK-B", "USD", "TRADING"),
        "BTC/EUR": ("BTC/EUR", "BTC", "EUR", "BREAK"),
    }
    assert [each["symbol"] for each in api.get("exchangeInfo", symbol="btc/eur")["symbols"]] == ["BTC/EUR"]
    assert [each["symbol"] for each in api.get("exchangeInfo", symbols='["BRK-B","AAPL"]')["symbols"]] == ["AAPL", "BRK-B"]
    assert api.get("ping") == {}
    assert abs(api.get("time")["serverTime"] / 1000 - datetime.now(UTC).timestamp()) < 60
    assert api.http.get("/binance/sapi/v1/system/status").json() == {"status": 0, "msg": "normal"}
