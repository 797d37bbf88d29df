"""The stream of `/alpaca` as JSON, as msgpack, and its errors."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from helpers.api_keys import revoke, store_key
from helpers.service import eventually
from helpers.support import T0, Connection, now_within_minute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from market_data.api.compat import streams
from market_data.api.compat.alpaca.stream import AlpacaStream

MSGPACK = {"Content-Type": "application/msgpack"}
CONNECTED = {"T": "success", "msg": "connected"}
AUTHENTICATED = {"T": "success", "msg": "authenticated"}
COMMON = {"S": "AAPL", "x": "E", "z": ""}
EMPTY = {
    name: []
    for name in ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
}


def decode(frame: str | bytes) -> list[dict[str, Any]]:
    return json.loads(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)


def receive(client: ClientConnection, count: int = 1) -> list[dict[str, Any]]:
    """Return the next messages: those of as many frames as it takes."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        found += decode(client.recv(timeout=20))
    assert len(found) == count, found
    return found


def ask(client: ClientConnection, action: str, **fields: Any) -> dict[str, Any]:
    client.send(json.dumps({"action": action, **fields}))
    (answer,) = receive(client)
    return answer


@contextmanager
def connected(base: str, path: str = "", **headers: str) -> Iterator[ClientConnection]:
    address = f"{base.replace('http', 'ws')}/alpaca/stream{path}"
    with connect(address, additional_headers={name.replace("_", "-"): value for name, value in headers.items()}) as client:
        assert receive(client) == [CONNECTED]
        yield client


def insert(connection: Connection, time: datetime, price: str, volume: str, trade_id: int = 0) -> None:
    connection.execute(
        "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', %s, %s, %s)",
        (time, trade_id, price, volume),
    )


def text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("path", ["", "/v2/iex"])
def test_trades_and_their_changes_as_json(base: str, known: Connection, path: str):
    now = datetime.now(UTC)
    price = "12345678901234567890.123456789"
    with connected(base, path) as client:
        assert ask(client, "auth", key="k", secret="s") == AUTHENTICATED
        lists = {name: ["AAPL"] for name in ("trades", "corrections", "cancelErrors")}
        assert ask(client, "subscribe", trades=["aapl"], quotes=["*"]) == {
            "T": "subscription",
            **EMPTY,
            **lists,
            "quotes": ["*"],
        }
        insert(known, now, price, "0.5", 7)
        frame = client.recv(timeout=20)
        assert isinstance(frame, str)
        assert f'"p":{price},"s":0.5,' in frame
        (message,) = decode(frame)
        common = {**COMMON, "t": text(now)}
        assert message == {"T": "t", **common, "i": 7, "p": float(price), "s": 0.5, "c": []}
        known.execute("UPDATE trades SET price = 2")
        known.execute("UPDATE trades SET volume = 1.5")
        known.execute("DELETE FROM trades")
        ids = {"oi": 7, "oc": [], "ci": 7, "cc": []}
        assert receive(client, 3) == [
            {"T": "c", **common, **ids, "op": float(price), "os": 0.5, "cp": 2, "cs": 0.5},
            {"T": "c", **common, **ids, "op": 2, "os": 0.5, "cp": 2, "cs": 1.5},
            {"T": "x", **common, "i": 7, "p": 2, "s": 1.5, "a": "C"},
        ]


def test_subscriptions_are_listed_and_change(base: str, known: Connection):
    with connected(base) as client:
        assert ask(client, "subscribe", bars=["AAPL", "BTC/USD"])["bars"] == ["AAPL", "BTC/USD"]
        assert ask(client, "subscribe", bars=["MSFT"], trades=["MSFT"])["bars"] == ["AAPL", "BTC/USD", "MSFT"]
        left = ask(client, "unsubscribe", bars=["AAPL", "NOPE"], trades=["AAPL"])
        assert (left["bars"], left["trades"], left["corrections"]) == (["BTC/USD", "MSFT"], ["MSFT"], ["MSFT"])
        insert(known, datetime.now(UTC), "1", "1")  # of AAPL, which is not subscribed to any more
        known.execute("INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (now(), 'MSFT', 0, 2, 1)")
        assert receive(client)[0]["S"] == "MSFT"
        assert ask(client, "unsubscribe", bars=["BTC/USD", "MSFT"], trades=["MSFT"]) == {"T": "subscription", **EMPTY}


def refresh(connection: Connection) -> None:
    """Mark candles as refreshed, as at the end of refresh_candles."""
    connection.execute("DELETE FROM stale_ranges")


def test_late_trades_update_bars_as_msgpack(base: str, known: Connection):
    with connected(base, **MSGPACK) as client:
        channels = {"trades": ["*"], "updatedBars": ["AAPL"], "bars": ["AAPL"]}
        client.send(msgspec.msgpack.encode({"action": "subscribe", **channels}))
        assert receive(client)[0]["updatedBars"] == ["AAPL"]
        insert(known, T0, "10.25", "2")
        assert receive(client)[0]["T"] == "t"
        refresh(known)
        assert receive(client)[0]["T"] == "u"
        insert(known, T0 + timedelta(seconds=1), "11", "3", 1)
        (late,) = receive(client)
        assert late == {"T": "t", **COMMON, "i": 1, "p": 11.0, "s": 3.0, "c": [], "t": T0 + timedelta(seconds=1)}
        refresh(known)
        (bar,) = receive(client)
        assert bar == {"T": "u", "S": "AAPL", **newest_candle(base, "1m"), "t": T0}
        assert (bar["o"], bar["v"], bar["n"], bar["vw"]) == (10.25, 5, 2, 10.7)
        known.execute("DELETE FROM trades")  # which leaves no bar
        assert [each["T"] for each in receive(client, 2)] == ["x", "x"]
        refresh(known)
        assert ask(client, "nothing")["code"] == 410


def newest_candle(base: str, interval: str) -> dict[str, Any]:
    parameters = {"symbol": "AAPL", "interval": interval}
    (candle,) = httpx.get(f"{base}/candles", params=parameters).json()["candles"]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count", "vw": "vwap"}
    return {short: candle[name] for short, name in names.items()} | {"t": candle["timestamp"]}


def test_days_are_sent_at_most_once_in_a_time(base: str, known: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(AlpacaStream, "tick_seconds", 1.0)
    now = now_within_minute(20)
    with connected(base) as client:
        ask(client, "subscribe", dailyBars=["*"])
        for number in range(5):
            insert(known, now, f"{10 + number}.5", "1", number)
        found: list[dict[str, Any]] = []
        while not found or found[-1]["n"] < 5:
            found += receive(client)
        assert found[-1] == {"T": "d", "S": "AAPL", **newest_candle(base, "1d")}
        assert len(found) < 5


def test_a_late_trade_at_the_end_of_a_minute_is_a_bar_too(base: str, known: Connection, monkeypatch: pytest.MonkeyPatch):
    """The end of the minute and the trade are one event then."""
    monkeypatch.setattr("market_data.api.compat.alpaca.stream.CLOSING", timedelta(hours=1))
    start = now_within_minute().replace(second=0, microsecond=0) - timedelta(minutes=1)
    is_closed = "SELECT closed_until >= %s + INTERVAL '1 minute' FROM stream_progress"
    eventually(lambda: known.execute(is_closed, (start,)).fetchone() == (True,))
    with connected(base) as client:
        ask(client, "subscribe", bars=["AAPL"], updatedBars=["*"])
        insert(known, start, "1", "1")
        first, second = receive(client, 2)
        assert [each["T"] for each in (first, second)] == ["b", "u"]
        assert {**first, "T": "u"} == second
        insert(known, start, "2", "1", 1)
        updates = [second]
        while updates[-1]["n"] == 1:  # a refresh may repeat the first one
            updates += decode(client.recv(timeout=20))
        assert {each["T"] for each in updates} == {"u"}
        assert updates[-1]["n"] == 2


def test_errors_leave_the_stream_usable(base: str, known: Connection):
    messages: Sequence[tuple[str | bytes, int]] = (
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("{}", 400),
        ("null", 400),
        ('{"action": 1}', 400),
        ('{"action": "subscribe", "trades": "AAPL"}', 400),
        ('{"action": "subscribe", "trades": [1]}', 400),
        ('{"action": "subscribe", "trades": [""]}', 400),
        ('{"action": "subscribe", "trades": ["A\\u0000"]}', 400),
        ('{"action": "subscribe", "more": ' + "[" * 50_000, 400),
        (json.dumps({"action": "subscribe", "trades": [f"S{number}" for number in range(10_001)]}), 405),
        ('{"action": "nothing"}', 410),
        ('{"action": "listen"}', 410),
    )
    with connected(base) as client:
        assert ask(client, "subscribe", trades=["AAPL"])["trades"] == ["AAPL"]
        for message, code in messages:
            client.send(message)
            (error,) = receive(client)
            assert (error["T"], error["code"]) == ("error", code), message
            assert error["msg"]
        assert ask(client, "auth", key="k", secret="s") == AUTHENTICATED
        assert ask(client, "auth", key="k", secret="s")["code"] == 403
        for packed in (b"", b"\xc1", b"\x81", b"\x93\x01\x02\x03", b"\x81\xa6action\xcb" + b"\xff" * 8, b"\x91" * 50_000):
            client.send(packed)
            frame = client.recv(timeout=20)
            assert isinstance(frame, bytes)
            assert decode(frame)[0]["code"] == 400
        insert(known, datetime.now(UTC), "1", "1")
        assert receive(client)[0]["T"] == "t"


def test_a_huge_frame_ends_only_its_connection(base: str):

    def send_and_receive(client: ClientConnection) -> None:
        client.send("x" * 10_000_000)
        client.recv(timeout=20)

    with connected(base) as client, pytest.raises(ConnectionClosed) as closed:
        send_and_receive(client)
    # The close frame may be lost, because the service closes the connection while the client still sends.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    with connected(base) as client:
        assert ask(client, "subscribe")["trades"] == []


def ended_with(client: ClientConnection) -> tuple[Any, int]:
    """Return the last message, and the close code."""
    (message,) = receive(client)
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=20)
    assert closed.value.rcvd
    return message["code"], closed.value.rcvd.code


def test_keys_of_the_stream(serve: Any, database_url: str, known: Connection, monkeypatch: pytest.MonkeyPatch):
    secret = store_key(database_url, "read")
    wrong = secret[:-4] + "AAAA"
    with serve(auth="required") as base:
        with connected(base) as client:
            assert ask(client, "subscribe", trades=["*"])["code"] == 401
            assert ask(client, "auth", key="anything", secret=secret) == AUTHENTICATED
            assert ask(client, "subscribe", trades=["*"])["trades"] == ["*"]
            insert(known, datetime.now(UTC), "1", "1")
            assert receive(client)[0]["T"] == "t"
        with connected(base, APCA_API_KEY_ID="anything", APCA_API_SECRET_KEY=secret) as client:
            assert receive(client) == [AUTHENTICATED]
            assert ask(client, "subscribe", bars=["*"])["bars"] == ["*"]
            revoke(database_url, secret)
            assert ended_with(client) == (402, 1008)
        for given in ("", "secret", wrong, secret):  # the last one is revoked
            with connected(base) as client:
                client.send(json.dumps({"action": "auth", "key": "anything", "secret": given}))
                assert ended_with(client) == (402, 1008), given
        address = f"{base.replace('http', 'ws')}/alpaca/stream"
        with pytest.raises(Exception, match="401"), connect(address, additional_headers={"APCA-API-SECRET-KEY": wrong}):
            pass
        monkeypatch.setattr(streams, "AUTHENTICATION_SECONDS", 0.3)
        with connected(base) as client:
            assert ended_with(client) == (404, 1008)
    with serve() as base, connected(base) as client:
        client.send(json.dumps({"action": "auth", "key": "anything", "secret": secret[:-4] + "AAAA"}))
        assert ended_with(client) == (402, 1008)


def test_messages_count_against_the_rate_limit(serve: Any):
    with serve(rate_limit=3, rate_limit_seconds=3600) as base, connected(base) as client:
        assert [ask(client, "subscribe")["T"] for _ in range(2)] == ["subscription"] * 2
        client.send('{"action": "subscribe"}')
        assert ended_with(client) == (406, 1013)
