"""Adjusted candles as of versions: at random moments of a random history, each is reproduced row by row."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from helpers.adjustments import NEW_YORK, Action, add_sessions, adjusted, candles, session_close
from helpers.support import Connection, Trade, one

from market_data.queries.intervals import INTERVALS, bucket_start

FIRST, UNTIL = datetime(2024, 2, 26, tzinfo=UTC), datetime(2024, 3, 25, tzinfo=UTC)
ADJUSTED = """
    SELECT bucket, round(open, 12), round(high, 12), round(low, 12), round(close, 12), round(volume, 12), round(turnover, 12)
    FROM adjusted_candles(%s, 'AAPL', %s, %s, %s, %s)
    ORDER BY bucket
"""
TRADES = "SELECT time, symbol, trade_id, price, volume FROM trades WHERE symbol = 'AAPL' ORDER BY time, trade_id"
PRESENT = "SELECT type, ex_date, numerator, denominator, amount FROM corporate_actions WHERE ended_write_id IS NULL"
STORE = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', %s, %s, %s)"
END = """
    UPDATE corporate_actions
    SET ended_write_id = reference_write(), ended_by = 'a test', ended_at = now()
    WHERE change_id = (SELECT change_id FROM corporate_actions WHERE ended_write_id IS NULL ORDER BY md5(id) LIMIT 1)
    RETURNING id
"""


class AdjustedHistory:
    """Random trades and actions, some of them late, corrected or cancelled."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self._connection, self._random, self._number = connection, random.Random(seed), 0

    def write(self) -> None:
        kind = self._random.choices(["store", "correct", "cancel", "act", "end"], [10, 3, 2, 4, 1])[0]
        getattr(self, f"_{kind}")()

    def _store(self) -> None:
        for _ in range(self._random.choice([1, 20, 60])):
            self._number += 1
            time = FIRST + self._random.random() * (UNTIL - FIRST)
            price = Decimal(self._random.randrange(9_000, 11_000)) / 100
            self._connection.execute(STORE, (time, self._number, price, self._random.randrange(0, 40)))

    def _stored(self) -> tuple[datetime, int]:
        keys = self._connection.execute("SELECT time, trade_id FROM trades ORDER BY time, trade_id").fetchall()
        return self._random.choice(keys or [(FIRST, 0)])

    def _correct(self) -> None:
        where = "WHERE symbol = 'AAPL' AND time = %s AND trade_id = %s::bigint"
        self._connection.execute(f"UPDATE trades SET price = price + 3 {where}", self._stored(), prepare=False)

    def _cancel(self) -> None:
        where = "WHERE symbol = 'AAPL' AND time = %s AND trade_id = %s::bigint"
        self._connection.execute(f"DELETE FROM trades {where}", self._stored(), prepare=False)

    def _act(self) -> None:
        self._number += 1
        day = FIRST.date() + timedelta(days=self._random.randrange(1, 27))
        kind = self._random.choice(["split", "stock_dividend", "cash_dividend", "spin_off"])
        ratio, amount = (str(self._random.randrange(1, 9)), str(self._random.randrange(1, 9))), None
        if kind in ("cash_dividend", "spin_off"):
            ratio, amount = None, str(self._random.randrange(1, 200) / 16)
        if one(self._connection, "SELECT count(*) FROM corporate_actions WHERE id = %s", f"{kind}-{day}") == 0:
            Action(kind, day, ratio, amount).add(self._connection)

    def _end(self) -> None:
        self._connection.execute(END)


def present(connection: Connection) -> tuple[list[Trade], list[Action]]:
    """Return the trades and actions that are known now."""
    actions = [
        Action(kind, day, None if before is None else (str(after), str(before)), None if amount is None else str(amount))
        for kind, day, after, before, amount in connection.execute(PRESENT)
    ]
    return connection.execute(TRADES).fetchall(), actions


def expected(trades: Sequence[Trade], actions: Sequence[Action], interval: str, adjustment: str, zone: str) -> list[Any]:
    close = session_close() if zone == NEW_YORK else None
    found = candles(adjusted(trades, actions, adjustment, zone, close), lambda time: bucket_start(time, interval, None))
    names = "open", "high", "low", "close", "volume", "turnover"
    return [(bucket, *(found[bucket][name] for name in names)) for bucket in sorted(found)]


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK])
@pytest.mark.parametrize("start", [1, 2])
def test_each_adjusted_answer_is_reproduced_from_its_version(known: Connection, start: int, zone: str):
    if zone == NEW_YORK:
        add_sessions(known, "AAPL", date(2024, 2, 20), UNTIL.date())
    history, choose = AdjustedHistory(known, start), random.Random(start)
    moments: list[tuple[int, str, str, list[Any]]] = []
    for _ in range(25):
        history.write()
        interval, adjustment = choose.choice(list(INTERVALS)), choose.choice(["split", "dividend", "all", "all"])
        trades, actions = present(known)
        answer = known.execute(ADJUSTED, (interval, FIRST - timedelta(days=7), UNTIL, adjustment, None)).fetchall()
        assert answer == expected(trades, actions, interval, adjustment, zone), (interval, adjustment)
        moments.append((one(known, "SELECT newest_version()"), interval, adjustment, answer))
    for version, interval, adjustment, answer in moments:
        past = known.execute(ADJUSTED, (interval, FIRST - timedelta(days=7), UNTIL, adjustment, version)).fetchall()
        assert past == answer, (version, interval, adjustment)


def test_factors_are_ranges_of_time_that_multiply_up(known: Connection):
    known.execute(STORE, (FIRST, 1, 100, 1))
    Action("split", date(2024, 3, 1), ("3", "1")).add(known)
    Action("cash_dividend", date(2024, 3, 5), amount="20").add(known)
    rows = known.execute("SELECT price_factor, volume_factor FROM adjustment_factors('AAPL', 'all') ORDER BY since")
    first = Decimal("0.266666666666666666666666666666")  # of 0.8 and a third with 30 decimals, rounded again
    assert rows.fetchall() == [(first, 3), (Decimal("0.8"), 1), (1, 1)]
    bounds = known.execute("SELECT since::text, until::text FROM adjustment_factors('AAPL', 'raw')").fetchall()
    assert bounds == [("-infinity", "infinity")]


def test_a_calendar_without_sessions_before_the_ex_date_compares_with_the_last_trade(known: Connection):
    add_sessions(known, "AAPL", date(2024, 3, 10), UNTIL.date())
    known.execute(STORE, (datetime(2024, 3, 2, 3, tzinfo=UTC), 1, 50, 1))
    Action("cash_dividend", date(2024, 3, 5), amount="20").add(known)
    factor = "SELECT price_factor FROM adjustment_factors('AAPL', 'all') ORDER BY since LIMIT 1"
    assert one(known, factor) == Decimal("0.6")


def test_days_without_trades_are_passed_to_the_last_session_that_has_some(known: Connection):
    add_sessions(known, "AAPL", date(2023, 6, 1), UNTIL.date())
    known.execute(STORE, (datetime(2023, 7, 3, 15, tzinfo=UTC), 1, 50, 1))
    known.execute(STORE, (datetime(2023, 11, 3, 23, tzinfo=UTC), 2, 10, 1))  # after the session
    Action("cash_dividend", date(2024, 3, 5), amount="20").add(known)
    factor = "SELECT price_factor FROM adjustment_factors('AAPL', 'all') ORDER BY since LIMIT 1"
    assert one(known, factor) == Decimal("0.6")
