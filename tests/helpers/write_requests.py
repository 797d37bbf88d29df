"""A request for every kind of write, and a check that nothing was written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from helpers.support import Connection

TIME = "2026-02-08T10:30:00Z"
GIVEN = {"symbol": "AAPL", "price": 1.5, "volume": 2, "timestamp": TIME}
IDENTITY = {"symbol": "AAPL", "timestamp": TIME, "reason": "a test"}
EVERYTHING = """
    SELECT (SELECT json_agg(t ORDER BY symbol, time, trade_id) FROM trades t)::text,
           (SELECT json_agg(s ORDER BY symbol) FROM symbols s)::text,
           (SELECT json_agg(c ORDER BY id) FROM trade_changes c)::text,
           (SELECT json_agg(a ORDER BY change_id) FROM corporate_actions a)::text
"""

WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/trades", GIVEN | {"trade_id": 9}),
    ("POST", "/trades?partial=true", [GIVEN | {"trade_id": 9}]),
    ("POST", "/trades/cancel", IDENTITY),
    ("POST", "/trades/correct", IDENTITY | {"trade_id": 8, "price": 9}),
    ("POST", "/symbols", {"symbol": "NEW", "name": "New"}),
    ("PATCH", "/symbols/AAPL", {"name": "Apple"}),
    ("POST", "/symbols/AAPL/actions", {"id": "s", "type": "split", "ex_date": "2024-01-01", "ratio": 2}),
    ("POST", "/symbols/AAPL/actions/correct", {"id": "s", "ratio": 2, "reason": "a test"}),
    ("POST", "/symbols/AAPL/actions/cancel", {"id": "stored", "reason": "a test"}),
    ("POST", "/symbols/AAPL/rename", {"to": "APPLE", "at": "2026-02-08T11:00:00Z"}),
]


@contextmanager
def unchanged(connection: Connection) -> Iterator[None]:
    """Assert that the stored data is the same after the block."""
    before = connection.execute(EVERYTHING).fetchone()
    yield
    assert connection.execute(EVERYTHING).fetchone() == before
