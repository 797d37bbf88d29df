"""All foreign protocols together: keys, errors, selection, and that the service's own API does not change."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer, store_key
from helpers.service import error_line
from helpers.support import PROJECT, create_patient_app
from litestar import Litestar, Router
from litestar.routes import HTTPRoute, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from market_data.api.compat import PROTOCOLS, selected_protocols
from market_data.api.compat.protocol import Protocol
from market_data.auth.api_keys import generate_key
from market_data.errors import SettingsError
from market_data.settings import Settings

VALUES = {"symbol": "AAPL", "ticker": "AAPL"}
"""Values of the parameters in paths; others are 1."""


def routes(protocol: Protocol) -> Litestar:
    return Litestar([Router("/", route_handlers=protocol.handlers)], openapi_config=None)


def path_of(route: HTTPRoute | WebSocketRoute) -> str:
    parameters = {name: VALUES.get(name, "1") for name in route.path_parameters}
    return route.path_format.format(**parameters)


PATHS = sorted(
    (protocol.name, path_of(route))
    for protocol in PROTOCOLS
    for route in routes(protocol).routes
    if isinstance(route, HTTPRoute)
)
SOCKETS = sorted(
    (protocol.name, path_of(route), any(handler.opt.get("authenticates") for handler in [route.route_handler]))
    for protocol in PROTOCOLS
    for route in routes(protocol).routes
    if isinstance(route, WebSocketRoute)
)


@pytest.fixture(scope="module")
def app() -> Litestar:
    return create_patient_app(Settings(database_url="postgresql:///nowhere", feed_enabled=False))


@pytest.fixture
def closed(serve: Any) -> Iterator[str]:
    """URL of a service that requires keys."""
    with serve(auth="required") as base:
        yield base


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_each_path_needs_a_valid_key_and_has_the_errors_of_its_protocol(closed: str, database_url: str, protocol: Protocol):
    secret = store_key(database_url, "read")
    paths = [path for name, path in PATHS if name == protocol.name]
    assert paths or protocol.name in {name for name, *_ in SOCKETS}
    for path in paths:
        for headers in ({}, bearer(generate_key()), {"X-API-Key": generate_key()}, bearer("guess")):
            answer = httpx.get(closed + path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["content-type"] == "application/json"
            assert "title" not in answer.json()
        assert httpx.get(closed + path, headers=bearer(secret)).status_code not in (401, 403, 500), path
    for path in ("/none", "//"):
        assert "title" not in httpx.get(f"{closed}{protocol.dialect.prefixes[0]}{path}", headers=bearer(secret)).json()


@pytest.mark.parametrize(("protocol", "path", "authenticates"), SOCKETS)
def test_each_stream_refuses_a_wrong_key(closed: str, protocol: str, path: str, authenticates: bool):
    assert protocol
    address = closed.replace("http", "ws", 1) + path
    with pytest.raises(InvalidStatus) as refused, connect(address, additional_headers=bearer(generate_key())):
        pass
    assert refused.value.response.status_code == 401
    if not authenticates:
        with pytest.raises(InvalidStatus), connect(address):
            pass


def test_a_key_in_the_path_is_read_only_where_a_client_has_no_other_place(closed: str, database_url: str):
    secret = store_key(database_url, "read")
    for protocol in PROTOCOLS:
        path = next((path for name, path in PATHS if name == protocol.name), None)
        prefix = protocol.dialect.prefixes[0]
        if path and path.startswith(prefix):
            answer = httpx.get(f"{closed}{prefix}/{secret}{path.removeprefix(prefix)}")
            assert (answer.status_code in (401, 404)) is not protocol.dialect.has_key_in_path, protocol.name


def test_document_has_a_tag_and_unique_operations_for_each_protocol(app: Litestar):
    document = json.loads(json.dumps(app.openapi_schema.to_schema()))
    assert {protocol.tag.name for protocol in PROTOCOLS} <= {tag["name"] for tag in document["tags"]}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for protocol in PROTOCOLS:
        described = [operation for operation in operations if protocol.tag.name in operation.get("tags", [])]
        assert all(operation["summary"] and operation["description"] for operation in described)
        assert described or all(path.startswith("ws:") for path in protocol.base_urls.values())


def test_own_operations_are_the_same_with_all_protocols(app: Litestar):
    document = json.loads(json.dumps(app.openapi_schema.to_schema()))
    own = json.loads(PROJECT.joinpath("tests/http/openapi.json").read_text())
    prefixes = tuple(f"{prefix}/" for protocol in PROTOCOLS for prefix in protocol.dialect.prefixes)
    assert {path: each for path, each in document["paths"].items() if not path.startswith(prefixes)} == own["paths"]


def test_root_lists_the_base_urls(base: str):
    answer = httpx.get(base).json()["base_urls"]
    assert set(answer) == {name for protocol in PROTOCOLS for name in protocol.base_urls}
    assert {url.partition("://")[0] for url in answer.values()} <= {"http", "ws"}
    assert all(url.partition("://")[2].startswith(base.partition("://")[2]) for url in answer.values())


def test_protocols_are_selected_by_name(serve: Any):
    first, *others = PROTOCOLS
    with serve(compatibility=first.name) as base:
        assert set(httpx.get(base).json()["base_urls"]) == set(first.base_urls)
        for protocol in others:
            answer = httpx.get(f"{base}{protocol.dialect.prefixes[0]}/anything")
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    with serve(compatibility="none") as base:
        assert httpx.get(base).json()["base_urls"] == {}


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("all", [protocol.name for protocol in PROTOCOLS]),
        ("ALL", [protocol.name for protocol in PROTOCOLS]),
        ("none", []),
        (f" {PROTOCOLS[0].name.upper()} , {PROTOCOLS[0].name}", [PROTOCOLS[0].name]),
    ],
)
def test_selection_has_no_case_and_no_repetition(setting: str, names: list[str]):
    assert [protocol.name for protocol in selected_protocols(setting)] == names


@pytest.mark.parametrize("setting", ["all,none", "telex", f"{PROTOCOLS[0].name},"])
def test_unknown_protocol_is_named(setting: str):
    with pytest.raises(SettingsError, match=r"COMPATIBILITY=.*set all, none, or some of"):
        selected_protocols(setting)


def test_service_does_not_start_with_an_unknown_protocol(database_url: str):
    line = error_line("serve", "--port", "0", DATABASE_URL=database_url, COMPATIBILITY="telex")
    assert "COMPATIBILITY" in line
    assert "'telex' is no protocol" in line


def test_own_api_keeps_its_errors(base: str):
    answer = httpx.get(f"{base}/price/latest", params={"symbol": "NOPE"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_front_page_lists_the_base_urls(base: str):
    text = httpx.get(base, headers={"Accept": "text/html"}).text
    for name, url in httpx.get(base).json()["base_urls"].items():
        assert f"{name.replace('_', ' ')}</th><td><code>{url}</code>" in text
