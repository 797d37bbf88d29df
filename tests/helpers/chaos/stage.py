"""The system under test: a service, its database, and the network between them.

The embedded engine either belongs to the service, or is reached like a server: through PgBouncer and proxies.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
from helpers import pgbouncer
from helpers.chaos import server
from helpers.environments import Environment, engine_environment, engine_state
from helpers.faults import FAKETIME, faketime_variables, kill_engine
from helpers.support import SERVER, Databases, changed_url
from helpers.tcp_proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict

from market_data import embedded
from market_data.database import migrations

WORKERS = "2"
TIMES = {"INGESTION_INTERVAL_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "5", "POOL_TIMEOUT_SECONDS": "2"}
"""Settings that a loaded machine can keep."""


@dataclass
class Stage:
    """A service, and the handles that faults use."""

    name: str
    environment: Environment
    proxies: list[Proxy] = field(default_factory=list[Proxy])
    """Between the service, or PgBouncer, and the database; the last one is the listener's."""
    signal_pooler: Callable[[signal.Signals], None] | None = None
    kill_database: Callable[[], None] | None = None
    """Kills the database, and starts it again if nothing else does."""
    clock: Path | None = None
    """File with the offset of all clocks."""

    @property
    def url(self) -> str:
        """URL of the database without PgBouncer and proxies."""
        return self.environment.url


@contextmanager
def new_stage(folder: Path, databases: Databases | None, seed: Path | None, random: Random) -> Iterator[Stage]:
    """Build and start a random stage.

    With TEST_POSTGRES_BIN it has a server of its own, with TEST_DATABASE_URL a database of that server, created by
    `databases`; otherwise the embedded engine, on a copy of the home `seed`.
    """
    with ExitStack() as stack:
        clock = folder / "clock" if FAKETIME and (server.BIN or not SERVER) and random.random() < 0.5 else None
        variables = faketime_variables(clock) if clock else {}
        if server.BIN:
            stage = stack.enter_context(_with_own_server(folder, variables, random))
        elif SERVER:
            assert databases
            url = stack.enter_context(databases())
            stage = stack.enter_context(_behind_network(folder, lambda: url, random))
        elif random.random() < 0.5:
            assert seed
            stage = Stage("engine of the service", engine_environment(folder, shutil.copytree(seed, folder / "home")))
            stage.kill_database = lambda: kill_engine(stage.environment)
        else:
            assert seed
            stage = stack.enter_context(_with_own_engine(folder, shutil.copytree(seed, folder / "home"), variables, random))
        stage.clock = clock
        stage.name += " with changeable clocks" if clock else ""
        stage.environment.prepare("--workers", WORKERS, **TIMES, **variables)
        stack.callback(stage.environment.end)
        stage.environment.start()
        yield stage


@contextmanager
def _with_own_server(folder: Path, variables: Mapping[str, str], random: Random) -> Iterator[Stage]:
    with server.running_server(variables) as own:
        migrations.upgrade(own.url)

        def kill() -> None:
            own.kill()
            own.start()

        with _behind_network(folder, lambda: own.url, random) as stage:
            stage.kill_database = kill
            yield stage


@contextmanager
def _with_own_engine(folder: Path, home: Path, variables: Mapping[str, str], random: Random) -> Iterator[Stage]:
    with (
        _exported(variables),
        embedded.owned_engine(home, report=lambda _: None) as url,
        _behind_network(folder, lambda: url, random) as stage,
    ):
        stage.kill_database = lambda: os.kill(engine_state(home)["pid"], signal.SIGKILL)
        yield stage


@contextmanager
def _behind_network(folder: Path, url: Callable[[], str], random: Random) -> Iterator[Stage]:
    """Put proxies, and mostly PgBouncer, between a service and a database."""
    target = conninfo_to_dict(url())
    with ExitStack() as stack:
        proxies = [stack.enter_context(proxy_to(str(target["host"]), int(str(target["port"])))) for _ in range(2)]
        pooled, direct = (changed_url(url(), port=proxy.port) for proxy in proxies)
        settings = {"DATABASE_URL": pooled}
        signal_pooler = None
        if pgbouncer.PROGRAM and random.random() < 0.7:
            through_pooler, signal_pooler = stack.enter_context(pgbouncer.pausable_pgbouncer(pooled))
            settings = {"DATABASE_URL": through_pooler, "DATABASE_DIRECT_URL": direct}
        name = "database behind PgBouncer and proxies" if signal_pooler else "database behind a proxy"
        yield Stage(name, Environment(folder, url, **settings), proxies, signal_pooler)


@contextmanager
def _exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that this one starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def connect(stage: Stage) -> psycopg.Connection:
    return psycopg.connect(stage.url, autocommit=True, connect_timeout=5, options="-c timezone=UTC")
