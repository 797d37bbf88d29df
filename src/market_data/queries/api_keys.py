"""The keys that requests are let in by."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import args_row

from market_data.queries.row_pages import Connection


class StoredKey(NamedTuple):
    """What is stored of a key: never the key itself."""

    id: int
    name: str
    prefix: str
    hash: bytes
    scopes: list[str]
    ends_at: datetime | None
    """When it expires or the grace after its rotation is over, whichever comes first."""


VALID_KEYS = """
    SELECT id, name, prefix, hash, scopes, least(expires_at, revoked_at)
    FROM api_keys
    WHERE (revoked_at IS NULL OR revoked_at > now())
        AND (expires_at IS NULL OR expires_at > now())
"""


async def read_valid_keys(connection: Connection, _: None = None) -> Mapping[str, StoredKey]:
    """The keys that are neither revoked nor expired, by their prefix."""
    cursor = connection.cursor(binary=True, row_factory=args_row(StoredKey))
    await cursor.execute(VALID_KEYS)
    return {key.prefix: key for key in await cursor.fetchall()}


# In the order of their ids, so that two workers that write at the same time do not wait for one another in a circle.
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


async def update_key_uses(connection: Connection, ids: Sequence[int], times: Sequence[datetime]) -> None:
    """Write when keys were used last. To write it twice changes nothing."""
    await connection.execute(UPDATE_KEY_USES, (list(ids), list(times)))
