"""Clients of one worker that have caught up, by subscription."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence

from market_data.streaming.clients import Client
from market_data.streaming.events import TRANSPORTS, Event, EventId, Message, heartbeat
from market_data.streaming.subscriptions import Subscription, union
from market_data.telemetry.metrics import STREAM_DROPPED

logger = logging.getLogger(__name__)


class Subscribers:
    """Clients with equal subscriptions share their messages, which are encoded once."""

    def __init__(self) -> None:
        self._clients: defaultdict[Subscription, set[Client]] = defaultdict(set)

    def __iter__(self) -> Iterator[Client]:
        for clients in list(self._clients.values()):
            yield from list(clients)

    def __bool__(self) -> bool:
        return bool(self._clients)

    @property
    def has_candles(self) -> bool:
        """True if a client subscribes to candles."""
        return any(subscription.candles for subscription in self._clients)

    def subscription(self, *, candles: bool) -> Subscription:
        """Return the union of the subscriptions with candles, or of the ones without."""
        return union(subscription for subscription in self._clients if subscription.candles == candles)

    def add(self, client: Client) -> None:
        """Publish events to a client from now on."""
        self._clients[client.subscription].add(client)

    def remove(self, client: Client) -> bool:
        """Publish no more events to a client; return False if none were."""
        clients = self._clients.get(client.subscription, set())
        if client not in clients:
            return False
        clients.discard(client)
        if not clients:
            del self._clients[client.subscription]
        return True

    def publish(self, events: Sequence[Event], since: EventId, until: EventId, *, candles: bool) -> None:
        """Enqueue all events between two ids for the clients that subscribe to candles, or for the ones that don't."""
        for subscription in [each for each in self._clients if each.candles == candles]:
            wanted = [event for event in events if subscription.includes(event.channel, event.symbol)]
            for transport in TRANSPORTS:
                messages = [event.message(transport) for event in wanted]
                for client in [each for each in self._clients.get(subscription, ()) if each.transport == transport]:
                    if client.delivered_up_to <= since:
                        self.enqueue(client, messages, until)
                    elif client.delivered_up_to < until:
                        # The client received the first events before it subscribed to candles.
                        rest = [event.message(transport) for event in wanted if event.id > client.delivered_up_to]
                        self.enqueue(client, rest, until)

    def send_heartbeats(self) -> None:
        """Enqueue a heartbeat for each client without pending messages."""
        for client in self:
            if client.idle:
                self.enqueue(client, [heartbeat(client.transport, client.delivered_up_to)], client.delivered_up_to)

    def enqueue(self, client: Client, messages: Sequence[Message], delivered_up_to: EventId) -> None:
        """Enqueue messages for a client; remove the client if it reads too slowly."""
        if not client.enqueue(messages, delivered_up_to):
            self.remove(client)
            STREAM_DROPPED.labels("slow").inc()
            logger.info("stream client disconnected: it reads too slowly")
