"""HTTP clients that write continuously and retry each call until it is acknowledged."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import httpx
from helpers.api_keys import bearer
from helpers.service import eventually

SYMBOLS = ("ONE", "TWO", "THREE")
"""Symbols that all writers write to, so that they conflict."""

GIVE_UP_SECONDS = 60.0
"""Seconds without an acknowledgement after which a test fails."""

TradeKey = tuple[str, datetime, int]
Values = tuple[Decimal, Decimal]
"""Price and volume."""


class Change(NamedTuple):
    """An acknowledged row of the audit trail."""

    id: int
    action: str
    trade: TradeKey
    before: Values
    after: Values | None


@dataclass
class Writer:
    """A client whose trades depend on its number alone; the number of calls depends on timing."""

    number: int
    address: str
    key: str
    now: datetime
    stopping: threading.Event
    timeout: float
    trades: dict[TradeKey, Values] = field(default_factory=dict[TradeKey, Values])
    """Acknowledged trades with their newest values, without cancelled ones."""
    changes: list[Change] = field(default_factory=list[Change])
    calls: int = 0
    """Number of acknowledged calls."""
    retries: Counter[str] = field(default_factory=Counter[str])
    """Results of the other calls."""
    most_attempts: int = 0
    """Largest number of attempts that an acknowledged call took."""
    longest: float = 0.0
    """Longest time between a call and its acknowledgement, in seconds."""
    failure: BaseException | None = None

    def run(self) -> None:
        """Write until `stopping` is set."""
        self._random = Random(self.number)
        self._next_id = self.number * 1_000_000
        try:
            with httpx.Client(base_url=self.address, headers=bearer(self.key), timeout=self.timeout) as self._client:
                while not self.stopping.is_set():
                    self._call()
                    self.calls += 1
        except BaseException as error:
            self.failure = error

    def _call(self) -> None:
        kind = self._random.random()
        if kind < 0.15 and self.trades:
            self._cancel(self._random.choice(list(self.trades)))
        elif kind < 0.3 and self.trades:
            self._correct(self._random.choice(list(self.trades)))
        elif kind < 0.6:
            self._store(self._random.randint(2, 40))
        else:
            self._store(1)

    def _store(self, count: int) -> None:
        trades = dict(self._trade() for _ in range(count))
        listed = [body_of(trade, values) for trade, values in trades.items()]
        answer, attempts = self._send("/trades", listed if count > 1 else listed[0])
        assert answer["received"] == answer["stored"] + answer["existing"] == count, answer
        # The response of a retry may count trades that an earlier attempt stored; the first response may not.
        assert attempts > 1 or answer["stored"] == count, answer
        self.trades |= trades

    def _cancel(self, trade: TradeKey) -> None:
        self._change("cancel", trade, None, body_of(trade))

    def _correct(self, trade: TradeKey) -> None:
        price, volume = self.trades[trade]
        values = (price + 1, volume)
        self._change("correct", trade, values, body_of(trade, values))

    def _change(self, action: str, trade: TradeKey, after: Values | None, body: dict[str, Any]) -> None:
        answer, attempts = self._send(f"/trades/{action}", {**body, "reason": f"by writer {self.number}"})
        assert attempts > 1 or answer["changed"], answer
        self.changes.append(Change(answer["id"], action, trade, self.trades.pop(trade), after))
        if after:
            self.trades[trade] = after

    def _trade(self) -> tuple[TradeKey, Values]:
        """Return a new trade: most are recent, some late; at whole seconds, so that many share an instant."""
        ago = self._random.choice([60, 60, 60, 3 * 3600, 20 * 86_400])
        time = self.now - timedelta(seconds=self._random.randrange(ago))
        self._next_id += 1
        price, volume = self._random.randrange(100, 99_999), self._random.randrange(0, 9_999)
        identity = self._random.choice(SYMBOLS), time, self._next_id
        return identity, (Decimal(price).scaleb(-2), Decimal(volume).scaleb(-2))

    def _send(self, path: str, body: Any) -> tuple[Any, int]:
        """Retry a call until it is acknowledged; return the response and the number of attempts."""
        began = time.monotonic()
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        for attempt in range(1, 10_000):
            try:
                response = self._client.post(path, content=content, headers=headers)
            except httpx.TransportError as error:
                reason = type(error).__name__
            else:
                if response.status_code == 200:
                    self.longest = max(self.longest, time.monotonic() - began)
                    self.most_attempts = max(self.most_attempts, attempt)
                    return response.json(), attempt
                assert response.status_code >= 500, f"{path} {content} was answered {response.status_code}: {response.text}"
                reason = str(response.status_code)
            self.retries[reason] += 1
            assert time.monotonic() - began < GIVE_UP_SECONDS, f"{path} is not acknowledged: {self.retries}"
            time.sleep(0.2)
        raise AssertionError


def body_of(trade: TradeKey, values: Values | None = None) -> dict[str, Any]:
    """Return the body of a call for a trade, with values or with the key alone."""
    symbol, at, trade_id = trade
    body = {"symbol": symbol, "timestamp": at.isoformat(), "trade_id": trade_id}
    return body if values is None else {**body, "price": str(values[0]), "volume": str(values[1])}


class Writers:
    """All writers, and their acknowledged state together."""

    def __init__(self, address: str, key: str, now: datetime, *, timeout: float = 5) -> None:
        """`timeout` is the time in seconds after which a writer repeats a call."""
        self._stopping = threading.Event()
        self._all = [Writer(number, address, key, now, self._stopping, timeout) for number in range(1, 5)]
        self._threads = [threading.Thread(target=writer.run) for writer in self._all]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def end(self) -> None:
        """Stop the writers after their current calls."""
        self.__exit__()
        self._raise_failure()

    def _raise_failure(self) -> None:
        for writer in self._all:
            if writer.failure:
                raise writer.failure

    def wait_for_calls(self, calls: int = 20) -> None:
        """Wait until a number of further calls have been acknowledged."""
        wanted = self.calls + calls

        def reached() -> bool:
            self._raise_failure()
            return self.calls >= wanted

        eventually(reached, GIVE_UP_SECONDS)

    @property
    def calls(self) -> int:
        return sum(writer.calls for writer in self._all)

    @property
    def retries(self) -> Counter[str]:
        return sum((writer.retries for writer in self._all), Counter[str]())

    @property
    def longest(self) -> float:
        return max(writer.longest for writer in self._all)

    @property
    def most_attempts(self) -> int:
        return max(writer.most_attempts for writer in self._all)

    def __str__(self) -> str:
        repeated = ", ".join(f"{reason}: {count:,}" for reason, count in self.retries.most_common())
        return f"{self.calls:,} calls acknowledged within {self.longest:.1f} s, repeated for {repeated or 'nothing'}"

    @property
    def trades(self) -> dict[TradeKey, Values]:
        """Trades that must be stored, with their values."""
        return {trade: values for writer in self._all for trade, values in writer.trades.items()}

    @property
    def changes(self) -> list[Change]:
        """Audit trail that must be stored, in its order."""
        return sorted(change for writer in self._all for change in writer.changes)


@contextmanager
def running_readers(address: str, count: int) -> Iterator[Counter[str]]:
    """Run readers of large pages; yield the counts of their statuses."""
    stopping, statuses = threading.Event(), Counter[str]()

    def read() -> None:
        query = {"symbol": SYMBOLS[0], "start": "2000-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z", "limit": "1000"}
        with httpx.Client(base_url=address, timeout=30) as client:
            while not stopping.is_set():
                statuses[str(client.get("/trades", params=query).status_code)] += 1

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
