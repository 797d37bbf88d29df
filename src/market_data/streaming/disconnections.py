"""Reasons for which the service ends streams, and the end of those whose key has ended."""

from collections.abc import Collection

import psycopg

from market_data.auth.api_keys import ApiKeyCache
from market_data.errors import DatabaseUnavailable
from market_data.streaming.clients import Client

STOPPING = "The service is stopping; reconnect with the id of the last event to continue without a gap."
REPLACED = "The database has lost the newest commits; reconnect, and read prices, /trades and /candles."
AWAY = "The service could not read the database for over an hour; reconnect, and read /trades and /candles."
KEY_ENDED = "The API key was revoked or has expired; reconnect with another one."


async def disconnect_ended_keys(clients: Collection[Client], keys: ApiKeyCache) -> None:
    """Disconnect the clients whose keys are revoked or have expired."""
    authenticated = [client for client in clients if client.key_id is not None]
    try:
        valid_ids = await keys.valid_ids() if authenticated else frozenset[int]()
    except (DatabaseUnavailable, psycopg.Error):
        return  # without the database there are no events to protect
    for client in authenticated:
        if client.key_id not in valid_ids:
            client.disconnect(KEY_ENDED)
