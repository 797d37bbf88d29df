"""The refresh of candles by the service, while no job of the database does it."""

from typing import Any

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

# The job runs every 3 seconds. An operator may have unscheduled it. `active_at` may lie in the future, because the clock of
# the server may have been set back. One refresh may take longer than 5 seconds.
REFRESH_IS_OVERDUE = """
    SELECT
        NOT is_held(candle_refresh)
        AND active_at NOT BETWEEN clock_timestamp() - INTERVAL '5 seconds' AND clock_timestamp() + INTERVAL '5 seconds' AND (
            EXISTS (SELECT FROM stale_ranges)
            OR to_timestamp(0) + last_value * INTERVAL '1 microsecond' < clock_timestamp() - INTERVAL '5 minutes'
        ) AND EXISTS (
            SELECT FROM timescaledb_information.jobs WHERE proc_name = 'refresh_candles' AND scheduled
        )
    FROM candle_refresh
    CROSS JOIN refreshed_until
"""


async def read_refresh_is_overdue(connection: Connection) -> bool:
    """Return True if candles are stale, or the newest minutes are not materialized, and no refresh is active."""
    cursor = await connection.execute(REFRESH_IS_OVERDUE)
    ((overdue,),) = await cursor.fetchall()
    return overdue


REFRESH_CANDLES = """CALL refresh_candles(NULL, '{"buckets": 1440, "budget": "1 second"}')"""
"""As the job does it; without effect while another session refreshes."""

STALE_RANGES_EXIST = "SELECT EXISTS (SELECT FROM stale_ranges)"


async def refresh_candles(connection: Connection) -> bool:
    """Refresh candles for about a second, or for one step, outside a transaction; return True if some are still stale."""
    await connection.execute(REFRESH_CANDLES)
    cursor = await connection.execute(STALE_RANGES_EXIST)
    ((remain,),) = await cursor.fetchall()
    return remain
