"""503: the database is unreachable or overloaded."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.settings import Settings

RANGE = "symbol=AAPL&start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"
READS = [
    "/symbols",
    "/price?symbol=AAPL",
    "/price/latest?symbol=AAPL",
    "/prices/latest",
    "/snapshots",
    f"/trades?{RANGE}",
    f"/candles?{RANGE}&interval=1m",
]

MakeClient = Callable[[Settings], TestClient]


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The database can't be reached or is too busy; try again in a moment.",
        "request_id": response.headers["x-request-id"],
    }


@pytest.fixture(scope="module")
def unreachable() -> Iterator[str]:
    """URL of a database whose port is closed."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"postgresql://user:h0rse-battery@127.0.0.1:{bound.getsockname()[1]}/database"


@pytest.fixture
def cut_off(unreachable: str, make_client: MakeClient) -> Iterator[TestClient]:
    settings = Settings(database_url=unreachable, feed_enabled=False, pool_size=1, pool_timeout_seconds=0.2)
    with make_client(settings) as client:
        yield client


@pytest.mark.parametrize("path", READS)
def test_read_without_a_database_is_503(cut_off: TestClient, path: str):
    assert_unavailable(cut_off.get(path))


def test_health_without_a_database_is_503_with_its_own_body(cut_off: TestClient):
    response = cut_off.get("/health")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["retry-after"]) >= 1
    body = response.json()
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "status": "unhealthy",
        "service": "market-data-platform",
        "database": "unhealthy",
        "last_trade_count": None,
        "last_ingestion": None,
    }


def test_probes_and_metrics_work_without_a_database(cut_off: TestClient):
    assert cut_off.get("/health/live").status_code == 200
    assert cut_off.get("/metrics").status_code == 200
    assert_unavailable(cut_off.get("/status/ingestion"))
    ready = cut_off.get("/health/ready")
    assert ready.status_code == 503
    assert int(ready.headers["retry-after"]) >= 1
    checks = {"schema": "unknown", "pool": "unavailable", "feed": "disabled"}
    assert ready.json() == {"status": "unready", "checks": checks}


def test_other_paths_work_without_a_database(cut_off: TestClient):
    assert cut_off.get("/").status_code == 200
    assert cut_off.get("/schema/openapi.json").status_code == 200
    assert cut_off.get("/nothing").status_code == 404
    assert cut_off.get("/trades").status_code == 400


def test_unavailability_is_logged_once_and_without_the_password(cut_off: TestClient, caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        cut_off.get("/symbols")
    records = [record for record in caplog.records if record.name == "market_data.database.pool"]
    assert len(records) == 1
    assert "h0rse-battery" not in caplog.text


@pytest.fixture
def busy(settings: Settings, database_url: str, make_client: MakeClient) -> Iterator[TestClient]:
    """Service with one connection, for which one request may wait."""
    few = msgspec.structs.replace(
        settings,
        database_url=database_url,
        pool_size=1,
        pool_timeout_seconds=0.3,
        pool_max_waiting=1,
        query_timeout_seconds=1.5,
    )
    with make_client(few) as client:
        yield client


def test_an_exhausted_pool_is_503_and_recovers(busy: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    wait_for_success(busy)

    def timed(path: str) -> tuple[httpx.Response, float]:
        start = time.monotonic()
        return busy.get(path), time.monotonic() - start

    with ThreadPoolExecutor() as threads:
        with connection.transaction():
            connection.execute("LOCK TABLE latest_trades IN ACCESS EXCLUSIVE MODE")
            holding = threads.submit(timed, READS[1])
            time.sleep(0.2)
            waiting = threads.submit(timed, READS[0])
            time.sleep(0.1)
            (refused, refused_after) = timed(READS[-1])
            (waited, waited_after) = waiting.result()
            (held, held_after) = holding.result()
        for response in (refused, waited, held):
            assert_unavailable(response)
        assert refused_after < 0.2, "rejected at once, because the queue is full"
        assert 0.25 < waited_after < 1, "waited for a connection until the pool's time-out"
        assert 1 < held_after < 4, "waited for the database until the query's time-out"

    wait_for_success(busy)


def wait_for_success(client: TestClient) -> None:
    """Repeat a request until it has a connection of the pool."""
    deadline = time.monotonic() + 10
    while client.get(READS[1]).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_health_of_an_exhausted_pool_is_503_with_its_own_body(busy: TestClient, connection: Connection):
    with connection.transaction():
        connection.execute("LOCK TABLE data_version IN ACCESS EXCLUSIVE MODE")
        response = busy.get("/health")
    assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
