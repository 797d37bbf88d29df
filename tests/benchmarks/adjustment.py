"""Measure adjusted candles, and those of sessions, beside plain ones: `uv run python tests/benchmarks/adjustment.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine: two years of trades of two symbols, one
every five minutes, each with 90 dividends and 10 splits. AAPL is traded around the clock; IBM has sessions in New York, so
that each of its ex-dates begins inside a UTC day. The year and the month are the first ones, to which most actions apply.
Measured twice: in the rowstore, and with all candles of up to 15 minutes in the columnstore, as they are after 90 days.

All reads take turns in short rounds. Figures are medians; the ratios are to the plain read of the same round, in brackets
the lowest and the highest.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from filled import new_database

from market_data.database import migrations
from market_data.queries.candles import CandleRange
from market_data.queries.session_candles import reader_of

BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)

SYMBOLS = """
    INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple Inc.', '24/7'), ('IBM', 'IBM Corporation', 'XNYS')
"""
CALENDAR = """
    INSERT INTO calendars (code, name, time_zone, source) VALUES ('XNYS', 'New York', 'America/New_York', 'own')
"""
SESSIONS = """
    INSERT INTO calendar_sessions (
        calendar, day, opens_at, closes_at, pre_opens_at, post_closes_at, auction_ends_at, write_id
    )
    SELECT
        'XNYS', day, (day + TIME '09:30') AT TIME ZONE zone, (day + TIME '16:00') AT TIME ZONE zone,
        (day + TIME '04:00') AT TIME ZONE zone, (day + TIME '20:00') AT TIME ZONE zone,
        (day + TIME '16:10') AT TIME ZONE zone, reference_write()
    FROM generate_series(TIMESTAMP '2022-01-01', '2027-01-01', INTERVAL '1 day') AS day
    CROSS JOIN (VALUES ('America/New_York')) AS calendar (zone)
    WHERE extract(isodow FROM day) < 6
"""
TRADES = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT time, symbol, 0, round((180 + 10 * random())::numeric, 2), 8
    FROM unnest('{AAPL,IBM}'::text[]) AS symbol, generate_series(%s, '2025-12-31Z'::timestamptz, '5 minutes') AS time
"""
DIVIDENDS = """
    INSERT INTO corporate_actions (symbol, id, type, ex_date, amount)
    SELECT symbol, 'dividend-' || n, 'cash_dividend', DATE '2024-01-03' + 8 * n, 0.5
    FROM unnest('{AAPL,IBM}'::text[]) AS symbol, generate_series(0, 89) AS n
"""
SPLITS = """
    INSERT INTO corporate_actions (symbol, id, type, ex_date, numerator, denominator)
    SELECT symbol, 'split-' || n, 'split', DATE '2024-01-05' + 70 * n, 2, 1
    FROM unnest('{AAPL,IBM}'::text[]) AS symbol, generate_series(0, 9) AS n
"""

COMPRESS = """
    SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass)
    FROM timescaledb_information.chunks AS chunk
    JOIN timescaledb_information.continuous_aggregates AS candles
        ON candles.materialization_hypertable_name = chunk.hypertable_name
    WHERE candles.view_name IN ('candles_1m', 'candles_5m', 'candles_15m')
"""

KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "split": {"adjustment": "split"},
    "dividend": {"adjustment": "dividend"},
    "all": {"adjustment": "all"},
    "extended": {"session": "extended"},
    "regular": {"session": "regular"},
    "regular, all": {"session": "regular", "adjustment": "all"},
    "extended, all": {"session": "extended", "adjustment": "all"},
}

CASES: Mapping[str, tuple[str, datetime]] = {
    "a year of 1d candles": ("1d", datetime(2025, 1, 1, tzinfo=UTC)),
    "a month of 1h candles": ("1h", datetime(2024, 2, 1, tzinfo=UTC)),
}


WARM_UP = 8
"""Rounds in which plans are made."""


def _fill(database_url: str) -> None:
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        for statement in (CALENDAR, SYMBOLS, SESSIONS):
            connection.execute(statement)
        connection.execute(TRADES, (BEGINNING,))
        for statement in (DIVIDENDS, SPLITS, "CALL refresh_candles()", "VACUUM ANALYZE"):
            connection.execute(statement)


async def _measure(database_url: str, rounds: int) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        print(f"{'':28}{'plain ms':>10}" + "".join(f"{name:>18}" for name in KINDS if name != "plain"))
        for name, (interval, end) in CASES.items():
            for symbol in ("AAPL", "IBM"):
                seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
                for _ in range(rounds + WARM_UP):
                    for kind, measured in seconds.items():
                        wanted = replace(CandleRange(symbol, interval, BEGINNING, end), **KINDS[kind])
                        begun = time.perf_counter()
                        await reader_of(wanted)(connection, wanted, 10_000, None, "json")
                        measured.append(time.perf_counter() - begun)
                plain, *others = [measured[WARM_UP:] for measured in seconds.values()]
                cells = [
                    f"{statistics.median(ratios):.1f} [{min(ratios):.1f}-{max(ratios):.1f}]"
                    for ratios in ([each / base for each, base in zip(measured, plain, strict=True)] for measured in others)
                ]
                row = f"{name}, {symbol}"
                print(
                    f"{row:28}{statistics.median(plain) * 1e3:10.2f}" + "".join(f"{cell:>18}" for cell in cells), flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure adjusted candles and those of sessions beside plain ones.")
    parser.add_argument("--rounds", type=int, default=25, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    with new_database() as database_url:
        print("filling a database …", flush=True)
        _fill(database_url)
        asyncio.run(_measure(database_url, options.rounds))
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(COMPRESS)
            connection.execute("VACUUM ANALYZE")
        print("with a columnstore:", flush=True)
        asyncio.run(_measure(database_url, options.rounds))


if __name__ == "__main__":
    main()
