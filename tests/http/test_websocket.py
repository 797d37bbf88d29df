"""`/ws`: events, commands and errors."""

from collections.abc import Iterator

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
    ("text", "expected"),
    [
        ("{", "message"),
        ("", "message"),
        ("[]", "message"),
        ('{"action": "stop"}', "action"),
        ('{"action": "subscribe", "symbols": []}', "symbols"),
        ('{"action": "subscribe", "symbols": ["NOPE"]}', "There is no symbol NOPE"),
        ('{"action": "subscribe", "symbols": ["a b"]}', "letters"),
        ('{"action": "subscribe", "channels": ["prices"]}', "candles_1m"),
        ('{"action": "subscribe", "more": 1}', "more"),
    ],
)
def test_wrong_command_gets_an_error_and_keeps_the_connection(websocket: ClientConnection, text: str, expected: str):
    websocket.send(text)
    answer = receive(websocket)
    assert answer["event"] == "error"
    assert expected in answer["data"]["detail"]
    assert command(websocket, "subscribe", symbols=["AAPL"]) == {"channels": {"trades": ["AAPL"]}}


def test_plain_request_to_the_websocket_is_426(address: str):
    answer = httpx.get(f"{address}/ws")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert "/stream" in answer.json()["detail"]


def test_single_symbols_can_not_be_unsubscribed_from_all(websocket: ClientConnection):
    command(websocket, "subscribe")
    assert "leave symbols out" in command(websocket, "unsubscribe", symbols=["AAPL"])["detail"]
    assert command(websocket, "unsubscribe") == {"channels": {}}


def test_wrong_parameters_of_a_websocket_are_sent_before_it_is_closed(address: str):
    with connect(f"{address.replace('http', 'ws')}/ws?channels=prices") as client:
        assert "candles_1m" in receive(client)["data"]["detail"]
        with pytest.raises(ConnectionClosed, match="1008"):
            client.recv(timeout=10)
