"""API keys as the service reads them; `market-data keys` has its own statements."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row


class StoredKey(NamedTuple):
    """A row of api_keys, which does not hold the key itself."""

    id: int
    name: str
    prefix: str
    hash: bytes
    scopes: list[str]
    ends_at: datetime | None
    """Expiry, or the end of the grace period after a rotation, whichever comes first."""


VALID_KEYS = """
    SELECT id, name, prefix, hash, scopes, least(expires_at, revoked_at)
    FROM api_keys
    WHERE (revoked_at IS NULL OR revoked_at > now())
        AND (expires_at IS NULL OR expires_at > now())
"""


async def read_valid_keys(connection: AsyncConnection) -> Mapping[str, StoredKey]:
    """Return the keys that are neither revoked nor expired, by prefix."""
    cursor = connection.cursor(binary=True, row_factory=args_row(StoredKey))
    await cursor.execute(VALID_KEYS)
    return {key.prefix: key for key in await cursor.fetchall()}


# Locks rows in the order of their ids, so that two workers can't deadlock.
UPDATE_KEY_USES = """
    WITH uses AS MATERIALIZED (
        SELECT api_keys.id, used.at
        FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (id, at)
            JOIN api_keys ON api_keys.id = used.id
        ORDER BY api_keys.id
        FOR UPDATE OF api_keys
    )
    UPDATE api_keys
    SET last_used_at = greatest(api_keys.last_used_at, uses.at)
    FROM uses
    WHERE api_keys.id = uses.id
"""


async def update_key_uses(connection: AsyncConnection, ids: Sequence[int], times: Sequence[datetime]) -> None:
    """Store the times when keys were last used. Idempotent."""
    await connection.execute(UPDATE_KEY_USES, (list(ids), list(times)))
