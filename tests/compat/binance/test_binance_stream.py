"""Binance's streams: their messages and commands, bad input, and statements that clients share."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from helpers.support import T0, Connection, now_within_minute, store, trade
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from market_data.api.compat.binance import shared_reads
from market_data.api.compat.binance.stream_names import read_name, split_names

START = int(T0.timestamp() * 1000)
FIRST_ID = START * 1_000_000


class Socket:
    """A client of the streams."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def receive(self, seconds: float = 30) -> Any:
        return json.loads(self.connection.recv(seconds))

    def call(self, method: str, *names: object, number: object = 1) -> Any:
        """Send a command, and return the reply."""
        self.connection.send(json.dumps({"method": method, "params": names, "id": number}))
        answer = self.receive()
        assert answer["id"] == number
        return answer.get("error") or answer["result"]

    def send(self, message: str | bytes) -> Any:
        self.connection.send(message)
        return self.receive()


@contextmanager
def opened(base: str, path: str = "/ws") -> Iterator[Socket]:
    with connect(f"{base.replace('http', 'ws', 1)}/binance{path}", max_size=None) as connection:
        yield Socket(connection)


def refresh(connection: Connection) -> None:
    """Mark candles as refreshed, as at the end of refresh_candles."""
    connection.execute("DELETE FROM stale_ranges")


def without(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a payload without the members that depend on the time of the test."""
    assert abs(payload["E"] / 1000 - time.time()) < 60
    return {name: value for name, value in payload.items() if name not in ("E", *names)}


def test_trades_and_closed_candles_that_late_and_changed_trades_revise(base: str, known: Connection):
    with opened(base, "/stream?streams=aapl@trade/aapl@aggTrade/aapl@kline_1m") as socket:
        assert socket.call("LIST_SUBSCRIPTIONS") == ["aapl@trade", "aapl@aggTrade", "aapl@kline_1m"]
        store(known, trade(1.5, "100.50", "2"))
        plain, aggregate = socket.receive(), socket.receive()
        trade_id = FIRST_ID + 1_500_000_000
        common = {"s": "AAPL", "p": "100.5", "q": "2", "T": START + 1500, "m": False, "M": True}
        assert plain["stream"] == "aapl@trade"
        assert without(plain["data"]) == {"e": "trade", "t": trade_id, **common}
        assert aggregate["stream"] == "aapl@aggTrade"
        assert without(aggregate["data"]) == {"e": "aggTrade", "a": trade_id, "f": trade_id, "l": trade_id, **common}
        refresh(known)
        late = socket.receive()
        assert late["stream"] == "aapl@kline_1m"
        kline = late["data"].pop("k")
        assert without(late["data"]) == {"e": "kline", "s": "AAPL"}
        times = {"t": START, "T": START + 59_999, "i": "1m", "s": "AAPL", "f": -1, "L": -1, "V": "0", "Q": "0", "B": "0"}
        prices = dict.fromkeys("ohlc", "100.5")
        assert kline == {**times, **prices, "v": "2", "q": "201", "n": 1, "x": True}
        # The protocol has no message for the changes themselves.
        known.execute("UPDATE trades SET price = 99")
        refresh(known)
        assert socket.receive()["data"]["k"] == {
            **times,
            **dict.fromkeys("ohlc", "99"),
            "v": "2",
            "q": "198",
            "n": 1,
            "x": True,
        }
        known.execute("DELETE FROM trades")
        refresh(known)
        store(known, trade(2, "7"))
        assert socket.receive()["data"]["p"] == "7"


def test_open_candle_is_that_of_the_own_api(base: str, known: Connection):
    now = now_within_minute()
    with opened(base, "/ws/aapl@kline_1h") as socket:
        time.sleep(0.3)  # the subscription
        store(known, (now, "AAPL", 0, *trade(0, "10.25", "4")[3:]), (now, "AAPL", 1, *trade(0, "10.75", "4")[3:]))
        kline = socket.receive()["k"]
        own = httpx.get(f"{base}/candles", params={"symbol": "AAPL", "interval": "1h", "start": "now-2h"}).json()["candles"][
            -1
        ]
    (rest,) = httpx.get(f"{base}/binance/api/v3/klines", params={"symbol": "AAPL", "interval": "1h"}).json()
    assert [kline[name] for name in "tohlcvTqn"] == rest[:9]
    assert [float(kline[name]) for name in "ohlcv"] == [own[name] for name in ("open", "high", "low", "close", "volume")]
    assert kline["x"] is own["closed"]


def test_ids_are_those_of_the_rest_api(base: str, known: Connection):
    with opened(base, "/ws/aapl@trade") as socket:
        assert socket.call("GET_PROPERTY", "combined") is False
        store(known, *(trade(0, f"{each + 20}", trade_id=each) for each in (-9, -4, 0, 5)), trade(0, "9", symbol="MSFT"))
        store(known, trade(0.000001, "8"), trade(0, "7", trade_id=9))
        found = {message["p"]: message["t"] for message in (socket.receive() for _ in range(6))}
    trades = httpx.get(f"{base}/binance/api/v3/trades", params={"symbol": "AAPL"}).json()
    assert found == {each["price"]: each["id"] for each in trades}
    assert sorted(found.values()) == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3, FIRST_ID + 4, FIRST_ID + 1000]


def test_commands_change_the_streams(base: str, known: Connection):
    with opened(base, "/ws/0") as socket:
        assert socket.call("LIST_SUBSCRIPTIONS") == []
        assert socket.call("SUBSCRIBE", "aapl@trade", "MSFT@kline_5m", number="a") is None
        assert socket.call("SUBSCRIBE", "aapl@trade", number=None) is None
        assert socket.call("LIST_SUBSCRIPTIONS", number=2**64 - 1) == ["aapl@trade", "msft@kline_5m"]
        store(known, trade(0, "1", symbol="MSFT"), trade(0, "2"))
        assert socket.receive()["p"] == "2"
        assert socket.call("SET_PROPERTY", "combined", True) is None
        store(known, trade(1, "3"))
        assert socket.receive()["stream"] == "aapl@trade"
        assert socket.call("UNSUBSCRIBE", "aapl@trade", "nope@trade") is None
        assert socket.call("LIST_SUBSCRIPTIONS") == ["msft@kline_5m"]
        store(known, trade(2, "4"))
        refresh(known)
        assert socket.receive()["stream"] == "msft@kline_5m"
        # An unknown symbol is silent, as at Binance, until it is known.
        assert socket.call("SUBSCRIBE", "new@trade") is None
        store(known, trade(0, "5", symbol="NEW"))
        assert socket.receive()["data"]["s"] == "NEW"


def test_names_of_streams_may_contain_separators(base: str, connection: Connection):
    symbols = ("A/B", "C@D", "$E", "^F", "G@H/I", "I&J")
    names = [f"{symbol.lower()}@trade" for symbol in symbols]
    encoded = [name.replace("@", "%40", 1).replace("/", "%2F").replace("&", "%26") for name in names]
    for path in (f"/stream?streams={'/'.join(encoded)}", f"/stream?streams={'%2F'.join(encoded)}"):
        with opened(base, path) as socket:
            assert socket.call("LIST_SUBSCRIPTIONS") == names
    for name, symbol in zip(encoded, symbols, strict=True):
        with opened(base, f"/ws/{name}") as socket:
            assert socket.call("LIST_SUBSCRIPTIONS") == [f"{symbol.lower()}@trade"]
            store(connection, trade(0, "5", symbol=symbol))
            assert socket.receive()["s"] == symbol


def test_names_are_split_after_their_kinds():
    assert split_names("a/b@trade/c@d@kline_1m/!ticker@arr") == ["a/b@trade", "c@d@kline_1m", "!ticker@arr"]
    assert split_names("a@depth5@100ms/b@trade/") == ["a@depth5@100ms", "b@trade"]
    assert split_names("a@nothing/b@trade//") == ["a@nothing/b@trade"]
    assert split_names("x/y") == ["x", "y"]
    assert str(read_name("!miniTicker@arr")) == "!miniTicker@arr"
    assert str(read_name("A@B@kline_1w")) == "a@b@kline_1w"


@pytest.mark.parametrize(
    "name", ["aapl@kline_3m", "aapl@kline_1M", "aapl@depth", "aapl@bookTicker", "!bookTicker@arr", "@trade"]
)
def test_streams_that_there_are_not(base: str, name: str):
    with opened(base) as socket:
        error = socket.call("SUBSCRIBE", "aapl@trade", name)
        assert (error["code"], name in error["msg"]) == (2, True)
        assert socket.call("LIST_SUBSCRIPTIONS") == []
    with opened(base, f"/ws/{name}") as socket:
        assert socket.receive()["error"]["code"] == 2
        assert socket.call("SUBSCRIBE", "aapl@trade") is None
    with opened(base, f"/stream?streams=aapl@trade/{name}") as socket:
        assert socket.receive()["error"]["code"] == 2
        assert socket.call("LIST_SUBSCRIPTIONS") == ["aapl@trade"]


MESSAGES: list[tuple[str | bytes, int, object]] = [
    ("", 3, None),
    ("{", 3, None),
    (b"\xff\xfe", 3, None),
    ("[" * 100_000, 3, None),
    ("[]", 2, None),
    ("null", 2, None),
    ('"SUBSCRIBE"', 2, None),
    ("{}", 2, None),
    ('{"method": 1, "id": 7}', 2, 7),
    ('{"method": "LOGON", "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": "aapl@trade", "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": [1], "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": [null], "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": ["\\u0000@trade"], "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": ["aapl"], "id": 7}', 2, 7),
    ('{"method": "SUBSCRIBE", "params": [], "id": -1}', 2, None),
    ('{"method": "SUBSCRIBE", "params": [], "id": 1.5}', 2, None),
    ('{"method": "SUBSCRIBE", "params": [], "id": true}', 2, None),
    ('{"method": "SUBSCRIBE", "params": [], "id": [1]}', 2, None),
    ('{"method": "SUBSCRIBE", "params": [], "id": 1e400}', 3, None),
    ('{"method": "SUBSCRIBE", "params": [], "id": ' + "9" * 5000 + "}", 3, None),
    ('{"method": "SET_PROPERTY", "params": ["other", true], "id": 7}', 0, 7),
    ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 7}', 1, 7),
    ('{"method": "GET_PROPERTY", "params": [], "id": 7}', 0, 7),
]


def test_messages_that_are_no_commands(base: str):
    with opened(base) as socket:
        for message, code, number in MESSAGES:
            answer = socket.send(message)
            assert (answer["error"]["code"], answer["id"]) == (code, number), message
            assert len(answer["error"]["msg"]) < 1000
        assert socket.call("SUBSCRIBE", *(f"s{number}@trade" for number in range(5000)))["code"] == 2
        assert socket.call("SUBSCRIBE", *(f"s{number}@trade" for number in range(1024))) is None
        assert socket.call("SUBSCRIBE", "one@trade")["code"] == 2
        assert len(socket.call("LIST_SUBSCRIPTIONS")) == 1024
    with opened(base) as socket, pytest.raises(ConnectionClosed):
        socket.send("x" * 10_000_000)
    assert httpx.get(f"{base}/binance/ws").json()["code"] == -1020


def test_tickers_come_once_a_second_and_share_statements(base: str, known: Connection, monkeypatch: pytest.MonkeyPatch):
    statements: list[Any] = []
    read = shared_reads.read_snapshots

    async def counted(connection: Any, symbols: Any) -> Any:
        statements.append(symbols)
        return await read(connection, symbols)

    monkeypatch.setattr(shared_reads, "read_snapshots", counted)
    now = now_within_minute(20)
    store(known, (now, "AAPL", 0, *trade(0, "10", "4")[3:]))
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(base, f"/ws/aapl@{kind}")) for kind in ("ticker", "miniTicker") * 5]
        everything = stack.enter_context(opened(base, "/stream?streams=!miniTicker@arr"))
        assert {socket.receive()["c"] for socket in sockets} == {"10"}  # at once, without a trade
        statements.clear()
        moments = 3
        full: dict[str, Any] = {}
        mini: dict[str, Any] = {}
        for number in range(1, moments + 1):
            change = now + timedelta(milliseconds=number)
            store(known, (change, "AAPL", 0, *trade(0, f"{10 + number}", "4")[3:]))
            full, mini, *_ = [socket.receive() for socket in sockets]
            while full["c"] != f"{10 + number}":
                full, mini, *_ = [socket.receive() for socket in sockets]
        assert len(statements) <= 3 * moments
        rest = httpx.get(f"{base}/binance/api/v3/ticker/24hr", params={"symbol": "AAPL"}).json()
        names = {
            "c": "lastPrice",
            "o": "openPrice",
            "h": "highPrice",
            "l": "lowPrice",
            "v": "volume",
            "q": "quoteVolume",
            "p": "priceChange",
            "P": "priceChangePercent",
            "w": "weightedAvgPrice",
            "x": "prevClosePrice",
            "Q": "lastQty",
            "n": "count",
            "F": "firstId",
            "L": "lastId",
        }
        assert {name: full[name] for name in names} == {name: rest[other] for name, other in names.items()}
        assert without(mini) == {"e": "24hrMiniTicker", "s": "AAPL", **{name: full[name] for name in "cohlvq"}}
        arrays = [everything.receive()]
        while arrays[-1]["data"][0]["c"] != "13":
            arrays.append(everything.receive())
        assert {array["stream"] for array in arrays} == {"!miniTicker@arr"}
        assert without(arrays[-1]["data"][0]) == without(mini)


def test_a_wave_of_clients_shares_the_ranks(base: str, known: Connection, monkeypatch: pytest.MonkeyPatch):
    keys: list[Any] = []
    read = shared_reads.read_ranks

    async def counted(connection: Any, wanted: Any) -> Any:
        keys.append(wanted)
        return await read(connection, wanted)

    monkeypatch.setattr(shared_reads, "read_ranks", counted)
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(base, "/ws/aapl@trade/aapl@aggTrade")) for _ in range(10)]
        assert [len(socket.call("LIST_SUBSCRIPTIONS")) for socket in sockets] == [2] * 10
        store(known, *(trade(number, "5") for number in range(100)))
        for socket in sockets:
            assert len({message["T"] for message in (socket.receive() for _ in range(200))}) == 100
    wanted = [key for each in keys for key in each]
    assert len(wanted) == len(set(wanted)) == 100
