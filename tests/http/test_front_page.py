"""`GET /` as a page for browsers."""

import re
from collections.abc import Iterator
from html import unescape

import httpx
import msgspec
import pytest
from helpers.security_headers import SECURE
from helpers.support import Connection, create_patient_app, serving, store, trade

from market_data.settings import Settings

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
COMMAND = re.compile(r"<code>(.*?)</code>")


@pytest.fixture
def client(base: str, database_url: str) -> Iterator[httpx.Client]:
    """Client of an empty database; the page is not in the OpenAPI document, against which other clients check."""
    assert database_url
    with httpx.Client(base_url=base) as client:
        yield client


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "text/html, */*", "application/json;q=0.5, text/html", "text/*"])
def test_browsers_get_a_page(client: httpx.Client, accept: str):
    response = client.get("/", headers={"Accept": accept})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "Accept" in response.headers["vary"].split(", ")
    assert response.headers.items() >= SECURE.items()
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in response.text
    assert re.findall(r"<script[^>]*>(.+?)</script>", response.text) == []
    again = client.get("/", headers={"Accept": accept, "If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "application/json",
        "application/json, text/html",
        "text/html;q=0.5, application/json",
        "text/html;q=0, */*",
    ],
)
def test_other_clients_get_json(client: httpx.Client, accept: str | None):
    del client.headers["accept"]
    response = client.get("/", headers={"Accept": accept} if accept else {})
    assert response.headers["content-type"] == "application/json"
    assert (response.headers["cache-control"], response.headers["vary"]) == ("no-cache", "Accept")
    assert response.text.startswith('{"service":"market-data-platform","version":"')


def test_page_has_the_newest_prices_escaped(client: httpx.Client, connection: Connection):
    store(connection, *(trade(second, f"{second}.50", symbol=f"S{second:02}") for second in range(11)))
    store(connection, trade(60, "0.000000123456789012345", "2.50", symbol="A&B"))
    text = client.get("/", headers={"Accept": BROWSER}).text
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', text)
    assert rows[0] == ("A&amp;B", "0.000000123456789012345", "2.5", "2026-02-08 10:31:00")
    assert [row[:2] for row in rows[1:]] == [(f"S{second:02}", f"{second}.5") for second in range(10, 1, -1)]


def test_commands_work_as_they_are(client: httpx.Client, connection: Connection):
    store(connection, trade(0, "1", symbol="A&B"))
    commands = [unescape(each) for each in COMMAND.findall(client.get("/", headers={"Accept": BROWSER}).text)]
    assert len(commands) == 3
    for command in commands:
        url = re.fullmatch(r"curl (?:-N )?'([^']+)'", command)
        assert url, command
        assert url[1].startswith(str(client.base_url))
        with client.stream("GET", url[1]) as response:
            assert response.status_code == 200, command


def test_links_and_commands_have_the_path_prefix(settings: Settings, database_url: str):
    changed = msgspec.structs.replace(settings, database_url=database_url, trusted_proxies="127.0.0.1")
    proxy = {"Accept": BROWSER, "X-Forwarded-Prefix": "/md", "X-Forwarded-Proto": "https", "Host": "localhost"}
    with serving(create_patient_app(changed)) as address:
        text = httpx.get(address, headers=proxy).text
        urls = re.findall(r'(?:href|src)="([^"]+)"', text)
        assert {"/md/dashboard", "/md/docs", "/md/redoc", "/md/openapi.json", "/md/health", "/md/metrics"} <= set(urls)
        assert all(httpx.get(f"{address}{url}", headers=proxy).is_success for url in urls)
    assert [unescape(each).partition("https://localhost/md/")[1] for each in COMMAND.findall(text)] == [
        "https://localhost/md/"
    ] * 3


def test_page_without_a_price_says_why(settings: Settings, connection: Connection, database_url: str, client: httpx.Client):
    assert "There are no trades yet." in client.get("/", headers={"Accept": BROWSER}).text
    store(connection, trade(0, "123.75"))
    changed = msgspec.structs.replace(settings, database_url=database_url, auth="required")
    with serving(create_patient_app(changed)) as address:
        text = httpx.get(address, headers={"Accept": BROWSER}).text
    assert "Reading prices needs an API key." in text
    assert "123.75" not in text
    nowhere = Settings(database_url="postgresql://127.0.0.1:9/none", feed_enabled=False, pool_timeout_seconds=0.2)
    with serving(create_patient_app(nowhere)) as address:
        response = httpx.get(address, headers={"Accept": BROWSER})
    assert response.status_code == 200
    assert "The prices can't be read" in response.text
