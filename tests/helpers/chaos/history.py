"""Random histories: writers over HTTP, SQL and COPY, which repeat each write until it is acknowledged."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import psycopg
from helpers.api_keys import bearer
from helpers.chaos.model import SYMBOLS, Change, Model, StepLog, TradeKey, Values
from helpers.support import Connection

GIVE_UP_SECONDS = 180.0
"""Seconds without an acknowledgement after which a run fails."""

AGES = (
    timedelta(0),
    timedelta(0),
    timedelta(seconds=90),
    timedelta(minutes=10),
    timedelta(hours=3),
    timedelta(days=3),
    timedelta(days=20),
    timedelta(days=50),
)
"""Maximum ages of trades, the first of which are current."""

BULK = 1_200
"""Trades of a request that counts as bulk history."""


class Lost(Exception):
    """The connection was lost, so the write may or may not have been stored."""


@dataclass
class Retention:
    """Age up to which trades can be stored."""

    keep: timedelta = timedelta(days=365)
    margin = timedelta(days=2)
    """More than the clock jumps."""
    locks: list[threading.Lock] = field(default_factory=list[threading.Lock])
    """Each writer holds its lock during a write."""

    def allows(self, age: timedelta) -> bool:
        return age < self.keep - self.margin

    @contextmanager
    def paused_writers(self) -> Iterator[None]:
        """Wait for the writes that have begun, and let none begin: a repeated one would find another retention."""
        with ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(lock)
            yield


class Writer(threading.Thread):
    """A thread that makes random writes until `stopping` is set. `model` has what was acknowledged."""

    def __init__(self, number: int, seed: int, retention: Retention, log: StepLog, stopping: threading.Event) -> None:
        super().__init__(name=f"writer {number}")
        self.random = Random(f"{seed}-{number}")
        self.model = Model()
        self.retention = retention
        self.log = log
        self.stopping = stopping
        self.repeated: Counter[str] = Counter()
        """Reasons for which writes were repeated."""
        self.acknowledged = 0
        self.slowest = 0.0
        """Longest time until an acknowledgement, in seconds."""
        self.failure: BaseException | None = None
        self._next_id = number * 1_000_000
        self._lock = threading.Lock()
        retention.locks.append(self._lock)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                with self._lock:
                    began = time.monotonic()
                    self.write()
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.acknowledged += 1
                self.stopping.wait(self.random.expovariate(8))
        except BaseException as error:
            self.failure = error
            self.log(self.name, f"failed: {error}")

    def write(self) -> None:
        """Make one write, and repeat it until it is acknowledged."""
        raise NotImplementedError

    def new_trades(self, count: int, age: timedelta | None = None) -> dict[TradeKey, Values]:
        """Return new trades of about the same age. Most are at whole seconds, so that many share an instant."""
        age = age if age is not None else self.random.choice([each for each in AGES if self.retention.allows(each)])
        now = datetime.now(UTC)
        start = now - age * self.random.random()
        trades: dict[TradeKey, Values] = {}
        for _ in range(count):
            self._next_id += 1
            moment = min(now, start + timedelta(seconds=self.random.randrange(600 if age else 1)))
            if self.random.random() < 0.7:
                moment = moment.replace(microsecond=0)
            trades[TradeKey(self.random.choice(SYMBOLS), moment, self._next_id)] = self.new_values()
        return trades

    def new_values(self) -> Values:
        price, volume = self.random.randrange(100, 99_999), self.random.randrange(0, 9_999)
        return Values(Decimal(price).scaleb(-2), Decimal(volume).scaleb(-2))

    def known_trade(self) -> TradeKey | None:
        """Return a trade to change, mostly a recent one. Old ones may have been dropped."""
        recent = self.recent_trades()
        if not recent:
            return None
        return max(recent, key=lambda key: key.time) if self.random.random() < 0.3 else self.random.choice(recent)

    def recent_trades(self) -> list[TradeKey]:
        """Return the trades that were stored last, without the ones that may be dropped."""
        return [key for key in list(self.model.trades)[-200:] if self.retention.allows(datetime.now(UTC) - key.time)]

    def repeat(self, attempt: Callable[[int], bool]) -> None:
        """Call `attempt` with the number of the attempt until it returns True."""
        began = time.monotonic()
        number = 0
        while not attempt(number):
            number += 1
            waited = time.monotonic() - began
            assert waited < GIVE_UP_SECONDS, f"not acknowledged within {waited:.0f} s: {self.repeated}"
            time.sleep(0.2)


class HttpWriter(Writer):
    """A client of `POST /trades`, `/trades/correct` and `/trades/cancel`."""

    def __init__(self, *args: Any, address: str, key: str) -> None:
        super().__init__(*args)
        self._client = httpx.Client(base_url=address, headers=bearer(key), timeout=10)

    def write(self) -> None:
        kind, known = self.random.random(), self.known_trade()
        if known is None or kind < 0.45:
            self._store(self.new_trades(self.random.choice([1, 1, 5, 40])))
        elif kind < 0.6:
            self._correct(known)
        elif kind < 0.75:
            self._cancel(known)
        elif kind < 0.82:
            self._store({key: self.model.trades[key] for key in {known, *self.recent_trades()[-5:]}})
        elif kind < 0.88:
            self._contradict(known)
        elif kind < 0.92:
            self._store_cancelled()
        elif kind < 0.97:
            self._store_dropped()
        else:
            self._store(self.new_trades(BULK, self.random.choice([age for age in AGES[4:] if self.retention.allows(age)])))

    def _store(self, trades: dict[TradeKey, Values]) -> None:
        body = [body_of(*trade) for trade in trades.items()]
        partial = self.random.choice(["true", "false"])
        answer = self._send(f"/trades?partial={partial}", body if len(body) > 1 else body[0], 200)
        assert answer["received"] == answer["stored"] + answer["existing"] == len(trades), answer
        self.model.store(trades)
        oldest = min(key.time for key in trades)
        self.log(self.name, f"stored {len(trades)} from {oldest}: {answer['stored']} new")

    def _correct(self, trade: TradeKey) -> None:
        values = self.new_values()
        answer = self._send("/trades/correct", {**body_of(trade, values), "reason": self.name}, 200)
        self.model.correct(trade, values)
        self._note_change(answer, "correct", trade)

    def _cancel(self, trade: TradeKey) -> None:
        answer = self._send("/trades/cancel", {**body_of(trade), "reason": self.name}, 200)
        self.model.cancel(trade)
        self._note_change(answer, "cancel", trade)

    def _note_change(self, answer: dict[str, Any], action: str, trade: TradeKey) -> None:
        if answer["id"] is not None:
            self.model.changes.append(Change(answer["id"], action, trade))
        self.log(self.name, f"{action} {trade}: {answer['changed']}")

    def _contradict(self, trade: TradeKey) -> None:
        """Store a known trade with another price, which is rejected."""
        price, volume = self.model.trades[trade]
        self._send("/trades", body_of(trade, Values(price + 1, volume)), 409)
        self.log(self.name, f"rejected another price of {trade}")

    def _store_cancelled(self) -> None:
        """Store a cancelled trade again, which is rejected."""
        allowed = [each for each in self.model.cancelled if self.retention.allows(datetime.now(UTC) - each.time)]
        if allowed:
            trade = self.random.choice(allowed)
            self._send("/trades", body_of(trade, self.model.cancelled[trade]), 409)
            self.log(self.name, f"rejected the cancelled {trade}")

    def _store_dropped(self) -> None:
        """Store a trade before the retention horizon, which is rejected."""
        age = self.retention.keep + 2 * self.retention.margin
        if age < AGES[-1]:
            (trade,) = self.new_trades(1, timedelta(0)).items()
            key, values = trade
            self._send("/trades", body_of(key._replace(time=key.time - age), values), 400)
            self.log(self.name, f"rejected a trade before the horizon, {age} old")

    def _send(self, path: str, body: Any, expected: int) -> dict[str, Any]:
        """Repeat a request until it is answered otherwise than with 503, and return the answer."""
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        answers: list[httpx.Response] = []

        def attempt(_: int) -> bool:
            try:
                response = self._client.post(path, content=content, headers=headers)
            except httpx.TransportError as error:
                self.repeated[type(error).__name__] += 1
                return False
            if response.status_code == 503:
                self.repeated["503"] += 1
                return False
            assert response.status_code == expected, f"{path} {content[:300]}: {response.status_code} {response.text}"
            answers.append(response)
            return True

        self.repeat(attempt)
        return answers[0].json()


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


def body_of(trade: TradeKey, values: Values | None = None) -> dict[str, Any]:
    """Return the body of a request for a trade, with values or with the key alone."""
    body = {"symbol": trade.symbol, "timestamp": trade.time.isoformat(), "trade_id": trade.trade_id}
    return body if values is None else {**body, "price": str(values.price), "volume": str(values.volume)}


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
