"""`order=known`: commits in their order, each with the events that the live stream sent for it."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from market_data.queries.intervals import INTERVALS
from market_data.queries.replay import (
    Area,
    PastCandle,
    PlayedChange,
    PlayedTrade,
    read_changes,
    read_commits,
    read_late_commits,
    read_past_candles,
    read_past_latest,
    read_reloads,
    read_stored_trades,
)
from market_data.queries.revisions import read_stream_revisions
from market_data.queries.stream import StreamRow
from market_data.queries.trades import TradeKey
from market_data.streaming.events import Event, EventId, Message
from market_data.streaming.playback.candles import ChangedCandles, ReplayedCandles
from market_data.streaming.playback.moments import PAGE_COMMITS, PAGE_TRADES, Audience, Moment, Reader, read_ahead
from market_data.streaming.playback.statements import (
    LatestTrades,
    OrderedTrade,
    Statement,
    areas_of,
    group_commits,
    in_order,
    pages,
)
from market_data.streaming.playback.waiting import Load, WaitingCandles
from market_data.streaming.revision_events import revision_event
from market_data.streaming.subscriptions import REVISIONS
from market_data.trade_validation import MICROSECOND

Trades = Mapping[int, tuple[list[PlayedTrade], list[PlayedChange]]]
"""Trades that writes stored, and their changes, by write."""

MAX_NUMBER = 2**31 - 1
"""Number above those of all rows of the stream: the statement has been read to its end."""

MAX_CLOSED_LATE = timedelta(hours=1)
"""Closings before this time were not streamed (`advance_stream` in `alembic/sql/stream.sql`)."""


class KnownSource:
    """Commits above a version, up to another one."""

    def __init__(self, reader: Reader, audience: Audience, after: int, until: int) -> None:
        self._read = reader.read
        self._audience = audience
        self._symbols = audience.subscription.symbols
        self._is_exact = bool(audience.intervals)
        self._after = after
        self._until = until
        self._waiting = WaitingCandles()
        self._candles = ReplayedCandles(audience, {}, self._waiting)

    async def moments(self) -> AsyncGenerator[Moment]:
        """Yield the moments of the commits.

        Raises:
            DatabaseUnavailable: They can't be read.
            Gone: Trades that the candles need have been dropped.
        """
        if self._candles:
            await self._begin()
        closed_until = None
        async with aclosing(read_ahead(self._pages())) as pages_ahead:
            async for page, trades in pages_ahead:
                for statement in page:
                    closed_before = closed_until or statement.closed_until - timedelta(minutes=1)
                    closed_until = statement.closed_until
                    if trades is None:
                        moments = self._large(statement)
                    elif statement.has_trades:
                        yield await self._of_trades(statement, *trades.get(statement.write_id, ([], [])))
                        continue
                    else:
                        moments = self._of_candles(statement, closed_before)
                    async for moment in moments:
                        yield moment

    async def _pages(self) -> AsyncGenerator[tuple[list[Statement], Trades | None]]:
        """Yield successive statements with their trades."""
        position = self._after
        while position < self._until:
            commits = await self._read(read_commits, position, self._until, PAGE_COMMITS)
            if not commits:
                return
            for page in pages(group_commits(commits, is_end=len(commits) < PAGE_COMMITS), PAGE_TRADES):
                yield page, await self._read_trades(page)
                position = page[-1].version

    async def _begin(self) -> None:
        """Read the latest trades, and the late trades whose candles wait for their refresh, as of the beginning."""
        latest = await self._read(read_past_latest, self._after, self._symbols)
        newest = {each.symbol: (each.time, each.trade_id) for each in latest}
        for commit in await self._read(read_late_commits, self._after):
            (statement,) = group_commits([commit], is_end=True)
            if not statement.has_trades:
                self._revise(statement)
            elif statement.is_bulk:
                await self._load(statement)
            else:
                for stored, changes in (await self._read_trades([statement]) or {}).values():
                    for trade in (*stored, *changes):
                        if trade.time < statement.late_before:
                            self._waiting.add_late(trade.symbol, trade.time, statement.committed_at)
        self._candles = ReplayedCandles(self._audience, newest, self._waiting)

    async def _read_trades(self, page: Sequence[Statement]) -> Trades | None:
        """Return stored trades and changes by write; None for a statement that is read in parts."""
        if page[0].is_bulk or page[0].trade_count > 2 * PAGE_TRADES:
            return None
        found = defaultdict[int, tuple[list[PlayedTrade], list[PlayedChange]]](lambda: ([], []))
        storing = [each for each in page if each.kinds & {"store", "correct"}]
        areas = areas_of(storing)
        if areas:
            writes = [each.write_id for each in storing]
            for trade in await self._read(read_stored_trades, writes, areas, self._symbols, exact=self._is_exact):
                found[trade.write_id][0].append(trade)
        changing = [each.write_id for each in page if each.kinds & {"correct", "cancel"}]
        if changing:
            for change in await self._read(read_changes, changing, self._symbols):
                found[change.write_id][1].append(change)
        return found

    async def _of_trades(
        self, statement: Statement, stored: Sequence[PlayedTrade], changes: Sequence[PlayedChange]
    ) -> Moment:
        if not changes and not self._candles and not self._audience.wants_revisions:
            return _moment_of(statement, self._audience.trades(statement.version, stored, 1))
        latest = await self._latest(statement, changes)
        changed = ChangedCandles()
        messages = self._messages(statement, in_order(stored, changes), changed, latest)
        return await self._moment(statement, messages, changed)

    async def _latest(self, statement: Statement, changes: Sequence[PlayedChange]) -> LatestTrades | None:
        if not changes or not self._audience.wants_trades:
            return None
        symbols = sorted({change.symbol for change in changes})
        before = await self._read(read_past_latest, statement.version_before, symbols)
        return LatestTrades(before, await self._read(read_past_latest, statement.version, symbols))

    def _messages(
        self,
        statement: Statement,
        ordered: Sequence[OrderedTrade],
        changed: ChangedCandles,
        latest: LatestTrades | None = None,
        first_number: int = 1,
    ) -> list[Message]:
        """Return the events of trades, and add them to the candles."""
        messages: list[Message] = []
        targets = {id(each.change): ordered[index + 1].stored for index, each in enumerate(ordered[:-1]) if each.change}
        for number, (stored, change) in enumerate(ordered, first_number):
            event_id = EventId(statement.version, number, 0)
            if change:
                self._candles.invalidate(change.symbol, change.time, change.time)
                target = stored if change.is_correction else targets.get(id(change)) if change.moved_to else None
                name = "corrected" if change.is_correction else "cancelled"
                members = f',"change":"{name}","latest":{latest.change(change, target)}' if latest else ""
                messages += self._audience.trade(event_id, change.symbol, change.members + members)
                changed.last_numbers[change.symbol] = number
                self._note_change(statement, number, change.symbol, change, changed)
            elif stored:
                messages += self._audience.trade(event_id, stored.symbol, stored.members)
                changed.last_numbers[stored.symbol] = number
                if self._candles:
                    self._candles.add(stored)
                    self._note_change(statement, number, stored.symbol, stored, changed)
        return messages

    def _note_change(
        self, statement: Statement, number: int, symbol: str, trade: PlayedTrade | PlayedChange, changed: ChangedCandles
    ) -> None:
        time = trade.time
        if time < statement.late_before:
            self._waiting.add_late(symbol, time, statement.committed_at)
            return
        version, committed_at, closed_until = statement.version, statement.committed_at, statement.closed_until
        changed.add(StreamRow(version, committed_at, number, "trade", symbol, time, None, closed_until, False, None))

    async def _moment(self, statement: Statement, messages: list[Message], changed: ChangedCandles) -> Moment:
        """Return the last moment of a statement, with its candles and revisions."""
        if rows := changed.rows:
            messages += await self._candle_messages(statement, rows)
        if self._audience.wants_revisions:
            messages += await self._revision_messages(statement, changed.last_numbers)
        messages.sort(key=_by_id)
        return _moment_of(statement, messages)

    async def _candle_messages(self, statement: Statement, rows: Sequence[StreamRow]) -> list[Message]:
        async def read(interval: str, keys: Sequence[tuple[str, datetime]]) -> list[PastCandle]:
            return await self._read(read_past_candles, interval, statement.version, keys)

        return await self._candles.messages(rows, statement.version, read)

    async def _revision_messages(self, statement: Statement, numbers: Mapping[str, int]) -> list[Message]:
        wanted = {
            symbol: number for symbol, number in numbers.items() if self._audience.subscription.includes(REVISIONS, symbol)
        }
        if not wanted or not statement.has_closed:
            return []
        rows = [(statement.version, symbol, MAX_NUMBER) for symbol in wanted]
        found = await self._read(read_stream_revisions, rows, [*INTERVALS])
        events = [revision_event(each._replace(number=wanted[each.symbol])) for each in found]
        return [event.message(self._audience.transport, self._audience.names) for event in events]

    async def _large(self, statement: Statement) -> AsyncGenerator[Moment]:
        """Yield the moments of a statement with many trades, part by part; of bulk history, only newer trades are events."""
        first, last = statement.first_time, statement.last_time
        if first is None or last is None:
            return
        if statement.is_bulk:
            first = max(first, await self._load(statement))
        if len(statement.kinds) > 1 or "store" not in statement.kinds:
            trades = await self._stored(statement, (first, last)) if first <= last else []
            changes = await self._read(read_changes, [statement.write_id], self._symbols)
            yield await self._of_trades(statement, trades, changes)
            return
        changed, number, after = ChangedCandles(), 1, None
        part: list[PlayedTrade] = []
        while first <= last:
            part = await self._stored(statement, (first, last), after, PAGE_TRADES)
            messages = self._messages(statement, [OrderedTrade(trade) for trade in part], changed, None, number)
            if len(part) < PAGE_TRADES:
                yield await self._moment(statement, messages, changed)
                return
            reached = EventId(statement.version, number + len(part) - 1, 0)
            yield Moment(statement.committed_at, reached, messages, reached, is_whole=False)
            number, after, first = number + len(part), part[-1].key, part[-1].time

    async def _stored(
        self, statement: Statement, area: Area, after: TradeKey | None = None, limit: int | None = None
    ) -> list[PlayedTrade]:
        return await self._read(
            read_stored_trades, [statement.write_id], [area], self._symbols, after, limit, exact=self._is_exact
        )

    async def _load(self, statement: Statement) -> datetime:
        """Let the ranges of bulk history wait for their refresh, and return the time of the trade after all of them."""
        reloads = await self._read(read_reloads, statement.write_id)
        for symbol, since, until in reloads:
            if self._symbols is None or symbol in self._symbols:
                self._waiting.add_load(Load(symbol, since, until, statement.committed_at))
                self._candles.load(symbol, since, until - MICROSECOND)
        return max(reload.until for reload in reloads)

    async def _of_candles(self, statement: Statement, closed_before: datetime) -> AsyncGenerator[Moment]:
        """Yield the moment of closed or revised candles."""
        messages: list[Message] = []
        rows: list[StreamRow] = []
        if "close" in statement.kinds:
            after = max(closed_before, statement.closed_until - MAX_CLOSED_LATE)
            rows = self._candles.closing(after, statement.closed_until, _row(statement, 0, "closing"))
        elif "revise" in statement.kinds:
            loads, minutes = self._revise(statement)
            for number, load in enumerate(loads, 1):
                if self._audience.subscription.includes(None, load.symbol):
                    reload = _reload(statement, number, load)
                    messages.append(reload.message(self._audience.transport, self._audience.names))
            rows = [
                _row(statement, number, "revision")._replace(symbol=symbol, time=minute)
                for number, (symbol, minute) in enumerate(minutes, len(loads) + 1)
            ]
        messages += await self._candle_messages(statement, rows)
        messages.sort(key=_by_id)
        yield _moment_of(statement, messages)

    def _revise(self, statement: Statement) -> tuple[list[Load], list[tuple[str, datetime]]]:
        if statement.first_time is None or statement.last_time is None:
            return [], []
        return self._waiting.revise(statement.first_time, statement.last_time, statement.committed_at)


def _row(statement: Statement, number: int, kind: Literal["trade", "closing", "revision"] = "trade") -> StreamRow:
    """Return a row of the stream without a symbol."""
    version, committed_at = statement.version, statement.committed_at
    return StreamRow(version, committed_at, number, kind, "", committed_at, None, statement.closed_until, False, None)


def _moment_of(statement: Statement, messages: list[Message]) -> Moment:
    reached = EventId.after(statement.version)
    return Moment(statement.committed_at, reached, messages, reached)


def _reload(statement: Statement, number: int, load: Load) -> Event:
    fields = {"symbol": load.symbol, "start": load.since, "end": load.until, "version": statement.version}
    data = msgspec.json.encode(fields).decode()
    return Event(EventId(statement.version, number, 0), "reload", None, load.symbol, data)


def _by_id(message: Message) -> EventId:
    return message.id
