"""What the feed writes, and the lease that one feed at a time holds."""

from collections.abc import Sequence
from decimal import Decimal

from market_data.feed.random_walk import FeedTrade, Listing
from market_data.queries.row_pages import Connection

ADD_SYMBOLS = """
    INSERT INTO symbols (symbol, name)
    SELECT symbol, name FROM unnest(%s::text[], %s::text[]) AS listing (symbol, name)
    ON CONFLICT (symbol) DO NOTHING
"""


async def insert_symbols(connection: Connection, listings: Sequence[Listing]) -> None:
    """Make the feed's symbols known; those that are keep their names."""
    await connection.execute(ADD_SYMBOLS, ([item.symbol for item in listings], [item.name for item in listings]))


LAST_PRICES = "SELECT symbol, price FROM newest_trades WHERE symbol = ANY (%s)"


async def read_last_prices(connection: Connection, listings: Sequence[Listing]) -> dict[str, Decimal]:
    """Price of the newest trade, by symbol; without the symbols that have none."""
    cursor = await connection.execute(LAST_PRICES, ([item.symbol for item in listings],))
    return dict(await cursor.fetchall())


FEED_LEASE = "feed"

# No lease is taken for more than a minute. One that lasts longer was taken before the clock was put back.
ACQUIRE_LEASE = """
    INSERT INTO leases AS lease (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.holder = excluded.holder
        OR lease.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + INTERVAL '1 minute'
    RETURNING true
"""


async def acquire_lease(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Take a lease that is free, or keep one's own: true where the holder now has it for so many seconds."""
    cursor = await connection.execute(ACQUIRE_LEASE, {"name": name, "holder": holder, "seconds": seconds})
    return await cursor.fetchone() is not None


RELEASE_LEASE = "DELETE FROM leases WHERE name = %s AND holder = %s"


async def release_lease(connection: Connection, name: str, holder: str) -> None:
    """Give one's own lease back, so that another may take it at once."""
    await connection.execute(RELEASE_LEASE, (name, holder))


# One statement, so that trades are stored by the one who has the lease or not at all. Stored twice (after a connection
# lost between the commit and its answer) they are there once. A symbol that is not active rests.
STORE_FEED_TRADES = """
    WITH mine AS (
        UPDATE leases
        SET expires_at = clock_timestamp() + make_interval(secs => %s)
        WHERE name = %s AND holder = %s
        RETURNING true
    ), stored AS (
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT time, symbol, trade_id, price, volume
        FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[])
            AS trade (time, symbol, trade_id, price, volume)
        WHERE EXISTS (SELECT FROM mine)
            AND NOT EXISTS (SELECT FROM symbols WHERE symbols.symbol = trade.symbol AND NOT active)
        ON CONFLICT (symbol, time, trade_id) DO NOTHING
    )
    SELECT EXISTS (SELECT FROM mine)
"""


async def store_feed_trades(connection: Connection, holder: str, seconds: float, batch: Sequence[FeedTrade]) -> bool:
    """Store a batch and extend the feed's lease; false, and nothing stored, where another has the lease by now."""
    columns = [list(column) for column in zip(*batch, strict=True)]
    cursor = await connection.execute(STORE_FEED_TRADES, (seconds, FEED_LEASE, holder, *columns))
    row = await cursor.fetchone()
    return bool(row and row[0])
