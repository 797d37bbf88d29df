"""Keys of browsers on `/ws`, which can't send headers: as a subprotocol, and in the first message."""

import json
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import msgspec
import pytest
from helpers.api_keys import bearer, revoke, store_key
from helpers.support import create_patient_app, serving
from helpers.websocket_client import receive
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from market_data.auth.api_keys import generate_key
from market_data.settings import Settings

BEARER = Subprotocol("bearer")


@pytest.fixture(scope="module", params=["open", "required"])
def address(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(msgspec.structs.replace(settings, auth=request.param))) as address:
        yield address.replace("http", "ws")


@pytest.fixture(scope="module")
def closed_address(settings: Settings) -> Iterator[str]:
    """Address of a service that requires keys."""
    with serving(create_patient_app(msgspec.structs.replace(settings, auth="required"))) as address:
        yield address.replace("http", "ws")


@pytest.fixture
def limited_address(settings: Settings) -> Iterator[str]:
    """Address of a service that admits two connections with a command an hour."""
    limits = {"rate_limit": 4, "rate_limit_seconds": 3600.0}
    with serving(create_patient_app(msgspec.structs.replace(settings, auth="required", **limits))) as address:
        yield address.replace("http", "ws")


@pytest.fixture
def key(database_url: str) -> str:
    return store_key(database_url, "read")


def send(client: ClientConnection, **fields: Any) -> None:
    client.send(json.dumps(fields))


def close_code(client: ClientConnection) -> int | None:
    """Return the close code, after the messages before it."""
    with suppress(ConnectionClosed):
        while True:
            client.recv(timeout=20)
    return client.close_code


def subscribed(client: ClientConnection) -> bool:
    send(client, action="subscribe")
    return receive(client)["event"] == "subscribed"


def test_a_key_as_a_subprotocol_is_accepted_and_answered(address: str, key: str):
    with connect(f"{address}/ws", subprotocols=[BEARER, Subprotocol(key)]) as client:
        assert client.subprotocol == "bearer"
        assert subscribed(client)


@pytest.mark.parametrize("place", ["subprotocol", "message"])
def test_a_wrong_key_is_an_error_after_which_clients_do_not_reconnect(address: str, place: str, database_url: str):
    revoked = store_key(database_url, "read", revoked=True)
    for wrong in (generate_key(), revoked, "guess"):
        subprotocols = [BEARER, Subprotocol(wrong)] if place == "subprotocol" else None
        with connect(f"{address}/ws", subprotocols=subprotocols) as client:
            if place == "message":
                send(client, action="authenticate", key=wrong)
            answer = receive(client)
            assert answer["event"] == "error"
            assert "unknown, expired or revoked" in answer["data"]["detail"]
            assert wrong not in str(answer)
            assert close_code(client) == 1008


def test_the_subprotocol_is_answered_without_a_key_too(address: str, key: str):
    for subprotocols, headers in (([BEARER], bearer(key)), ([BEARER, Subprotocol(key)], bearer(key))):
        with connect(f"{address}/ws", subprotocols=subprotocols, additional_headers=headers) as client:
            assert client.subprotocol == "bearer"
            assert subscribed(client)


def test_a_key_in_the_first_message_is_accepted(address: str, key: str):
    with connect(f"{address}/ws") as client:
        send(client, action="authenticate", key=key)
        answer = receive(client)
        assert (answer["event"], answer["data"]["scopes"]) == ("authenticated", ["read"])
        assert subscribed(client)


def test_a_client_whose_key_came_in_a_message_is_disconnected_when_it_is_revoked(address: str, key: str, database_url: str):
    with connect(f"{address}/ws") as client:
        send(client, action="authenticate", key=key)
        assert subscribed(client) or receive(client)["event"] == "subscribed"
        revoke(database_url, key)
        assert receive(client)["event"] == "bye"
        assert close_code(client) == 1008


@pytest.mark.parametrize(
    "message",
    ['{"action": "subscribe"}', "{", "[]", b"\0", '{"action": "authenticate"}', '{"action": "authenticate", "key": 1}'],
)
def test_another_first_message_is_an_error(closed_address: str, message: str | bytes):
    with connect(f"{closed_address}/ws") as client:
        client.send(message)
        answer = receive(client)
        assert answer["event"] == "error"
        assert close_code(client) == 1008


def test_attempts_to_guess_a_key_count_against_the_address(limited_address: str):
    def guess() -> None:
        with connect(f"{limited_address}/ws") as client:
            send(client, action="authenticate", key=generate_key())
            assert close_code(client) == 1008

    guess()
    guess()
    with pytest.raises(InvalidStatus, match="429"):
        guess()


def test_a_client_that_sends_no_key_is_disconnected(closed_address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(import_module("market_data.api.websocket"), "AUTHENTICATION_SECONDS", 0.2)
    with connect(f"{closed_address}/ws") as client:
        detail = receive(client)["data"]["detail"]
        assert '{"action": "authenticate", "key": "md_…"}' in detail
        assert close_code(client) == 1008
