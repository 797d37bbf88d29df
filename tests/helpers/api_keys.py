"""API keys for tests."""

from datetime import timedelta
from uuid import uuid4

import psycopg

from market_data.auth.api_keys import Scope, generate_key, hash_key, parse_prefix


def store_key(
    database_url: str, *scopes: Scope, name: str = "", lasts: timedelta | None = None, revoked: bool = False
) -> str:
    """Store and return a new key; its name is unique by default."""
    secret = generate_key()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO api_keys (name, prefix, hash, scopes, expires_at, revoked_at)
            VALUES (%s, %s, %s, %s, now() + %s::interval, CASE WHEN %s THEN now() END)
            """,
            (name or f"key-{uuid4()}", parse_prefix(secret), hash_key(secret), list(scopes), lasts, revoked),
        )
    return secret


def revoke(database_url: str, secret: str) -> None:
    """Revoke a key now."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", (parse_prefix(secret),))


def bearer(secret: str) -> dict[str, str]:
    """Return the header with a key."""
    return {"Authorization": f"Bearer {secret}"}
