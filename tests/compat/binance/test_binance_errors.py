"""Errors of Binance's API: bad input, unknown symbols, keys, limits, and a database that is away."""

from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer, store_key
from helpers.support import Connection, create_patient_app, serving, store, trade
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from market_data.auth.api_keys import generate_key
from market_data.settings import Settings

PATHS = (
    "klines?interval=1m",
    "uiKlines?interval=1d",
    "trades",
    "aggTrades",
    "historicalTrades",
    "avgPrice",
    "ticker/price",
    "ticker/24hr",
    "ticker/bookTicker",
    "depth",
    "exchangeInfo",
)
OPTIONAL = PATHS[6:9] + PATHS[10:]
"""Paths that answer with all symbols without one."""


def error(address: str, **headers: str) -> tuple[int, int]:
    """Return the status and the code of an error."""
    answer = httpx.get(address, headers=headers, timeout=60)
    body = answer.json()
    assert set(body) == {"code", "msg"}
    assert body["code"] < 0
    return answer.status_code, body["code"]


@pytest.fixture
def api(base: str, connection: Connection) -> str:
    store(connection, trade(0, "1"))
    return f"{base}/binance/api/v3/"


def with_parameter(path: str, parameter: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{parameter}"


def test_symbols_are_checked(api: str):
    for path in PATHS:
        assert error(api + with_parameter(path, "symbol=NOPE")) == (400, -1121)
        for bad in ("%00", "A%00", "%F0%9F%92%A9", "A" * 65, "<b>", "%27;--"):
            assert error(api + with_parameter(path, f"symbol={bad}")) == (400, -1100)
        if path not in OPTIONAL:
            assert error(api + path) == (400, -1102)
            assert error(api + with_parameter(path, "symbol=")) == (400, -1102)


def test_lists_of_symbols_are_checked(api: str):
    many = ",".join(f"%22S{number}%22" for number in range(1001))
    too_many = ",".join(f"S{number}" for number in range(9_000))
    for path in OPTIONAL:
        assert error(f"{api}{path}?symbols=%5B%22AAPL%22,%22NOPE%22%5D") == (400, -1121)
        for bad in ("AAPL", "%7B%7D", "%5B1%5D", "%5B%22AAPL", "%5B%22%00%22%5D", "%FF", "%5B" * 500, too_many):
            assert error(f"{api}{path}?symbols={bad}") == (400, -1100), bad
        assert error(f"{api}{path}?symbols=%5B%5D") == (400, -1102)
        assert error(f"{api}{path}?symbols=%5B%22AAPL%22%5D&symbol=AAPL") == (400, -1128)
        assert error(f"{api}{path}?symbols=%5B{many}%5D") == (400, -1101)


BAD = (
    ("klines", -1102),
    ("klines?interval=", -1102),
    ("klines?interval=7m", -1120),
    ("klines?interval=10m", -1120),
    ("klines?interval=1m&limit=0", -1130),
    ("klines?interval=1m&limit=-1", -1100),
    ("klines?interval=1m&limit=1.5", -1100),
    ("klines?interval=1m&limit=%D9%A1", -1100),
    ("klines?interval=1m&startTime=yesterday", -1100),
    ("klines?interval=1m&startTime=-1", -1100),
    ("klines?interval=1m&endTime=1e9", -1100),
    ("klines?interval=1m&endTime=" + "9" * 5000, -1100),
    ("klines?interval=1m&startTime=2&endTime=1", -1128),
    ("klines?interval=1m&timeZone=2", -1130),
    ("aggTrades?fromId=x", -1100),
    ("aggTrades?fromId=-1", -1100),
    ("aggTrades?fromId=1&startTime=1", -1128),
    ("aggTrades?startTime=9&endTime=1", -1128),
    ("historicalTrades?fromId=" + "9" * 21, -1100),
    ("trades?limit=many", -1100),
    ("depth?limit=many", -1100),
    ("ticker/24hr?type=HUGE", -1130),
)
"""Queries with the codes of their errors."""


def test_parameters_are_checked(api: str):
    for query, code in BAD:
        assert error(api + with_parameter(query, "symbol=AAPL")) == (400, code), query


def test_extreme_values_are_no_errors(api: str):
    for query in (
        "klines?interval=1m&startTime=" + "9" * 20,
        "klines?interval=1M&endTime=" + "9" * 20,
        "klines?interval=1s&startTime=0&endTime=" + "9" * 20,
        "klines?interval=12h&startTime=0&endTime=0",
        "klines?interval=1w&startTime=0&limit=99999999999999999999",
        "aggTrades?startTime=" + "9" * 20,
        "aggTrades?fromId=" + "9" * 20,
        "aggTrades?endTime=0",
        "trades?unknown=1",
    ):
        answer = httpx.get(api + with_parameter(query, "symbol=AAPL"), timeout=60)
        assert (answer.status_code, type(answer.json())) == (200, list), query


def test_unknown_paths_and_methods_are_not_supported(base: str):
    assert error(f"{base}/binance") == (404, -1020)
    assert error(f"{base}/binance/api/v3/order") == (404, -1020)
    answer = httpx.post(f"{base}/binance/api/v3/ping")
    assert (answer.status_code, answer.json()["code"]) == (405, -1020)


def test_keys_come_in_the_header_of_binance_or_in_the_path(serve: Any, database_url: str):
    secret, writer = store_key(database_url, "read"), store_key(database_url, "write")
    with serve(auth="required") as base:
        path = f"{base}/binance/api/v3/ping"
        assert error(path) == (401, -2014)
        assert error(path, **{"X-MBX-APIKEY": "guess"}) == (401, -2015)
        assert error(path, **{"X-MBX-APIKEY": generate_key()}) == (401, -2015)
        assert error(path, **{"X-MBX-APIKEY": secret, **bearer(writer)}) == (401, -2015)
        assert error(f"{base}/binance/{generate_key()}/api/v3/ping") == (401, -2015)
        for headers in ({"X-MBX-APIKEY": secret}, bearer(secret), {"X-API-Key": secret}):
            assert httpx.get(path, headers=headers).status_code == 200
        # A key of the exchange counts only without one of this service.
        assert httpx.get(path, headers={"X-MBX-APIKEY": "guess", **bearer(secret)}).status_code == 200
        assert httpx.get(f"{base}/binance/{secret}/api/v3/ping").status_code == 200
        socket = base.replace("http", "ws", 1)
        with connect(f"{socket}/binance/{secret}/ws/0") as client:
            client.send('{"method": "LIST_SUBSCRIPTIONS", "id": 1}')
            assert client.recv(30) == '{"result":[],"id":1}'
        for address in ("/binance/ws", "/binance/ws/aapl@trade", "/binance/stream?streams=aapl@trade"):
            with pytest.raises(InvalidStatus) as refused, connect(socket + address):
                pass
            assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus), connect(f"{socket}/binance/{generate_key()}/ws"):
            pass


def test_any_text_is_a_key_where_none_is_needed(base: str, database_url: str):
    path = f"{base}/binance/api/v3/ping"
    assert httpx.get(path, headers={"X-MBX-APIKEY": "guess"}).status_code == 200
    assert error(path, **{"X-MBX-APIKEY": generate_key()}) == (401, -2015)


def test_rate_limit_names_the_time_to_wait(serve: Any):
    with serve(rate_limit=2) as base:
        answers = [httpx.get(f"{base}/binance/api/v3/ping") for _ in range(5)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == -1003
    assert int(refused.headers["retry-after"]) >= 1


def test_database_that_is_away_is_an_internal_error():
    nowhere = Settings(
        database_url="postgresql://nobody@127.0.0.1:9/none",
        feed_enabled=False,
        pool_timeout_seconds=0.5,
    )
    with serving(create_patient_app(nowhere)) as base:
        answer = httpx.get(f"{base}/binance/api/v3/klines?symbol=AAPL&interval=1m", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (503, -1001)
    assert answer.headers["retry-after"]
