"""Comparison of the log with itself, with checkpoints, and with the trades and candles that it is about."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import psycopg

from market_data.database.connection import Connection
from market_data.proof.entries import EPOCH, parse_entry
from market_data.proof.merkle import TILE_HEIGHT, TILE_WIDTH, Tree, leaf_hash, root_of
from market_data.proof.notes import Checkpoint, InvalidNote, VerifierKey, encode64, parse_checkpoint, parse_note
from market_data.queries.log import LoggedEntry, compute_entries
from market_data.queries.log_appends import read_log_keys
from market_data.queries.log_checks import (
    Dropped,
    read_all_entries,
    read_candle_leaves_as_of,
    read_checkpoints,
    read_dropped,
    read_entries_since,
    read_node,
    read_parts,
)
from market_data.queries.log_leaves import Commit, read_commits
from market_data.queries.past import DROPPED

COMMITS = 256
"""Commits that are computed together."""


class LogMismatchError(Exception):
    """The first entry or checkpoint that does not fit; the message says why."""


class Summary(NamedTuple):
    """Number of things that fit."""

    size: int
    checkpoints: int
    commits: int
    candles: int
    dropped: int
    """Entries that can't be computed, because trades have been dropped; their hashes fit."""
    complete_after: int
    """Version after which all entries could be computed."""


def read_signed(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Return a checkpoint that one of the keys has signed.

    Raises:
        LogMismatchError: None has.
    """
    try:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
        if not any(key.name == checkpoint.origin for key in parsed.signers(keys)):
            raise InvalidNote(f"none of the keys of the log has signed it; its origin is {checkpoint.origin}")
    except InvalidNote as error:
        raise LogMismatchError(f"The checkpoint is not valid: {error}.") from None
    return checkpoint


class Verifier:
    """One verification. `report` is called with progress from time to time."""

    def __init__(self, connection: Connection, report: Callable[[str], None]) -> None:
        self._connection = connection
        self._report = report
        self._dropped = 0
        self._complete_after = 0

    async def verify(self, since: int, kept: str | None, keys: Sequence[VerifierKey] = ()) -> Summary:
        """Verify the tree, and the entries about versions after `since`; `kept` is a checkpoint that somebody has kept.

        `keys` are trusted in addition to those of the database, which somebody may have replaced.

        Raises:
            LogMismatchError: Something does not fit.
        """
        known = [key.verifier for key in await read_log_keys(self._connection, signing=False)]
        roots = {size: read_signed(note, known).root for size, note in await read_checkpoints(self._connection)}
        count = len(roots)
        if kept is not None:
            checkpoint = read_signed(kept, [*known, *keys])
            if roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                raise LogMismatchError(
                    f"The checkpoint of {checkpoint.size} entries has another root than the one in the database: "
                    "the log was rewritten."
                )
            count += 1
        size = await self._verify_tree(roots)
        dropped = await read_dropped(self._connection)
        commits = await self._verify_commits(since, dropped)
        candles = await self._verify_candles(since)
        return Summary(size, count, commits, candles, self._dropped, max(self._complete_after, since))

    async def _verify_tree(self, roots: Mapping[int, bytes]) -> int:
        """Recompute all hashes, and compare them with the full tiles and the checkpoints."""
        tree = Tree()
        tiles: list[list[bytes]] = [[]]
        size = 0
        async for batch in read_all_entries(self._connection):
            for entry in batch:
                if entry.number != size:
                    raise LogMismatchError(f"Entry {size} is missing.")
                leaf = leaf_hash(entry.entry)
                tree.append(leaf)
                tiles[0].append(leaf)
                size += 1
                await self._verify_tiles(tiles, size)
                if size in roots and roots[size] != tree.root():
                    before = max((each for each in roots if each < size), default=0)
                    raise LogMismatchError(
                        f"The root of the first {size} entries is not the one that was signed: one of the entries {before} "
                        f"to {size - 1} was changed."
                    )
        if missing := [each for each in roots if each > size]:
            raise LogMismatchError(f"The log has {size} entries, but a checkpoint of {max(missing)} was signed.")
        return size

    async def _verify_tiles(self, tiles: list[list[bytes]], size: int) -> None:
        level = 0
        while len(tiles[level]) == TILE_WIDTH:
            node = root_of(tiles[level])
            tiles[level].clear()
            level += 1
            width = 1 << TILE_HEIGHT * level
            if await read_node(self._connection, level, size // width - 1) != node:
                raise LogMismatchError(f"One of the entries {size - width} to {size - 1} was changed: their tile differs.")
            if len(tiles) == level:
                tiles.append([])
            tiles[level].append(node)

    async def _verify_commits(self, since: int, dropped: Dropped) -> int:
        count = 0
        async for entries in read_entries_since(self._connection, since, "commit", COMMITS):
            first, last = entries[0].version, entries[-1].version
            commits = await read_commits(self._connection, max(since, first - 1), 2 * COMMITS, last)
            logged = {entry.version: entry for entry in entries}
            for commit in commits:
                if commit.version not in logged:
                    raise LogMismatchError(f"Version {commit.version} is not in the log, but later ones are.")
            async for computed in compute_entries(self._connection, commits):
                entry = logged.pop(computed.entry.version)
                if bytes(computed.entry) == entry.entry:
                    count += 1
                else:
                    commit = next(each for each in commits if each.version == entry.version)
                    self._explain(entry, commit, bytes(computed.entry), dropped)
            for entry in logged.values():
                raise LogMismatchError(f"{_name(entry)} is about a version that is not in the table commits.")
            self._report(f"commits up to version {last} verified")
        return count

    def _explain(self, entry: LoggedEntry, commit: Commit, computed: bytes, dropped: Dropped) -> None:
        """Count an entry that can't be verified.

        Raises:
            LogMismatchError: It can be, and does not fit.
        """
        there, here = parse_entry(entry.entry), parse_entry(computed)
        is_dropped = commit.version < dropped.truncated_version or (
            dropped.dropped_before and commit.first_time and commit.first_time < dropped.dropped_before
        )
        same = all(there.get(name) == here.get(name) for name in ("entry", "version", "time", "kind"))
        if same and (is_dropped or there["root"] == "unknown"):
            self._dropped += 1
            self._complete_after = max(self._complete_after, commit.version)
            return
        differences = [
            f"{name} {there.get(name)} in the log, {here.get(name)} in the database"
            for name in ("time", "kind", "trades", "changes", "root")
            if there.get(name) != here.get(name)
        ]
        raise LogMismatchError(f"{_name(entry)} does not fit the trades: {'; '.join(differences)}.")

    async def _verify_candles(self, since: int) -> int:
        count = 0
        async for entries in read_entries_since(self._connection, since, "candles", 16):
            for entry in entries:
                parts = await read_parts(self._connection, entry.number)
                leaves = [leaf for part in parts for leaf in part.leaves.split("\n")]
                root = root_of(leaf_hash(leaf.encode()) for leaf in leaves)
                if encode64(root) != parse_entry(entry.entry)["root"]:
                    raise LogMismatchError(f"{_name(entry)} does not fit its receipts in the table log_parts.")
                if await self._candles_fit(entry, leaves):
                    count += 1
                else:
                    self._dropped += 1
                    self._complete_after = max(self._complete_after, entry.version)
            self._report(f"candles up to version {entries[-1].version} verified")
        return count

    async def _candles_fit(self, entry: LoggedEntry, leaves: Sequence[str]) -> bool:
        """Return False if candles can't be computed any more.

        Raises:
            LogMismatchError: A candle is not the one of the log.
        """

        def key(leaf: str) -> tuple[str, str]:
            _, symbol, interval, *_ = json.loads(leaf)
            return interval, symbol

        for (interval, symbol), group in groupby(leaves, key):
            expected = list(group)
            starts = [_start(leaf) for leaf in expected]
            after = starts[-1] + timedelta(microseconds=1)
            try:
                found = await read_candle_leaves_as_of(self._connection, interval, entry.version, symbol, starts, after)
            except psycopg.DatabaseError as error:
                if error.sqlstate == DROPPED:
                    return False
                raise
            for there, here in zip(expected, found, strict=True):
                if there != here:
                    raise LogMismatchError(
                        f"{_name(entry)} does not fit the candles: {there} in the log, {here} in the database."
                    )
        return True


def _start(leaf: str) -> datetime:
    return EPOCH + timedelta(microseconds=json.loads(leaf)[3])


def _name(entry: LoggedEntry) -> str:
    return f"Entry {entry.number} of the log (version {entry.version})"
