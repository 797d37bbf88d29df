"""`/stream` and `/ws` with `from=`: order, pace, commands, errors and limits of replays."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from helpers.candle_scenarios import INTERVALS
from helpers.replays import bounds, played, recorded
from helpers.service import eventually
from helpers.sse_client import Event, listening
from helpers.support import Connection, create_patient_app, one, serving, store, trade
from helpers.websocket_client import Message, open_websocket
from litestar.testing import TestClient
from websockets.exceptions import ConnectionClosed

from market_data.settings import Settings
from market_data.streaming.playback.numbers import float_text, quotient


@pytest.fixture
def day(known: Connection) -> tuple[datetime, datetime]:
    """Store trades of two minutes of T0 in one commit each, and return the range of their commits."""
    start = one(known, "SELECT clock_timestamp()")
    for seconds, price in ((1, "100"), (2, "101.50"), (61, "99"), (62, "98")):
        store(known, trade(seconds, price), trade(seconds, price, symbol="MSFT"))
    return start, one(known, "SELECT clock_timestamp()")


T0_RANGE = datetime(2026, 2, 8, 10, 30, tzinfo=UTC), datetime(2026, 2, 8, 10, 40, tzinfo=UTC)


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize("transport", ["stream", "ws"])
def test_trades_are_played_in_the_order_of_time(transport: str, address: str, connection: Connection):
    store(connection, trade(1.5, "105"))  # late
    connection.execute("DELETE FROM trades WHERE price = 98")
    events = recorded(played(transport, address, *T0_RANGE, order="time", symbols="AAPL", channels="trades,candles_1m"))
    trades = [event.data["price"] for event in events if event.name == "trade"]
    assert trades == [100, 105, 101.5, 99]
    candles = [
        (event.data["timestamp"][14:16], event.data["high"], event.data["close"], event.data["closed"])
        for event in events
        if event.name == "candle"
    ]
    first = [("30", 100, 100, False), ("30", 105, 105, False), ("30", 105, 101.5, False), ("30", 105, 101.5, True)]
    assert candles == [*first, ("31", 99, 99, False), ("31", 99, 99, True)]
    assert [event.key for event in events] == sorted({event.key for event in events})
    assert {event.data["version"] for event in events} == {one(connection, "SELECT newest_version()")}


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize("interval", list(INTERVALS))
def test_candles_that_have_begun_are_continued(address: str, interval: str):
    """They equal the candles of `/candles` in the end."""
    start, end = T0_RANGE[0] + timedelta(seconds=1.5), T0_RANGE[1]
    events = recorded(played("stream", address, start, end, order="time", channels=f"candles_{interval}"))
    newest = {(event.data["symbol"], event.data["timestamp"]): event.data for event in events}
    for symbol in ("AAPL", "MSFT"):
        parameters = {"symbol": symbol, "interval": interval}
        for candle in httpx.get(f"{address}/candles", params=parameters).json()["candles"]:
            found = newest[symbol, candle["timestamp"]]
            assert {key: found[key] for key in candle if key not in ("closed", "settled")} == {
                key: value for key, value in candle.items() if key not in ("closed", "settled")
            }


@pytest.mark.usefixtures("day")
def test_speed_sets_the_pace(address: str):
    with listening(address, order="time", speed="20", **bounds(T0_RANGE[0], T0_RANGE[0] + timedelta(seconds=62))) as events:
        arrivals = [(event.name, event.data, time.monotonic()) for event in until_end(events)]
    trades = [arrival for name, _, arrival in arrivals if name == "trade"]
    assert 2.9 < trades[4] - trades[0] < 5  # a minute of virtual time in three seconds
    clocks = [data["timestamp"] for name, data, _ in arrivals if name == "clock"]
    assert clocks == sorted(clocks)
    assert len(clocks) >= 4
    assert arrivals[-1][1] == {"timestamp": "2026-02-08T10:31:02Z"}


def until_end(events: Any) -> Iterator[Event]:
    for event in events:
        yield event
        if event.name == "end":
            return


@pytest.fixture
def paused(address: str, day: tuple[datetime, datetime]) -> Iterator["Remote"]:
    """A paused replay of the trades of AAPL in the order of time, with the pace of the clock."""
    with open_websocket(address, order="time", symbols="AAPL", **bounds(*T0_RANGE)) as client:
        remote = Remote(client)
        assert remote.send("pause")["paused"] is True
        yield remote


class Remote:
    """Controls a replay over its WebSocket."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.events: list[Message] = []

    def send(self, action: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and return its answer."""
        self.client.send(json.dumps({"action": action, **fields}))
        return self.next("error" if fields.get("wrong") else "clock", paused=action != "resume")["data"]

    def next(self, *names: str, paused: bool | None = None) -> Message:
        while True:
            message = json.loads(self.client.recv(timeout=20))
            self.events.append(message)
            if message["event"] in (*names, "error") and (paused is None or message["data"].get("paused", paused) == paused):
                return message

    def price(self) -> float:
        return self.next("trade")["data"]["price"]


def test_step_plays_the_next_events(paused: Remote):
    played: list[tuple[float, str]] = []
    for _ in range(3):
        paused.send("step")
        played.append((paused.price(), paused.next("clock")["data"]["timestamp"]))
    assert [price for price, _ in played] == [100, 101.5, 99]
    assert played[-1][1] == paused.send("pause")["timestamp"] == "2026-02-08T10:31:01Z"


def test_seek_goes_back_and_forth(paused: Remote):
    assert paused.send("seek", time="2026-02-08T10:31:02Z")["timestamp"] == "2026-02-08T10:31:02Z"
    paused.send("step")
    assert paused.price() == 98
    paused.send("seek", time="2026-02-08T10:30:02Z")
    paused.send("step")
    assert paused.price() == 101.5


def test_speed_and_resume_play_to_the_end(paused: Remote):
    assert paused.send("speed", speed=60)["speed"] == 60
    assert paused.send("speed", speed="max")["speed"] == "max"
    paused.send("resume")
    assert [paused.price() for _ in range(4)] == [100, 101.5, 99, 98]
    assert paused.next("end")["data"] == {"timestamp": "2026-02-08T10:40:00Z"}
    with pytest.raises(ConnectionClosed) as closed:
        paused.client.recv(timeout=20)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1000


def test_subscription_changes_while_a_replay_runs(paused: Remote):
    paused.send("step")
    assert paused.price() == 100
    paused.client.send('{"action": "subscribe", "symbols": ["MSFT"]}')
    paused.next("subscribed")
    paused.send("step")
    assert [paused.next("trade")["data"]["symbol"] for _ in range(2)] == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"action": "seek", "time": "2026-02-09T10:30:00Z"}, "time: must be within the replay, from 2026-02-08T10:30:00Z"),
        ({"action": "seek"}, "time: is missing; give the time to continue at"),
        ({"action": "speed", "speed": 0}, "speed: must be a number above 0"),
        ({"action": "speed", "speed": {}}, "speed: must be a number above 0"),
        ({"action": "step", "count": 2}, "count: is not a field of step, which has action"),
        ({"action": "subscribe", "last_event_id": "1-1-0"}, "last_event_id: resumes the live stream"),
    ],
    ids=str,
)
def test_wrong_command_is_explained(paused: Remote, command: dict[str, Any], expected: str):
    paused.client.send(json.dumps(command))
    assert expected in paused.next("error")["data"]["detail"]


def test_commands_of_replays_need_one(address: str):
    with open_websocket(address, channels="trades") as client:
        client.send('{"action": "pause"}')
        assert "connect to /ws?from=" in Remote(client).next("error")["data"]["detail"]


@pytest.mark.parametrize(
    ("parameters", "name", "expected"),
    [
        ({"from": "2100-01-01"}, "from", "is in the future"),
        ({"from": "now-1h", "to": "2100-01-01"}, "to", "is in the future"),
        ({"from": "now-1h", "to": "now-2h"}, "from", "must be before to"),
        ({"from": "2026-02-08", "to": "2026-02-08"}, "from", "must be before to"),
        ({"from": "yesterday"}, "from", "must be a time"),
        ({"from": "now-1h", "speed": "0"}, "speed", "must be a number above 0"),
        ({"from": "now-1h", "speed": "-1"}, "speed", "must be a number above 0"),
        ({"from": "now-1h", "speed": "fast"}, "speed", "must be a number above 0"),
        ({"from": "now-1h", "order": "size"}, "order", "must be one of known, time"),
        ({"from": "now-1h", "last_event_id": "1-1-0"}, "last_event_id", "can't be combined with from"),
        ({"from": "now-1h", "channels": "trades,revisions", "order": "time"}, "channels", "order=known has them"),
        ({"speed": "10"}, "speed", "belongs to a replay; give from="),
        ({"to": "now"}, "to", "belongs to a replay; give from="),
        ({"order": "time"}, "order", "belongs to a replay; give from="),
    ],
    ids=str,
)
def test_wrong_parameter_is_explained(client: TestClient, parameters: dict[str, str], name: str, expected: str):
    response = client.get("/stream", params=parameters)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["name"] == name
    assert expected in error["detail"]


def test_header_last_event_id_is_rejected(client: TestClient):
    response = client.get("/stream?from=now-1h", headers={"Last-Event-ID": "1-1-0"})
    assert response.json()["errors"][0]["name"] == "Last-Event-ID"


def test_dropped_history_is_gone(client: TestClient, connection: Connection, day: tuple[datetime, datetime]):
    connection.execute(
        "UPDATE retention SET dropped_version = newest_version(), dropped_before = %s", (T0_RANGE[0] + timedelta(days=1),)
    )
    try:
        for order, earliest in (("known", "now"), ("time", "2026-02-09T10:30:00Z")):
            start = day[0] if order == "known" else T0_RANGE[0]
            response = client.get("/stream", params={"from": start.isoformat(), "order": order})
            assert response.status_code == 410
            assert order == "known" or earliest in response.json()["detail"]
        last = one(connection, "SELECT max(committed_at) FROM commits WHERE kind = 'store'")
        response = client.get("/stream", params={"from": day[0].isoformat()})
        after = (last + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
        assert after in response.json()["detail"]
    finally:
        connection.execute("UPDATE retention SET dropped_version = 0, dropped_before = '-infinity'")


def test_number_of_replays_is_limited(settings: Settings, day: tuple[datetime, datetime]):
    limited = msgspec.structs.replace(settings, max_replays=1)
    with serving(create_patient_app(limited)) as address:
        with listening(address, speed="0.001", **bounds(*day)):
            response = httpx.get(f"{address}/stream", params={"from": "now-1h"})
            assert response.status_code == 503
            assert "MAX_REPLAYS" in response.json()["detail"]
            with pytest.raises(AssertionError), open_websocket(address, **{"from": "now-1h"}):
                pass
        eventually(lambda: played("stream", address, *day, channels="trades"))


@pytest.mark.usefixtures("day")
def test_a_waiting_replay_holds_no_connection(address: str):
    """Seven replays wait for trades, on a pool of four connections."""
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(listening(address, order="time", speed="0.01", **bounds(*T0_RANGE)))
        assert httpx.get(f"{address}/price/latest?symbol=AAPL").json()["price"] == 98


def test_large_statement_is_played_in_parts(address: str, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('BIG', 'Big') ON CONFLICT DO NOTHING")
    start = one(connection, "SELECT clock_timestamp()")
    connection.execute(
        """
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT clock_timestamp() - number * INTERVAL '1 microsecond', 'BIG', number, number, 1
        FROM generate_series(1, 9000) AS number
        """
    )
    end = one(connection, "SELECT clock_timestamp()")
    events = recorded(played("stream", address, start, end, channels="trades,candles_1w"))
    assert [event.key[1] for event in events if event.name == "trade"] == list(range(1, 9001))
    candle = events[-1]
    assert (candle.name, candle.data["trade_count"], candle.data["high"]) == ("candle", 9000, 9000)


@pytest.mark.parametrize("number", ["0.00001", "1", "123456789012345678", "0.1", "1e15", "999999999999999.9"])
def test_numbers_are_printed_as_postgresql_does(connection: Connection, number: str):
    text = one(connection, "SELECT %s::numeric::float8::text", number)
    assert float_text(float(number)) == text


def test_quotients_are_those_of_postgresql(connection: Connection):
    choose = random.Random(0)
    pairs = [
        (
            Decimal(choose.randint(0, 10 ** choose.randint(1, 30))).scaleb(-choose.randint(0, 30)),
            Decimal(choose.randint(1, 10 ** choose.randint(1, 30))).scaleb(-choose.randint(0, 30)),
        )
        for _ in range(3000)
    ]
    query = "SELECT (a / b)::float8 FROM unnest(%s::numeric[], %s::numeric[]) WITH ORDINALITY AS pair (a, b, n) ORDER BY n"
    rows = connection.execute(query, ([a for a, _ in pairs], [b for _, b in pairs])).fetchall()
    assert [quotient(a, b) for a, b in pairs] == [value for (value,) in rows]
