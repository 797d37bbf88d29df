"""The replay of tardis-machine: NautilusTrader's client, and raw connections."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.foreign_clients import run_client
from helpers.support import Connection, store, trade
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

CLIENT = Path(__file__).with_name("nautilus_replay.py")
NAMES = ("open", "high", "low", "close", "volume")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = {"exchange": "binance", "from": "2026-02-08", "to": "2026-02-09"}


def stored(connection: Connection) -> None:
    store(
        connection,
        *(trade(7 * number, f"{100 + number / 8}", "2.5", trade_id=number % 3) for number in range(60)),
        *(trade(11 * number, f"{50 + number / 4}", "1", symbol="MSFT") for number in range(30)),
        trade(86_400, "9"),
    )


def replay(base: str, options: Any) -> list[dict[str, Any]]:
    """Return the messages of a replay, which must end by itself."""
    messages: list[dict[str, Any]] = []
    address = f"{base.replace('http', 'ws', 1)}/tardis/ws-replay-normalized?options={quote(json.dumps(options))}"
    with connect(address, open_timeout=60) as socket:
        try:
            while True:
                messages.append(json.loads(socket.recv(60)))
        except ConnectionClosedOK:
            return messages


def own(base: str, path: str, symbol: str, **parameters: str) -> list[dict[str, Any]]:
    day = {"start": "2026-02-08", "end": "2026-02-09", "limit": "1000", "order": "asc"}
    rows = httpx.get(f"{base}{path}", params={"symbol": symbol, **day, **parameters}, timeout=60).json()
    return rows[path[1:]]


def symbol_of(text: str) -> str:
    return text.partition(".")[0]


def nanoseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.slow  # installs 110 MB
def test_nautilus_trader_replays_the_trades_and_bars(base: str, connection: Connection, monkeypatch: Any):
    stored(connection)
    monkeypatch.setenv("TARDIS_MACHINE_WS_URL", f"{base.replace('http', 'ws', 1)}/tardis")
    found = run_client(CLIENT, "2026-02-08", "2026-02-09", "AAPL", "MSFT", packages=("nautilus_trader==1.221.0",))
    expected = sorted(
        (nanoseconds(row["timestamp"]), row["symbol"], row["trade_id"], row["price"], row["volume"])
        for symbol in ("AAPL", "MSFT")
        for row in own(base, "/trades", symbol)
    )
    assert [
        (
            each["ts_event"],
            symbol_of(each["instrument_id"]),
            int(each["trade_id"]),
            float(each["price"]),
            float(each["size"]),
        )
        for each in found["trades"]
    ] == expected
    candles = sorted(
        (nanoseconds(row["timestamp"]) + 60 * 10**9, symbol, *(row[name] for name in NAMES))
        for symbol in ("AAPL", "MSFT")
        for row in own(base, "/candles", symbol, interval="1m")
    )
    assert candles == sorted(
        (each["ts_event"], symbol_of(each["bar_type"]), *(float(each[name]) for name in NAMES)) for each in found["bars"]
    )


def test_messages_are_those_of_the_own_replay(base: str, connection: Connection):
    stored(connection)
    found = replay(base, [{**DAY, "symbols": ["aapl"], "dataTypes": ["trade", "trade_bar_1m"]}])
    trades = [each for each in found if each["type"] == "trade"]
    assert [(each["timestamp"], int(each["id"]), each["price"], each["amount"]) for each in trades] == [
        (row["timestamp"], row["trade_id"], row["price"], row["volume"]) for row in own(base, "/trades", "AAPL")
    ]
    assert {(each["symbol"], each["exchange"], each["side"]) for each in trades} == {("AAPL", "binance", "unknown")}
    bars = [each for each in found if each["type"] == "trade_bar"]
    candles = own(base, "/candles", "AAPL", interval="1m")
    names = ("open", "high", "low", "close", "volume", "vwap")
    assert [[each[name] for name in names] for each in bars] == [[row[name] for name in names] for row in candles]
    assert [each["openTimestamp"] for each in bars] == [row["timestamp"] for row in candles]
    assert {(each["name"], each["interval"], each["kind"]) for each in bars} == {("trade_bar_1m", 60_000, "time")}
    order = [each["timestamp"] for each in found]
    assert order == sorted(order)  # a bar follows the trades of its bucket


def test_several_options_are_merged_by_time(base: str, connection: Connection):
    stored(connection)
    found = replay(
        base,
        [
            {**DAY, "symbols": ["AAPL"], "dataTypes": ["trade"]},
            {**DAY, "exchange": "bitmex", "symbols": ["MSFT"], "dataTypes": ["trade", "trade_bar_3600s"]},
        ],
    )
    assert {(each["exchange"], each["symbol"]) for each in found} == {("binance", "AAPL"), ("bitmex", "MSFT")}
    assert [each["timestamp"] for each in found] == sorted(each["timestamp"] for each in found)
    (bar,) = [each for each in found if each["type"] == "trade_bar"]
    assert (bar["name"], bar["symbol"], bar["interval"]) == ("trade_bar_3600s", "MSFT", 3_600_000)
    everything = replay(base, {**DAY, "dataTypes": ["trade"]})
    assert len(everything) == 90


def test_empty_range_ends_at_once(base: str, connection: Connection):
    stored(connection)
    assert replay(base, [{**DAY, "from": "2020-01-01", "to": "2020-01-02T12:00:00", "dataTypes": ["trade"]}]) == []


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ("", 400, "options: must be an array"),
        ("[", 400, "options: must be an array"),
        ("[]", 400, "options: must have 1 to 100 entries"),
        ("[1]", 400, "options: must be an array"),
        ("[" * 2000, 400, "options: must be an array"),
        ([{**DAY}], 400, "dataTypes: is required"),
        ([{**DAY, "dataTypes": ["book_change"]}], 400, "dataTypes: has trade, trade_bar_1m"),
        ([{**DAY, "dataTypes": ["trade_bar_7m"]}], 400, "dataTypes: has trade, trade_bar_1m"),
        ([{**DAY, "dataTypes": ["trade_bar_" + "9" * 400 + "m"]}], 400, "dataTypes: has trade, trade_bar_1m"),
        ([{**DAY, "from": "soon", "dataTypes": ["trade"]}], 400, "from: must be a time"),
        ([{**DAY, "from": "2026-02-09", "dataTypes": ["trade"]}], 400, "from: must be before to"),
        ([{**DAY, "from": "9998-01-01", "to": "9999-01-01", "dataTypes": ["trade"]}], 400, "from: is in the future"),
        ([{**DAY, "symbols": ["A  B"], "dataTypes": ["trade"]}], 400, "symbols: must be"),
        ([{**DAY, "symbols": ["NOPE"], "dataTypes": ["trade"]}], 404, "There is no symbol NOPE"),
        (
            [{**DAY, "dataTypes": ["trade"]}, {**DAY, "to": "2026-02-10", "dataTypes": ["trade"]}],
            400,
            "options: have different",
        ),
    ],
)
def test_bad_options_refuse_the_handshake(base: str, options: Any, status: int, message: str):
    text = quote(options if isinstance(options, str) else json.dumps(options))
    address = f"{base.replace('http', 'ws', 1)}/tardis/ws-replay-normalized?options={text}"
    with pytest.raises(InvalidStatus) as refused, connect(address, open_timeout=60):
        pass
    assert refused.value.response.status_code == status
    body = json.loads(refused.value.response.body or b"")
    assert body["code"] == status
    assert body["message"].startswith(message)


def test_key_in_the_path(serve: Any, database_url: str, connection: Connection):
    store(connection, trade(0, "1.5"), trade(1, "2.5"))
    with serve(auth="required") as base:
        keyed = f"{base.replace('http', 'ws', 1)}/tardis/{store_key(database_url, 'read')}"
        query = f"/ws-replay-normalized?options={quote(json.dumps([{**DAY, 'dataTypes': ['trade']}]))}"
        with connect(keyed + query, open_timeout=60) as socket:
            assert json.loads(socket.recv(60))["price"] == 1.5
            # The client leaves in the middle of the replay.
        with pytest.raises(InvalidStatus) as refused, connect(f"{keyed[:-43]}{'x' * 43}{query}", open_timeout=60):
            pass
        assert refused.value.response.status_code == 401
