"""Tables of the transparency log, and the entries of commits, computed from the trades."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row

from market_data.proof.entries import CommitEntry
from market_data.proof.merkle import Tree, root_of
from market_data.queries.log_leaves import Commit, Leaf, read_leaf_pages, read_leaves

Connection = AsyncConnection[Any]

PART = 1024
"""Leaves of a part of an entry (`log_parts`)."""

FEW = 1024
"""Trades of commits that are read together."""

CLOSE = timedelta(seconds=60)
"""Range of time of trades of commits that are read together."""


class Part(NamedTuple):
    """Part of an entry of a commit, with its first leaf."""

    hash: bytes
    first: Leaf


class Computed(NamedTuple):
    """Entry of a commit, computed from the trades. `parts` is empty for an entry of one part."""

    entry: CommitEntry
    parts: Sequence[Part] = ()


class LoggedEntry(NamedTuple):
    """Entry of the log."""

    number: int
    kind: str
    version: int
    entry: bytes


ENTRY_OF_VERSION = "SELECT index, kind, version, entry FROM log_entries WHERE version = %s AND kind = %s"


async def read_entry(connection: Connection, version: int, kind: str = "commit") -> LoggedEntry | None:
    """Return the entry about a version; None if there is none (yet)."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LoggedEntry))
    await cursor.execute(ENTRY_OF_VERSION, (version, kind), prepare=True)
    return await cursor.fetchone()


async def compute_entries(connection: Connection, commits: Sequence[Commit]) -> AsyncGenerator[Computed]:
    """Yield the entries of commits as the trades are now."""
    for group in _groups(commits):
        if group[0].trade_count > FEW:
            yield await _compute_large(connection, group[0])
        else:
            leaves = await read_leaves(connection, group)
            for commit in group:
                yield _compute(commit, leaves.get(commit.write_id or 0, []))


def _groups(commits: Iterable[Commit]) -> list[list[Commit]]:
    """Split commits into groups that are read by one statement: few trades, close to each other."""
    groups: list[list[Commit]] = []
    trades, first, last = 0, None, None
    for each in commits:
        first = min(filter(None, (first, each.first_time)), default=None)
        last = max(filter(None, (last, each.last_time)), default=None)
        trades += each.trade_count
        # A statement that stores and changes trades (MERGE) has a commit for each.
        known = groups and any(each.write_id == other.write_id for other in groups[-1])
        if not groups or known or trades > FEW or (first and last and last - first > CLOSE):
            groups.append([])
            trades, first, last = each.trade_count, each.first_time, each.last_time
        groups[-1].append(each)
    return groups


def _compute(commit: Commit, leaves: Sequence[Leaf]) -> Computed:
    trades = sum(leaf.symbol is not None for leaf in leaves)
    return Computed(_entry(commit, trades, len(leaves) - trades, root_of(leaf.hash for leaf in leaves)))


async def _compute_large(connection: Connection, commit: Commit) -> Computed:
    """Compute page by page, in bounded memory."""
    parts: list[Part] = []
    part = Tree()
    trades = count = 0
    first: Leaf | None = None
    async for page in read_leaf_pages(connection, commit):
        for leaf in page:
            first = first or leaf
            trades += leaf.symbol is not None
            count += 1
            part.append(leaf.hash)
            if count % PART == 0:
                parts.append(Part(part.root(), first))
                part, first = Tree(), None
    if first:
        parts.append(Part(part.root(), first))
    # Parts are complete subtrees, except for the last one: the root is that of their roots.
    root = root_of(each.hash for each in parts)
    return Computed(_entry(commit, trades, count - trades, root), parts if len(parts) > 1 else ())


def _entry(commit: Commit, trades: int, changes: int, root: bytes) -> CommitEntry:
    expected = {"store": trades, "correct": changes, "cancel": changes}.get(commit.kind, commit.trade_count)
    known = expected >= commit.trade_count
    return CommitEntry(commit.version, commit.committed_at, commit.kind, trades, changes, root if known else None)
