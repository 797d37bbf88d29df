"""Stream events of corrected, cancelled and late trades, and of bulk history."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from helpers.support import Connection, store, trade

from market_data.cli.data.statements import NOT_STREAMED

MICROSECOND = timedelta(microseconds=1)
EVENTS = """
    SELECT symbol, time, "interval"
    FROM commits
    JOIN stream_events USING (write_id)
    WHERE stream_events.kind = %s
    ORDER BY version, number
"""
INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"


def events_of(connection: Connection, kind: str = "trade") -> list[tuple[Any, ...]]:
    """Return symbol, time and interval of the events of a kind, in order."""
    return connection.execute(EVENTS, (kind,)).fetchall()


def minutes_ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def reloads(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT symbol, time, until FROM stream_events WHERE kind = 'reload' ORDER BY write_id, number"
    ).fetchall()


def changes(connection: Connection) -> list[tuple[Any, ...]]:
    """Return the events of trades in the order of their numbers, without those that were only stored, of the last write."""
    return connection.execute(
        """
        SELECT change, symbol, time, trade_id, price, volume, late, latest_time, latest_price, latest_volume
        FROM stream_events
        WHERE write_id = (SELECT max(write_id) FROM stream_events) AND kind = 'trade'
        ORDER BY number
        """
    ).fetchall()


def test_history_that_is_not_streamed_is_one_reload_per_symbol_once_refreshed(known: Connection):
    with known.transaction():
        known.execute(NOT_STREAMED)
        store(known, trade(0, "1"), trade(90, "2"), trade(5, "3", symbol="MSFT"))
        known.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
    known.execute("SELECT advance_stream()")
    assert reloads(known) == []
    known.execute("DELETE FROM stale_ranges")  # as at the end of refresh_candles
    known.execute("SELECT advance_stream()")
    first, last = trade(0, "1")[0], trade(90, "2")[0]
    other = trade(5, "3")[0]
    assert reloads(known) == [("AAPL", first, last + MICROSECOND), ("MSFT", other, other + MICROSECOND)]
    assert events_of(known) == []


def test_ranges_of_history_that_are_more_than_a_day_apart_are_separate_reloads(known: Connection):
    day = 86_400
    with known.transaction():
        known.execute(NOT_STREAMED)
        for seconds in (0, 3 * day, day, 4.5 * day, 7 * day):
            store(known, trade(seconds, "1"))
        store(known, trade(7 * day, "1", symbol="MSFT"))
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    first = trade(0, "1")[0]
    assert [(symbol, (start - first) / timedelta(days=1)) for symbol, start, _ in reloads(known)] == [
        ("AAPL", 0),
        ("AAPL", 3),
        ("AAPL", 4.5),
        ("AAPL", 7),
        ("MSFT", 7),
    ]
    assert reloads(known)[0][2] == trade(day, "1")[0] + MICROSECOND


@pytest.mark.parametrize(("trades", "streamed"), [(1000, True), (1001, False)])
def test_statement_with_over_a_thousand_old_trades_is_bulk_history(known: Connection, trades: int, streamed: bool):
    known.execute(
        """
        INSERT INTO trades (time, symbol, price, volume)
        SELECT now() - INTERVAL '61 minutes' - n * INTERVAL '1 second', 'AAPL', 1, 1
        FROM generate_series(1, %s) AS n
        UNION ALL
        SELECT now(), 'MSFT', 1, 1
        """,
        (trades,),
    )
    symbols = [symbol for symbol, *_ in events_of(known)]
    assert symbols == (["AAPL"] * trades if streamed else []) + ["MSFT"]
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    assert [symbol for symbol, *_ in reloads(known)] == ([] if streamed else ["AAPL"])


def test_bulk_history_ends_an_hour_ago(known: Connection):
    with known.transaction():
        known.execute("""
            INSERT INTO trades (time, symbol, price, volume)
            SELECT now() - INTERVAL '1 hour' - n * INTERVAL '1 microsecond', 'AAPL', 1, 1
            FROM generate_series(0, 1001) AS n
        """)
        ((hour_ago,),) = known.execute("SELECT now() - INTERVAL '1 hour'").fetchall()
    assert [time for _, time, _ in events_of(known)] == [hour_ago]
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    assert reloads(known) == [("AAPL", hour_ago - 1001 * MICROSECOND, hour_ago)]


def test_truncating_trades_reloads_every_symbol(known: Connection):
    store(known, trade(0, "1"), trade(0, "1", symbol="MSFT"))
    known.execute("TRUNCATE trades")
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    assert [symbol for symbol, *_ in reloads(known)] == ["AAPL", "MSFT"]


def late_candles(connection: Connection) -> list[tuple[str, datetime]]:
    return connection.execute("SELECT symbol, bucket FROM stream_late_candles ORDER BY symbol, bucket").fetchall()


def test_late_candle_is_revised_once_its_range_is_refreshed(known: Connection):
    store(known, trade(0, "1"), trade(1, "2"), (minutes_ago(0), "MSFT", 0, Decimal(1), Decimal(1)))
    assert set(late_candles(known)) == {("AAPL", trade(0, "1")[0].replace(second=0))}
    known.execute("SELECT advance_stream()")
    assert events_of(known, "revision") == []
    known.execute("DELETE FROM stale_ranges")  # as at the end of refresh_candles
    known.execute("SELECT advance_stream()")
    known.execute("SELECT advance_stream()")
    assert events_of(known, "revision") == [("AAPL", trade(0, "1")[0].replace(second=0), None)]
    assert late_candles(known) == []


def test_late_candles_next_to_a_stale_range_are_revised(known: Connection):
    store(known, *(trade(60 * minute, "1") for minute in range(6)))
    start = trade(0, "1")[0].replace(second=0)
    minutes = [start + timedelta(minutes=minute) for minute in range(6)]
    known.execute("DELETE FROM stale_ranges")
    with known.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO stale_ranges (write_id, since, until) VALUES (0, %s, %s)",
            [(minutes[1] + timedelta(seconds=59), minutes[2]), (minutes[4], minutes[4])],
        )
    known.execute("SELECT advance_stream()")
    assert [time for _, time, _ in events_of(known, "revision")] == [minutes[0], minutes[3], minutes[5]]
    assert [bucket for _, bucket in late_candles(known)] == [minutes[1], minutes[2], minutes[4]]


@pytest.mark.parametrize("change", ["UPDATE trades SET price = 2", "DELETE FROM trades"])
def test_changed_and_deleted_trades_revise_their_candles(known: Connection, change: str):
    store(known, trade(0, "1"))
    known.execute("DELETE FROM stream_late_candles")
    known.execute(change.encode())
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    assert [symbol for symbol, *_ in events_of(known, "revision")] == ["AAPL"]


def test_candle_is_revised_while_it_gets_late_trades_all_the_time(known: Connection):
    store(known, trade(0, "1"))
    known.execute("DELETE FROM stale_ranges")
    known.execute(INSERT, trade(1, "1"))
    known.execute("SELECT advance_stream()")
    assert [symbol for symbol, *_ in events_of(known, "revision")] == ["AAPL"]
    known.execute("SELECT advance_stream()")
    assert len(events_of(known, "revision")) == 1
    assert len(late_candles(known)) == 1


def test_corrected_and_cancelled_trades_have_events_with_the_latest_trade_after_them(known: Connection):
    first, last = minutes_ago(0.5), minutes_ago(0.25)
    one, two, three = Decimal(1), Decimal(2), Decimal(3)
    store(known, (first, "AAPL", 0, one, one), (last, "AAPL", 7, two, three))
    known.execute("UPDATE trades SET price = 3 WHERE trade_id = 7")
    assert changes(known) == [("corrected", "AAPL", last, 7, three, three, False, last, three, three)]
    known.execute("DELETE FROM trades WHERE trade_id = 7")
    assert changes(known) == [("cancelled", "AAPL", last, 7, three, three, False, first, one, one)]
    known.execute("DELETE FROM trades")
    assert changes(known) == [("cancelled", "AAPL", first, 0, one, one, False, None, None, None)]
    assert late_candles(known) == [], "candles of the open minute are read with the event"


def test_update_without_a_difference_has_no_event(known: Connection):
    store(known, trade(0, "1"))
    known.execute("UPDATE trades SET price = price")
    assert len(events_of(known)) == 1


def test_moved_trade_is_cancelled_and_stored(known: Connection):
    store(known, trade(0, "1"), trade(9, "1", symbol="MSFT"))
    known.execute("UPDATE trades SET time = time + INTERVAL '1 second', price = 2 WHERE symbol = 'AAPL'")
    (time, *_), one, two = trade(0, "1"), Decimal(1), Decimal(2)
    moved = time + timedelta(seconds=1)
    assert changes(known) == [
        ("cancelled", "AAPL", time, 0, one, one, True, moved, two, one),
        (None, "AAPL", moved, 0, two, one, True, None, None, None),
    ]


def test_statement_that_stores_and_changes_trades_numbers_all_its_events(known: Connection):
    store(known, trade(0, "1"))
    known.execute(
        f"{INSERT}, (%s, %s, %s, %s, %s) ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = 5",
        (*trade(0, "1"), *trade(1, "1")),
    )
    assert [change for change, *_ in changes(known)] == ["corrected", None]


def test_trades_moved_to_another_minute_revise_both(known: Connection):
    store(known, trade(0, "1"))
    known.execute("DELETE FROM stream_late_candles")
    known.execute("UPDATE trades SET time = time + INTERVAL '1 minute'")
    assert [bucket.minute for _, bucket in late_candles(known)] == [30, 31]
