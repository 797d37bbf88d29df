"""Clients of one worker that have caught up, by subscription."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from market_data.names import NO_NAMES, Names
from market_data.streaming.clients import Client
from market_data.streaming.events import TRANSPORTS, Event, EventId, Message, Transport, heartbeat
from market_data.streaming.subscriptions import Subscription, union
from market_data.streaming.turns import Turns
from market_data.telemetry.metrics import STREAM_DROPPED

logger = logging.getLogger(__name__)

HEARTBEAT_GROUPS = 10
"""Groups of clients whose heartbeats are sent together."""

DELIVERIES = 8
"""Clients that get messages in one iteration of the event loop: about 1 ms."""


class Subscribers:
    """Clients with equal subscriptions share their messages, which are encoded once."""

    def __init__(self, names: Names = NO_NAMES) -> None:
        self.names = names
        self._clients: defaultdict[Subscription, dict[Client, None]] = defaultdict(dict)
        self._next_heartbeats = 0.0
        self.deliveries = Turns(DELIVERIES)

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
        self._clients[client.subscription][client] = None

    def remove(self, client: Client) -> bool:
        """Publish no more events to a client; return False if none were."""
        clients = self._clients.get(client.subscription, {})
        if client not in clients:
            return False
        del clients[client]
        if not clients:
            del self._clients[client.subscription]
        return True

    def publish(self, events: Sequence[Event], since: EventId, until: EventId, *, candles: bool) -> None:
        """Enqueue all events between two ids for the clients that subscribe to candles, or for the ones that don't."""
        for subscription, clients in [each for each in self._clients.items() if each[0].candles == candles]:
            wanted = [event for event in events if subscription.includes(event.channel, event.symbol)]
            if not wanted:  # most commits, for most clients
                for client in clients:
                    client.delivered_up_to = max(client.delivered_up_to, until)
                continue
            messages = {transport: [event.message(transport, self.names) for event in wanted] for transport in TRANSPORTS}
            for client in list(clients):
                if client.delivered_up_to <= since:
                    self.enqueue(client, messages[client.transport], until)
                elif client.delivered_up_to < until:
                    # The client received the first events before it subscribed to candles.
                    rest = [message for message in messages[client.transport] if message.id > client.delivered_up_to]
                    self.enqueue(client, rest, until)

    def send_heartbeats(self, seconds: float) -> None:
        """Enqueue a heartbeat every `seconds` for each client without pending messages; not all at the same time."""
        now = asyncio.get_running_loop().time()
        if now < self._next_heartbeats:
            return
        self._next_heartbeats = now + seconds / HEARTBEAT_GROUPS
        encoded: dict[tuple[Transport, EventId], Message] = {}
        for client in self:
            if not client.heartbeat_due:  # a new one
                client.heartbeat_due = now + seconds * random.random()
            if client.heartbeat_due > now:
                continue
            client.heartbeat_due = now + seconds
            if client.idle:
                position = client.transport, client.delivered_up_to
                message = encoded[position] = encoded.get(position) or heartbeat(*position)
                self.enqueue(client, [message], client.delivered_up_to)

    def enqueue(self, client: Client, messages: Sequence[Message], delivered_up_to: EventId) -> None:
        """Enqueue messages for a client; remove the client if it reads too slowly."""
        if not client.enqueue(messages, delivered_up_to):
            self.remove(client)
            STREAM_DROPPED.labels("slow").inc()
            logger.info("stream client disconnected: it reads too slowly")
