"""Cross-site WebSocket hijacking."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator

import msgspec
import pytest
from helpers.support import create_patient_app, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from market_data.settings import Settings

OURS = "https://charts.example.com"
THEIRS = "https://evil.example.com"


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(msgspec.structs.replace(settings, cors_origins=OURS, rate_limit=10_000))) as address:
        yield address


def test_pages_of_allowed_origins_and_other_clients_open_a_websocket(address: str):
    for origin in (None, address, OURS):
        with connect(f"{address.replace('http', 'ws')}/ws", origin=Origin(origin) if origin else None) as client:
            assert client.response
            assert client.response.headers["RateLimit-Limit"] == "10000"
            client.send('{"action": "subscribe"}')
            while json.loads(client.recv(10))["event"] != "subscribed":
                pass


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://h.example", "h.example", True),
        ("https://h.example", "h.example:443", True),
        ("https://h.example:443", "H.example", True),
        ("http://h.example", "h.example:80", True),
        ("http://[::1]", "[::1]:80", True),
        ("https://h.example:8443", "h.example:8443", True),
        ("https://h.example", "h.example:80", False),
        ("http://h.example", "h.example:443", False),
        ("https://h.example:8443", "h.example", False),
        ("https://h.example", "h.example:4430", False),
        ("https://h.example", "evil.example:443", False),
        ("null", "h.example:443", False),
    ],
)
def test_the_default_port_of_an_origin_may_be_in_host(address: str, origin: str, host: str, allowed: bool):
    port = int(address.rpartition(":")[2])
    key = b64encode(b"0123456789abcdef").decode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        status = client.recv(100).split()[1]
    assert status == (b"101" if allowed else b"403")


@pytest.mark.parametrize("origin", [THEIRS, "null", "http://localhost", "https://127.0.0.1"])
def test_a_websocket_from_a_page_of_another_origin_is_403(address: str, origin: str):
    with (
        pytest.raises(InvalidStatus) as raised,
        connect(f"{address.replace('http', 'ws')}/ws", origin=Origin(origin)),
    ):
        pass
    response = raised.value.response
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["ratelimit-limit"] == "10000"
    assert json.loads(response.body)["title"] == "Forbidden"
