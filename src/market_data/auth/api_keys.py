"""API keys: their format, and each worker's cache of the valid ones.

A key is `md_`, a prefix of eight hexadecimal digits to recognise it by, `_` and 43 characters with 256 random bits. The
database holds its SHA-256: random keys can't be guessed, so a deliberately slow hash would slow each request down and
protect nothing more.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal, Self, get_args

import psycopg
from msgspec import Struct

from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, Forbidden, Unauthorized
from market_data.queries.api_keys import StoredKey, read_valid_keys, update_key_uses
from market_data.tasks import cancel_and_wait

Scope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""Each scope includes the ones before it."""

KEY_PATTERN: Final = re.compile(r"md_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")

CACHE_SECONDS: Final = 0.5
"""Maximum age of the cache: a revoked key is rejected everywhere within this time and that of one read."""

MISS_REFRESH_SECONDS: Final = 0.05
"""Minimum time between two reads for keys that are not in the cache, which may be new."""

USE_SECONDS: Final = 60.0
"""Minimum time between two writes of a key's last use."""

STOP_SECONDS: Final = 0.5
"""Time for writing the last uses when the service stops."""

KEY_NEEDED: Final = (
    "This needs a key with the scope {scope}, in `Authorization: Bearer …` or `X-API-Key: …`; "
    "`market-data keys create NAME --scope {scope}` creates one."
)
SCOPE_MISSING: Final = (
    "The key {name} lacks the scope {scope}; `market-data keys create NAME --scope {scope}` creates a key with this scope."
)

DUMMY_HASH: Final = bytes(32)
"""Compared with a key whose prefix is unknown, so that the check takes as long as for a known one."""

logger = logging.getLogger(__name__)


class ApiKey(Struct, frozen=True):
    """The parts of a valid key that may be shown."""

    id: int
    name: str
    scopes: frozenset[str]
    """Including implied scopes."""
    expires_at: datetime | None


def generate_key() -> str:
    """Return a new random key."""
    return f"md_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def hash_key(secret: str) -> bytes:
    """Return the SHA-256 of a key, as stored in the database."""
    return sha256(secret.encode()).digest()


def parse_prefix(secret: str) -> str | None:
    """Return the prefix of a key; None if the text is not a key."""
    match = KEY_PATTERN.fullmatch(secret)
    return match[1] if match else None


def expand_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes together with the ones that they include."""
    return frozenset(scope for given in scopes for scope in SCOPES[: SCOPES.index(given) + 1])  # pyright: ignore[reportArgumentType]  # the table's check allows no other


def require_scope(key: ApiKey | None, needed: str) -> None:
    """Check that a request has a key with a scope.

    Raises:
        Unauthorized: It has no key.
        Forbidden: Its key lacks the scope.
    """
    if key is None:
        raise Unauthorized(KEY_NEEDED.format(scope=needed))
    if needed not in key.scopes:
        raise Forbidden(SCOPE_MISSING.format(name=key.name, scope=needed))


class ApiKeyCache:
    """The valid keys as cached by one worker. Within `async with`, a task writes their last use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: Mapping[str, StoredKey] = {}
        self._read_at = float("-inf")
        self._unwritten_uses: dict[int, datetime] = {}
        self._written_at: dict[int, float] = {}
        """Monotonic time of the last write, by key id."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_uses_periodically(), name="key uses")
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait(self._task)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._write_uses(list(self._unwritten_uses))

    async def authenticate(self, secret: str) -> ApiKey:
        """Return the valid key for a secret, by the state of the database at most `CACHE_SECONDS` ago.

        A key is only rejected by a state read after the request arrived, so a new key works at once.

        Raises:
            Unauthorized: The key is unknown, expired or revoked.
            DatabaseUnavailable: The keys can't be read.
        """
        prefix = parse_prefix(secret)
        stored = await self._find(prefix, secret) if prefix else None
        if stored is None:
            raise Unauthorized("The key is unknown, expired or revoked; `market-data keys list` shows the valid ones.")
        self._unwritten_uses[stored.id] = datetime.now(UTC)
        return ApiKey(stored.id, stored.name, expand_scopes(stored.scopes), stored.ends_at)

    async def _find(self, prefix: str, secret: str) -> StoredKey | None:
        asked_at = time.monotonic()
        await self._refresh(asked_at - CACHE_SECONDS)
        stored = self._match(prefix, secret)
        if stored is None and self._read_at < asked_at:
            # Limits the reads that a client can cause by trying keys.
            await asyncio.sleep(self._read_at + MISS_REFRESH_SECONDS - asked_at)
            await self._refresh(asked_at)
            stored = self._match(prefix, secret)
        return stored

    async def valid_ids(self) -> frozenset[int]:
        """Return the ids of all valid keys, by the state of the database at most `CACHE_SECONDS` ago.

        Raises:
            DatabaseUnavailable: The keys can't be read.
        """
        await self._refresh(time.monotonic() - CACHE_SECONDS)
        return frozenset(stored.id for stored in self._keys.values() if _is_valid(stored))

    def _match(self, prefix: str, secret: str) -> StoredKey | None:
        stored = self._keys.get(prefix)
        same = hmac.compare_digest(hash_key(secret), stored.hash if stored else DUMMY_HASH)
        return stored if stored and same and _is_valid(stored) else None

    async def _refresh(self, since: float) -> None:
        """Read the keys unless the cache was read after a monotonic time."""
        if self._read_at >= since:
            return
        asked_at = time.monotonic()
        keys = await self._database.read_coalesced(read_valid_keys)
        if asked_at > self._read_at:
            self._keys, self._read_at = keys, asked_at

    async def _write_uses_periodically(self) -> None:
        while True:
            await asyncio.sleep(1)
            before = time.monotonic() - USE_SECONDS
            await self._write_uses([key for key in self._unwritten_uses if self._written_at.get(key, before) <= before])

    async def _write_uses(self, ids: list[int]) -> None:
        """Write the last uses of keys; keep them for the next time if that fails."""
        if not ids:
            return
        uses = {key: self._unwritten_uses.pop(key) for key in ids}
        try:
            await self._database.write(update_key_uses, list(uses), list(uses.values()))
        except (DatabaseUnavailable, psycopg.Error) as error:
            self._unwritten_uses = uses | self._unwritten_uses
            logger.debug("last uses of keys not written yet: %s", error)
        else:
            self._written_at.update(dict.fromkeys(ids, time.monotonic()))


def _is_valid(stored: StoredKey) -> bool:
    return stored.ends_at is None or datetime.now(UTC) < stored.ends_at
