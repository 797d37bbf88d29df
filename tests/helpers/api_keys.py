"""Keys for tests."""

from datetime import timedelta
from uuid import uuid4

import psycopg

from market_data.auth.api_keys import Scope, generate_key, hash_key, parse_prefix


def store_key(
    database_url: str, *scopes: Scope, name: str = "", lasts: timedelta | None = None, revoked: bool = False
) -> str:
    """A key that the database knows; without a name, one of a name that no other has."""
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
    """End a key now."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", (parse_prefix(secret),))


def bearer(secret: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {secret}"}
