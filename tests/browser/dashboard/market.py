"""Trades that the dashboard tests store."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from helpers.support import Connection, store

from market_data.cli.data.statements import NOT_STREAMED

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
        """Store a trade of a past minute."""
        self.trade(price, at=at)
        self.refresh()

    def correct(self, price: str, to: str) -> None:
        """Give all trades of a price another one."""
        self._connection.execute("UPDATE trades SET price = %s WHERE price = %s", (Decimal(to), Decimal(price)))
        self.refresh()

    def cancel(self, *prices: str) -> None:
        """Cancel all trades of some prices."""
        self._connection.execute("DELETE FROM trades WHERE price = ANY (%s)", ([Decimal(price) for price in prices],))
        self.refresh()

    def import_trades(self, price: str, at: list[datetime], symbol: str = "AAPL") -> None:
        """Store trades as an import does."""
        with self._connection.transaction():
            self._connection.execute(NOT_STREAMED)
            for time in at:
                self.trade(price, at=time, symbol=symbol)
        self.refresh()

    def refresh(self) -> None:
        """Mark all candles as refreshed, because the test database runs no jobs."""
        self._connection.execute("DELETE FROM stale_ranges")
