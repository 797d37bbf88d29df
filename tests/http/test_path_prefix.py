"""The service under a path prefix: links, pages and document have the prefix that clients of the proxy see."""

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import msgspec
import pytest
from helpers.support import Connection, create_patient_app, serving, store, trade
from websockets.sync.client import connect

from market_data.settings import Settings

RANGE = {"symbol": "AAPL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}

HEADER = {"X-Forwarded-Prefix": "/md"}


@pytest.fixture(scope="module", params=["setting", "header"])
def client(request: pytest.FixtureRequest, settings: Settings) -> Iterator[httpx.Client]:
    """Client of a service that is shown under /md, by ROOT_PATH or by a header of the proxy."""
    by_header = request.param == "header"
    changed = {"trusted_proxies": "127.0.0.1"} if by_header else {"root_path": "/md"}
    with (
        serving(create_patient_app(msgspec.structs.replace(settings, **changed))) as address,
        httpx.Client(base_url=address, headers=HEADER if by_header else {}) as client,
    ):
        yield client


@pytest.fixture(params=["", "/md"], ids=["removed", "left"])
def base(request: pytest.FixtureRequest) -> str:
    """Prefix with which the proxy passes the request on."""
    return request.param


def test_links_have_the_prefix(client: httpx.Client, base: str):
    links = client.get(f"{base}/").json()["links"]
    assert links["symbols"] == "/md/symbols"
    assert all(link.startswith("/md/") for link in links.values())
    for link in links.values():
        assert client.get(link).status_code in {200, 400}, "400 for missing parameters"


def test_the_link_to_the_next_page_has_the_prefix(client: httpx.Client, base: str, connection: Connection):
    store(connection, *(trade(second, "1") for second in range(0, 180, 60)))
    for path, more in (("/trades", {"limit": 2}), ("/candles", {"limit": 2, "interval": "1m"})):
        response = client.get(f"{base}{path}", params=RANGE | more)
        url = response.links["next"]["url"]
        assert url.startswith(f"/md{path}?")
        assert client.get(url).json()["count"] == 1


def test_the_document_and_the_pages_name_the_prefix_as_server(client: httpx.Client, base: str):
    assert client.get(f"{base}/schema/openapi.json").json()["servers"] == [{"url": "/md"}]
    for page in ("docs", "redoc"):
        assert '"servers":[{"url":"/md"}]' in client.get(f"{base}/{page}").text


@pytest.mark.parametrize("page", ["docs", "redoc", "dashboard"])
def test_pages_have_relative_urls(client: httpx.Client, base: str, page: str):
    text = client.get(f"{base}/{page}").text
    assert 'src="assets/' in text
    assert 'src="/' not in text
    assert 'href="/' not in text


@pytest.mark.parametrize("page", ["docs", "redoc", "dashboard"])
def test_a_page_with_a_slash_is_redirected_within_the_prefix(client: httpx.Client, base: str, page: str):
    response = client.get(f"{base}/{page}/?symbol=AAPL")
    assert response.status_code == 308
    assert (
        urljoin(f"https://h.example/md/{page}/", response.headers["location"]) == f"https://h.example/md/{page}?symbol=AAPL"
    )


def test_a_websocket_opens_under_the_prefix(client: httpx.Client, base: str):
    with connect(f"{client.base_url}{base}/ws".replace("http", "ws"), additional_headers=HEADER) as websocket:
        assert "heartbeat" in str(websocket.recv(timeout=20))


def test_without_a_prefix_the_links_are_those_of_the_root(service: httpx.Client):
    answer = service.get("/", headers=HEADER)  # of a client that is no proxy
    assert answer.json()["links"]["symbols"] == "/symbols"
    assert service.get("/schema/openapi.json").json()["servers"] == [{"url": "/"}]
    assert service.get("/md/symbols").status_code == 404
