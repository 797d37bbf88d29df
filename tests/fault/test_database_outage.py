"""A database that becomes unavailable under a running service and comes back."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.service import Service, eventually, running
from helpers.tcp_proxy import Proxy

SETTINGS = {"INGESTION_INTERVAL_SECONDS": "0.2", "POOL_TIMEOUT_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def service(proxied: str, tmp_path: Path) -> Iterator[tuple[Service, httpx.Client]]:
    with running(tmp_path, DATABASE_URL=proxied, **SETTINGS) as (service, client):
        eventually(lambda: client.get("/price?symbol=AAPL").status_code == 200)
        yield service, client


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
def test_requests_are_answered_503_until_the_database_is_back(
    service: tuple[Service, httpx.Client], proxy: Proxy, database_url: str, fault
):
    process, client = service
    for outages in (1, 2):  # the second outage must be handled like the first
        fault(proxy)
        refused = eventually(lambda: _unavailable(client.get("/price?symbol=AAPL")))
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Content-Type"] == "application/problem+json"
        unhealthy = client.get("/health")
        assert unhealthy.status_code == 503
        assert (unhealthy.json()["status"], unhealthy.json()["database"]) == ("unhealthy", "unhealthy")
        eventually(lambda n=outages: process.text.count("feed lost the database") == n)
        proxy.restore()
        eventually(lambda: client.get("/price?symbol=AAPL").status_code == 200)
        eventually(partial(_grows_beyond, database_url, _trades(database_url)))
        assert client.get("/health").json()["status"] == "healthy"
    assert process.text.count("feed lost the database") == 2
    assert process.text.count("feeding 5 symbols") == 3
    assert process.text.count("database unavailable") == 2
    assert "Traceback" not in process.text


def _unavailable(response: httpx.Response) -> httpx.Response | None:
    return response if response.status_code == 503 else None


def _grows_beyond(database_url: str, trades: int) -> bool:
    return _trades(database_url) > trades


def _trades(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM trades").fetchone()
    assert row
    return row[0]


def test_reads_survive_a_restart_of_the_server(service: tuple[Service, httpx.Client], proxy: Proxy):
    """All pooled connections are dead, but new ones work: the read runs again on a new one."""
    _, client = service
    for _ in range(5):
        proxy.cut()
        proxy.restore()
        assert client.get("/symbols").status_code == 200


def test_start_waits_for_a_server_that_is_not_available_yet(proxy: Proxy, proxied: str, tmp_path: Path):
    proxy.cut()
    service = Service(tmp_path, DATABASE_URL=proxied)
    try:
        eventually(lambda: "waiting for the database" in service.text)
        proxy.restore()
        service.wait_until_ready()
    finally:
        service.end()
