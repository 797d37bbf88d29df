"""Random writes in the database itself: COPY, INSERT, UPDATE and DELETE."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from helpers.chaos.model import TradeKey, Values
from helpers.chaos.writers import Lost, Writer
from helpers.support import Connection


class SqlWriter(Writer):
    """A client of the database: COPY, INSERT, UPDATE and DELETE, also several statements in one transaction."""

    def __init__(self, *args: Any, url: Callable[[], str]) -> None:
        super().__init__(*args)
        self._url = url
        self._connection: Connection | None = None

    def run(self) -> None:
        super().run()
        self._disconnect()

    def write(self) -> None:
        kind = self.random.random()
        if kind < 0.35:
            trades = self.new_trades(self.random.choice([1, 10, 300]))
            self._commit(trades, lambda connection: copy(connection, trades), "copied")
        elif kind < 0.6:
            trades = self.new_trades(self.random.choice([1, 1, 20]))
            self._commit(trades, lambda connection: insert(connection, trades), "inserted")
        elif kind < 0.7:
            self._roll_back()
        else:
            self._change()

    def _change(self) -> None:
        """Store a trade, which shows later if the transaction was committed, and change or delete known ones."""
        new = self.new_trades(1)
        known = {trade for trade in (self.known_trade(), self.known_trade()) if trade}
        changes = {trade: self.random.choice([None, self.new_values()]) for trade in known}

        def execute(connection: Connection) -> None:
            insert(connection, new)
            for trade, values in changes.items():
                change(connection, trade, values)

        self._commit(new, execute, f"inserted, and changed {changes}")
        for trade, values in changes.items():
            if values is None:
                self.model.cancel(trade)
            else:
                self.model.correct(trade, values)

    def _roll_back(self) -> None:
        trades = self.new_trades(20)
        with suppress(Lost):
            connection = self._connect()
            self._execute(connection, lambda: copy(connection, trades))
            self._execute(connection, connection.rollback)
            self.log(self.name, f"rolled back {len(trades)}")

    def _commit(self, trades: dict[TradeKey, Values], execute: Callable[[Connection], None], what: str) -> None:
        """Commit a transaction that stores trades; after a lost connection, look if it was committed."""
        witness = next(iter(trades))

        def attempt(number: int) -> bool:
            try:
                connection = self._connect()
                if number and self._execute(connection, lambda: exists(connection, witness)):
                    return True
                self._execute(connection, lambda: execute(connection))
                self._execute(connection, connection.commit)
            except Lost as error:
                self.repeated[str(error)] += 1
                return False
            return True

        self.repeat(attempt)
        self.model.store(trades)
        self.log(self.name, f"{what} {len(trades)} from {min(key.time for key in trades)}")

    def _connect(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = psycopg.connect(self._url(), connect_timeout=5, options="-c timezone=UTC")
            except (psycopg.Error, OSError, ValueError, KeyError) as error:  # the engine's file of its address may be absent
                raise Lost(type(error).__name__) from error
        return self._connection

    def _execute(self, connection: Connection, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._disconnect()
            raise Lost(type(error).__name__) from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def copy(connection: Connection, trades: dict[TradeKey, Values]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY trades (symbol, time, trade_id, price, volume) FROM STDIN") as stream,
    ):
        for key, values in trades.items():
            stream.write_row((*key, *values))


def insert(connection: Connection, trades: dict[TradeKey, Values]) -> None:
    with connection.cursor() as cursor:
        statement = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"
        for key, values in trades.items():
            cursor.execute(statement, (*key, *values))


def change(connection: Connection, trade: TradeKey, values: Values | None) -> None:
    """Correct a trade, or delete it."""
    connection.execute("SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)")
    where = "WHERE symbol = %s AND time = %s AND trade_id = %s::bigint"
    if values is None:
        changed = connection.execute(f"DELETE FROM trades {where}".encode(), trade).rowcount
    else:
        changed = connection.execute(
            f"UPDATE trades SET price = %s, volume = %s {where}".encode(), (*values, *trade)
        ).rowcount
    assert changed == 1, f"{trade} is not stored"


def exists(connection: Connection, trade: TradeKey) -> bool:
    query = "SELECT FROM trades WHERE symbol = %s AND time = %s AND trade_id = %s::bigint"
    found = bool(connection.execute(query, trade).fetchall())
    connection.rollback()
    return found
