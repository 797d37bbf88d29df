"""Keys that requests are let in by, and the ring of those that are valid.

A key is `md_`, eight digits to recognise it by, `_` and 43 characters with 256 random bits. The database holds its SHA-256:
there are no likely keys to be tried, so a hash that is slow on purpose would cost every request and protect nothing more.
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
from market_data.errors import DatabaseUnavailable
from market_data.queries.api_keys import StoredKey, read_valid_keys, update_key_uses

Scope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""Each includes those before it."""

FORM: Final = re.compile(r"md_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")

CACHE_SECONDS: Final = 0.5
"""How old what is known of the keys may be: a revoked one is refused everywhere within this and one read."""

MISS_REFRESH_SECONDS: Final = 0.05
"""How old it must be to be read anew for a key that is not among them, which may just have been made."""

NOTE_SECONDS: Final = 60.0
"""How often the last use of a key is written at the most."""

STOP_SECONDS: Final = 1.0
"""How long the last uses may take to be written when the service stops."""

DUMMY: Final = bytes(32)
"""What a key is compared with where nobody has its prefix, so that this takes as long."""

logger = logging.getLogger(__name__)


class ApiKey(Struct, frozen=True):
    """A key that is valid, by all that may be shown of it."""

    id: int
    name: str
    scopes: frozenset[str]
    """Together with those that they include."""
    expires_at: datetime | None


def make_key() -> str:
    """A new key."""
    return f"md_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def hash_of(secret: str) -> bytes:
    """What the database holds of a key."""
    return sha256(secret.encode()).digest()


def prefix_of(secret: str) -> str | None:
    """What a key is recognised by; None for what has not the form of a key."""
    form = FORM.fullmatch(secret)
    return form[1] if form else None


def with_included(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes, with those that they include."""
    return frozenset(scope for given in scopes for scope in SCOPES[: SCOPES.index(given) + 1])  # pyright: ignore[reportArgumentType]  # the table's check lets no other in


class ApiKeyCache:
    """The valid keys as one worker knows them. Writes their last use while entered by `async with`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: Mapping[str, StoredKey] = {}
        self._read_at = float("-inf")
        self._uses: dict[int, datetime] = {}
        """The last use of keys that has yet to be written."""
        self._noted: dict[int, float] = {}
        """When that of a key was written last."""
        self._over = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_noting(), name="key uses")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True  # for `Database` makes of a cancellation an error that the task lives on with
        self._task.cancel()
        await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._note(list(self._uses))

    async def find(self, secret: str) -> ApiKey | None:
        """The valid key that this is, by what the database held half a second ago at the earliest.

        A new one is known at once: a key is refused by what the database held when it was given, or after that.

        Raises:
            DatabaseUnavailable: It can't be asked.
        """
        prefix = prefix_of(secret)
        if prefix is None:
            return None
        given = time.monotonic()
        await self._refresh(given - CACHE_SECONDS)
        stored = self._match(prefix, secret)
        if stored is None and self._read_at < given:
            await asyncio.sleep(
                self._read_at + MISS_REFRESH_SECONDS - given
            )  # who tries keys is not to keep the database busy
            await self._refresh(given)
            stored = self._match(prefix, secret)
        if stored is None:
            return None
        self._uses[stored.id] = datetime.now(UTC)
        return ApiKey(stored.id, stored.name, with_included(stored.scopes), stored.ends_at)

    async def valid(self) -> frozenset[int]:
        """The ids of all keys that are valid, as `find` knows them.

        Raises:
            DatabaseUnavailable: It can't be asked.
        """
        await self._refresh(time.monotonic() - CACHE_SECONDS)
        return frozenset(stored.id for stored in self._keys.values() if _holds(stored))

    def _match(self, prefix: str, secret: str) -> StoredKey | None:
        stored = self._keys.get(prefix)
        same = hmac.compare_digest(hash_of(secret), stored.hash if stored else DUMMY)
        return stored if stored and same and _holds(stored) else None

    async def _refresh(self, since: float) -> None:
        """Know the keys as they were at this time, or later."""
        if self._read_at >= since:
            return
        asked = time.monotonic()
        keys = await self._database.share(read_valid_keys, None)
        if asked > self._read_at:
            self._keys, self._read_at = keys, asked

    async def _keep_noting(self) -> None:
        while not self._over:
            await asyncio.sleep(1)
            before = time.monotonic() - NOTE_SECONDS
            await self._note([key for key in self._uses if self._noted.get(key, before) <= before])

    async def _note(self, ids: list[int]) -> None:
        """Write the last uses of keys. What can't be written now is written the next time."""
        if not ids:
            return
        uses = {key: self._uses.pop(key) for key in ids}
        try:
            await self._database.write(update_key_uses, list(uses), list(uses.values()))
        except (DatabaseUnavailable, psycopg.Error) as error:
            self._uses = uses | self._uses
            logger.debug("the last use of keys is not written yet: %s", error)
        else:
            self._noted.update(dict.fromkeys(ids, time.monotonic()))


def _holds(stored: StoredKey) -> bool:
    return stored.ends_at is None or datetime.now(UTC) < stored.ends_at
