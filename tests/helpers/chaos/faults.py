"""Faults that a run injects at random, one or two at a time."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import NamedTuple

import psycopg
from helpers import faults
from helpers.chaos import server
from helpers.chaos.stage import Stage, connect
from helpers.support import SERVER
from helpers.tcp_proxy import Proxy

MAX_OUTAGE_SECONDS = 6.0
JUMPS = ("+1h", "-1h", "+10m", "-40s", "+0")
SERVER_JUMPS = ("-1h", "-10m", "-40s", "+0")
"""Offsets for a server, whose handler of SIGALRM sees the true time, because libfaketime does nothing in signal handlers:
with an offset above zero, time-outs are late by it, and deadlocks last as long."""

TO_COLUMNSTORE = """
    SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass, if_not_compressed => true)
    FROM timescaledb_information.chunks
    WHERE hypertable_name = 'trades' AND range_end < now() - INTERVAL '7 days'
"""
MAINTENANCE = ("CALL refresh_candles()", TO_COLUMNSTORE, "CALL drop_old_trades()", "CALL trim_stream()", "VACUUM trades")


class Fault(NamedTuple):
    name: str
    inject: Callable[[Stage, Random], None]
    possible: Callable[[Stage], bool] = lambda _: True
    of_service: bool = False
    """True if it needs or ends the process of the service; of such faults one is injected at a time."""


def kill_service(stage: Stage, _: Random) -> None:
    faults.kill_service(stage.environment)


def restart_service(stage: Stage, _: Random) -> None:
    faults.restart_service(stage.environment)


def kill_worker(stage: Stage, random: Random) -> None:
    workers = stage.environment.service.workers()
    if workers:
        with suppress(ProcessLookupError):
            os.kill(random.choice(workers), signal.SIGKILL)


def kill_database(stage: Stage, random: Random) -> None:
    """Kill the database, sometimes again while it starts."""
    for _ in range(random.choice([1, 1, 2])):
        assert stage.kill_database
        with suppress(OSError, ValueError):  # the engine's file is absent while it starts
            stage.kill_database()
        time.sleep(random.uniform(0, 2))


def end_sessions(stage: Stage, random: Random) -> None:
    with connect(stage) as connection:
        for _ in range(random.randint(1, 20)):
            connection.execute(faults.TERMINATE)
            time.sleep(random.uniform(0, 0.1))


def disturb_network(effect: Callable[[Proxy], None]) -> Callable[[Stage, Random], None]:
    def inject(stage: Stage, random: Random) -> None:
        proxies = random.choice([stage.proxies, stage.proxies[:1], stage.proxies[1:]])
        for proxy in proxies:
            effect(proxy)
        time.sleep(random.uniform(0, MAX_OUTAGE_SECONDS))
        for proxy in proxies:
            proxy.restore()

    return inject


def pause_pooler(stage: Stage, random: Random) -> None:
    assert stage.signal_pooler
    pause, resume = random.choice([(signal.SIGUSR1, signal.SIGUSR2), (signal.SIGSTOP, signal.SIGCONT)])
    stage.signal_pooler(pause)
    time.sleep(random.uniform(0, MAX_OUTAGE_SECONDS))
    stage.signal_pooler(resume)


def change_clock(stage: Stage, random: Random) -> None:
    for _ in range(random.randint(1, 3)):
        set_clock(stage, random.choice(SERVER_JUMPS if SERVER or server.BIN else JUMPS))
        time.sleep(random.uniform(1, 3))


def set_clock(stage: Stage, offset: str) -> None:
    """Set the offset of all clocks."""
    assert stage.clock
    stage.clock.write_text(offset)


def maintain(stage: Stage, random: Random) -> None:
    """Do what jobs and commands do, at an unusual time."""
    with suppress(psycopg.Error, OSError, ValueError), connect(stage) as connection:
        connection.execute(random.choice(MAINTENANCE).encode())


FAULTS = (
    Fault("service killed", kill_service, of_service=True),
    Fault("service restarted", restart_service, of_service=True),
    Fault("worker killed", kill_worker, of_service=True),
    Fault("database killed", kill_database, lambda stage: stage.kill_database is not None),
    Fault("sessions ended", end_sessions, lambda stage: bool(stage.proxies) and bool(SERVER)),
    Fault("connections cut", disturb_network(Proxy.cut), lambda stage: bool(stage.proxies)),
    Fault("connections stalled", disturb_network(Proxy.stall), lambda stage: bool(stage.proxies)),
    Fault("responses dropped", disturb_network(Proxy.drop_responses), lambda stage: bool(stage.proxies)),
    Fault("network slow", disturb_network(lambda proxy: proxy.slow(0.04, 200_000)), lambda stage: bool(stage.proxies)),
    Fault("PgBouncer paused", pause_pooler, lambda stage: stage.signal_pooler is not None),
    Fault("clock changed", change_clock, lambda stage: stage.clock is not None),
    Fault("maintenance", maintain),
)
