"""Noise from WebSocket clients: each message gets a response, and other clients are not affected."""

import json
import logging
from collections.abc import Iterator

import psycopg
import pytest
from helpers.raw_http import connect, exchange, request, statuses
from helpers.support import create_patient_app, serving, store, trade
from helpers.websocket_client import open_websocket, receive
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from market_data.settings import Settings

MAX_ERROR_LENGTH = 1_000


@pytest.fixture(scope="module")
def address(settings: Settings, session_database: str) -> Iterator[str]:
    """URL of a service with the symbol AAPL."""
    with psycopg.connect(session_database, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple') ON CONFLICT DO NOTHING")
    with serving(create_patient_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[ClientConnection]:
    with open_websocket(address) as client:
        yield client


WORDS = [
    "action",
    "subscribe",
    "unsubscribe",
    "authenticate",
    "last_event_id",
    "1-0-0",
    "symbols",
    "channels",
    "AAPL",
    "aapl",
    "trades",
    "candles_1m",
    "",
    "A,B",
    "\0",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
)
COMMANDS = st.fixed_dictionaries(
    {"action": st.sampled_from(["subscribe", "unsubscribe"])},
    optional={"symbols": VALUES | st.lists(st.sampled_from(WORDS)), "channels": VALUES | st.lists(st.sampled_from(WORDS))},
)
MESSAGES = st.text() | st.binary() | VALUES.map(json.dumps) | COMMANDS.map(json.dumps)


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(MESSAGES)
@example("[" * 100_000)
@example('{"action":"' + "x" * 100_000 + '"}')
@example('{"action":"subscribe","' + "x" * 100_000 + '":1}')
@example(json.dumps({"action": "subscribe", "symbols": ["x" * 100_000]}))
@example(json.dumps({"action": "subscribe", "symbols": [f"X{number}" for number in range(9_999)]}))
@example(json.dumps({"action": "subscribe", "channels": ["trades"] * 10_000}))
@example(b"\xff")
@example("\ud7ff\u202e")
def test_every_message_gets_one_response(client: ClientConnection, message: str | bytes):
    client.send(message)
    answer = receive(client)
    assert answer["event"] in {"subscribed", "error"}
    if answer["event"] == "error":
        assert answer["data"]["detail"]
        assert len(answer["data"]["detail"]) <= MAX_ERROR_LENGTH
    else:
        assert set(answer["data"]["channels"]) <= {"trades", "candles_1m"}


def test_other_clients_are_not_affected(address: str, session_database: str):
    with open_websocket(address) as healthy, open_websocket(address) as noisy:
        healthy.send('{"action":"subscribe","symbols":["AAPL"]}')
        assert receive(healthy)["event"] == "subscribed"
        with psycopg.connect(session_database, autocommit=True) as connection:
            for number in range(30):
                noisy.send("x" * 30_000 if number % 2 else bytes(range(256)))
                store(connection, trade(number, "1", trade_id=77))
                assert receive(noisy)["event"] == "error"
                event = receive(healthy)
                assert (event["event"], event["data"]["trade_id"]) == ("trade", 77)


HANDSHAKE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
FRAMES = {
    "unknown": b"\x83\x80\0\0\0\0",
    "reserved bits": b"\xf1\x80\0\0\0\0",
    "huge": b"\x81\xff" + b"\xff" * 8,
    "not masked": b"\x81\x05hello",
    "not UTF-8": b"\x81\x82\0\0\0\0\xff\xfe",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_malformed_frame_closes_only_its_connection(address: str, frame: bytes, caplog: pytest.LogCaptureFixture):
    with open_websocket(address) as healthy, open_websocket(address) as broken:
        broken.socket.sendall(frame)
        with pytest.raises(ConnectionClosed):
            receive(broken)
        healthy.send("?")
        assert receive(healthy)["event"] == "error"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


EARLY = {
    **{name: (frame, b"\x88") for name, frame in FRAMES.items()},
    "ping": (b"\x89\x80\0\0\0\0\x88\x80\0\0\0\0", b"\x8a\0"),
    "close": (b"\x88\x80\0\0\0\0", b"\x88\0"),
}


@pytest.mark.parametrize(("frames", "reply"), EARLY.values(), ids=EARLY)
def test_frames_in_the_packet_of_the_handshake_are_read_after_its_response(
    address: str, frames: bytes, reply: bytes, caplog: pytest.LogCaptureFixture
):
    head, _, received = exchange(address, request("/ws", b"", *HANDSHAKE) + frames).partition(b"\r\n\r\n")
    assert statuses(head) == [101]
    assert reply in received
    head, _, received = exchange(
        address, request("/ws", b"", *HANDSHAKE, "Authorization: Bearer unknown") + frames, frames
    ).partition(b"\r\n\r\n")
    assert statuses(head) == [401]
    assert received.endswith(b"}")
    assert exchange(address, request("/ws", b"", *HANDSHAKE[:3]) + frames).startswith(b"HTTP/1.1 400 ")
    with connect(address) as client:
        client.sendall(request("/ws", b"", *HANDSHAKE) + b"\x81\x81\0\0\0\0?")
        while b'"event":"error"' not in received:
            received += client.recv(1000)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


HANDSHAKES = {
    "without a key": (400, request("/ws", b"", *HANDSHAKE[:3])),
    "of another version": (400, request("/ws", b"", *HANDSHAKE[:2], "Sec-WebSocket-Version: 7", HANDSHAKE[3])),
    "with a long query": (414, request(f"/ws?symbols={'A' * 9000}", b"", *HANDSHAKE)),
    "with a long header": (431, request("/ws", b"", *HANDSHAKE, f"X-Long: {'a' * 9000}")),
    "from another origin": (403, request("/ws", b"", *HANDSHAKE, "Origin: https://evil.example.com")),
    "at another path": (403, request("/symbols", b"", *HANDSHAKE)),
    "not in ASCII": (400, request("/ws", b"", *HANDSHAKE).replace(b"/ws", b"/w\xe4")),
    "as HTTP/1.0": (426, request("/ws", b"", *HANDSHAKE, version="1.0")),
    "with a body": (426, request("/ws", b"x", *HANDSHAKE, "Connection: close").replace(b"POST", b"GET")),
}


@pytest.mark.parametrize(("status", "handshake"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_refused_handshake_is_a_problem_and_no_error_in_the_log(
    address: str, status: int, handshake: bytes, caplog: pytest.LogCaptureFixture
):
    received = exchange(address, handshake)
    assert statuses(received) == [status]
    assert b"content-type: application/problem+json" in received.replace(b"Content-Type", b"content-type")
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["status"] == status
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_client_that_vanishes_while_it_is_sent_to_is_no_error_in_the_log(
    address: str, session_database: str, caplog: pytest.LogCaptureFixture
):
    with open_websocket(address) as client, psycopg.connect(session_database, autocommit=True) as connection:
        client.send('{"action":"subscribe","symbols":["AAPL"]}')
        assert receive(client)["event"] == "subscribed"
        client.socket.sendall(FRAMES["unknown"])
        for number in range(20):
            store(connection, trade(100 + number, "1", trade_id=78))
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
