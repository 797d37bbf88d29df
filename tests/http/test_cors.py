"""CORS: the pages of other origins that may read responses."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from helpers.support import PROJECT, Connection, store, trade
from litestar.testing import TestClient

from market_data.errors import SettingsError
from market_data.settings import Settings, read_settings

OURS = "https://charts.example.com"
THEIRS = "https://evil.example.com"
READABLE = (
    "Accept-Encoding, Accept-Ranges, Content-Range, Data-Version, ETag, Link, RateLimit-Limit, RateLimit-Policy, "
    "RateLimit-Remaining, RateLimit-Reset, Retry-After, WWW-Authenticate, X-Read-After, X-Request-ID, X-Write-Position"
)
SENDABLE = (
    "Authorization, Content-Encoding, Content-Type, If-None-Match, If-Range, Last-Event-ID, MCP-Protocol-Version, "
    "Mcp-Method, Mcp-Name, Range, X-API-Key, X-Read-After, X-Request-ID"
)
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}

MakeClient = Callable[[Settings], TestClient]


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


@pytest.fixture(scope="module")
def shared(settings: Settings, make_client: MakeClient) -> Iterator[TestClient]:
    """Service whose responses two origins may read."""
    listed = f"{OURS}, http://localhost:3000"
    with make_client(msgspec.structs.replace(settings, cors_origins=listed)) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/symbols", "/nothing", "/trades"])
def test_no_other_origin_may_read_responses_by_default(service: TestClient, path: str):
    response = service.get(path, headers={"Origin": OURS})
    assert cors_headers(response) == {}
    assert "Origin" not in response.headers.get("vary", "")
    refused = service.options("/trades", headers={"Origin": OURS, **PREFLIGHT})
    assert cors_headers(refused) == {}


@pytest.mark.parametrize("origin", [OURS, "http://localhost:3000"])
@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/symbols", 200), ("/nothing", 404), ("/price", 400)])
def test_listed_origins_may_read_all_responses(shared: TestClient, origin: str, path: str, status: int):
    response = shared.get(path, headers={"Origin": origin})
    assert response.status_code == status
    assert cors_headers(response) == {"access-control-allow-origin": origin, "access-control-expose-headers": READABLE}
    assert "Origin" in response.headers.get_list("vary", split_commas=True)
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize("origin", [THEIRS, "null", f"{OURS}:444", OURS.upper(), f"{OURS}.evil.com", None])
def test_other_origins_may_not_read_responses(shared: TestClient, origin: str | None):
    headers = {} if origin is None else {"Origin": origin}
    response = shared.get("/", headers=headers)
    assert response.status_code == 200
    assert cors_headers(response) == {}
    assert "Origin" in response.headers.get_list("vary", split_commas=True), "so that no cache uses it for an allowed origin"
    assert "access-control-allow-origin" not in shared.options("/trades", headers={**headers, **PREFLIGHT}).headers


def test_vary_keeps_the_formats_of_a_response_apart_in_caches(shared: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    url = "/trades?symbol=AAPL&start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"
    response = shared.get(url, headers={"Origin": OURS})
    assert response.headers.get_list("vary", split_commas=True) == ["Accept", "Accept-Encoding", "Origin"]


def test_a_preflight_lists_the_methods_and_headers_that_a_page_may_send(shared: TestClient):
    response = shared.options("/trades", headers={"Origin": OURS, **PREFLIGHT})
    assert (response.status_code, response.content) == (204, b"")
    assert cors_headers(response) == {
        "access-control-allow-methods": "DELETE, GET, HEAD, PATCH, POST, PUT",
        "access-control-allow-headers": SENDABLE,
        "access-control-max-age": "600",
        "access-control-allow-origin": OURS,
        "access-control-expose-headers": READABLE,
    }


def test_pages_may_send_and_read_every_header_of_the_service(document: dict[str, Any]):
    """The headers are those of the document, and those that the code names."""
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    sent = {each["name"] for operation in operations for each in operation.get("parameters", []) if each["in"] == "header"}
    responses = [response for operation in operations for response in operation["responses"].values()]
    safelisted = {"Cache-Control", "Last-Modified", "Vary"}
    read = {name for response in responses for name in response.get("headers", {})} - safelisted
    sources = "".join(path.read_text() for path in (PROJECT / "src/market_data").rglob("*.py"))
    own = set(re.findall(r'"(X-[A-Za-z-]+)"', sources)) - {"X-Accel-Buffering"}
    assert sent | read
    assert sent <= set(SENDABLE.split(", "))
    assert read <= set(READABLE.split(", "))
    assert own
    assert own <= {*SENDABLE.split(", "), *READABLE.split(", ")}


def test_allowed_origins_may_read_rejections_too(settings: Settings, make_client: MakeClient):
    with make_client(msgspec.structs.replace(settings, cors_origins=OURS, rate_limit=2, auth="required")) as client:
        for status in (401, 401, 429):
            response = client.get("/symbols", headers={"Origin": OURS, "X-API-Key": "guess"})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == OURS


def test_a_star_allows_all_origins(settings: Settings, make_client: MakeClient):
    with make_client(msgspec.structs.replace(settings, cors_origins="*")) as client:
        response = client.get("/", headers={"Origin": THEIRS})
        assert response.headers["access-control-allow-origin"] == "*"
        assert "Origin" not in response.headers.get_list("vary", split_commas=True)
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "value",
    [
        "example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://Example.com",
        "https://*.example.com",
        "*, https://example.com",
        "https://a.example.com https://b.example.com",
        "https://user@example.com",
        "null",
    ],
)
def test_an_invalid_origin_is_a_settings_error(value: str):
    with pytest.raises(SettingsError, match=r"^CORS_ORIGINS=.*is not an origin") as raised:
        read_settings({"CORS_ORIGINS": value})
    assert "\n" not in str(raised.value)


def test_origins_are_parsed():
    settings = read_settings({"CORS_ORIGINS": " https://example.com:8443 ,http://[::1]:3000,, tauri://localhost"})
    assert settings.origins == ["https://example.com:8443", "http://[::1]:3000", "tauri://localhost"]
