"""The streams: what has been committed, told to whoever listens, in the order of the commits.

    commit → NOTIFY → hub (one in each worker) → batch of events → clients

A batch is what the hub finds since it last looked: mostly one commit. Each trade is told; a candle once a batch, after the
last trade of the batch that touched it, as the database shows it then. All that a client has missed is read again from the
database, so whoever reconnects may come to any worker of any replica.
"""

from market_data.streaming.clients import Client
from market_data.streaming.events import ID_FORM, EventId, Message
from market_data.streaming.hub import Hub
from market_data.streaming.subscriptions import CHANNELS, Subscription

__all__ = ["CHANNELS", "ID_FORM", "Client", "EventId", "Hub", "Message", "Subscription"]
