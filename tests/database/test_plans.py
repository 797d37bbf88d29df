"""Plans of the statements of `queries` with many chunks: they use an index and scan only the chunks of their range."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, LiteralString, get_args

import psycopg
import pytest
from helpers.support import T0, Connection
from psycopg import sql

from market_data.queries.candles import CANDLE_BOUND, CANDLES
from market_data.queries.gapfilled_candles import GAPFILLED_CANDLES, Fill
from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.latest_prices import ALL_LATEST_PRICES, EACH_LATEST_PRICE, LAST_PRICES, SOME_LATEST_PRICES
from market_data.queries.row_pages import Order
from market_data.queries.snapshots import snapshot_parameters, snapshots_statement
from market_data.queries.status import NEWEST_TRADE, TRADE_TOTALS
from market_data.queries.stream import STREAM_CANDLES, STREAM_EVENTS
from market_data.queries.trades import TRADES

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAYS = 210
END = T0 + DAYS * DAY
MIDDLE = T0 + 100 * DAY
SYMBOLS = ["AAPL", "GOOGL", "MSFT", "TSLA"]


FILL = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT moment, symbol, 1, 1
    FROM generate_series(%s, %s, INTERVAL '10 minutes') AS moment
    CROSS JOIN symbols
"""


LARGE_COMMITS = """
    WITH written AS (
        INSERT INTO pending_commits (write_id, kind, trade_count)
        SELECT nextval('write_ids'), 'store', 0
        FROM generate_series(1, 2)
        RETURNING write_id
    )
    INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
    SELECT write_id, number, 'trade', 'AAPL', now(), number, 1, 1
    FROM written
    CROSS JOIN generate_series(1, 100001) AS number
"""


@pytest.fixture(scope="module")
def filled(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    """Fill thirty chunks, materialize all but the last two days, and analyze."""
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (SYMBOLS,))
        connection.execute("SET market_data.stream = 'off'")
        connection.execute(FILL, (T0, END - 2 * DAY))
        connection.execute("CALL refresh_candles()")
        connection.execute(FILL, (END - 2 * DAY + 10 * MINUTE, END))
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'No trade, so looked for everywhere')")
        connection.execute(LARGE_COMMITS)
        connection.execute("ANALYZE")
        yield connection


# PostgreSQL plans a prepared statement for each of its first executions, and then may use a generic plan.
@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def planned(filled: Connection, request: pytest.FixtureRequest) -> Iterator[Connection]:
    filled.execute("SELECT set_config('plan_cache_mode', %s, false)", (request.param,))
    filled.execute("SET enable_seqscan = off")  # a sequential scan of the few long candles would be cheaper
    yield filled
    filled.execute("RESET plan_cache_mode")
    filled.execute("RESET enable_seqscan")


Node = dict[str, Any]
TYPES = {datetime: "timestamptz", str: "text", int: "bigint", list: "text[]"}


def executed(connection: Connection, statement: LiteralString, parameters: dict[str, Any]) -> list[Node]:
    """Return the executed nodes of a prepared statement's plan."""
    numbered = statement
    for number, name in enumerate(parameters):
        numbered = numbered.replace(f"%({name})s", f"${number + 1}").replace("%s", f"${number + 1}")
    types = ", ".join(TYPES[type(value)] for value in parameters.values())
    values = sql.SQL(", ").join(map(sql.Literal, parameters.values())).as_string(connection)
    connection.execute(f"PREPARE planned {f'({types})' if types else ''} AS {numbered}".encode())
    try:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE planned {f'({values})' if values else ''}"
        (((plan,),),) = connection.execute(explain.encode()).fetchall()
    finally:
        connection.execute("DEALLOCATE planned")
    return [node for node in _walk(plan["Plan"]) if node["Actual Loops"]]


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def chunks(connection: Connection, start: datetime, end: datetime) -> set[str]:
    """Return the chunks of trades and candles that overlap a range."""
    rows = connection.execute(
        "SELECT chunk_name FROM timescaledb_information.chunks WHERE range_start < %s AND range_end > %s", (end, start)
    )
    return {name for (name,) in rows}


def weeks(connection: Connection) -> set[str]:
    """Return the chunks of weekly candles, which are few for any range."""
    return {name.rpartition(".")[2] for (name,) in connection.execute("SELECT c::text FROM show_chunks('candles_1w') AS c")}


def scanned(nodes: list[Node]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")}


def tail(connection: Connection) -> set[str]:
    """Return the chunks not materialized yet, which a generic plan reads for any range; in production they cover minutes."""
    return chunks(connection, END - 2 * DAY, END + SECOND)


def rows_read(nodes: list[Node], besides: Collection[str] = ()) -> float:
    """Return the number of rows that scans of other chunks read, including filtered ones."""
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes
        if node.get("Relation Name", "").startswith("_hyper_") and node["Relation Name"] not in besides
    )


LIMIT = 7


def asked(start: datetime, end: datetime, limit: int = LIMIT, symbol: str = "MSFT") -> dict[str, Any]:
    return {"symbol": symbol, "start": start, "start_id": 0, "end": end, "end_id": 0, "limit": limit}


def used(statement: LiteralString, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a statement has."""
    return {name: value for name, value in parameters.items() if f"%({name})s" in statement}


NEWEST_FIRST, OLDEST_FIRST = TRADES[False, "desc", "desc", "json"], TRADES[False, "asc", "asc", "json"]


@pytest.mark.parametrize(
    ("statement", "parameters", "start", "end"),
    [
        pytest.param(
            TRADES[False, "desc", "desc", "json"], asked(MIDDLE, MIDDLE + HOUR, 1001), MIDDLE, MIDDLE + HOUR, id="hour"
        ),
        pytest.param(
            TRADES[False, "desc", "desc", "json"], asked(T0, END + DAY), END - 2 * HOUR, END + DAY, id="newest trades"
        ),
        pytest.param(
            TRADES[False, "desc", "desc", "json"], asked(T0, MIDDLE), MIDDLE - 2 * HOUR, MIDDLE + SECOND, id="deep page"
        ),
        pytest.param(OLDEST_FIRST, asked(T0, END + DAY), T0, T0 + 2 * HOUR, id="oldest trades"),
        pytest.param(
            TRADES[False, "asc", "asc", "json"], asked(MIDDLE, END + DAY), MIDDLE, MIDDLE + 2 * HOUR, id="deep, upwards"
        ),
        *(
            pytest.param(statement, asked(start, end, 10_000), start, end, id=f"{interval} candles of {name}")
            for (interval, *key), statement in CANDLES.items()
            if key == ["asc", "asc", "json"]
            for name, start, end in (
                ("an hour, materialized", MIDDLE, MIDDLE + HOUR),
                ("a day, materialized", MIDDLE, MIDDLE + DAY),
                ("the last hour", END - HOUR, END + SECOND),
                ("three days, materialized in part", END - 3 * DAY, END + SECOND),
            )
        ),
    ],
)
def test_statement_uses_an_index_and_scans_only_the_chunks_of_its_range(
    planned: Connection, statement: LiteralString, parameters: dict[str, Any], start: datetime, end: datetime
):
    nodes = executed(planned, statement, used(statement, parameters))
    # Whole buckets: longer intervals read longer ranges of candles.
    end += 7 * DAY if "candles_1w" in statement else DAY
    assert scanned(nodes) <= chunks(planned, start, end) | tail(planned)
    assert len(chunks(planned, T0, END)) > 30
    by_index = {"Index Scan", "Index Only Scan", "Index Scan Backward", "Bitmap Heap Scan"}
    assert {node["Node Type"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")} <= by_index


FEW = 15_000
"""Maximum number of rows that the planner may sort instead of reading them in order: half of those of the whole range."""

PAGES = [(T0, END + DAY), (MIDDLE, END + DAY), (T0, MIDDLE)]
"""The first page of a long range, and pages from its middle in both orders."""


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize(("start", "end"), PAGES)
def test_page_of_trades_anywhere_in_a_long_range_reads_its_own_rows(
    planned: Connection, order: Order, start: datetime, end: datetime
):
    statement = TRADES[False, order, order, "json"]
    assert rows_read(executed(planned, statement, used(statement, asked(start, end)))) == LIMIT + 1


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize(("start", "end"), PAGES)
@pytest.mark.parametrize("interval", INTERVALS)
def test_page_of_candles_anywhere_in_a_long_range_reads_little_more_than_its_own_rows(
    planned: Connection, interval: str, order: Order, start: datetime, end: datetime
):
    reach = (LIMIT + 1) * INTERVALS[interval]
    near = asked(start, start + reach) if order == "asc" else asked(end - reach, end)
    enough = (LIMIT + 2) * len(SYMBOLS)
    statement = CANDLES[False, False, interval, order, order, "json"]
    assert rows_read(executed(planned, statement, used(statement, near)), tail(planned)) <= enough
    planned.execute("SET plan_cache_mode = force_custom_plan")  # the other statement is never prepared
    statement = CANDLE_BOUND[interval, order]
    read = rows_read(executed(planned, statement, used(statement, asked(start, end))), tail(planned))
    assert read <= (enough if interval == "1m" else FEW)


@pytest.mark.parametrize("fill", get_args(Fill))
@pytest.mark.parametrize("interval", INTERVALS)
def test_gapfilled_page_reads_its_buckets_and_at_most_one_close_before_them(planned: Connection, interval: str, fill: Fill):
    width = INTERVALS[interval]
    start = WEEK_START + (MIDDLE - WEEK_START) // width * width
    statement = GAPFILLED_CANDLES[False, interval, fill, "asc", "json"]
    parameters = used(statement, asked(start, start + LIMIT * width))
    nodes = executed(planned, statement, parameters)
    assert scanned(nodes) <= chunks(planned, start - 14 * DAY, start + LIMIT * width) | tail(planned)
    assert rows_read(nodes, tail(planned)) <= (LIMIT + 2) * len(SYMBOLS)
    long_after = executed(planned, statement, parameters | {"start": END + 30 * DAY, "end": END + 30 * DAY + LIMIT * width})
    assert scanned(long_after) <= chunks(planned, END - 14 * DAY, END + DAY) | weeks(planned)


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (EACH_LATEST_PRICE, {"symbols": ",".join(SYMBOLS)}),
        (ALL_LATEST_PRICES, {}),
        (SOME_LATEST_PRICES, {"symbols": SYMBOLS}),
        (LAST_PRICES, {"symbols": SYMBOLS}),
        (NEWEST_TRADE, {}),
    ],
)
def test_latest_prices_scan_no_chunk(planned: Connection, statement: LiteralString, parameters: dict[str, Any]):
    nodes = executed(planned, statement, parameters)
    assert scanned(nodes) == set()
    assert sum(node["Actual Rows"] for node in nodes if node.get("Relation Name") == "latest_trades") <= len(SYMBOLS)


@pytest.mark.parametrize("is_chosen", [False, True], ids=["all", "some"])
def test_snapshots_read_two_days_by_index_and_older_chunks_only_for_a_symbol_without_a_trade_before(
    planned: Connection, *, is_chosen: bool
):
    statement = snapshots_statement(past=False, is_chosen=is_chosen)
    for now, symbols in ((END - 5 * DAY, SYMBOLS), (MIDDLE, SYMBOLS), (MIDDLE, ["MSFT"])):
        parameters = used(statement, snapshot_parameters(now) | {"symbols": symbols})
        nodes = executed(planned, statement, parameters)
        around = chunks(planned, now - 9 * DAY, now + DAY) | chunks(planned, END - 2 * DAY, END + DAY)
        assert scanned(nodes) <= around | weeks(planned)
        by_index = {"Index Scan", "Index Only Scan", "Index Scan Backward", "Bitmap Heap Scan"}
        assert {node["Node Type"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")} <= by_index


@pytest.mark.parametrize("interval", INTERVALS)
def test_streamed_candle_uses_an_index_for_trades_that_are_not_materialized(planned: Connection, interval: str):
    bucket = END - (END - WEEK_START) % INTERVALS[interval]
    nodes = executed(planned, STREAM_CANDLES[interval], {"symbols": ["MSFT"], "first": bucket, "last": bucket})
    assert scanned(nodes) <= chunks(planned, bucket, END + DAY) | tail(planned)
    assert "Seq Scan" not in {node["Node Type"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")}


@pytest.mark.parametrize("number", [0, 5, 50_000])
def test_page_of_a_stream_reads_its_own_rows_in_a_commit_of_any_size(planned: Connection, number: int):
    ((first, rows),) = planned.execute("""
        SELECT version, count(*) FROM commits JOIN stream_events USING (write_id) GROUP BY 1 ORDER BY 1 LIMIT 1
    """).fetchall()
    assert rows > 100_000
    statement = STREAM_EVENTS.replace("%(until)s", "NULL").replace("%(symbols)s", "NULL")
    nodes = executed(planned, statement, {"version": first, "number": number, "limit": LIMIT})
    read = [node["Actual Rows"] for node in nodes if node.get("Relation Name") == "stream_events"]
    assert read
    assert sum(read) <= 3 * LIMIT


def test_totals_of_trades_read_no_chunk(planned: Connection):
    nodes = executed(planned, TRADE_TOTALS, {})
    assert scanned(nodes) == set()
    assert sum(node["Actual Rows"] for node in nodes if "Relation Name" in node) <= len(SYMBOLS) + 2
    ((count, _),) = planned.execute(TRADE_TOTALS).fetchall()
    assert count == pytest.approx(DAYS * 24 * 6 * len(SYMBOLS), rel=0.01)
