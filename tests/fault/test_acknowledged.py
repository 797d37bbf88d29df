"""Writers that repeat what is not acknowledged, while the service, its database and what lies between are made to fail.

Afterwards, on either engine: what was acknowledged is stored, once, with its values; what was cancelled is gone, what was
corrected is, and the trail has each change once; candles are those of the trades, and so are the newest ones; who listened
to the stream was told of each trade once; and the service is healthy, though nobody has helped it.
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
from helpers.candle_scenarios import differing
from helpers.environments import Databases, Stage
from helpers.faults import FAULTS, Fault
from helpers.load_clients import SYMBOLS, Change, Identity, Writers
from helpers.service import eventually
from helpers.sse_client import Listener
from helpers.support import SERVER, Connection, Trade

KEY = "writers"

TRADES = "SELECT time, symbol, trade_id, price, volume FROM trades"
NEWEST = "SELECT time, symbol, trade_id, price, volume FROM newest_trades"
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

# Of a server, whose scheduler of jobs a full disk ends: once the service has started it again, it tells of a job whose end
# was not noted, and lets that wait for five minutes.
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
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what.replace(" ", "-") for fault in FAULTS])
def test_nothing_acknowledged_is_lost_or_doubled(
    fault: Fault,
    new_migrated_database: Databases,
    own_seed: Path | None,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    with fault.stage(tmp_path, new_migrated_database, own_seed) as stage:
        stage.prepare(*fault.arguments, **fault.settings(stage))
        stage.start()
        try:
            with listening(stage) as listener, Writers(stage.address, _prepare_database(stage.url), _now()) as writers:
                for _ in range(fault.times):
                    writers.go_on()
                    stage.injected[fault.what] += 1
                    fault.inject(stage)
                writers.go_on()
                writers.end()
                assert not set(writers.retries) & {"500", "501", "502", "504"}
                _is_healthy(stage)
                _was_told(listener, writers, gaps=fault.gaps)
            found = _is_stored(stage, writers)
            stage.service.signal(signal.SIGTERM)
            assert stage.service.wait() == 0
            assert "Traceback" not in stage.logs
        finally:
            stage.service.end()
    record_property("fault", f"{_counted(stage.injected)}; {writers}; {found}")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _prepare_database(url: str) -> str:
    """Make the writers' symbols known, and a key of theirs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", ([*SYMBOLS],))
    return store_key(url, "write", name=KEY, lasts=timedelta(hours=12))


@contextmanager
def listening(stage: Stage) -> Iterator[Listener]:
    listener = Listener(lambda: stage.address)
    try:
        eventually(lambda: listener.events)
        yield listener
    finally:
        listener.end()


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(counter.items()))


def _is_healthy(stage: Stage) -> None:
    """It is ready, what the feed makes is stored, and candles are refreshed, or will be."""

    def ready() -> bool:
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{stage.address}/health/ready", timeout=5)
            return answer.status_code == 200 and answer.json()["checks"]["feed"] in ("feeding", "waiting")
        return False

    eventually(ready)
    with psycopg.connect(stage.url, autocommit=True) as connection:
        before = [connection.execute(query).fetchall() for query in (FED, REFRESHED)]
        eventually(lambda: connection.execute(FED).fetchall() > before[0])
        eventually(
            lambda: connection.execute(REFRESHED).fetchall() > before[1] or connection.execute(WAITING).fetchall() != [(0,)]
        )


def _was_told(listener: Listener, writers: Writers, *, gaps: bool) -> None:
    """Each trade once, if it may have been cancelled since; where there may be gaps, that there was one."""
    stored = {*writers.trades, *(change.trade for change in writers.changes)}

    def told() -> list[Identity]:
        trades = [event.data for event in listener.events if event.name == "trade" and event.data["symbol"] in SYMBOLS]
        return [(each["symbol"], datetime.fromisoformat(each["timestamp"]), each["trade_id"]) for each in trades]

    def has_gap() -> bool:
        return gaps and any(event.name == "gap" for event in listener.events)

    eventually(lambda: len(told()) >= len(stored) or has_gap())
    assert len(told()) == len(set(told()))
    assert stored.issuperset(told())
    before = len(listener.events)
    eventually(lambda: any(event.name == "trade" for event in listener.events[before:]))


def _is_stored(stage: Stage, writers: Writers) -> str:
    """What was acknowledged, and nothing else; and all that follows from it."""
    with psycopg.connect(stage.url, options="-c timezone=UTC") as connection:
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
    with psycopg.connect(stage.url, options="-c timezone=UTC", autocommit=True) as connection:
        eventually(lambda: _candles_agree(connection))
        ((candles,),) = connection.execute("SELECT count(*) FROM candles").fetchall()
    for symbol in SYMBOLS:
        answer = httpx.get(f"{stage.address}/price/latest", params={"symbol": symbol}, timeout=10).json()
        assert datetime.fromisoformat(answer["timestamp"]) == newest[symbol][0]
        assert answer["price"] == float(newest[symbol][3])
    return f"{len(mine):,} trades, {len(changes):,} changes and {candles:,} candles as they should be"


def _candles_agree(connection: Connection) -> bool:
    """Whether they are those of the trades at every level, once they have been refreshed."""
    connection.execute("CALL refresh_candles()")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        trades = connection.execute(TRADES).fetchall()
        return differing(connection, trades, datetime(2000, 1, 1, tzinfo=UTC)) == []
