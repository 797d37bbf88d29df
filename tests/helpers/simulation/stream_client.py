"""A client of a simulated stream, which checks each event that it receives."""

import asyncio
import json
from bisect import bisect_right
from collections import Counter
from contextlib import aclosing
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from helpers.simulation.stream_database import SYMBOLS, CandleKey, StreamDatabase

from market_data.errors import DatabaseUnavailable
from market_data.queries.intervals import INTERVALS
from market_data.streaming.clients import TOO_SLOW, Client
from market_data.streaming.events import EventId, Message
from market_data.streaming.hub import Hub
from market_data.streaming.subscriptions import CHANNELS, Subscription

FOREVER = EventId(10**18, 0, 0)


class Followed(NamedTuple):
    """A subscription, and the id of the newest event when it was replaced."""

    subscription: Subscription
    until: EventId


class Copy(NamedTuple):
    """A candle as the client knows it."""

    changes: int
    closed: bool


class StreamClient:
    """Reads a stream, now and then slowly, and reconnects with the last id that it received, to any worker."""

    def __init__(self, random: Random, database: StreamDatabase, hubs: list[Hub]) -> None:
        self._random = random
        self._database = database
        self._hubs = hubs
        self._subscriptions = [Followed(random_subscription(random), FOREVER)]
        self.position: EventId | None = None
        """Id of the last event; all events before it have been received."""
        self._complete_since = EventId(0, 0, 0)
        """The client knows each candle that has changed after this id."""
        self.candles: dict[CandleKey, Copy] = {}
        self.seen: Counter[str] = Counter()
        self._slow = random.random() < 0.3
        self._calm = False

    @property
    def subscription(self) -> Subscription:
        return self._subscriptions[-1].subscription

    def calm(self) -> None:
        """Stay connected from now on, and read fast."""
        self._calm = True

    async def run(self) -> None:
        while True:
            hub = self._random.choice(self._hubs)
            try:
                await hub.wait_until_ready()
                await self._connect(hub)
            except DatabaseUnavailable:
                self.seen["unavailable"] += 1
            await asyncio.sleep(self._random.uniform(0.1, 2))

    async def _connect(self, hub: Hub) -> None:
        """Read a stream until it ends; sometimes leave it or change the subscription meanwhile."""
        client = Client(self._random.choice(["sse", "websocket"]), self.subscription)
        acting = asyncio.create_task(self._act(hub, client))
        try:
            async with aclosing(hub.messages(client, self.position)) as messages:
                async for batch in messages:
                    for message in batch:
                        self._receive(message)
                        if self._random.random() < 0.01 and not self._calm:
                            self.seen["lost"] += 1
                            return
                    if self._slow and not self._calm and self._random.random() < 0.5:
                        await asyncio.sleep(self._random.uniform(0, 3))
        finally:
            acting.cancel()

    async def _act(self, hub: Hub, client: Client) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 8))
            if self._calm:
                return
            if self._random.random() < 0.3:
                client.close()
                self.seen["left"] += 1
                return
            new = random_subscription(self._random)
            newest = EventId.after(self._database.version)
            self._subscriptions[-1] = Followed(self.subscription, newest)
            self._subscriptions.append(Followed(new, FOREVER))
            self._complete_since = max(self._complete_since, newest)
            hub.subscribe(client, new)
            self.seen["subscribed"] += 1

    def _receive(self, message: Message) -> None:
        name, event_id, data = decode(message)
        self.seen[data.get("reason", name)] += 1
        if self.position is None:
            assert name == "heartbeat", f"{name} before the first heartbeat"
            self.position = self._complete_since = event_id
        elif name == "gap":
            assert event_id >= self.position, f"a gap from {self.position} back to {event_id}"
            self.position = self._complete_since = event_id
        elif name in ("heartbeat", "bye"):
            assert event_id >= self.position, f"{name} {event_id} after {self.position}"
            if data.get("reason") == TOO_SLOW and not self._slow:
                self.seen["fast client disconnected"] += 1
            self._expect_no_event_up_to(event_id)
            self.position = event_id
        else:
            assert event_id > self.position, f"{name} {event_id} after {self.position}"
            self._expect_no_event_up_to(event_id._replace(level=0), but=event_id)
            channel = {"trade": "trades", "reload": None}.get(name, f"candles_{data.get('interval')}")
            assert self._may_receive(event_id, channel, data["symbol"]), f"{event_id} is not subscribed to"
            if name == "reload":
                self._reload(data["symbol"])
            elif name == "candle":
                self._receive_candle(event_id, data)
            self.position = event_id

    def _expect_no_event_up_to(self, until: EventId, but: EventId | None = None) -> None:
        """Fail if a trade or reload between the last event and this one was not received."""
        assert self.position is not None
        missed = self._database.next_event(self.position, self._must_receive)
        assert missed is None or missed > until or missed == but, f"lost {missed}: received {self.position}, then {until}"

    def _must_receive(self, event_id: EventId, channel: str | None, symbol: str) -> bool:
        return all(each.subscription.includes(channel, symbol) for each in self._subscriptions if each.until >= event_id)

    def _may_receive(self, event_id: EventId, channel: str | None, symbol: str) -> bool:
        return any(each.subscription.includes(channel, symbol) for each in self._subscriptions if each.until >= event_id)

    def _receive_candle(self, event_id: EventId, data: dict[str, Any]) -> None:
        key = data["interval"], data["symbol"], datetime.fromisoformat(data["timestamp"])
        if data.get("removed"):
            self.candles.pop(key, None)
            self.seen["removed"] += 1
            return
        changes = self._database.candles[key].changes
        assert data["changes"] >= bisect_right(changes, event_id), f"{event_id} is older than its id"
        self.candles[key] = Copy(data["changes"], data["closed"])

    def _reload(self, symbol: str) -> None:
        """Read the candles of a symbol again."""
        for key, candle in self._database.candles.items():
            if key[1] == symbol and candle.trades:
                self.candles[key] = Copy(len(candle.changes), self._is_closed(key))

    def _is_closed(self, key: CandleKey) -> bool:
        interval, _, start = key
        return start + INTERVALS[interval] <= self._database.closed_until

    def check_end(self, newest: EventId) -> None:
        """Fail if an event is missing some time after the last commit and fault."""
        assert self.position is not None
        self._expect_no_event_up_to(newest)
        for key, candle in self._database.candles.items():
            interval, symbol, _ = key
            if candle.last_event > self._complete_since and self.subscription.includes(f"candles_{interval}", symbol):
                current = Copy(len(candle.changes), self._is_closed(key)) if candle.trades else None
                assert self.candles.get(key) == current, f"the copy of {key} is stale"


def random_subscription(random: Random) -> Subscription:
    """Return trades or some candles or both, of some or all symbols."""
    channels = random.choice([["trades"], ["candles_1m"], ["trades", "candles_1m", "candles_1h"], ["trades", "candles_5m"]])
    symbols = random.choice([None, frozenset({"ONE"}), frozenset({"ONE", "TWO"}), frozenset(SYMBOLS)])
    subscription = Subscription.to(channels, symbols)
    if random.random() < 0.2:
        subscription |= Subscription.to([random.choice([*CHANNELS])], frozenset({random.choice(SYMBOLS)}))
    return subscription


def decode(message: Message) -> tuple[str, EventId, dict[str, Any]]:
    """Return the name, id and data of a message of either transport."""
    text = message.text.decode()
    if text.startswith("id:"):
        fields = dict(line.split(": ", 1) for line in text.splitlines() if line)
        return fields["event"], EventId.parse(fields["id"]), json.loads(fields["data"])
    event = json.loads(text)
    return event["event"], EventId.parse(event["id"]), event["data"]
