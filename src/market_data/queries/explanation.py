"""The explanation of a candle: its trades, those that came late, and their changes, in one snapshot."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

import msgspec
from msgspec import Raw, Struct
from psycopg import IsolationLevel
from psycopg.rows import args_row

from market_data.models_explanation import (
    MAX_LISTED,
    MAX_REVISIONS,
    CandleChange,
    CandleExplanation,
    CandleTrades,
    LateTrade,
    RecomputedCandle,
)
from market_data.models_revisions import Revision
from market_data.models_writes import TradeValues
from market_data.queries.candles import CandleRange
from market_data.queries.commit_times import commit_of
from market_data.queries.intervals import DERIVED
from market_data.queries.past import parameters_of
from market_data.queries.revisions import MAX_COUNT, read_bucket_revisions
from market_data.queries.row_pages import Connection, exact_number
from market_data.queries.session_candles import reader_of
from market_data.queries.trades import TRADE_JSON


class Explained(NamedTuple):
    """An explanation, and the version that it describes; None while the candle is not settled."""

    explanation: CandleExplanation
    version: int | None


class _Figures(Struct, frozen=True):
    """Figures of a candle, which are compared exactly."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: float | None
    trade_count: int


async def read_explanation(connection: Connection, bucket: CandleRange) -> Explained:
    """Return the explanation of the candle of a bucket, which is the whole range.

    Raises:
        psycopg.DatabaseError: Trades of the version have been dropped (`past.translate_error`).
    """
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with connection.transaction():
            page = await reader_of(bucket)(connection, bucket, 1, None, "json")
            trades, recomputed = await _read_trades(connection, bucket)
            late = await _read_late_trades(connection, bucket)
            changes = await _read_changes(connection, bucket)
            revisions = await _read_revisions(connection, bucket)
    finally:
        if not connection.closed:
            await connection.set_isolation_level(None)
    figures = [
        msgspec.json.decode(each, type=_Figures) if each else None
        for each in (page.rows, recomputed and msgspec.json.encode(recomputed))
    ]
    explanation = CandleExplanation(
        symbol=bucket.symbol,
        interval=bucket.interval,
        timestamp=bucket.start,
        end=bucket.end,
        candle=_raw(page.rows),
        trades=trades,
        recomputed=recomputed,
        agrees=figures[0] == figures[1],
        late_trade_count=late[0][0] if late else 0,
        late_trades=[trade for _, trade in late],
        change_count=changes[0][0] if changes else 0,
        changes=[change for _, change in changes],
        revisions=revisions,
    )
    return Explained(explanation, page.version)


def _raw(text: Any) -> Any:
    """Return JSON as a field of a struct; None if it is empty."""
    return Raw(text) if text else None


def _parameters(bucket: CandleRange) -> dict[str, object]:
    bounds = {"symbol": bucket.symbol, "start": bucket.start, "end": bucket.end}
    return {**bounds, "limit": MAX_LISTED, **parameters_of(bucket.as_of)}


def _trades(*, past: bool) -> LiteralString:
    trades: LiteralString = "trades_as_of(%(as_of)s, %(start)s)" if past else "trades"
    return f"""
        SELECT symbol, time, trade_id, price, volume, write_id
        FROM {trades} AS trade
        WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(end)s
    """


def _first(order: LiteralString) -> LiteralString:
    first: LiteralString = f"SELECT symbol, price, volume, time, trade_id FROM found ORDER BY {order} LIMIT 1"
    return f"(SELECT {TRADE_JSON} FROM ({first}) AS page)"


TRADES_OF_CANDLE: Mapping[bool, LiteralString] = {
    past: f"""
        WITH found AS MATERIALIZED ({_trades(past=past)})
        SELECT
            {_first("time, trade_id")},
            {_first("price DESC, time, trade_id")},
            {_first("price, time, trade_id")},
            {_first("time DESC, trade_id DESC")},
            trim_scale(first(price, time ORDER BY trade_id))::text, trim_scale(max(price))::text,
            trim_scale(min(price))::text, trim_scale(last(price, time ORDER BY trade_id DESC))::text,
            trim_scale(sum(volume))::text, (sum(price * volume) / nullif(sum(volume), 0))::float8, count(*)
        FROM found
    """
    for past in (False, True)
}
"""By whether the trades are those of a version."""


async def _read_trades(connection: Connection, bucket: CandleRange) -> tuple[CandleTrades | None, RecomputedCandle | None]:
    cursor = connection.cursor()
    await cursor.execute(TRADES_OF_CANDLE[bool(bucket.as_of)], _parameters(bucket), prepare=False)
    ((opening, highest, lowest, closing, *figures, vwap, count),) = await cursor.fetchall()
    if not count:
        return None, None
    open_, high, low, close, volume = map(exact_number, figures)
    return (
        CandleTrades(_raw(opening), _raw(highest), _raw(lowest), _raw(closing)),
        RecomputedCandle(open_, high, low, close, volume, vwap, count),
    )


# A correction gives a trade another write_id: the first one tells when it was stored. A trade that was stored after
# TRUNCATE counts as late, because versions of before can't be read. Few trades are late, and of these few are listed.
LATE_TRADES: Mapping[bool, LiteralString] = {
    past: f"""
        WITH writes AS MATERIALIZED (
            SELECT newest, late
            FROM writes_as_of(
                (SELECT greatest(version_at(least(%(end)s, clock_timestamp())), truncated_version) FROM retention),
                'infinity'
            )
        )
        SELECT
            total, symbol, price, volume, time, trade_id, committed_at,
            extract(epoch FROM committed_at - time)::float8, version
        FROM (
            SELECT
                count(*) OVER () AS total, symbol, trim_scale(price)::text AS price, trim_scale(volume)::text AS volume,
                time, trade_id, stored.write_id
            FROM ({_trades(past=past)}) AS trade
            CROSS JOIN writes
            CROSS JOIN LATERAL (
                SELECT coalesce(min(change.write_id_before), trade.write_id) AS write_id
                FROM trade_changes AS change
                WHERE change.symbol = trade.symbol AND change.time = trade.time AND change.trade_id = trade.trade_id
                    AND change.action = 'correct' AND change.id > coalesce(
                        (
                            SELECT max(cancel.id)
                            FROM trade_changes AS cancel
                            WHERE cancel.symbol = trade.symbol AND cancel.time = trade.time
                                AND cancel.trade_id = trade.trade_id AND cancel.action = 'cancel'
                        ),
                        0
                    )
            ) AS stored
            WHERE %(end)s <= now() AND (trade.write_id > newest OR trade.write_id = ANY (late))
                AND (stored.write_id > newest OR stored.write_id = ANY (late))
            ORDER BY stored.write_id, time, trade_id
            LIMIT %(limit)s
        ) AS listed
        CROSS JOIN LATERAL ({commit_of("listed.write_id", "committed_at, version")}) AS stored
        ORDER BY version, time, trade_id
    """
    for past in (False, True)
}


def _late_trade(total: int, symbol: str, price: str, volume: str, *more: Any) -> tuple[int, LateTrade]:
    return total, LateTrade(symbol, exact_number(price), exact_number(volume), *more)


async def _read_late_trades(connection: Connection, bucket: CandleRange) -> list[tuple[int, LateTrade]]:
    """Return late trades, each with the number of all of them."""
    cursor = connection.cursor(row_factory=args_row(_late_trade))
    await cursor.execute(LATE_TRADES[bool(bucket.as_of)], _parameters(bucket), prepare=False)
    return await cursor.fetchall()


KNOWN: Mapping[bool, LiteralString] = {
    False: "true",
    True: """
        EXISTS (
            SELECT
            FROM writes_as_of(%(as_of)s, 'infinity')
            WHERE trade_changes.write_id <= newest AND trade_changes.write_id <> ALL (late)
        )
    """,
}
CHANGES_OF_CANDLE: Mapping[bool, LiteralString] = {
    past: f"""
        SELECT
            count(*) OVER (), changed_at, action, time, trade_id,
            trim_scale(price_before)::text, trim_scale(volume_before)::text,
            trim_scale(price_after)::text, trim_scale(volume_after)::text, actor, reason
        FROM trade_changes
        WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(end)s AND action <> 'truncate' AND {known}
        ORDER BY id
        LIMIT %(limit)s
    """
    for past, known in KNOWN.items()
}


def _listed_change(total: int, *columns: Any) -> tuple[int, CandleChange]:
    changed_at, action, time, trade_id, price_before, volume_before, price_after, volume_after, actor, reason = columns
    before = TradeValues(exact_number(price_before), exact_number(volume_before))
    after = None if price_after is None else TradeValues(exact_number(price_after), exact_number(volume_after))
    return total, CandleChange(changed_at, action, time, trade_id, before, after, actor, reason)


async def _read_changes(connection: Connection, bucket: CandleRange) -> list[tuple[int, CandleChange]]:
    """Return changes of trades in a bucket, each with the number of all of them."""
    cursor = connection.cursor(row_factory=args_row(_listed_change))
    await cursor.execute(CHANGES_OF_CANDLE[bool(bucket.as_of)], _parameters(bucket), prepare=False)
    return await cursor.fetchall()


async def _read_revisions(connection: Connection, bucket: CandleRange) -> list[Revision] | None:
    if bucket.tz or bucket.interval in DERIVED:
        return None
    until = bucket.as_of.version if bucket.as_of else MAX_COUNT
    return await read_bucket_revisions(connection, bucket.interval, bucket.symbol, bucket.start, MAX_REVISIONS, until)
