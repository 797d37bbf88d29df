"""API keys of running services: a revoked key is rejected by all workers within a second, on streams too."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer, revoke, store_key
from helpers.service import command, error_line, eventually, running
from helpers.sse_client import Events
from helpers.support import Connection, create_patient_app, current_trade, serving, store
from helpers.tcp_proxy import Proxy
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from market_data.auth import api_keys
from market_data.queries.api_keys import read_valid_keys
from market_data.settings import Settings

A_SECOND = 1.2
"""Includes the time of a request on a busy machine."""

CLOSED = {"AUTH": "required", "FEED_ENABLED": "false"}


@pytest.fixture
def two(database_url: str, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """Clients of two services; the second one has two workers."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running(tmp_path, "--workers", workers, DATABASE_URL=database_url, **CLOSED))[1]
            for workers in ("1", "2")
        ]


def seconds_until(happened: Callable[[], bool]) -> float:
    start = time.monotonic()
    eventually(happened, 10)
    return time.monotonic() - start


def test_a_key_is_created_used_rotated_and_revoked_while_services_run(two: list[httpx.Client], database_url: str):
    def statuses(secret: str) -> set[int]:
        return {client.get("/symbols", headers=bearer(secret)).status_code for client in two for _ in range(4)}

    def run(*arguments: str) -> str:
        ended = command("keys", *arguments, DATABASE_URL=database_url)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    name = f"loader-{time.monotonic_ns()}"
    first = run("create", name)
    assert seconds_until(lambda: statuses(first) == {200}) < A_SECOND
    second = run("rotate", name)
    assert seconds_until(lambda: statuses(first) == {401} and statuses(second) == {200}) < A_SECOND
    run("revoke", name)
    assert seconds_until(lambda: statuses(second) == {401}) < A_SECOND
    eventually(lambda: [key for key in json.loads(run("list", "--json")) if key["name"] == name and key["last_used_at"]], 10)


@pytest.fixture
def address(database_url: str) -> Iterator[str]:
    with serving(create_patient_app(Settings(database_url=database_url, auth="required", feed_enabled=False))) as address:
        yield address


def test_a_stream_ends_with_a_reason_when_its_key_is_revoked(address: str, database_url: str, connection: Connection):
    revoked, other = store_key(database_url, "read"), store_key(database_url, "read")
    with (
        httpx.stream("GET", f"{address}/stream", headers=bearer(revoked), timeout=20) as response,
        httpx.stream("GET", f"{address}/stream", headers=bearer(other), timeout=20) as staying,
    ):
        events = Events(response)
        assert events.any().name == "heartbeat"
        revoke(database_url, revoked)
        start = time.monotonic()
        bye = events.next("bye")
        assert time.monotonic() - start < A_SECOND
        assert "revoked" in bye.data["reason"]
        assert not list(events)
        time.sleep(1)
        store(connection, current_trade("1"))
        assert Events(staying).next("trade", "bye").name == "trade"


def test_a_websocket_is_closed_when_its_key_expires(address: str, database_url: str):
    secret = store_key(database_url, "read", lasts=timedelta(seconds=2))
    with connect(f"{address.replace('http', 'ws')}/ws", additional_headers=bearer(secret)) as client:
        assert json.loads(client.recv())["event"] == "heartbeat"
        start = time.monotonic()
        assert json.loads(client.recv(10))["event"] == "bye"
        assert time.monotonic() - start < 2 + A_SECOND
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_key_is_rejected_as_soon_as_it_expires(address: str, database_url: str):
    secret = store_key(database_url, "read", lasts=timedelta(seconds=1.5))
    assert httpx.get(f"{address}/symbols", headers=bearer(secret)).status_code == 200
    time.sleep(1.5)
    assert httpx.get(f"{address}/symbols", headers=bearer(secret)).status_code == 401


def test_last_use_is_written_soon_and_then_once_a_minute(address: str, database_url: str, connection: Connection):
    secret = store_key(database_url, "read")

    def last_use() -> object:
        used = connection.execute("SELECT last_used_at FROM api_keys WHERE prefix = %s", (api_keys.parse_prefix(secret),))
        return used.fetchall()[0][0]

    assert httpx.get(f"{address}/symbols", headers=bearer(secret)).status_code == 200
    first = eventually(last_use, 10)
    for _ in range(3):
        time.sleep(1)
        assert httpx.get(f"{address}/symbols", headers=bearer(secret)).status_code == 200
    assert last_use() == first


def test_last_use_is_written_when_the_service_stops(database_url: str, connection: Connection):
    secret = store_key(database_url, "read")
    with serving(create_patient_app(Settings(database_url=database_url, auth="required", feed_enabled=False))) as address:
        assert httpx.get(f"{address}/symbols", headers=bearer(secret)).status_code == 200
    (used,) = connection.execute(
        "SELECT last_used_at FROM api_keys WHERE prefix = %s", (api_keys.parse_prefix(secret),)
    ).fetchall()
    assert used[0] is not None


def test_a_new_key_works_at_once(address: str, database_url: str):
    with httpx.Client(base_url=address) as client:
        for _ in range(20):
            assert client.get("/symbols", headers=bearer(api_keys.generate_key())).status_code == 401
            assert client.get("/symbols", headers=bearer(store_key(database_url, "read"))).status_code == 200


def test_unknown_keys_share_queries(address: str, monkeypatch: pytest.MonkeyPatch):
    read, reads = read_valid_keys, 0

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*arguments)

    monkeypatch.setattr(api_keys, "read_valid_keys", counted)

    def ask(client: httpx.Client) -> set[int]:
        return {client.get("/symbols", headers=bearer(api_keys.generate_key())).status_code for _ in range(10)}

    begun = time.monotonic()
    with httpx.Client(base_url=address, timeout=30) as client, ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, [client] * 20))
    assert answers == [{401}] * 20
    assert reads <= 2 + 2 * (time.monotonic() - begun) / api_keys.MISS_REFRESH_SECONDS
    assert 0 < reads < 100


def test_keys_are_rejected_while_the_database_is_unavailable(
    proxied: str, proxy: Proxy, database_url: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    secret = store_key(database_url, "read")
    settings = Settings(database_url=proxied, auth="required", feed_enabled=False, pool_timeout_seconds=0.5)
    with serving(create_patient_app(settings)) as address, httpx.Client(base_url=address, timeout=20) as client:

        def ask() -> int:
            return client.get("/metrics", headers=bearer(secret)).status_code

        assert ask() == 200
        proxy.cut()
        eventually(lambda: ask() == 503, 5)
        assert client.get("/health/live").status_code == 200
        proxy.restore()
        eventually(lambda: ask() == 200, 20)
    assert secret not in caplog.text


def test_commands_read_their_key_from_the_environment(address: str, database_url: str):
    for expected, environment in (("is not set", {}), ("was rejected", {"MARKET_DATA_KEY": api_keys.generate_key()})):
        for arguments in (["status"], ["watch", "AAPL"]):
            line = error_line(*arguments, "--url", address, **environment)
            assert expected in line
            assert "MARKET_DATA_KEY" in line
            assert environment.get("MARKET_DATA_KEY", "no key") not in line
    done = command("status", "--url", address, MARKET_DATA_KEY=store_key(database_url, "read"))
    assert "no feed runs" in done.stdout
    assert done.stderr == ""
