"""Reads of the past in SQL: as of a version, trades, latest trades and candles are what they were at that version."""

import random
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from helpers.histories import SYMBOLS as RANDOM_SYMBOLS
from helpers.histories import History
from helpers.support import SERVER, Connection, one

from market_data.queries.intervals import LENGTHS

TRADES = "SELECT symbol, time, trade_id, price, volume FROM trades ORDER BY 1, 2, 3"
TRADES_AS_OF = "SELECT symbol, time, trade_id, price, volume FROM trades_as_of(%s) ORDER BY 1, 2, 3"
LATEST = "SELECT symbol, time, trade_id, price, volume FROM latest_trades ORDER BY 1"
LATEST_AS_OF = "SELECT symbol, time, trade_id, price, volume FROM latest_trades_as_of(%s) ORDER BY 1"
STORE = """
    INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('SLOW', now() - %s::interval, %s, 5, 1)
"""
# In all chunks, because a new one can't be created beside a long transaction.
STORE_IN_ALL_CHUNKS = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now() - days * INTERVAL '1 day', 'SLOW', 0, 1, 1
    FROM generate_series(-1, 30) AS days
"""
COMPRESS = "SELECT compress_chunk(chunk, true) FROM show_chunks('trades', now() - INTERVAL '8 days') AS chunk"
CANDLES = """
    SELECT
        time_bucket(%(width)s::interval, time), first(price, time ORDER BY trade_id), max(price), min(price),
        last(price, time ORDER BY trade_id DESC), sum(volume), sum(price * volume), count(*)
    FROM trades
    WHERE symbol = %(symbol)s
    GROUP BY 1
    ORDER BY 1
"""
CANDLES_AS_OF = """
    SELECT bucket, open, high, low, close, volume, turnover, trade_count
    FROM candles_as_of(%(interval)s, %(version)s, %(symbol)s)
    ORDER BY 1
"""


SYMBOLS = (*RANDOM_SYMBOLS, "SLOW")


class Moment(NamedTuple):
    """All data at a version."""

    version: int
    trades: list[Any]
    latest: list[Any]
    candles: dict[tuple[str, str], list[Any]]


def moment(connection: Connection) -> Moment:
    """Return the present data; candles are computed from trades."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return Moment(
            one(connection, "SELECT newest_version()"),
            connection.execute(TRADES).fetchall(),
            connection.execute(LATEST).fetchall(),
            {
                (interval, symbol): connection.execute(CANDLES, {"width": width, "symbol": symbol}).fetchall()
                for interval, width in LENGTHS.items()
                for symbol in SYMBOLS
            },
        )


def past(connection: Connection, version: int) -> Moment:
    """Return the data as of a version."""
    return Moment(
        version,
        connection.execute(TRADES_AS_OF, (version,)).fetchall(),
        connection.execute(LATEST_AS_OF, (version,)).fetchall(),
        {
            (interval, symbol): connection.execute(
                CANDLES_AS_OF, {"interval": interval, "version": version, "symbol": symbol}
            ).fetchall()
            for interval in LENGTHS
            for symbol in SYMBOLS
        },
    )


class OtherHistory(History):
    """A history that leaves the trades of the slow writer alone."""

    def _stored(self) -> tuple[str, datetime, int]:
        keys = (super(OtherHistory, self)._stored() for _ in range(100))
        return next((key for key in keys if key[0] != "SLOW"), self._last)


class SlowWriter:
    """Writes trades of its own symbol in long transactions: its write ids are smaller than those of earlier commits."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._number = 0

    def write(self) -> None:
        """Store or cancel a trade, or commit."""
        if self._random.random() < 0.2:
            self._connection.commit()
            return
        self._number += 1
        age = timedelta(minutes=self._random.choice([0, 3, 90]))
        self._connection.execute(STORE, (age, self._number))
        self._connection.execute("DELETE FROM trades WHERE symbol = 'SLOW' AND trade_id = %s::bigint", (self._number - 3,))

    def commit(self) -> None:
        """End the transaction."""
        self._connection.commit()


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 4))])
def test_everything_is_as_it_was(stopped_database: str, number: int):
    choose = random.Random(number)
    moments: list[Moment] = []
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC"))
        history = OtherHistory(connection, number, truncates=False)
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('SLOW', 'written slowly')")
        connection.execute(STORE_IN_ALL_CHUNKS)
        writers: list[History | SlowWriter] = [history] * 4
        # The embedded engine runs one transaction at a time.
        slow = SlowWriter(stack.enter_context(psycopg.connect(stopped_database)), number) if SERVER else None
        if slow:
            writers.append(slow)
        for _ in range(60):
            choose.choice(writers).write()
            if choose.random() < 0.1:
                connection.execute("CALL refresh_candles()")
            if choose.random() < 0.05:
                if slow:
                    slow.commit()
                connection.execute(COMPRESS)
            if choose.random() < 0.25:
                moments.append(moment(connection))
        if slow:
            slow.commit()
        moments.append(moment(connection))
        for expected in moments:
            assert past(connection, expected.version) == expected
