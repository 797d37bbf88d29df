"""Appends to the log: entries, full tiles and checkpoints in one transaction, and the keys that sign them."""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row

from market_data.proof.notes import VerifierKey
from market_data.queries.leases import acquire_lease
from market_data.queries.log import Computed, LoggedEntry, Part
from market_data.queries.log_tree import insert_nodes

Connection = AsyncConnection[Any]

LOG_LEASE = "log"
LEASE_SECONDS = 20.0

MAX_PARTS_PER_TRANSACTION = 4
"""Parts of an entry of candles that are stored together: the embedded engine compresses each for 27 ms."""

DRAFT = -1
"""In place of the index of the entry of a part, until it is in the log."""


class LostLeaseError(Exception):
    """Another process writes the log."""


class Position(NamedTuple):
    """End of the log."""

    size: int
    version: int
    """Version of the newest commit in it."""
    candles_version: int
    """Version of the newest entry of candles; where the log begins before the first."""
    candles_index: int | None
    signed_size: int
    """Size of the newest checkpoint."""


POSITION = """
    SELECT
        (SELECT max(index) + 1 FROM log_entries),
        (SELECT version FROM log_entries WHERE kind IN ('begin', 'commit') ORDER BY index DESC LIMIT 1),
        coalesce(candles.version, (SELECT version FROM log_entries WHERE index = 0)),
        candles.index,
        (SELECT coalesce(max(size), 0) FROM log_checkpoints)
    FROM (VALUES (true)) AS one
    LEFT JOIN (
        SELECT version, index FROM log_entries WHERE kind = 'candles' ORDER BY version DESC LIMIT 1
    ) AS candles ON true
"""


async def read_position(connection: Connection) -> Position:
    """Return the end of the log."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Position))
    await cursor.execute(POSITION)
    (position,) = await cursor.fetchall()
    return position


INSERT_ENTRIES = """
    INSERT INTO log_entries (index, kind, version, entry)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bytea[])
"""
INSERT_PARTS = """
    INSERT INTO log_parts (entry, part, hash, symbol, time, trade_id, leaves)
    SELECT %s, %s + place - 1, hash, symbol, time, trade_id, leaves
    FROM unnest(%s::bytea[], %s::text[], %s::timestamptz[], %s::bigint[], %s::text[])
        WITH ORDINALITY AS new (hash, symbol, time, trade_id, leaves, place)
"""


async def _extend_lease(connection: Connection, holder: str) -> None:
    if not await acquire_lease(connection, LOG_LEASE, holder, LEASE_SECONDS):
        raise LostLeaseError


async def _insert(connection: Connection, holder: str, entries: Sequence[LoggedEntry]) -> None:
    await _extend_lease(connection, holder)
    await connection.execute(INSERT_ENTRIES, tuple(map(list, zip(*entries, strict=True))))
    await insert_nodes(connection, entries[0].number, entries[-1].number + 1)


# The log may have been longer when the backup was made: under its name, entries that were signed must not be replaced.
RENAME = """
    INSERT INTO log_keys (origin, public_key)
    SELECT
        regexp_replace(origin, '/restored-[0-9]+$', '') || '/restored-' || extract(epoch FROM %s::timestamptz)::bigint,
        public_key
    FROM log_keys
    ORDER BY id DESC
    LIMIT 1
"""


async def append_commits(connection: Connection, holder: str, size: int, commits: Sequence[Computed]) -> None:
    """Append entries of commits at the end of the log. After a restore, the log gets a new name.

    Raises:
        LostLeaseError: Another process holds the lease.
    """
    entries = [
        LoggedEntry(size + place, "commit", each.entry.version, bytes(each.entry)) for place, each in enumerate(commits)
    ]
    async with connection.transaction():
        await _insert(connection, holder, entries)
        for entry, each in zip(entries, commits, strict=True):
            if each.parts:
                await connection.execute(INSERT_PARTS, _commit_parts(entry.number, each.parts))
            if each.entry.kind == "restore":
                await connection.execute(RENAME, (each.entry.committed_at,))


def _commit_parts(index: int, parts: Sequence[Part]) -> tuple[Any, ...]:
    firsts = [part.first for part in parts]
    return (
        index,
        0,
        [part.hash for part in parts],
        [first.symbol for first in firsts],
        [first.time for first in firsts],
        [first.trade_id for first in firsts],
        [None for _ in parts],
    )


class CandlesPart(NamedTuple):
    """Part of an entry of candles."""

    hash: bytes
    compressed: bytes
    """Lines of its leaves, by zlib."""

    @property
    def leaves(self) -> str:
        """Lines of its leaves."""
        return zlib.decompress(self.compressed).decode()


DELETE_DRAFTS = """
    DELETE FROM log_parts
    WHERE entry = %(draft)s AND part IN (SELECT part FROM log_parts WHERE entry = %(draft)s ORDER BY part LIMIT 64)
"""
ADOPT_DRAFTS = "UPDATE log_parts SET entry = %s WHERE entry = %s"


async def append_candles(connection: Connection, holder: str, entry: LoggedEntry, parts: Sequence[CandlesPart]) -> None:
    """Append an entry of candles with its parts at the end of the log.

    Many parts are stored in short transactions as drafts, which the entry adopts: that costs a row each, without its text.

    Raises:
        LostLeaseError: Another process holds the lease.
    """
    if len(parts) <= MAX_PARTS_PER_TRANSACTION:
        async with connection.transaction():
            await _insert(connection, holder, [entry])
            await insert_parts(connection, entry.number, 0, parts)
        return
    while await _delete_drafts(connection, holder):
        pass
    for start in range(0, len(parts), MAX_PARTS_PER_TRANSACTION):
        async with connection.transaction():
            await _extend_lease(connection, holder)
            await insert_parts(connection, DRAFT, start, parts[start : start + MAX_PARTS_PER_TRANSACTION])
    async with connection.transaction():
        await _insert(connection, holder, [entry])
        adopted = await connection.execute(ADOPT_DRAFTS, (entry.number, DRAFT))
        if adopted.rowcount != len(parts):
            raise LostLeaseError


async def _delete_drafts(connection: Connection, holder: str) -> bool:
    """Delete some drafts of a process that did not append their entry; return False if there are none."""
    # Only the holder of the lease writes drafts: each transaction extends the lease first, which locks it.
    async with connection.transaction():
        await _extend_lease(connection, holder)
        deleted = await connection.execute(DELETE_DRAFTS, {"draft": DRAFT})
        return deleted.rowcount > 0


async def insert_parts(connection: Connection, index: int, start: int, parts: Sequence[CandlesPart]) -> None:
    """Store parts of an entry of candles, or of its draft."""
    nothing = [None for _ in parts]
    hashes, leaves = [part.hash for part in parts], [part.leaves for part in parts]
    await connection.execute(INSERT_PARTS, (index, start, hashes, nothing, nothing, nothing, leaves))


INSERT_CHECKPOINT = "INSERT INTO log_checkpoints (size, root, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
TRIM_CHECKPOINTS = """
    DELETE FROM log_checkpoints
    WHERE signed_at < clock_timestamp() - INTERVAL '1 day' AND size < (SELECT max(size) FROM log_checkpoints)
"""


async def insert_checkpoint(connection: Connection, holder: str, size: int, root: bytes, note: str) -> None:
    """Publish a checkpoint, and delete those older than a day.

    Raises:
        LostLeaseError: Another process holds the lease.
    """
    async with connection.transaction():
        await _extend_lease(connection, holder)
        await connection.execute(INSERT_CHECKPOINT, (size, root, note))
        await connection.execute(TRIM_CHECKPOINTS)


class LogKey(NamedTuple):
    """Public key of the log."""

    origin: str
    public_key: bytes
    retires_at: datetime | None

    @property
    def verifier(self) -> VerifierKey:
        """The key with its name."""
        return VerifierKey(self.origin, self.public_key)


KEYS = "SELECT origin, public_key, retires_at FROM log_keys ORDER BY id DESC"
SIGNING_KEYS = """
    SELECT origin, public_key, retires_at
    FROM log_keys
    WHERE (retires_at IS NULL OR retires_at > clock_timestamp())
        AND origin = (SELECT origin FROM log_keys ORDER BY id DESC LIMIT 1)
    ORDER BY id DESC
"""


async def read_log_keys(connection: Connection, *, signing: bool) -> list[LogKey]:
    """Return the public keys of the log, the newest first: all, or those that sign checkpoints now."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LogKey))
    await cursor.execute(SIGNING_KEYS if signing else KEYS)
    return await cursor.fetchall()


INSERT_KEY = "INSERT INTO log_keys (origin, public_key) VALUES (%s, %s)"


async def insert_log_key(connection: Connection, origin: str, public_key: bytes) -> None:
    """Register the first key of the log, or the one of a new origin."""
    await connection.execute(INSERT_KEY, (origin, public_key))


RETIRE_KEYS = "UPDATE log_keys SET retires_at = clock_timestamp() + %s WHERE retires_at IS NULL"


async def replace_log_key(connection: Connection, origin: str, public_key: bytes, transition: timedelta) -> None:
    """Register a key that replaces the present one, which signs as well for some time."""
    async with connection.transaction():
        await connection.execute(RETIRE_KEYS, (transition,))
        await insert_log_key(connection, origin, public_key)
