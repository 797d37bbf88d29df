"""Stream events in the database: in the order of commits, from any source."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from helpers.support import Connection, store, trade

from market_data.cli.data.statements import NOT_STREAMED
from market_data.database.connection import connect
from market_data.queries.stream import StreamRange, read_stream_range

EVENTS = """
    SELECT version, number, stream_events.kind, symbol, time, "interval"
    FROM commits
    JOIN stream_events USING (write_id)
    ORDER BY version, number
"""
MICROSECOND = timedelta(microseconds=1)
INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"


def events_of(connection: Connection, kind: str = "trade") -> list[tuple[Any, ...]]:
    """Return symbol, time and interval of the events of a kind, in order."""
    return [row[3:] for row in connection.execute(EVENTS) if row[2] == kind]


def minutes_ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def test_trades_of_a_statement_are_ordered_by_time(known: Connection):
    store(known, trade(1, "1"))
    known.execute(INSERT.replace("VALUES", "VALUES (%s, %s, %s, %s, %s), "), (*trade(5, "1"), *trade(3, "1", symbol="MSFT")))
    assert [symbol for symbol, *_ in events_of(known)] == ["AAPL", "MSFT", "AAPL"]


def test_copy_and_upsert_add_events_for_stored_trades(known: Connection):
    with known.cursor().copy("COPY trades (time, symbol, price, volume) FROM STDIN") as copy:
        copy.write("2026-02-08T10:30:00Z\tAAPL\t1\t1\n2026-02-08T10:30:01Z\tAAPL\t1\t1\n")
    known.execute(f"{INSERT} ON CONFLICT DO NOTHING", trade(0, "1"))
    known.execute(f"{INSERT} ON CONFLICT DO NOTHING", trade(2, "1"))
    assert [time.second for _, time, _ in events_of(known)] == [0, 1, 2]


def test_rolled_back_trades_have_no_events(known: Connection, other: Connection):
    other.execute(INSERT, trade(0, "1"))
    other.rollback()
    assert events_of(known) == []


if "TEST_DATABASE_URL" in os.environ:  # the embedded engine has one session, so one open transaction

    @pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
    def test_version_follows_the_commit_not_the_statement(known: Connection, other: Connection, isolation: str):
        store(known, trade(-1, "1"))  # a transaction that creates a chunk blocks the others
        other.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        other.execute(INSERT, trade(0, "1", symbol="MSFT"))
        known.execute(INSERT, trade(1, "1"))
        other.execute(INSERT, trade(2, "1", symbol="MSFT"))
        other.commit()
        assert [time.second for _, time, _ in events_of(known)] == [59, 1, 0, 2]

    def test_open_transaction_does_not_delay_others(known: Connection, other: Connection):
        store(known, trade(-1, "1"))
        other.execute(INSERT, trade(0, "1", symbol="MSFT"))
        known.execute("SET lock_timeout = '2s'")
        known.execute(INSERT, trade(1, "1"))
        assert len(events_of(known)) == 2


def test_listeners_are_notified_of_the_version(known: Connection, other: Connection):
    other.autocommit = True
    other.execute("LISTEN market_data_stream")
    known.execute(INSERT, trade(0, "1"))
    (notification,) = other.notifies(timeout=5, stop_after=1)
    assert [notification.payload] == [str(row[0]) for row in known.execute("SELECT version FROM commits")]


def test_backfill_and_import_add_no_events(known: Connection):
    with known.transaction():
        known.execute(NOT_STREAMED)
        known.execute(INSERT, trade(0, "1"))
        known.execute("UPDATE trades SET price = 2")
    assert events_of(known) == []
    known.execute(INSERT, trade(1, "1"))
    assert len(events_of(known)) == 1, "which ends with the transaction"


def set_closed_until(connection: Connection, minutes: int) -> datetime:
    """Set the time until which buckets count as closed to a number of minutes ago, and return it."""
    (moment,) = connection.execute(
        """
        UPDATE stream_progress
        SET closed_until = date_trunc('minute', now()) - make_interval(mins => %s)
        RETURNING closed_until
        """,
        (minutes,),
    ).fetchone() or (None,)
    assert isinstance(moment, datetime)
    return moment


def test_each_interval_is_closed_once_for_symbols_that_may_have_a_candle(known: Connection):
    since = set_closed_until(known, 3)
    store(known, (since + timedelta(seconds=1), "AAPL", 0, Decimal(1), Decimal(1)))
    store(known, (since - timedelta(seconds=1), "MSFT", 0, Decimal(1), Decimal(1)))
    known.execute("SELECT advance_stream()")
    known.execute("SELECT advance_stream()")
    minutes = [(symbol, time) for symbol, time, interval in events_of(known, "closing") if interval == "1m"]
    assert minutes == [("AAPL", since)]
    coarser = {(interval, time) for _, time, interval in events_of(known, "closing") if interval != "1m"}
    # Which of the intervals end depends on the clock.
    widths = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
    for interval, width in widths.items():
        ends = [since + timedelta(minutes=n) for n in (1, 2, 3) if (since.hour * 60 + since.minute + n) % width == 0]
        ends = [end for end in ends if end > since]
        expected = {(interval, end - timedelta(minutes=width)) for end in ends}
        assert {each for each in coarser if each[0] == interval} == expected


def test_missed_closings_are_added_for_the_last_hour(known: Connection):
    since = set_closed_until(known, 300)
    store(known, (minutes_ago(0), "AAPL", 0, Decimal(1), Decimal(1)))
    known.execute("UPDATE latest_trades SET time = now()")
    known.execute("UPDATE stream_progress SET closed_until = %s", (since,))
    store(known, (since + timedelta(seconds=1), "MSFT", 0, Decimal(1), Decimal(1)))
    known.execute("UPDATE latest_trades SET time = now()")
    known.execute("SELECT advance_stream()")
    minutes = [time for symbol, time, interval in events_of(known, "closing") if interval == "1m" and symbol == "AAPL"]
    # AAPL's latest trade is later than all of these buckets; the reader finds out if they have candles.
    assert len(minutes) in (59, 60)
    assert minutes == sorted(minutes)


def test_trade_after_a_closing_belongs_to_a_closed_candle(known: Connection):
    since = set_closed_until(known, 2)
    moment = since + timedelta(seconds=30)
    store(known, (moment, "AAPL", 0, Decimal(1), Decimal(1)))
    known.execute("SELECT advance_stream()")
    store(known, (moment, "AAPL", 1, Decimal(1), Decimal(1)))
    bounds = [row[0] for row in known.execute("SELECT closed_until FROM commits ORDER BY version")]
    assert bounds[0] < since + timedelta(minutes=1) <= bounds[-1]
    assert bounds == sorted(bounds)


def test_closings_continue_after_the_clock_was_set_back(known: Connection):
    store(known, (minutes_ago(0), "AAPL", 0, Decimal(1), Decimal(1)))
    ahead = set_closed_until(known, -60)
    known.execute("SELECT advance_stream()")
    ((until,),) = known.execute("SELECT closed_until FROM stream_progress").fetchall()
    assert until < ahead - timedelta(minutes=55)
    assert events_of(known, "closing") == []
    set_closed_until(known, 2)
    known.execute("SELECT advance_stream()")
    assert events_of(known, "closing")


def test_trimming_keeps_an_hour_and_the_last_commit_before_it(known: Connection):
    for second in range(4):
        store(known, trade(second, "1"))
    known.execute("""
        UPDATE commits SET committed_at = now() - INTERVAL '61 minutes'
        WHERE version < (SELECT max(version) FROM commits)
    """)
    known.execute("CALL trim_stream()")
    assert [time.second for _, time, _ in events_of(known)] == [2, 3]
    assert known.execute("SELECT count(*) FROM stream_events").fetchone() == (2,)


def test_trimming_keeps_the_events_of_a_statement_with_two_versions(known: Connection):
    store(known, trade(0, "1"))
    known.execute(
        """
        INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'AAPL', 2, 1), (%s, 'AAPL', 3, 1)
        ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = excluded.price
        """,
        (trade(0, "1")[0], trade(1, "1")[0]),
    )
    known.execute("UPDATE commits SET committed_at = now() - INTERVAL '61 minutes'")
    known.execute("CALL trim_stream()")
    assert known.execute("SELECT price FROM stream_events ORDER BY price").fetchall() == [(2,), (3,)]


def test_stream_range_is_complete_until_events_are_deleted(known: Connection, database_url: str):
    async def stream_range() -> StreamRange:
        async with await connect(database_url, 5) as connection:
            return await read_stream_range(connection)

    assert asyncio.run(stream_range()) == (0, (0, None))
    store(known, trade(0, "1"))
    store(known, trade(1, "1"))
    first, last = asyncio.run(stream_range())
    assert first == 0 < last.version
    known.execute("UPDATE commits SET committed_at = committed_at - INTERVAL '61 minutes'")
    known.execute("CALL trim_stream()")
    first, last = asyncio.run(stream_range())
    assert first == last.version


def test_commits_without_events_do_not_make_a_gap(known: Connection):
    store(known, trade(0, "1"))
    ((with_event,),) = known.execute("SELECT newest_version()").fetchall()
    with known.transaction():
        known.execute(NOT_STREAMED)
        store(known, trade(1, "1"))
    known.execute("UPDATE commits SET committed_at = committed_at - INTERVAL '61 minutes'")
    known.execute("CALL trim_stream()")
    assert known.execute("SELECT trimmed_before FROM stream_progress").fetchone() == (with_event,)
    assert known.execute("SELECT count(*) FROM commits").fetchone() == (2,)
