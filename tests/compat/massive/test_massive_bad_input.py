"""Bad input to Massive's REST API and stream: its own errors, and nothing in the log."""

import json
import logging
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from helpers.support import Connection, store, trade
from websockets.sync.client import ClientConnection, connect

DAY = "2026-02-08"
RANGE = "/v2/aggs/ticker/AAPL/range"

REFUSED = {
    f"{RANGE}/0/minute/{DAY}/{DAY}": "multiplier",
    f"{RANGE}/-1/minute/{DAY}/{DAY}": "multiplier",
    f"{RANGE}/7/minute/{DAY}/{DAY}": "multiplier",
    f"{RANGE}/{'9' * 400}/minute/{DAY}/{DAY}": "multiplier",
    f"{RANGE}/2/year/{DAY}/{DAY}": "multiplier",
    f"{RANGE}/1/fortnight/{DAY}/{DAY}": "timespan",
    f"{RANGE}/1/%00/{DAY}/{DAY}": "timespan",
    f"{RANGE}/1/day/yesterday/{DAY}": "from",
    f"{RANGE}/1/day/2026-02-30/{DAY}": "from",
    f"{RANGE}/1/day/1.5/{DAY}": "from",
    f"{RANGE}/1/day/{DAY}/{'9' * 20}": "to",
    f"{RANGE}/1/day/{DAY}/2026-02-07": "to",
    f"{RANGE}/1/second/2020-01-01/2026-02-07": "start",
    f"{RANGE}/1/day/{DAY}/{DAY}?limit=0": "limit",
    f"{RANGE}/1/day/{DAY}/{DAY}?limit=50001": "limit",
    f"{RANGE}/1/day/{DAY}/{DAY}?limit=": "limit",
    f"{RANGE}/1/day/{DAY}/{DAY}?sort=up": "sort",
    f"{RANGE}/1/day/{DAY}/{DAY}?adjusted=maybe": "adjusted",
    f"{RANGE}/1/day/{DAY}/{DAY}?cursor=%00": "cursor",
    "/v2/aggs/grouped/locale/us/market/stocks/today": "date",
    "/v1/open-close/AAPL/1770546600000": "date",
    "/v3/trades/AAPL?timestamp=now": "timestamp",
    "/v3/trades/AAPL?timestamp.gte=2026-13-01": "timestamp.gte",
    "/v3/trades/AAPL?limit=-5": "limit",
    "/v3/trades/AAPL?order=ascending": "order",
    "/v3/trades/AAPL?sort=price": "sort",
    "/v3/trades/AAPL?cursor=AAAA": "cursor",
    "/v3/snapshot?limit=251": "limit",
    "/v3/reference/tickers?limit=1001": "limit",
    "/v3/reference/tickers?active=1": "active",
    "/v3/reference/tickers?sort=name": "sort",
}

EMPTY = [
    f"{RANGE}/1/day/-{'9' * 19}/{'9' * 19}?limit=1&sort=desc&unknown=1",
    f"{RANGE}/1/week/0001-01-01/9999-12-31",
    f"{RANGE}/1/year/0001-01-01/9999-12-31",
    f"{RANGE}/1/minute/-1/-1",
    f"/v2/aggs/ticker/%00/range/1/day/{DAY}/{DAY}",
    f"/v2/aggs/ticker/{'A' * 65}/prev",
    "/v2/aggs/ticker/%22%7D/prev",
    "/v2/aggs/grouped/locale/us/market/stocks/9999-12-31",
    f"/v3/trades/AAPL?timestamp.gt={'9' * 19}",
    f"/v3/trades/AAPL?timestamp.lt=-{'9' * 19}",
    "/v3/trades/AAPL?timestamp.gte=2026-02-09&timestamp.lt=2026-02-09",
    "/v2/snapshot/locale/us/markets/stocks/tickers?tickers=%00,,%22",
    f"/v2/snapshot/locale/us/markets/stocks/tickers?tickers={','.join(f'N{n}' for n in range(1000))}",
    "/v3/snapshot?type=options&ticker.any_of=,",
    "/v3/reference/tickers?search=%00",
    "/v3/reference/tickers?ticker.gt=%F0%9F%98%80&order=desc&active=false",
]


@pytest.fixture
def traded(connection: Connection, base: str, caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """URL of a service with a trade, which must log no warning."""
    store(connection, trade(0, "189.44"))
    caplog.set_level(logging.INFO)
    yield f"{base}/massive"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_refused_requests(traded: str):
    with httpx.Client() as client:
        for path, name in REFUSED.items():
            response = client.get(traded + path)
            assert (response.status_code, response.json()["status"]) == (400, "ERROR"), path
            assert response.json()["error"].startswith(f"{name}: "), path
            assert response.json()["request_id"] == response.headers["x-request-id"]


def test_requests_without_results(traded: str):
    with httpx.Client() as client:
        for path in EMPTY:
            response = client.get(traded + path)
            assert response.status_code == 200, path
            assert response.json()["count"] in (0, 1), path
        assert client.get(f"{traded}/v2/last/trade/%22").status_code == 404
        assert client.get(f"{traded}/v2/aggs/ticker").json()["status"] == "NOT_FOUND"
        assert client.post(f"{traded}/v3/snapshot").json()["status"] == "ERROR"


def test_ten_thousand_tickers(traded: str):
    url = httpx.URL(traded)
    for form, statuses in (("S{}", [400, 200]), ("SYMBOL{}", [400, 400])):  # the latter are no valid HTTP
        names = ",".join(form.format(number) for number in range(10_000))
        paths = f"/v3/snapshot?ticker.any_of={names}", f"/v2/snapshot/locale/us/markets/stocks/tickers?tickers={names}"
        found: list[int] = []
        for path in paths:
            connection = HTTPConnection(url.host, url.port or 80)
            connection.request("GET", f"/massive{path}")
            response = connection.getresponse()
            found.append(response.status)
            json.loads(response.read())
            connection.close()
        assert found == statuses


def test_pages_of_impossible_tickers_end(traded: str):
    names = quote('zz"x,AAPL,ä b,nope')
    address = f"{traded}/v3/snapshot?limit=1&ticker.any_of={names}"
    found: list[str] = []
    for _ in range(10):
        response = httpx.get(address)
        found += [each["ticker"] for each in response.json()["results"]]
        if "next" not in response.links:
            break
        address = response.links["next"]["url"]
    assert found == sorted({"AAPL", "NOPE", 'ZZ"X', "Ä B"})


def test_no_key_in_the_log(serve: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with serve() as base:
        httpx.get(f"{base}/massive/v3/snapshot?apiKey=topsecret")
        with connect(f"{base.replace('http', 'ws')}/massive/ws/stocks?apiKey=topsecret") as client:
            client.recv(timeout=20)
    own = [record for record in caplog.records if record.name.startswith("market_data")]
    assert any("stream" in record.getMessage() for record in own)
    assert not any("topsecret" in str(vars(record)) for record in own)


@pytest.fixture
def stream(traded: str) -> Iterator[ClientConnection]:
    with connect(f"{traded.replace('http', 'ws')}/ws/stocks", max_size=None) as client:
        assert json.loads(client.recv(timeout=20))[0]["status"] == "connected"
        yield client


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        b"\xff\x00",
        b"\x82\xa1a\x01",
        '{"action": 5}',
        '{"params": "T.AAPL"}',
        '{"action": "subscribe", "params": ["T.AAPL"]}',
        '{"action": "explode", "params": ""}',
        '{"action": "subscribe", "params": ""}',
        '{"action": "subscribe", "params": "Q.AAPL"}',
        '{"action": "subscribe", "params": "T."}',
        '{"action": "subscribe", "params": "T.\\u0000"}',
        '{"action": "unsubscribe", "params": "nothing"}',
        json.dumps({"action": "subscribe", "params": ",".join(f"T.S{number}" for number in range(10_001))}),
        "[" * 2_000,
    ],
    ids=lambda message: str(message)[:30],
)
def test_a_bad_message_gets_an_error_and_the_stream_goes_on(stream: ClientConnection, message: str | bytes):
    stream.send(message)
    (answer,) = json.loads(stream.recv(timeout=20))
    assert (answer["ev"], answer["status"]) == ("status", "error"), answer
    assert len(answer["message"]) > 20
    stream.send('{"action": "subscribe", "params": "T.AAPL"}')
    assert json.loads(stream.recv(timeout=20)) == [{"ev": "status", "status": "success", "message": "subscribed to: T.AAPL"}]


def receive_statuses(stream: ClientConnection) -> list[dict[str, Any]]:
    """Return the next statuses, without the minutes of the trades of other tests."""
    while True:
        messages = json.loads(stream.recv(timeout=20))
        if all(each["ev"] == "status" for each in messages):
            return messages


def test_some_topics_of_a_message_may_be_wrong(stream: ClientConnection):
    stream.send('{"action": "subscribe", "params": "T.AAPL, Q.AAPL,AM.*,A.EUR/USD,T.AAPL"}')
    statuses = [(each["status"], each["message"]) for each in receive_statuses(stream)]
    assert [each[0] for each in statuses] == ["success", "error", "success", "success"]
    assert statuses[3] == ("success", "subscribed to: A.EUR/USD")
    stream.send('{"action": "unsubscribe", "params": "AM.*,T.MSFT"}')
    assert [each["message"] for each in receive_statuses(stream)] == [
        "unsubscribed to: AM.*",
        "unsubscribed to: T.MSFT",
    ]


def test_a_client_has_a_maximum_of_topics(stream: ClientConnection):
    for kind, status in (("T", "success"), ("A", "error")):
        topics = ",".join(f"{kind}.S{number}" for number in range(10_000))
        stream.send(json.dumps({"action": "subscribe", "params": topics}))
        assert {each["status"] for each in json.loads(stream.recv(timeout=20))} == {status}
