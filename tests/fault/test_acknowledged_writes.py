"""Clients that retry unacknowledged writes while the service, its database or the connection between them fails.

Afterwards, on either engine: each acknowledged write is stored once with its values; cancelled trades are gone, corrections
are stored, and the audit trail has each change once; candles and latest trades agree with the trades; a stream client has
received each trade and each change once; and the service is healthy without intervention.
"""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.api_keys import store_key
from helpers.candle_scenarios import differing_intervals
from helpers.environments import Environment
from helpers.faults import FAULTS, Fault
from helpers.load_clients import SYMBOLS, Change, TradeKey, Writers
from helpers.service import eventually
from helpers.sse_client import Listener
from helpers.support import SERVER, Connection, Databases, Trade

KEY = "writers"
CHANGED = {"correct": "corrected", "cancel": "cancelled"}
"""Change in an event of each action of the audit trail."""

TRADES = "SELECT time, symbol, trade_id, price, volume FROM trades"
NEWEST = "SELECT time, symbol, trade_id, price, volume FROM latest_trades"
CHANGES = """
    SELECT id, action, symbol, time, trade_id, price_before, volume_before, price_after, volume_after
    FROM trade_changes
    WHERE actor = 'writers'
    ORDER BY id
"""
FED = "SELECT count(*) FROM trades WHERE symbol = 'AAPL'"
REFRESHED = """
    SELECT total_successes
    FROM timescaledb_information.job_stats
    JOIN timescaledb_information.jobs USING (job_id)
    WHERE proc_name = 'refresh_candles'
"""

# On a server, a full disk ends the job scheduler. After the service has restarted it, it reports the job whose end was not
# recorded, and delays that job's next run by five minutes.
WAITING = """
    SELECT count(*)
    FROM timescaledb_information.job_errors
    CROSS JOIN pg_stat_activity
    WHERE proc_name = 'refresh_candles' AND err_message IS NULL
        AND datname = current_database() AND backend_type = 'TimescaleDB Background Worker Scheduler'
"""


@pytest.fixture
def own_seed(request: pytest.FixtureRequest) -> Path | None:
    return None if SERVER else request.getfixturevalue("migrated_seed")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name.replace(" ", "-") for fault in FAULTS])
def test_acknowledged_writes_are_stored_exactly_once(
    fault: Fault,
    new_migrated_database: Databases,
    own_seed: Path | None,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    with fault.environment(tmp_path, new_migrated_database, own_seed) as environment:
        environment.prepare(*fault.arguments, **fault.settings(environment))
        environment.start()
        try:
            with (
                listening(environment) as listener,
                Writers(environment.address, _prepare_database(environment.url), _now(), timeout=fault.timeout) as writers,
            ):
                for _ in range(fault.times):
                    writers.wait_for_calls()
                    environment.injected[fault.name] += 1
                    fault.inject(environment)
                writers.wait_for_calls()
                writers.end()
                assert not set(writers.retries) & {"500", "501", "502", "504"}
                assert fault.attempts is None or writers.most_attempts <= fault.attempts, str(writers)
                _assert_healthy(environment)
                _assert_streamed(listener, writers, gaps=fault.gaps)
            found = _assert_stored(environment, writers)
            environment.service.signal(signal.SIGTERM)
            assert environment.service.wait() == 0
            assert "Traceback" not in environment.logs
        finally:
            environment.end()
    record_property("fault", f"{_format_counts(environment.injected)}; {writers}; {found}")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _prepare_database(url: str) -> str:
    """Store the symbols and the API key of the writers, and return the key."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", ([*SYMBOLS],))
    return store_key(url, "write", name=KEY, lasts=timedelta(hours=12))


@contextmanager
def listening(environment: Environment) -> Iterator[Listener]:
    listener = Listener(lambda: environment.address)
    try:
        eventually(lambda: listener.events)
        yield listener
    finally:
        listener.end()


def _format_counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counter.items()))


def _assert_healthy(environment: Environment) -> None:
    """Assert that the service is ready, stores trades of the feed, and refreshes candles or is going to."""

    def ready() -> bool:
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{environment.address}/health/ready", timeout=5)
            return answer.status_code == 200 and answer.json()["checks"]["feed"] in ("feeding", "waiting")
        return False

    eventually(ready)
    with psycopg.connect(environment.url, autocommit=True) as connection:
        before = [connection.execute(query).fetchall() for query in (FED, REFRESHED)]
        eventually(lambda: connection.execute(FED).fetchall() > before[0])
        eventually(
            lambda: connection.execute(REFRESHED).fetchall() > before[1] or connection.execute(WAITING).fetchall() != [(0,)]
        )


def _assert_streamed(listener: Listener, writers: Writers, *, gaps: bool) -> None:
    """Assert that each trade and each change was streamed once; with `gaps`, a gap is accepted instead."""
    expected = Counter((trade, None) for trade in {*writers.trades, *(change.trade for change in writers.changes)})
    expected += Counter((change.trade, CHANGED[change.action]) for change in writers.changes)

    def streamed() -> Counter[tuple[TradeKey, str | None]]:
        trades = [event.data for event in listener.events if event.name == "trade" and event.data["symbol"] in SYMBOLS]
        return Counter(
            ((each["symbol"], datetime.fromisoformat(each["timestamp"]), each["trade_id"]), each.get("change"))
            for each in trades
        )

    def has_gap() -> bool:
        return gaps and any(event.name == "gap" for event in listener.events)

    eventually(lambda: streamed().total() >= expected.total() or has_gap())
    assert streamed() <= expected
    before = len(listener.events)
    eventually(lambda: any(event.name == "trade" for event in listener.events[before:]))


def _assert_stored(environment: Environment, writers: Writers) -> str:
    """Assert that exactly the acknowledged writes are stored, and that everything derived from them agrees."""
    with psycopg.connect(environment.url, options="-c timezone=UTC") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        trades = connection.execute(TRADES).fetchall()
        mine = [each for each in trades if each[1] in SYMBOLS]
        assert len(mine) == len(writers.trades)
        assert {(symbol, at, number): values for at, symbol, number, *values in mine} == {
            trade: [*values] for trade, values in writers.trades.items()
        }
        changes = [
            Change(number, action, (symbol, at, trade_id), (price, volume), after and (after, volume_after))
            for number, action, symbol, at, trade_id, price, volume, after, volume_after in connection.execute(CHANGES)
        ]
        assert changes == writers.changes
        newest: dict[str, Trade] = {}
        for each in trades:
            newest[each[1]] = max(each, newest.get(each[1], each), key=itemgetter(0, 2))
        assert sorted(connection.execute(NEWEST).fetchall()) == sorted(newest.values())
    with psycopg.connect(environment.url, options="-c timezone=UTC", autocommit=True) as connection:
        eventually(lambda: _candles_agree(connection))
        ((candles,),) = connection.execute("SELECT count(*) FROM candles").fetchall()
    for symbol in SYMBOLS:
        answer = httpx.get(f"{environment.address}/price/latest", params={"symbol": symbol}, timeout=10).json()
        assert datetime.fromisoformat(answer["timestamp"]) == newest[symbol][0]
        assert answer["price"] == float(newest[symbol][3])
    return f"{len(mine):,} trades, {len(changes):,} changes and {candles:,} candles are correct"


def _candles_agree(connection: Connection) -> bool:
    """True if the candles of all intervals are the candles of the trades after a refresh."""
    connection.execute("CALL refresh_candles()")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        trades = connection.execute(TRADES).fetchall()
        return differing_intervals(connection, trades, datetime(2000, 1, 1, tzinfo=UTC)) == []
