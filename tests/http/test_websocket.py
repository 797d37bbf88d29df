"""`/ws`: events, commands and errors."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from helpers.sse_client import listening
from helpers.support import Connection, current_trade, store
from helpers.websocket_client import command, open_websocket, receive
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


@pytest.fixture
def websocket(address: str) -> Iterator[ClientConnection]:
    with open_websocket(address) as client:
        yield client


def test_websocket_has_the_events_of_the_stream(address: str, connection: Connection):
    with (
        open_websocket(address, symbols="AAPL", channels="trades,candles_1m") as client,
        listening(address, symbols="AAPL", channels="trades,candles_1m") as events,
    ):
        store(connection, current_trade("3"))
        expected = [{"event": event.name, "id": event.id, "data": event.data} for event in events.take(2)]
        assert [receive(client), receive(client)] == expected


def test_websocket_resumes_after_the_last_event_id(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, current_trade("1"))
        last = events.next().id
    store(connection, current_trade("2"))
    with connect(f"{address.replace('http', 'ws')}/ws?last_event_id={last}") as client:
        assert receive(client)["data"]["price"] == 2


def test_subscriptions_change_while_connected(websocket: ClientConnection, connection: Connection):
    assert command(websocket, "subscribe", symbols=["aapl"]) == {"channels": {"trades": ["AAPL"]}}
    assert command(websocket, "subscribe", symbols=["MSFT"]) == {"channels": {"trades": ["AAPL", "MSFT"]}}
    assert command(websocket, "unsubscribe", symbols=["AAPL"]) == {"channels": {"trades": ["MSFT"]}}
    store(connection, current_trade("1"), current_trade("2", symbol="MSFT"))
    assert receive(websocket)["data"]["symbol"] == "MSFT"
    assert command(websocket, "subscribe", channels=["candles_1m"])["channels"] == {"candles_1m": "all", "trades": ["MSFT"]}
    store(connection, current_trade("3"))
    assert receive(websocket)["event"] == "candle"
    assert command(websocket, "unsubscribe", channels=["candles_1m", "trades"]) == {"channels": {}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{", "message: is not valid JSON: it ends too early"),
        ("{]", "message: is not valid JSON: "),
        ("", "message: is empty"),
        ("[]", 'message: must be an object such as {"action": "subscribe", "symbols": ["AAPL"]}'),
        ('{"action": "subscribe", "symbols": ' + "[" * 5000, "message: is nested too deeply"),
        (b"\0", "message: is binary; send the JSON as a text message"),
        (b'{"action": "subscribe"}', "message: is binary"),
        ("{}", "action: is missing; give one of subscribe, unsubscribe, authenticate"),
        (
            '{"action": "stop"}',
            "action: must be one of subscribe, unsubscribe, authenticate, pause, resume, step, seek, speed, not 'stop'",
        ),
        ('{"action": 1}', 'action: must be a string such as "subscribe"'),
        ('{"action": "subscribe", "symbols": []}', 'symbols: is empty; give at least one, such as ["AAPL"]'),
        ('{"action": "subscribe", "symbols": "AAPL"}', 'symbols: must be a list of strings such as ["AAPL"]'),
        ('{"action": "subscribe", "symbols": [1]}', 'symbols: must be a list of strings such as ["AAPL"]'),
        ('{"action": "subscribe", "symbols": ["NOPE"]}', "There is no symbol NOPE"),
        ('{"action": "subscribe", "symbols": ["a  b"]}', "symbols: must be 1 to 64 letters"),
        ('{"action": "subscribe", "channels": ["prices"]}', "channels: must be one of trades, candles_1m"),
        ('{"action": "subscribe", "channels": null}', 'channels: must be a list of strings such as ["trades"]'),
        ('{"action": "subscribe", "last_event_id": 3}', 'last_event_id: must be a string such as "412-1-0"'),
        ('{"action": "subscribe", "last_event_id": "3"}', "last_event_id: must be the id of an event, unchanged"),
        ('{"action": "subscribe", "more": 1}', "more: is not a field of subscribe, which has action, symbols, channels"),
        ('{"action": "unsubscribe", "last_event_id": "1-0-0"}', "last_event_id: is not a field of unsubscribe"),
        ('{"action": "authenticate"}', "key: is missing"),
        ('{"action": "subscribe", "symbols": [], "channels": []}', "; channels: is empty"),
    ],
)
def test_wrong_command_gets_an_error_and_keeps_the_connection(
    websocket: ClientConnection, message: str | bytes, expected: str
):
    websocket.send(message)
    answer = receive(websocket)
    assert answer["event"] == "error"
    assert expected in answer["data"]["detail"]
    assert command(websocket, "subscribe", symbols=["AAPL"]) == {"channels": {"trades": ["AAPL"]}}


@pytest.mark.parametrize("last", ['""', "null"])
def test_an_empty_last_event_id_of_a_command_is_none(websocket: ClientConnection, last: str):
    websocket.send(f'{{"action": "subscribe", "symbols": ["AAPL"], "last_event_id": {last}}}')
    assert receive(websocket)["data"] == {"channels": {"trades": ["AAPL"]}}


def test_plain_request_to_the_websocket_is_426(address: str):
    answer = httpx.get(f"{address}/ws")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert "/stream" in answer.json()["detail"]


def test_single_symbols_can_not_be_unsubscribed_from_all(websocket: ClientConnection):
    command(websocket, "subscribe")
    assert "leave symbols out" in command(websocket, "unsubscribe", symbols=["AAPL"])["detail"]
    assert command(websocket, "unsubscribe") == {"channels": {}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [("channels=prices", "candles_1m"), ("symbol=AAPL", "symbol: is not a parameter of this path; did you mean symbols?")],
)
def test_wrong_parameters_of_a_websocket_are_sent_before_it_is_closed(address: str, query: str, expected: str):
    with connect(f"{address.replace('http', 'ws')}/ws?{query}") as client:
        assert expected in receive(client)["data"]["detail"]
        with pytest.raises(ConnectionClosed, match="1008"):
            client.recv(timeout=10)


def test_an_unknown_symbol_closes_a_websocket_for_good(address: str):
    with connect(f"{address.replace('http', 'ws')}/ws?symbols=NOPE") as client:
        assert "There is no symbol NOPE" in receive(client)["data"]["detail"]
        with pytest.raises(ConnectionClosed, match="1008"):
            client.recv(timeout=10)


def test_a_message_that_is_too_large_closes_a_websocket(address: str):
    with open_websocket(address) as client:
        client.send("x" * (128_000 + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            client.recv(timeout=10)


def prices(client: ClientConnection, *, until: str = "heartbeat") -> list[float]:
    """Return the prices of trades, until an event with another name."""
    found: list[float] = []
    while (message := json.loads(client.recv(timeout=20)))["event"] != until:
        if message["event"] == "trade":
            found.append(message["data"]["price"])
    return found


def test_a_command_resumes_after_the_last_event_id(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, current_trade("1"))
        last = events.next().id
    store(connection, current_trade("2"), current_trade("100", symbol="MSFT"), current_trade("3"))
    with open_websocket(address) as client:
        assert command(client, "subscribe", symbols=["AAPL"], last_event_id=last) == {"channels": {"trades": ["AAPL"]}}
        assert prices(client) == [2, 3]
        store(connection, current_trade("4"))
        assert receive(client)["data"]["price"] == 4


def test_a_resumed_subscription_is_added_to_the_others(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, current_trade("1"))
        last = events.next().id
    store(connection, current_trade("2"), current_trade("102", symbol="MSFT"))
    with open_websocket(address, symbols="MSFT") as client:
        store(connection, current_trade("103", symbol="MSFT"))
        while receive(client)["data"]["price"] != 103:  # the worker may publish the other trade only now
            pass
        store(connection, current_trade("3"), current_trade("104", symbol="MSFT"))
        assert receive(client)["data"]["price"] == 104
        channels = command(client, "subscribe", symbols=["AAPL"], last_event_id=last)["channels"]
        assert channels == {"trades": ["AAPL", "MSFT"]}
        assert prices(client) == [2, 3], "those of MSFT are not sent again"
        store(connection, current_trade("105", symbol="MSFT"), current_trade("4"))
        assert {receive(client)["data"]["price"] for _ in range(2)} == {105, 4}


def test_a_command_with_an_id_of_another_database_gets_a_gap(address: str, connection: Connection):
    with open_websocket(address, symbols="MSFT") as client:
        store(connection, current_trade("100", symbol="MSFT"))
        assert receive(client)["data"]["price"] == 100
        command(client, "subscribe", symbols=["AAPL"], last_event_id="999999999999999999-0-0")
        assert receive(client)["event"] == "gap"
        store(connection, current_trade("1"))
        assert receive(client)["data"]["price"] == 1


def test_resuming_by_command_loses_nothing_while_trades_arrive(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, current_trade("1"))
        last = events.next().id
    written = [float(price) for price in range(2, 152)]
    received: dict[str, list[float]] = {"AAPL": [], "MSFT": []}

    def write() -> None:
        for price in written:
            store(connection, current_trade(f"{price:g}"), current_trade(f"{price:g}", symbol="MSFT"))

    with ThreadPoolExecutor(1) as pool, open_websocket(address, symbols="MSFT") as client:
        writing = pool.submit(write)
        while min(map(len, received.values())) < len(written):
            message = receive(client)
            if message["event"] == "trade":
                received[message["data"]["symbol"]].append(message["data"]["price"])
                if received == {"AAPL": [], "MSFT": written[:20]}:
                    client.send(json.dumps({"action": "subscribe", "symbols": ["AAPL"], "last_event_id": last}))
        writing.result()
    assert received == {"AAPL": written, "MSFT": written}
