"""Random writes by SQL clients: late, corrected, cancelled, moved and bulk trades, some of them undone."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from helpers.support import Connection
from psycopg.errors import CheckViolation

from market_data.cli.data.statements import NOT_STREAMED

SYMBOLS = ("AAPL", "MSFT", "BRK.B")
STORE: LiteralString = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"
UPSERT = f"{STORE}, (%s, now(), 7, 1, 1) ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = 3"
STORED = (
    "SELECT symbol, time, trade_id FROM trades ORDER BY symbol, time, trade_id",
    "SELECT symbol, time, trade_id FROM latest_trades ORDER BY symbol",
)
STORE_MANY = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT %s, %s::timestamptz - number * %s::interval, 9, 1 + number %% 7, 1
    FROM generate_series(1, %s) AS number
    ON CONFLICT DO NOTHING
"""
# A smaller integer than the column's, in the columnstore of the embedded engine, finds nothing (see trade_changes.py).
KEY = "symbol = %s AND time = %s AND trade_id = %s::bigint"
MINUTE = "symbol = %s AND time >= date_trunc('minute', %s::timestamptz) AND time <= %s"


class History:
    """Writes on a connection in autocommit mode."""

    def __init__(self, connection: Connection, seed: int, *, truncates: bool = True) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._last = ("AAPL", datetime.now(UTC), 0)
        connection.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
        connection.execute("INSERT INTO symbols (symbol, name) SELECT unnest(%s::text[]), 'a name'", (list(SYMBOLS),))
        self._writes: dict[Callable[[], None], int] = {
            self._store: 30,
            self._store_at_the_same_time: 6,
            self._upsert: 4,
            self._correct: 12,
            self._cancel: 14,
            self._cancel_minute: 6,
            self._cancel_symbol: 1,
            self._move: 6,
            self._store_bulk: 2,
            self._change_bulk: 3,
            self._store_silently: 3,
            self._truncate: 1,
            self._transaction: 6,
            self._roll_back: 3,
        }
        if not truncates:
            del self._writes[self._truncate]

    def write(self) -> None:
        """Make one random write."""
        (write,) = self._random.choices(list(self._writes), list(self._writes.values()))
        write()

    def _execute(self, statement: LiteralString, *parameters: Any) -> None:
        # Not prepared, so that only the chunks of these parameters are planned for.
        self._connection.execute(statement, parameters, prepare=False)

    def _time(self) -> datetime:
        oldest = self._random.choice([0, 5, 60, 200, 4000, 86_400, 20 * 86_400])
        return datetime.now(UTC) - timedelta(seconds=self._random.uniform(0, oldest))

    def _number(self) -> float:
        return self._random.choice([1, 0.5, 99.99, 100, 0.00001234]) * self._random.randint(1, 9)

    def _stored(self) -> tuple[str, datetime, int]:
        """Return the key of a stored trade: often of a latest one."""
        source = self._random.choice(STORED)
        return self._random.choice(self._connection.execute(source).fetchall() or [self._last])

    def _store(self) -> None:
        self._last = (self._random.choice(SYMBOLS), self._time(), self._random.randint(-1, 2))
        self._execute(STORE, *self._last, self._number(), self._number())

    def _store_at_the_same_time(self) -> None:
        symbol, time, _ = self._stored()
        self._execute(f"{STORE} ON CONFLICT DO NOTHING", symbol, time, self._random.randint(-3, 5), self._number(), 1)

    def _upsert(self) -> None:
        self._execute(UPSERT, *self._stored(), self._number(), 1, self._random.choice(SYMBOLS))

    def _correct(self) -> None:
        self._execute(f"UPDATE trades SET price = %s, volume = volume + 1 WHERE {KEY}", self._number(), *self._stored())

    def _cancel(self) -> None:
        self._execute(f"DELETE FROM trades WHERE {KEY}", *self._stored())

    def _cancel_minute(self) -> None:
        symbol, time, _ = self._stored()
        self._execute(f"DELETE FROM trades WHERE {MINUTE}", symbol, time, time)

    def _cancel_symbol(self) -> None:
        self._execute("DELETE FROM trades WHERE symbol = %s", self._random.choice(SYMBOLS))

    def _move(self) -> None:
        symbol, time, number = self._stored()
        later = time + timedelta(seconds=self._random.choice([0, 0, 5, -90, 4000]))
        target = (self._random.choice([symbol, *SYMBOLS]), later, self._random.randint(10, 9999))
        # TimescaleDB does not move rows to another chunk.
        with suppress(CheckViolation), self._connection.transaction():
            self._execute(
                f"UPDATE trades SET symbol = %s, time = %s, trade_id = %s WHERE {KEY}", *target, symbol, time, number
            )

    def _store_bulk(self) -> None:
        start = datetime.now(UTC) - timedelta(hours=self._random.choice([0, 2, 300]))
        step = self._random.choice(["9 seconds", "2 minutes"])
        self._execute(STORE_MANY, self._random.choice(SYMBOLS), start, step, 1_100)

    def _store_silently(self) -> None:
        with self._connection.transaction():
            self._execute(NOT_STREAMED)
            self._execute(STORE_MANY, self._random.choice(SYMBOLS), self._time(), "40 seconds", 50)

    def _change_bulk(self) -> None:
        symbol, time, _ = self._stored()
        with self._connection.transaction():
            self._execute(NOT_STREAMED)
            self._execute(f"UPDATE trades SET price = price + 1 WHERE {MINUTE}", symbol, time - timedelta(minutes=9), time)
            self._execute(f"DELETE FROM trades WHERE {MINUTE}", symbol, time, time)

    def _truncate(self) -> None:
        self._execute("TRUNCATE trades")

    def _transaction(self) -> None:
        with self._connection.transaction():
            for _ in range(3):
                self._random.choice([self._store, self._correct, self._cancel, self._move])()

    def _roll_back(self) -> None:
        with self._connection.transaction(force_rollback=True):
            self._random.choice([self._store, self._correct, self._cancel, self._store_bulk])()
