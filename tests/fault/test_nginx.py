"""The nginx configuration of `src/market_data/server/README.md` in front of two services."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.nginx import HASHED, PREFIX, PREFIX_REMOVED, PROGRAM, running_nginx
from helpers.service import Service, command, eventually, running
from helpers.sse_client import listening
from helpers.support import Connection, store, trade
from websockets.sync.client import connect
from websockets.typing import Origin

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")


class Proxied(NamedTuple):
    """Two services behind nginx."""

    address: str
    services: list[Service]


@pytest.fixture
def urls(database_url: str, tmp_path: Path) -> Iterator[tuple[list[str], list[Service]]]:
    """Start two services on one database, on all addresses of the machine, and return their URLs."""
    settings = {
        "DATABASE_URL": database_url,
        "FEED_ENABLED": "false",
        "RATE_LIMIT": "1000",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with ExitStack() as stack:
        started = [stack.enter_context(running(tmp_path, "--host", "::", **settings)) for _ in range(2)]
        ports = [client.base_url.port for _, client in started]
        yield [f"http://127.0.0.1:{port}" for port in ports], [service for service, _ in started]


@pytest.fixture
def proxied(urls: tuple[list[str], list[Service]]) -> Iterator[Proxied]:
    with running_nginx(*urls[0]) as address:
        yield Proxied(address, urls[1])


def now_trade(price: str, trade_id: int) -> tuple[datetime, str, int, Decimal, Decimal]:
    return (datetime.now(UTC), "AAPL", trade_id, Decimal(price), Decimal(1))


def requests(service: Service, path: str) -> list[dict[str, object]]:
    """Return the log lines of requests to a path."""
    lines = [json.loads(line) for line in service.text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("path") == path and line["event"] == "request"]


def test_both_services_answer_with_the_address_of_the_client(proxied: Proxied):
    own_address = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=proxied.address, transport=own_address, headers={"X-Forwarded-For": "203.0.113.7"}) as client:
        for _ in range(6):
            assert client.get("/symbols").status_code == 200
    for service in proxied.services:
        eventually(lambda service=service: requests(service, "/symbols"))  # the line is written after the response
        lines = requests(service, "/symbols")
        assert {line["client"] for line in lines} == {"127.0.0.2"}


def test_pages_of_the_service_open_a_websocket_on_any_port(proxied: Proxied):
    url = proxied.address.replace("http", "ws") + "/ws"
    with connect(url, origin=Origin(proxied.address)) as client:
        assert json.loads(client.recv(timeout=20))["event"] == "heartbeat"


def test_events_pass_at_once_and_a_stream_resumes_at_the_other_service(proxied: Proxied, connection: Connection):
    with listening(proxied.address) as events:
        store(connection, now_trade("1", 1))
        last = events.next().id
        served_by = [bool("stream opened" in service.text) for service in proxied.services]
    assert served_by.count(True) == 1
    store(connection, now_trade("2", 2))
    for _ in range(2):  # nginx takes the services in turn
        with listening(proxied.address, last=last) as events:
            assert events.next().data["price"] == 2
    assert all("stream opened" in service.text for service in proxied.services)


@pytest.mark.parametrize("changes", [PREFIX, PREFIX_REMOVED], ids=["passed on", "removed"])
def test_watch_and_status_work_under_a_path_prefix_and_behind_a_password(
    urls: tuple[list[str], list[Service]], database_url: str, tmp_path: Path, changes: dict[str, str]
):
    users = tmp_path / "users"
    users.write_text("ada:{PLAIN}secret\n")
    password = {"proxy_buffering off;": f"proxy_buffering off; auth_basic md; auth_basic_user_file {users};"}
    with running_nginx(*urls[0], changes={**changes, **password}) as address:
        assert httpx.get(f"{address}/md/symbols").status_code == 401
        with httpx.Client(base_url=f"{address}/md", auth=("ada", "secret")) as client:
            assert client.get("/").json()["links"]["symbols"] == "/md/symbols"
            assert client.get("/symbols").status_code == 200
            assert client.get("/trades/changes", headers={"X-API-Key": store_key(database_url, "admin")}).status_code == 200
        url = address.replace("http://", "http://ada:secret@") + "/md"
        done = command("status", "--url", url, MARKET_DATA_KEY=store_key(database_url, "read"))
        assert "not a response" not in done.stderr, done.stderr
        assert "ready" in done.stdout


def test_cache_of_nginx_answers_for_settled_candles_and_shows_a_late_trade_in_time(
    urls: tuple[list[str], list[Service]], connection: Connection
):
    """A cached response may be used for ten seconds (CACHE_SECONDS); one that is not settled never."""
    store(connection, trade(0, "100"))
    minute = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:30:00Z", "end": "2026-02-08T10:31:00Z"}
    with running_nginx(*urls[0], cached=True) as address, httpx.Client(base_url=address) as client:

        def read(**more: str) -> httpx.Response:
            response = client.get("/candles", params=minute | more)
            assert response.status_code == 200
            return response

        eventually(lambda: read().headers["cache-control"] != "no-store", 60)
        first = read()
        hits = [read() for _ in range(50)]
        assert {response.content for response in hits} == {first.content}
        assert [response.headers["x-cache-status"] for response in hits].count("HIT") >= 45
        asked = sum(len(requests(service, "/candles")) for service in urls[1])
        assert asked < 20, "the services answered few of the requests"
        not_settled = [read(end="9999-01-01").headers["x-cache-status"] for _ in range(3)]
        assert not_settled == ["MISS"] * 3
        store(connection, trade(1, "150"))
        stored = time.monotonic()
        eventually(lambda: read().json()["candles"][0]["high"] == 150, 60)
        assert time.monotonic() - stored < 20, "ten seconds, and the time of some requests"


@pytest.mark.parametrize("cached", [False, True])
def test_ranges_of_live_rows_reach_one_service(
    urls: tuple[list[str], list[Service]], connection: Connection, *, cached: bool
):
    store(connection, *(trade(seconds, "1") for seconds in range(60)))
    with running_nginx(*urls[0], changes=HASHED, cached=cached) as address, httpx.Client(base_url=address) as client:
        client.headers["Accept-Encoding"] = "identity"
        for path in ("/trades?symbol=AAPL&format=csv", "/trades?symbol=AAPL&format=csv&order=asc"):
            before = client.get(path).content
            assert int(client.head(path).headers["content-length"]) == len(before)
            store(connection, trade(0.5, "2", trade_id=len(path)))
            bounds = [(start, start + 499) for start in range(0, len(before), 500)]
            parts = [client.get(path, headers={"Range": f"bytes={start}-{last}"}) for start, last in bounds]
            assert {part.status_code for part in parts} == {206}
            assert b"".join(part.content for part in parts) == before
            assert len(client.get(path).content) > len(before)
