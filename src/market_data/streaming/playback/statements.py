"""The statements of a page of commits, and the order of the trades that each stored or changed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from market_data.queries.replay import Area, PastLatest, PlayedChange, PlayedCommit, PlayedTrade
from market_data.queries.trades import TradeKey

MAX_GAP = timedelta(minutes=1)
"""Ranges of trades that are closer are read as one."""


class Statement(NamedTuple):
    """A statement that took one version, or several in succession if it stored and changed trades."""

    version: int
    """The last one."""
    version_before: int
    kinds: frozenset[str]
    write_id: int
    committed_at: datetime
    trade_count: int
    first_time: datetime | None
    last_time: datetime | None
    closed_until: datetime
    has_reloads: bool

    @property
    def has_trades(self) -> bool:
        """True if it stored or changed trades."""
        return bool(self.kinds & {"store", "correct", "cancel"})

    @property
    def has_closed(self) -> bool:
        """True if some of its trades are of a minute that had ended."""
        first = self.first_time
        return first is not None and first.replace(second=0, microsecond=0) + timedelta(minutes=1) <= self.committed_at

    @property
    def late_before(self) -> datetime:
        """Time of trades below which candles may have been materialized (`fresh_since`)."""
        minute = self.committed_at.replace(second=0, microsecond=0)
        return minute - timedelta(minutes=1)

    @property
    def is_bulk(self) -> bool:
        """True if it stored bulk history (`trades_streamed` in `alembic/sql/stream.sql`)."""
        return self.has_reloads and "store" in self.kinds


def group_commits(commits: Sequence[PlayedCommit], *, is_end: bool) -> list[Statement]:
    """Return the statements of successive commits; `is_end` is False if the last one may have further commits."""
    statements = [_statement(list(group)) for _, group in groupby(commits, lambda commit: commit.write_id)]
    return statements if is_end or len(statements) == 1 else statements[:-1]


def _statement(commits: Sequence[PlayedCommit]) -> Statement:
    last = commits[-1]
    firsts = [commit.first_time for commit in commits if commit.first_time]
    lasts = [commit.last_time for commit in commits if commit.last_time]
    return Statement(
        last.version,
        commits[0].version - 1,
        frozenset(commit.kind for commit in commits),
        last.write_id,
        last.committed_at,
        sum(commit.trade_count for commit in commits),
        min(firsts, default=None),
        max(lasts, default=None),
        last.closed_until,
        last.has_reloads,
    )


def pages(statements: Sequence[Statement], max_trades: int) -> Iterator[list[Statement]]:
    """Yield successive statements that are read together. Large ones and bulk history are read alone."""
    page, count = list[Statement](), 0
    for statement in statements:
        alone = statement.trade_count > max_trades or statement.is_bulk
        if page and (alone or count + statement.trade_count > max_trades):
            yield page
            page, count = [], 0
        page.append(statement)
        count += statement.trade_count
        if alone:
            yield page
            page, count = [], 0
    if page:
        yield page


def areas_of(statements: Iterable[Statement]) -> list[Area]:
    """Return disjoint ranges of time with all trades of some statements."""
    ranges = sorted((each.first_time, each.last_time) for each in statements if each.first_time and each.last_time)
    merged: list[Area] = []
    for since, until in ranges:
        if merged and since <= merged[-1][1] + MAX_GAP:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((since, until))
    return merged


class OrderedTrade(NamedTuple):
    """A trade in the order of the events of its statement: stored, or changed if there is a change."""

    stored: PlayedTrade | None
    """None if it was cancelled."""
    change: PlayedChange | None = None


def in_order(stored: Sequence[PlayedTrade], changes: Sequence[PlayedChange]) -> list[OrderedTrade]:
    """Return the events of a statement: changes, each followed by the trade that it moved, then stored trades."""
    if not changes:
        return [OrderedTrade(trade) for trade in stored]
    rest = {trade.key: trade for trade in stored}
    corrected = {change_key(change): rest.pop(change_key(change), None) for change in changes if change.is_correction}
    moved = defaultdict[datetime, list[PlayedTrade]](list)
    for trade in rest.values():
        moved[trade.time].append(trade)
    ordered: list[OrderedTrade] = []
    for change in changes:
        ordered.append(OrderedTrade(corrected.get(change_key(change)), change))
        if change.moved_to and moved[change.moved_to]:
            targets = moved[change.moved_to]
            target = min(
                targets, key=lambda trade, near=change: (trade.symbol != near.symbol, trade.trade_id != near.trade_id)
            )
            targets.remove(target)
            ordered.append(OrderedTrade(rest.pop(target.key)))
    return ordered + [OrderedTrade(trade) for trade in rest.values()]


def change_key(change: PlayedChange) -> TradeKey:
    """Return the key of the changed trade."""
    return TradeKey(change.symbol, change.time, change.trade_id)


class LatestTrades:
    """The latest trade of each symbol while the changes of a statement happen, one after another."""

    def __init__(self, before: Iterable[PastLatest], after: Iterable[PastLatest]) -> None:
        self._latest: dict[str, tuple[TradeKey, str]] = _by_symbol(before)
        self._after: Mapping[str, tuple[TradeKey, str]] = _by_symbol(after)

    def change(self, change: PlayedChange, target: PlayedTrade | None) -> str:
        """Apply a change with the trade that it left, and return the JSON of the latest trade of its symbol, or null."""
        symbol = change.symbol
        if symbol in self._latest and self._latest[symbol][0] == change_key(change):
            self._latest.pop(symbol)
            if symbol in self._after:
                self._latest[symbol] = self._after[symbol]
        if target:
            known = self._latest.get(target.symbol)
            if known is None or _position(target.key) >= _position(known[0]):
                self._latest[target.symbol] = target.key, target.members
        found = self._latest.get(symbol)
        return without_id(found[1]) if found else "null"


def _by_symbol(latest: Iterable[PastLatest]) -> dict[str, tuple[TradeKey, str]]:
    return {each.symbol: (each.key, each.members) for each in latest}


def _position(key: TradeKey) -> tuple[datetime, int]:
    return key.time, key.trade_id


def without_id(members: str) -> str:
    """Return the JSON of a trade as in `/price/latest`."""
    return "{" + members.rpartition(',"trade_id":')[0] + "}"
