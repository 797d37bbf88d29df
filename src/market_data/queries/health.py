"""What there is to tell about the data as a whole."""

from datetime import datetime

from psycopg.rows import scalar_row

from market_data.queries.row_pages import Connection

# Counts a few rows exactly and stops; beyond, the planner's statistics, which cost nothing and follow each ANALYZE.
TRADE_COUNT = """
    SELECT CASE
        WHEN counted.trades <= 10000 THEN counted.trades
        ELSE greatest(counted.trades, approximate_row_count('trades'))
    END
    FROM (SELECT count(*) AS trades FROM (SELECT FROM trades LIMIT 10001) AS few) AS counted
"""
NEWEST_TRADE = "SELECT max(time) FROM newest_trades"


async def read_trade_totals(connection: Connection) -> tuple[int, datetime | None]:
    """Trades stored (exact up to 10,000, beyond that an estimate that is never lower), and time of the newest."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(TRADE_COUNT)
    count = await cursor.fetchone() or 0
    await cursor.execute(NEWEST_TRADE)
    return count, await cursor.fetchone()
