"""Reads from a replica behind a proxy that can cut and stall its connections."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.api_keys import bearer, store_key
from helpers.service import eventually, running
from helpers.support import SERVER
from helpers.tcp_proxy import Proxy

SETTINGS = {"FEED_ENABLED": "false", "POOL_TIMEOUT_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "1"}
PRICE = "/price/latest?symbol=AAPL"
TRADE = {"symbol": "AAPL", "price": 100, "volume": 1, "timestamp": "2026-02-08T10:30:00Z"}


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
def test_reads_go_to_the_primary_while_the_replica_is_unavailable(
    database_url: str, proxied: str, proxy: Proxy, tmp_path: Path, fault
):
    key = bearer(store_key(database_url, "write"))
    with running(tmp_path, DATABASE_URL=database_url, DATABASE_READ_URL=proxied, **SETTINGS) as (service, client):
        client.post("/symbols", json={"symbol": "AAPL", "name": "Apple"}, headers=key)
        client.post("/trades", json=TRADE, headers=key).raise_for_status()
        port = proxied.rpartition(":")[2].partition("/")[0]
        used, lag = (f'market_data_replica_{name}{{replica="127.0.0.1:{port}"}} ' for name in ("used", "lag_bytes"))
        for times in (1, 2):
            eventually(lambda times=times: service.text.count("replica used for reads") == times)
            metrics = client.get("/metrics").text
            assert f"{used}1.0" in metrics
            assert f"{lag}0.0" in metrics
            assert client.get(PRICE).json()["price"] == 100
            fault(proxy)
            assert client.get(PRICE).json()["price"] == 100
            eventually(lambda times=times: service.text.count("replica not used") == times)
            assert f"{used}0.0" in client.get("/metrics").text
            eventually(lambda: f"{lag}NaN" in client.get("/metrics").text)
            assert client.get(PRICE).json()["price"] == 100
            proxy.restore()
        assert client.get("/health/ready").status_code == 200
        assert "Traceback" not in service.text


def test_a_replica_that_was_never_reachable_is_reported_once_with_the_reason(
    database_url: str, proxied: str, proxy: Proxy, tmp_path: Path
):
    proxy.cut()
    with running(tmp_path, DATABASE_URL=database_url, DATABASE_READ_URL=proxied, **SETTINGS) as (service, client):
        eventually(lambda: "replica not used" in service.text)
        assert all(client.get("/symbols").status_code == 200 for _ in range(20))
        proxy.restore()
        eventually(lambda: "replica used for reads" in service.text)
    assert service.text.count("replica not used, reads go to the primary: connection failed: ") == 1
    assert "unavailable" not in service.text


def test_x_read_after_reads_the_client_s_own_writes(database_url: str, proxied: str, tmp_path: Path):
    key = bearer(store_key(database_url, "write"))
    with running(tmp_path, DATABASE_URL=database_url, DATABASE_READ_URL=proxied, **SETTINGS) as (service, client):
        client.post("/symbols", json={"symbol": "AAPL", "name": "Apple"}, headers=key)
        eventually(lambda: "replica used for reads" in service.text)
        stored = client.post("/trades", json=TRADE, headers=key)
        position = stored.headers["X-Write-Position"]
        assert int(position) > 0
        assert client.get(PRICE, headers={"X-Read-After": position}).json()["price"] == 100
        for wrong in ("soon", "-1", "1.5", "9" * 19):
            answer = client.get(PRICE, headers={"X-Read-After": wrong})
            assert (answer.status_code, answer.json()["errors"][0]["name"]) == (400, "X-Read-After")


def test_responses_have_no_write_position_without_a_replica(database_url: str, tmp_path: Path):
    key = bearer(store_key(database_url, "write"))
    with running(tmp_path, DATABASE_URL=database_url, **SETTINGS) as (_, client):
        added = client.post("/symbols", json={"symbol": "AAPL", "name": "Apple"}, headers=key)
        assert added.status_code == 201
        assert "X-Write-Position" not in added.headers
        assert client.get("/symbols", headers={"X-Read-After": "soon"}).status_code == 200


if SERVER:  # two databases of one server, with one WAL, act as a primary and a lagging replica

    def test_reads_after_a_position_that_the_replica_has_not_reached_go_to_the_primary(
        database_url: str, new_migrated_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
    ):
        with (
            new_migrated_database() as replica,
            running(tmp_path, DATABASE_URL=database_url, DATABASE_READ_URL=replica, **SETTINGS) as (service, client),
        ):
            _price(database_url, 100)
            _price(replica, 99)
            eventually(lambda: "replica used for reads" in service.text)
            assert client.get(PRICE).json()["price"] == 99
            assert client.get(PRICE, headers={"X-Read-After": str(2**62)}).json()["price"] == 100
            assert _prices(client, "/prices/latest") == [99]


def _price(database_url: str, price: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple') ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO trades (symbol, time, price, volume) VALUES ('AAPL', now(), %s, 1)", (price,))


def _prices(client: httpx.Client, path: str) -> list[float]:
    return [each["price"] for each in client.get(path).json()["prices"]]
