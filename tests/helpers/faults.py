"""Faults, and how they are injected into a stage.

The server is not killed, for it is the other tests' as well: its sessions are, and its jobs. Nor is its clock put forward or
back, or its write-ahead log kept from growing; the embedded engine's are.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest
from helpers.environments import Databases, Stage, behind_a_proxy, can_have_a_small_disk, fill, on_a_small_disk, on_its_own
from helpers.load_clients import reading
from helpers.service import eventually
from helpers.support import SERVER
from helpers.tcp_proxy import Proxy

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

TERMINATE = """
    SELECT count(pg_terminate_backend(pid))
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type NOT LIKE '%Scheduler%'
"""


def kill_service(stage: Stage) -> None:
    stage.service.signal(signal.SIGKILL)
    stage.service.wait()
    stage.start()


def restart_service(stage: Stage) -> None:
    stage.service.signal(signal.SIGTERM)
    assert stage.service.wait() == 0
    stage.start()


def kill_worker(stage: Stage) -> None:
    worker = random.choice(stage.service.workers())
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len({*stage.service.workers()} - {worker}) == 2)


def kill_engine(stage: Stage) -> None:
    os.kill(stage.engine, signal.SIGKILL)


def end_sessions(stage: Stage) -> None:
    with psycopg.connect(stage.url, autocommit=True) as connection:
        for _ in range(25):
            stage.injected["sessions ended"] += connection.execute(TERMINATE).fetchall()[0][0]
            time.sleep(random.uniform(0.005, 0.05))


def through_proxy(stage: Stage, *, fault: Callable[[Proxy], None], seconds: float) -> None:
    fault(stage.proxy)
    time.sleep(seconds)
    stage.proxy.restore()


def lose_answers(proxy: Proxy) -> None:
    for _ in range(10):
        proxy.lose_answers()
        time.sleep(random.uniform(0.02, 0.1))
        proxy.restore()
        time.sleep(random.uniform(0.05, 0.1))


def fill_disk(stage: Stage) -> None:
    file = fill(stage.disk)
    stage.injected["bytes taken"] += file.stat().st_size
    time.sleep(1.5)
    file.unlink()


def fill_disk_and_kill_engine(stage: Stage) -> None:
    """It can't start again before there is room."""
    file = fill(stage.disk)
    kill_engine(stage)
    time.sleep(3)
    file.unlink()


def exhaust_pool(stage: Stage) -> None:
    """Have readers queue up behind one whose query does not end."""
    with reading(stage.address, 6) as answers, psycopg.connect(stage.url) as connection:
        connection.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        time.sleep(1.5)
    stage.injected["readers refused"] += answers["503"]


def change_clock(stage: Stage) -> None:
    """Have it run an hour ahead, an hour behind, and ahead again; then start the service where it is right."""
    for hours in (1, -1, 1):
        stage.clock.write_text(f"{hours:+}h")
        eventually(partial(_is_off, stage, timedelta(hours=hours)))
        time.sleep(1)
    stage.prepare(LD_PRELOAD="")
    kill_service(stage)


def _is_off(stage: Stage, offset: timedelta) -> bool:
    """Whether the clocks of the service and of the engine that it runs are that far off."""
    with suppress(httpx.TransportError, psycopg.Error), psycopg.connect(stage.url) as connection:
        told = [datetime.fromisoformat(httpx.get(f"{stage.address}/health").json()["timestamp"])]
        if not SERVER:
            told += connection.execute("SELECT clock_timestamp()").fetchall()[0]
        return all(abs(clock - datetime.now(UTC) - offset) < timedelta(minutes=5) for clock in told)
    return False


class Fault(NamedTuple):
    what: str
    inject: Callable[[Stage], None]
    times: int = 2
    stage: Callable[[Path, Databases, Path | None], AbstractContextManager[Stage]] = on_its_own
    arguments: tuple[str, ...] = ()
    settings: Callable[[Stage], dict[str, str]] = lambda _: {}
    gaps: bool = False
    """Whether streams may forget what happened: an hour ago, they have it no more."""


def clocked(stage: Stage) -> dict[str, str]:
    """What gives the service, and the engine that it runs, a clock that can be changed."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed")
    stage.clock.write_text("+0")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stage.clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


SMALL_DISK = can_have_a_small_disk()
"""A full disk is injected only where this is so."""

FAULTS = (
    Fault("service killed", kill_service, 1),
    Fault("worker killed", kill_worker, 1, arguments=("--workers", "2")),
    Fault("service restarted", restart_service, 1),
    *([Fault("sessions of the server ended", end_sessions)] if SERVER else [Fault("engine killed", kill_engine)]),
    Fault("connection cut", partial(through_proxy, fault=Proxy.cut, seconds=0.5), stage=behind_a_proxy),
    Fault("connection stalled", partial(through_proxy, fault=Proxy.stall, seconds=2), stage=behind_a_proxy),
    Fault(
        "connection slowed",
        partial(through_proxy, fault=partial(Proxy.slow, delay=0.04, bytes_a_second=200_000), seconds=2),
        stage=behind_a_proxy,
    ),
    Fault("answers lost", partial(through_proxy, fault=lose_answers, seconds=0), stage=behind_a_proxy),
    *([Fault("disk full", fill_disk, stage=on_a_small_disk)] if SMALL_DISK else []),
    *(
        [Fault("engine killed on a full disk", fill_disk_and_kill_engine, 1, on_a_small_disk)]
        if SMALL_DISK and not SERVER
        else []
    ),
    Fault("pool exhausted", exhaust_pool, settings=lambda _: {"POOL_SIZE": "1"}),
    Fault("clock changed", change_clock, 1, settings=clocked, gaps=True),
)
