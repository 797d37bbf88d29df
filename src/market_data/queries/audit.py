"""Comparisons of the audit: candles and latest prices with the trades, and trades with the transparency log."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import args_row, scalar_row

from market_data.proof.entries import UNKNOWN, parse_entry
from market_data.queries.derived_candles import FIGURES, FROM_CANDLES, FROM_TRADES
from market_data.queries.intervals import INTERVALS, LENGTHS, LEVELS
from market_data.queries.log import compute_entries
from market_data.queries.log_checks import read_dropped, read_entries_of
from market_data.queries.log_leaves import Commit
from market_data.queries.row_pages import Connection

DAY = timedelta(days=1)


class CandleDifference(NamedTuple):
    """A candle that differs; null where there is none, or should be none."""

    interval: str
    bucket: datetime
    stored: Any
    expected: Any


class Comparison(NamedTuple):
    """Result of a comparison of candles."""

    candles: int
    """Number of candles that were compared."""
    unsettled: int
    """Candles that were not, because they do not contain all trades yet."""
    differences: Sequence[CandleDifference]


def _rolled_up(interval: LiteralString) -> LiteralString:
    return f"""
        SELECT
            '{interval}' AS "interval", time_bucket(INTERVAL '{LENGTHS[interval]}', source.bucket) AS bucket,
            {FROM_CANDLES}
        FROM finest AS source
        GROUP BY 2
    """


def _stored(interval: LiteralString) -> LiteralString:
    return f"""
        SELECT '{interval}' AS "interval", bucket, {FIGURES}
        FROM candles_{interval}
        WHERE symbol = %(symbol)s AND bucket >= %(start)s AND bucket < %(end)s
    """


def _stale(interval: LiteralString) -> LiteralString:
    return f"('{interval}', INTERVAL '{LENGTHS[interval]}', stale_times({LEVELS[interval]}))"


MINUTES: LiteralString = f"""
    SELECT time_bucket(INTERVAL '1 minute', time) AS bucket, {FROM_TRADES}
    FROM trades
    WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(end)s
    GROUP BY 1
"""


def _comparison(finest: LiteralString, intervals: Sequence[LiteralString]) -> LiteralString:
    union: LiteralString = " UNION ALL "
    comma: LiteralString = ", "
    # Hours instead of days: the session's time zone can't make them longer or shorter.
    return f"""
        WITH finest AS MATERIALIZED ({finest}),
        expected AS ({union.join([_rolled_up(each) for each in intervals])}),
        stored AS ({union.join([_stored(each) for each in intervals])}),
        compared AS MATERIALIZED (
            SELECT
                "interval", bucket, to_jsonb(stored) AS stored, to_jsonb(expected) AS expected,
                tstzrange(bucket, bucket + width) && times AS is_stale,
                (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.turnover, stored.trade_count,
                    stored.write_id)
                IS DISTINCT FROM (expected.open, expected.high, expected.low, expected.close, expected.volume,
                    expected.turnover, expected.trade_count, expected.write_id) AS differs
            FROM stored
            FULL JOIN expected USING ("interval", bucket)
            JOIN (VALUES {comma.join([_stale(each) for each in intervals])}) AS level ("interval", width, times)
                USING ("interval")
        )
        SELECT
            count(*) FILTER (WHERE NOT is_stale), count(*) FILTER (WHERE is_stale),
            coalesce(
                jsonb_agg(
                    jsonb_build_array("interval", extract(epoch FROM bucket), stored, expected) ORDER BY bucket, "interval"
                ) FILTER (WHERE differs AND NOT is_stale),
                '[]'
            )
        FROM compared
    """


INTERVALS_OF_DAY: Sequence[LiteralString] = [interval for interval in LENGTHS if INTERVALS[interval] <= DAY]
COMPARISONS: Mapping[str, LiteralString] = {
    "trades": _comparison(MINUTES, INTERVALS_OF_DAY),
    "1m": _comparison(_stored("1m"), [interval for interval in INTERVALS_OF_DAY if interval != "1m"]),
    "1d": _comparison(_stored("1d"), ["1w"]),
}
"""By what the candles are compared with: the trades, or the candles of a finer interval."""


async def compare_candles(connection: Connection, source: str, symbol: str, start: datetime, end: datetime) -> Comparison:
    """Compare the candles of a symbol in a range of whole buckets with trades or with finer candles, in one snapshot."""
    cursor = connection.cursor()
    parameters = {"symbol": symbol, "start": start, "end": end}
    await cursor.execute(COMPARISONS[source], parameters, prepare=False)
    ((count, unsettled, rows),) = await cursor.fetchall()
    differences = [
        CandleDifference(interval, datetime.fromtimestamp(epoch, start.tzinfo), stored, expected)
        for interval, epoch, stored, expected in rows
    ]
    return Comparison(count, unsettled, differences)


class LatestDifference(NamedTuple):
    """A row of `latest_trades` that is not the latest trade."""

    symbol: str
    stored_time: datetime | None
    expected_time: datetime | None
    stored: Any
    expected: Any


# Not of dropped trades: nothing tells them.
LATEST_DIFFERENCES = """
    SELECT s.symbol, stored.time, expected.time, to_jsonb(stored), to_jsonb(expected)
    FROM symbols AS s
    CROSS JOIN retention AS r
    LEFT JOIN latest_trades AS stored ON stored.symbol = s.symbol
    LEFT JOIN LATERAL (
        SELECT t.symbol, t.time, t.trade_id, t.price, t.volume
        FROM trades AS t
        WHERE t.symbol = s.symbol
        ORDER BY t.time DESC, t.trade_id DESC
        LIMIT 1
    ) AS expected ON true
    WHERE (stored.time, stored.trade_id, stored.price, stored.volume)
            IS DISTINCT FROM (expected.time, expected.trade_id, expected.price, expected.volume)
        AND NOT (expected.time IS NULL AND stored.time < r.dropped_before)
"""


async def compare_latest_prices(connection: Connection) -> list[LatestDifference]:
    """Compare the latest price of each symbol with the trades, in one snapshot."""
    cursor = connection.cursor(row_factory=args_row(LatestDifference))
    await cursor.execute(LATEST_DIFFERENCES)
    return await cursor.fetchall()


class CommitDifference(NamedTuple):
    """A commit whose trades or changes are not those of the log."""

    version: int
    stored: str
    expected: str


COMMITS_AT = """
    SELECT version, kind, write_id, committed_at, trade_count, first_time, last_time
    FROM commits
    WHERE kind IN ('store', 'correct', 'cancel') AND first_time < %(end)s AND last_time >= %(start)s
    ORDER BY version
"""


async def compare_commits_at(connection: Connection, start: datetime, end: datetime) -> list[CommitDifference]:
    """Compare all commits that have trades in a range of time with the log. It scans `commits`."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Commit))
    await cursor.execute(COMMITS_AT, {"start": start, "end": end})
    return (await compare_commits(connection, await cursor.fetchall()))[1]


async def compare_commits(connection: Connection, commits: Sequence[Commit]) -> tuple[int, list[CommitDifference]]:
    """Return how many of some commits are in the log, and those that differ. Commits of dropped trades are left out."""
    dropped_before, truncated_version = await read_dropped(connection)
    commits = [
        each
        for each in commits
        if each.version >= truncated_version
        and not (dropped_before and each.first_time and each.first_time < dropped_before)
    ]
    count = 0
    differences: list[CommitDifference] = []
    logged = await read_entries_of(connection, [each.version for each in commits])
    async for computed in compute_entries(connection, commits):
        entry = logged.get(computed.entry.version)
        if entry is None or parse_entry(entry)["root"] == UNKNOWN:
            continue
        count += 1
        if entry != bytes(computed.entry):
            stored = bytes(computed.entry).decode()
            differences.append(CommitDifference(computed.entry.version, stored, entry.decode()))
    return count, differences


TRADES_OF_COMMIT = """
    SELECT jsonb_agg(to_jsonb(found))
    FROM (
        SELECT t.symbol, t.time, t.trade_id, t.price, t.volume
        FROM commits AS c
        JOIN trades AS t ON t.write_id = c.write_id AND t.time >= c.first_time AND t.time <= c.last_time
        WHERE c.version = %s AND c.kind IN ('store', 'correct')
        ORDER BY t.time, t.symbol, t.trade_id
        LIMIT 20
    ) AS found
"""


async def read_trades_of_commit(connection: Connection, version: int) -> Any:
    """Return some of the trades that a commit has stored, as they are now; None if there are none."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(TRADES_OF_COMMIT, (version,), prepare=False)
    return await cursor.fetchone()
