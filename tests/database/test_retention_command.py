"""`market-data retention`: show, set and disable."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
from helpers.service import command
from helpers.support import store


def test_retention_is_shown_set_and_disabled(new_migrated_database: Callable[[], AbstractContextManager[str]]):
    with new_migrated_database() as url:
        shown = command("retention", DATABASE_URL=url)
        assert (shown.returncode, shown.stdout) == (0, "trades are kept forever\nthere are no trades\n")

        now = datetime.now(UTC)
        with psycopg.connect(url, autocommit=True) as connection:
            store(connection, *((now - timedelta(days=days), "AAPL", 0, Decimal(1), Decimal(1)) for days in (23, 1)))
            connection.execute("CALL refresh_candles()")
            assert (
                f"the earliest trade is of {now - timedelta(days=23):%Y-%m-%d %H:%M} UTC"
                in command("retention", DATABASE_URL=url).stdout
            )

            done = command("retention", "--trades", "8d", DATABASE_URL=url)
            assert done.returncode == 0
            assert done.stdout.startswith("trades older than 8 days are dropped within the hour; candles stay\n")
            connection.execute("CALL drop_old_trades()")
            assert connection.execute("SELECT count(*) FROM trades").fetchone() == (1,)
            assert connection.execute("SELECT sum(trade_count) FROM candles_1d").fetchone() == (2,)

        shown = command("retention", "--trades", "off", DATABASE_URL=url)
        assert shown.stdout.startswith("trades are kept forever\nthe earliest trade is of ")
        assert shown.stdout.endswith("have been dropped, and new ones are rejected\n")


def test_an_invalid_retention_is_rejected_with_the_option_and_the_range():
    for duration, expected in (("7d", "give 8d to 100y"), ("90", "is not a duration"), ("never", "is not a duration")):
        ended = command("retention", "--trades", duration)
        assert ended.returncode == 2
        assert f"argument --trades: '{duration}' " in ended.stderr
        assert expected in ended.stderr
