"""`GET /health` while the database can be reached; `test_unavailable` has the rest."""

from datetime import UTC, datetime, timedelta

from litestar.testing import TestClient
from support import Connection, store, trade


def test_health_of_an_empty_database(client: TestClient):
    body = client.get("/health").json()
    told = datetime.fromisoformat(body.pop("timestamp"))
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=10)
    assert body == {
        "status": "healthy",
        "service": "market-data-platform",
        "database": "healthy",
        "last_trade_count": 0,
        "last_ingestion": None,
    }


def test_few_trades_are_counted_exactly_and_at_once(client: TestClient, connection: Connection):
    store(connection, trade(5, "1"), trade(9, "1", symbol="MSFT"), trade(-90 * 86_400, "1"))
    body = client.get("/health").json()
    assert (body["last_trade_count"], body["last_ingestion"]) == (3, "2026-02-08T10:30:09Z")


def test_symbol_without_a_trade_does_not_hide_the_others(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAA', 'A'), ('ZZZ', 'Z')")
    assert client.get("/health").json()["last_ingestion"] == "2026-02-08T10:30:00Z"


def test_many_trades_are_estimated_never_as_none(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    connection.execute("""
        INSERT INTO trades (time, symbol, price, volume)
        SELECT minute, 'AAPL', 1, 1
        FROM generate_series('2025-12-01T00:00:00Z'::timestamptz, '2026-01-01T00:00:00Z', '2 minutes') AS minute
    """)
    exact = 31 * 24 * 30 + 2
    assert 10_000 < client.get("/health").json()["last_trade_count"] <= exact * 1.5, "before the first ANALYZE"
    connection.execute("ANALYZE trades")
    assert 0.9 * exact <= client.get("/health").json()["last_trade_count"] <= 1.1 * exact
