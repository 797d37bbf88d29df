"""Cross-site WebSocket hijacking."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from helpers.support import serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from market_data.app import create_app
from market_data.settings import Settings

OURS = "https://charts.example.com"
THEIRS = "https://evil.example.com"


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with serving(create_app(msgspec.structs.replace(settings, cors_origins=OURS, rate_limit=1000))) as address:
        yield address


def test_pages_of_allowed_origins_and_other_clients_open_a_websocket(address: str):
    for origin in (None, address, OURS):
        with connect(f"{address.replace('http', 'ws')}/ws", origin=Origin(origin) if origin else None) as client:
            assert client.response
            assert client.response.headers["RateLimit-Limit"] == "1000"
            client.send('{"action": "subscribe"}')
            while json.loads(client.recv(10))["event"] != "subscribed":
                pass


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
    assert response.headers["ratelimit-limit"] == "1000"
    assert json.loads(response.body)["title"] == "Forbidden"
