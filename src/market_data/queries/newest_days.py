"""The candles of the newest two sessions of several symbols, for snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder

from market_data.queries.candles import CandleRange
from market_data.queries.market_schedules import read_market_schedules
from market_data.queries.row_pages import Connection, digits_of
from market_data.queries.session_candles import read_session_days

AROUND = timedelta(days=30)
"""Time in which each market has two sessions: no holidays are longer."""

TOMORROW = timedelta(days=2)


class _Candle(Struct):
    timestamp: datetime
    close: Raw


_rows = Decoder(list[Raw]).decode
_candle = Decoder(_Candle).decode


@dataclass(frozen=True)
class NewestDays:
    """The symbols with sessions, and the candles of those that have trades."""

    symbols: Sequence[str]
    candles: Sequence[tuple[str, bool, str, str]]
    """Symbol, True for the session that began last and False for the one before, close, and the candle as JSON."""
    versions: set[int | None]
    """The newest versions when they were read; None if a candle did not contain all trades of it."""

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a statement."""
        names = ("day_symbols", "day_is_newest", "day_closes", "day_candles")
        columns = zip(*self.candles, strict=True) if self.candles else ((),) * len(names)
        return {"session_symbols": list(self.symbols), **dict(zip(names, map(list, columns), strict=True))}


async def read_newest_days(
    connection: Connection, symbols: Sequence[str] | None, candles: CandleRange, now: datetime
) -> NewestDays:
    """Return the days of some symbols, or of all; `candles` has the properties. Symbols that are always traded have none."""
    first, last = (now - AROUND).date(), (now + TOMORROW).date()
    schedules = await read_market_schedules(connection, symbols, first, last, candles.as_of)
    limited: list[str] = []
    found: list[tuple[str, bool, str, str]] = []
    versions: set[int | None] = {schedule.version for schedule in schedules}
    for schedule in schedules:
        if schedule.is_always_open:
            continue
        limited += schedule.symbols
        newest = [each for each in schedule.sessions if each.segments(candles.session)[0].start <= now][-2:]
        if not newest:
            continue
        days = await read_session_days(connection, schedule.symbols, candles, newest)
        versions.add(days.version)
        for symbol, rows in days.rows:
            for row in _rows(f"[{rows}]"):
                candle = _candle(row)
                is_newest = candle.timestamp == newest[-1].label
                found.append((symbol, is_newest, digits_of(candle.close), bytes(row).decode()))
    return NewestDays(limited, found, versions)
