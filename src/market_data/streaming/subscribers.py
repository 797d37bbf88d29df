"""The clients of one worker that have caught up, by what they listen to."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence

from market_data.streaming.clients import Client
from market_data.streaming.events import TRANSPORTS, Event, EventId, Message, heartbeat
from market_data.streaming.subscriptions import Subscription, union
from market_data.telemetry.metrics import STREAM_DROPPED

logger = logging.getLogger(__name__)


class Audience:
    """Those who listen to the same get the same messages, which are written once."""

    def __init__(self) -> None:
        self._clients: defaultdict[Subscription, set[Client]] = defaultdict(set)

    def __iter__(self) -> Iterator[Client]:
        for clients in list(self._clients.values()):
            yield from list(clients)

    def __bool__(self) -> bool:
        return bool(self._clients)

    @property
    def wants_candles(self) -> bool:
        """Whether anybody does."""
        return any(subscription.candles for subscription in self._clients)

    def wanted(self, *, candles: bool) -> Subscription:
        """What those together listen to who want candles, or who don't."""
        return union(subscription for subscription in self._clients if subscription.candles == candles)

    def add(self, client: Client) -> None:
        """Give a client events from now on."""
        self._clients[client.subscription].add(client)

    def forget(self, client: Client) -> bool:
        """Give a client no more events; whether it was given any."""
        clients = self._clients.get(client.subscription, set())
        if client not in clients:
            return False
        clients.discard(client)
        if not clients:
            del self._clients[client.subscription]
        return True

    def tell(self, events: Sequence[Event], since: EventId, until: EventId, *, candles: bool) -> None:
        """Give events, which are all there are between two ids, to those who want candles, or to those who don't."""
        for subscription in [each for each in self._clients if each.candles == candles]:
            wanted = [event for event in events if subscription.wants(event.channel, event.symbol)]
            for transport in TRANSPORTS:
                messages = [event.message(transport) for event in wanted]
                for client in [each for each in self._clients.get(subscription, ()) if each.transport == transport]:
                    if client.told <= since:
                        self.give(client, messages, until)
                    elif client.told < until:  # it has been told a part of it, before it subscribed to candles
                        rest = [event.message(transport) for event in wanted if event.id > client.told]
                        self.give(client, rest, until)

    def beat(self) -> None:
        """Give a heartbeat to everybody for whom nothing else waits."""
        for client in self:
            if client.idle:
                self.give(client, [heartbeat(client.transport, client.told)], client.told)

    def give(self, client: Client, messages: Sequence[Message], told: EventId) -> None:
        """Give a client messages, or cut it off where too many wait for it already."""
        if not client.give(messages, told):
            self.forget(client)
            STREAM_DROPPED.labels("slow").inc()
            logger.info("a client of a stream is cut off, for it reads too slowly")
