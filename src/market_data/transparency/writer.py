"""Background task that writes the transparency log: commits → entries → tiles → signed checkpoints.

Of all processes on one database only the holder of the lease `log` writes, off the path of requests. Commits become
entries in the order of versions. After the end of each minute, the candles that have changed since the last such entry
become another. A process without the private key of the log does not write it: another one may have the key.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from market_data.database.connection import Connection, connect
from market_data.errors import SettingsError, first_line
from market_data.proof.entries import CandlesEntry
from market_data.proof.merkle import Range, root_of
from market_data.proof.notes import Checkpoint, sign
from market_data.queries.leases import acquire_lease, new_holder, release_lease
from market_data.queries.log import LoggedEntry, compute_entries
from market_data.queries.log_appends import (
    LEASE_SECONDS,
    LOG_LEASE,
    LostLeaseError,
    Position,
    append_candles,
    append_commits,
    insert_checkpoint,
    insert_log_key,
    read_log_keys,
    read_position,
)
from market_data.queries.log_leaves import read_commits
from market_data.queries.log_tree import read_root
from market_data.settings import Settings
from market_data.transparency.candle_entries import read_candles
from market_data.transparency.keys import add_key, read_keys
from market_data.transparency.witnesses import Witnesses

logger = logging.getLogger(__name__)

BATCH = 256
"""Commits that become entries in one transaction."""

STATEMENT_SECONDS = 600.0
"""Time-out of statements: those of a large commit take long."""

MINUTE = 60.0

RELEASE_SECONDS = 0.5
"""Time to release the lease when the service stops."""


class LogWriter:
    """The log of one process. Run `run()` as a task."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self._database_url = database_url
        self._interval = settings.log_interval_seconds
        self._origin = settings.log_origin
        self._path = settings.log_key_path
        self._witnesses = Witnesses(settings.witnesses, settings.witness_verifiers)
        self._holder = new_holder()
        self._problem = ""
        """Last problem that was logged, until an addition succeeds."""

    async def run(self) -> None:
        """Write until cancelled; try again at the next turn if something fails."""
        try:
            await self._write_in_turns()
        finally:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.release()

    async def _write_in_turns(self) -> None:
        minute = 0.0
        while True:
            try:
                now = time.time() // MINUTE
                await self.write(candles=now > minute)
                minute = now
                self._problem = ""
            except LostLeaseError:
                pass
            except (psycopg.Error, SettingsError) as error:
                reason = first_line(error) if isinstance(error, psycopg.Error) else str(error)
                if reason != self._problem:
                    logger.warning("the transparency log is not written, retrying: %s", reason)
                self._problem = reason
            except Exception:  # a bug must not end the log, and must be logged
                logger.exception("the transparency log failed, retrying")
            # A turn begins at the end of each minute, for the candles as they stand then.
            await asyncio.sleep(min(self._interval, MINUTE - time.time() % MINUTE + 0.001))

    async def write(self, *, candles: bool) -> None:
        """Add the commits up to the newest one, with `candles` those that have changed as well, and sign a checkpoint.

        Raises:
            LostLeaseError: Another process writes the log.
            SettingsError: The private key of the log is not there.
        """
        async with await connect(self._database_url, STATEMENT_SECONDS) as connection:
            if not await acquire_lease(connection, LOG_LEASE, self._holder, LEASE_SECONDS):
                raise LostLeaseError
            try:
                await self._keys(connection)
            except SettingsError:
                await release_lease(connection, LOG_LEASE, self._holder)  # for a process that has the key
                raise
            async with self._extended_lease(connection):
                if candles:
                    await self._add_candles(connection)
                position = await self._add_commits(connection)
            origin, signers = await self._keys(connection)
            if position.size > position.signed_size:
                await self._sign(connection, position.size, origin, signers)

    @asynccontextmanager
    async def _extended_lease(self, connection: Connection) -> AsyncGenerator[None]:
        """Extend the lease during the block, on another connection: a large commit takes minutes."""

        async def extend() -> None:
            while True:
                await asyncio.sleep(LEASE_SECONDS / 3)
                async with await connect(self._database_url, LEASE_SECONDS) as other:
                    await acquire_lease(other, LOG_LEASE, self._holder, LEASE_SECONDS)

        task = asyncio.create_task(extend())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, psycopg.Error):
                await task

    async def _keys(self, connection: Connection) -> tuple[str, list[Ed25519PrivateKey]]:
        """Return the origin and the private keys that sign; create the first key."""
        private = {key.public_key().public_bytes_raw(): key for key in read_keys(self._path)}
        known = await read_log_keys(connection, signing=True)
        if not known:
            key = next(reversed(private.values()), None) or add_key(self._path)
            public = key.public_key().public_bytes_raw()
            origin = self._origin or f"market-data-{token_hex(8)}"
            await insert_log_key(connection, origin, public)
            logger.info("transparency log %s: created the key in %s", origin, self._path)
            return origin, [key]
        signers = [private[each.public_key] for each in known if each.public_key in private]
        if known[0].public_key not in private:
            raise SettingsError(
                f"LOG_KEY_FILE={str(self._path)!r} has no private key of the log {known[0].origin} of this database. "
                "Give this service the file of the one that created it"
            )
        return known[0].origin, signers

    async def _add_commits(self, connection: Connection, until: int | None = None) -> Position:
        """Add the commits up to a version, by default the newest."""
        while True:
            position = await read_position(connection)
            commits = await read_commits(connection, position.version, BATCH, until)
            if not commits:
                return position
            computed = [each async for each in compute_entries(connection, commits)]
            await append_commits(connection, self._holder, position.size, computed)

    async def _add_candles(self, connection: Connection) -> None:
        """Add the candles that have changed since the last entry of candles, after the commits that changed them."""
        since = (await read_position(connection)).candles_version
        found = await read_candles(connection, since)
        if found is None:
            return
        root = root_of(part.hash for part in found.parts)
        entry = CandlesEntry(found.version, since, found.committed_at, found.leaf_count, root)
        position = await self._add_commits(connection, found.version)
        logged = LoggedEntry(position.size, "candles", found.version, bytes(entry))
        await append_candles(connection, self._holder, logged, found.parts)

    async def _sign(self, connection: Connection, size: int, origin: str, keys: list[Ed25519PrivateKey]) -> None:
        root = await read_root(connection, Range(0, size))
        note = sign(str(Checkpoint(origin, size, root)), origin, *keys)
        await insert_checkpoint(connection, self._holder, size, root, note)
        await self._witnesses.cosign(connection, size, note)

    async def release(self) -> None:
        """Let another process write at once."""
        async with await connect(self._database_url, LEASE_SECONDS) as connection:
            await release_lease(connection, LOG_LEASE, self._holder)
