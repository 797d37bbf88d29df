"""Writers of random histories, which repeat each write until it is acknowledged."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from helpers.chaos.model import SYMBOLS, Model, StepLog, TradeKey, Values

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
