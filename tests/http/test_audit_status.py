"""`GET /status/audit`, and the metrics of the audit."""

from helpers.support import Connection
from litestar.testing import TestClient


def test_status_without_differences(client: TestClient):
    before = client.get("/status/audit").json()
    assert before["examples"] == []
    assert before["open_differences"] == 0
    assert 0 <= before["share"] <= 0.5


def test_differences_are_listed_those_that_are_open_first(client: TestClient, connection: Connection):
    connection.execute(
        """
        INSERT INTO audit_differences (kind, symbol, "interval", bucket, stored, expected, repaired_at)
        VALUES ('candle', 'AAPL', '1m', '2026-02-08T10:30:00Z', '{"high": 9}', '{"high": 8}', NULL),
            ('latest_price', 'AAPL', NULL, NULL, NULL, '{"price": 8}', now())
        """
    )
    try:
        status = client.get("/status/audit").json()
        assert (status["differences"], status["open_differences"]) == (2, 1)
        candle, price = status["examples"]
        assert (candle["kind"], candle["timestamp"], candle["stored"]) == ("candle", "2026-02-08T10:30:00Z", {"high": 9})
        assert (price["kind"], price["stored"], price["expected"]) == ("latest_price", None, {"price": 8})
        assert price["repaired_at"] is not None
        assert candle["repaired_at"] is None
    finally:
        connection.execute("DELETE FROM audit_differences")
