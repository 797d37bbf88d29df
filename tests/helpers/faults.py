"""Faults and their injection into an environment.

The test server is not killed, because other tests use it; only its sessions and jobs are. For the same reason, only the
embedded engine's clock is changed, and only its write-ahead log runs out of space.
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
from helpers import nginx
from helpers.environments import (
    Environment,
    behind_proxy,
    can_mount_small_disk,
    fill_up,
    on_a_small_disk,
    on_a_synchronous_pair,
    with_own_database,
)
from helpers.load_clients import running_readers
from helpers.rolling_update import RollingEnvironment, behind_nginx
from helpers.service import eventually, is_running
from helpers.support import PROJECT, SERVER, Databases
from helpers.tcp_proxy import Proxy

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

TERMINATE = """
    SELECT count(pg_terminate_backend(pid))
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type NOT LIKE '%Scheduler%'
"""


def kill_service(environment: Environment) -> None:
    workers = environment.service.workers()
    environment.service.signal(signal.SIGKILL)
    environment.service.wait()
    eventually(lambda: not any(map(is_running, workers)))  # one that starts keeps the port for a moment
    environment.start()


def restart_service(environment: Environment) -> None:
    environment.service.signal(signal.SIGTERM)
    assert environment.service.wait() == 0
    environment.start()


def kill_worker(environment: Environment) -> None:
    worker = random.choice(environment.service.workers())
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len({*environment.service.workers()} - {worker}) == 2)


def kill_engine(environment: Environment) -> None:
    os.kill(environment.engine, signal.SIGKILL)


def end_sessions(environment: Environment) -> None:
    with psycopg.connect(environment.url, autocommit=True) as connection:
        for _ in range(25):
            environment.injected["sessions ended"] += connection.execute(TERMINATE).fetchall()[0][0]
            time.sleep(random.uniform(0.005, 0.05))


def through_proxy(environment: Environment, *, fault: Callable[[Proxy], None], seconds: float) -> None:
    fault(environment.proxy)
    time.sleep(seconds)
    environment.proxy.restore()


def drop_responses(proxy: Proxy) -> None:
    for _ in range(10):
        proxy.drop_responses()
        time.sleep(random.uniform(0.02, 0.1))
        proxy.restore()
        time.sleep(random.uniform(0.05, 0.1))


def fill_disk(environment: Environment) -> None:
    file = fill_up(environment.disk)
    environment.injected["bytes filled"] += file.stat().st_size
    time.sleep(1.5)
    file.unlink()


def fill_disk_and_kill_engine(environment: Environment) -> None:
    """Kill the engine while it can't start again for lack of space."""
    file = fill_up(environment.disk)
    kill_engine(environment)
    time.sleep(3)
    file.unlink()


def exhaust_pool(environment: Environment) -> None:
    """Lock the trades, so that readers wait for connections."""
    with running_readers(environment.address, 6) as answers, psycopg.connect(environment.url) as connection:
        connection.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        time.sleep(1.5)
    environment.injected["rejected reads"] += answers["503"]


def change_clock(environment: Environment) -> None:
    """Set the clock an hour ahead, an hour back, and ahead again; then restart the service with the right time."""
    for hours in (1, -1, 1):
        environment.clock.write_text(f"{hours:+}h")
        eventually(partial(_clock_is_off, environment, timedelta(hours=hours)))
        time.sleep(1)
    environment.prepare(LD_PRELOAD="")
    kill_service(environment)


def _clock_is_off(environment: Environment, offset: timedelta) -> bool:
    """True if the clocks of the service and of its engine have this offset."""
    with suppress(httpx.TransportError, psycopg.Error), psycopg.connect(environment.url) as connection:
        clocks = [datetime.fromisoformat(httpx.get(f"{environment.address}/health").json()["timestamp"])]
        if not SERVER:
            clocks += connection.execute("SELECT clock_timestamp()").fetchall()[0]
        return all(abs(clock - datetime.now(UTC) - offset) < timedelta(minutes=5) for clock in clocks)
    return False


def fail_over(environment: Environment) -> None:
    environment.pair.fail_over()


def update(environment: Environment) -> None:
    assert isinstance(environment, RollingEnvironment)
    environment.update()


class Fault(NamedTuple):
    name: str
    inject: Callable[[Environment], None]
    times: int = 2
    environment: Callable[[Path, Databases, Path | None], AbstractContextManager[Environment]] = with_own_database
    arguments: tuple[str, ...] = ()
    settings: Callable[[Environment], dict[str, str]] = lambda _: {}
    gaps: bool = False
    """True if streams may have gaps: after a jump of the clock, events count as older than an hour."""
    attempts: int | None = None
    """Attempts after which each write must be acknowledged; None for any number."""
    timeout: float = 5
    """Seconds after which a client repeats a write."""


def changeable_clock(environment: Environment) -> dict[str, str]:
    """Return the environment variables that let the test change the clock of the service and its engine."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed")
    return faketime_variables(environment.clock)


def faketime_variables(clock: Path) -> dict[str, str]:
    """Return the environment variables of processes whose clocks have the offset in a file, at first none."""
    clock.write_text("+0")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(PROJECT / "tests/clock"),  # its sitecustomize repairs time.sleep
    }


CAN_FILL_DISKS = can_mount_small_disk()
"""True if full disks can be injected."""

FAULTS = (
    Fault("service killed", kill_service, 1),
    Fault("worker killed", kill_worker, 1, arguments=("--workers", "2")),
    Fault("service restarted", restart_service, 1),
    *([Fault("sessions of the server ended", end_sessions)] if SERVER else [Fault("engine killed", kill_engine)]),
    *([Fault("primary lost", fail_over, 1, environment=on_a_synchronous_pair)] if SERVER else []),
    Fault("connection cut", partial(through_proxy, fault=Proxy.cut, seconds=0.5), environment=behind_proxy),
    Fault("connection stalled", partial(through_proxy, fault=Proxy.stall, seconds=2), environment=behind_proxy),
    Fault(
        "connection slowed",
        partial(through_proxy, fault=partial(Proxy.slow, delay=0.04, bytes_a_second=200_000), seconds=2),
        environment=behind_proxy,
    ),
    Fault("responses dropped", partial(through_proxy, fault=drop_responses, seconds=0), environment=behind_proxy),
    *([Fault("disk full", fill_disk, environment=on_a_small_disk)] if CAN_FILL_DISKS else []),
    *(
        [Fault("engine killed on a full disk", fill_disk_and_kill_engine, 1, on_a_small_disk)]
        if CAN_FILL_DISKS and not SERVER
        else []
    ),
    *([Fault("rolling update", update, 1, behind_nginx, attempts=2, timeout=60)] if nginx.PROGRAM else []),
    Fault("pool exhausted", exhaust_pool, settings=lambda _: {"POOL_SIZE": "1"}),
    Fault("clock changed", change_clock, 1, settings=changeable_clock, gaps=True),
)
