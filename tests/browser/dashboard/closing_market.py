"""A market that closes: the sessions and trades of a symbol, and a session that has begun."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from browser.dashboard.market import Market
from helpers.support import Connection, store

from market_data.cli.data.statements import NOT_STREAMED
from market_data.queries.schedules import TradingSession

FIRST, LAST = date(2026, 2, 12), date(2026, 2, 18)
"""A Thursday and a Wednesday; a weekend and Presidents' Day are between them."""
SUNDAY = datetime(2026, 2, 15, 15, tzinfo=UTC)
STEP = timedelta(minutes=5)
HOUR = timedelta(hours=1)

ADD_SESSION = """
    INSERT INTO sessions (calendar, day, opens_at, closes_at, pre_opens_at, post_closes_at, auction_ends_at)
    SELECT 'OWN', (%(opens)s AT TIME ZONE 'UTC')::date, %(opens)s, closes, %(pre)s, closes + INTERVAL '1 hour', closes
    FROM (SELECT %(closes)s::timestamptz AS closes) AS given
"""


def price(number: int) -> Decimal:
    return Decimal(100) + Decimal(number % 37 - (number * 7) % 11) / 4


def store_history(connection: Connection, sessions: Sequence[TradingSession]) -> None:
    """Store a trade of IBM every five minutes of sessions, and one on a Sunday."""
    times = [SUNDAY]
    for session in sessions:
        count = (session.post_closes_at - session.pre_opens_at) // STEP
        times.extend(session.pre_opens_at + STEP * number for number in range(count))
    with connection.transaction():
        connection.execute(NOT_STREAMED)
        store(connection, *((at, "IBM", n, price(n), Decimal(1 + n % 9)) for n, at in enumerate(sorted(times))))
    connection.execute("UPDATE symbols SET calendar = 'XNYS' WHERE symbol = 'IBM'")


def add_open_market(connection: Connection, market: Market) -> None:
    """Give all symbols a calendar whose session has begun an hour ago."""
    opens = market.minute(ago=60)
    connection.execute("INSERT INTO calendars (code, name, time_zone, source) VALUES ('OWN', 'Own', 'UTC', 'own')")
    connection.execute(ADD_SESSION, {"opens": opens, "pre": opens - HOUR, "closes": opens + 3 * HOUR})
    connection.execute("UPDATE symbols SET calendar = 'OWN'")
