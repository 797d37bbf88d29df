"""Trades that the dashboard tests store."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from helpers.support import Connection, store

INGESTION_INTERVAL_SECONDS = 1
"""The service reports data as stale after three intervals."""

INSERT_SYMBOL = "INSERT INTO symbols (symbol, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
INSERT_TRADE_PER_MINUTE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT %(last)s - n * INTERVAL '1 minute', %(symbol)s, 0, 100 + n, 1 FROM generate_series(0, %(count)s - 1) AS n
"""


def now() -> datetime:
    return datetime.now(UTC)


class Market:
    """Stores trades; minutes are counted back from the start of the test, even if the next minute begins during it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started_at = now()
        self._last_id = 0

    def minute(self, ago: int) -> datetime:
        """Return the start of a minute."""
        return self._started_at.replace(second=0, microsecond=0) - timedelta(minutes=ago)

    def trade(self, price: str, *, at: datetime | None = None, symbol: str = "AAPL", volume: str = "1") -> None:
        """Store a trade, by default at the current time."""
        self._last_id += 1
        store(self._connection, (at or now(), symbol, self._last_id, Decimal(price), Decimal(volume)))

    def trade_each_minute(self, count: int, symbol: str = "AAPL") -> None:
        """Store a trade in each of the last `count` complete minutes. The price n minutes before the last one is 100 + n."""
        self._connection.execute(INSERT_SYMBOL, (symbol, f"{symbol} Ltd."))
        self._connection.execute(INSERT_TRADE_PER_MINUTE, {"last": self.minute(ago=1), "symbol": symbol, "count": count})

    def late_trade(self, price: str, at: datetime) -> None:
        """Store a trade of a past minute and mark its candle as refreshed, because the test database runs no jobs."""
        self.trade(price, at=at)
        self._connection.execute("DELETE FROM stale_ranges")
