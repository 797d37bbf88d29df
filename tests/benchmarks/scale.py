"""Measure what requests, writes and streams cost each part of a deployment: `uv run python tests/benchmarks/scale.py`.

One, two and four services on one database, behind nginx, with PgBouncer and a streaming replica, all on this machine: the
PostgreSQL programs are those in PG_BIN, with TimescaleDB. The services are pinned to one processor, everything else to the
others. The figure that other work distorts least is processor time, of the processes of each part, for a request: the
`capacity` of a processor is its inverse. Rates are compared within one run.

Finally, `helpers/queueing.py` names the part that saturates first at 10, 100 and 1,000 times the load of `LOAD`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import psycopg
from filled import SYMBOLS, fill

sys.path.append(str(Path(__file__).resolve().parents[1]))

from helpers.backups import PG_BIN
from helpers.nginx import nginx_for
from helpers.pgbouncer import running_pgbouncer
from helpers.queueing import Component, response_seconds, table
from helpers.standby import Pair, Server, primary_and_standby
from overload import Load, Mix
from reads import _serving
from streams import BATCH, Readers

TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 32
PARTS = ("services", "primary", "replica", "nginx", "PgBouncer")


class Kind(NamedTuple):
    """A kind of load, and how much of it the deployment of the operations guide has."""

    name: str
    unit: str
    a_second: float


LOAD = (Kind("reads", "requests", 950), Kind("writes", "trades", 50), Kind("streams", "events", 20_000))
"""1,000 requests a second, of which 5% store a trade, and 400 stream clients that receive all 50 trades."""

DEPLOYMENT = {"services": 4, "primary": 8, "replica": 8, "nginx": 2, "PgBouncer": 1}
"""Processors of each part. PgBouncer and a worker use one each; more of them are more processes."""


class Cost(NamedTuple):
    """The cost of one unit of a load."""

    a_second: float
    processor: dict[str, float]
    """Seconds of processor time, by part."""


class OneKind(Mix):
    """Requests that only read, or only write."""

    def __init__(self, key: str, *, writes: bool) -> None:
        super().__init__(key)
        self._writes = writes

    def draw(self) -> bytes:
        """The next request."""
        while (request := super().draw()).startswith(b"POST") != self._writes:
            pass
        return request


class Deployment(NamedTuple):
    """The parts that do not change with the number of services."""

    pair: Pair
    environment: dict[str, str]
    key: str


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        deployment = stack.enter_context(_deployed())
        print(f"{os.cpu_count()} processors; services on processor {options.processor}\n")
        print(f"| load | services | a second | ÷ 1 service | {' | '.join(f'{part}, µs' for part in PARTS)} |")
        print(f"| --- |{' ---: |' * (3 + len(PARTS))}")
        costs: dict[str, Cost] = {}
        for count in options.services:
            for name, cost in _measure(deployment, count, options):
                first = costs.setdefault(name, cost)
                cells = [f"{cost.processor[part] * 1e6:,.1f}" for part in PARTS]
                ratio = cost.a_second / first.a_second
                print(f"| {name} | {count} | {cost.a_second:,.0f} | {ratio:.2f} | {' | '.join(cells)} |", flush=True)
        commits = _commits(deployment.pair.primary.url, options.seconds)
        print(f"\ncommits a second over 16 connections, without HTTP: {commits:,.0f}\n")
        _forecast(costs, commits)


@contextmanager
def _deployed() -> Iterator[Deployment]:
    with primary_and_standby(synchronous=False) as pair:
        print(fill(pair.primary.url))
        with running_pgbouncer(pair.primary.url) as pooled:
            environment = {
                "DATABASE_URL": pooled,
                "DATABASE_DIRECT_URL": pair.primary.url,
                "DATABASE_READ_URL": pair.standby.url,
                "FEED_ENABLED": "false",
                "LOG_LEVEL": "WARNING",
                "TRUSTED_PROXIES": "127.0.0.1",
            }
            command = [sys.executable, "-m", "market_data.cli.main", "keys", "create", "load", "--scope", "write"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
            yield Deployment(pair, environment, done.stdout.strip())


def _measure(deployment: Deployment, count: int, options: argparse.Namespace) -> Iterator[tuple[str, Cost]]:
    """Yield what each kind of load costs with a number of services."""
    pair, key, seconds = deployment.pair, deployment.key, options.seconds
    with (
        _services(count, deployment.environment, options.processor) as (ports, processes),
        nginx_for([f"127.0.0.1:{port}" for port in ports]) as nginx,
    ):
        port = int(nginx.url.rpartition(":")[2])
        roots = {
            "services": processes,
            "primary": [_postmaster(pair.primary)],
            "replica": [_postmaster(pair.standby)],
            "nginx": [nginx.process_id],
            "PgBouncer": _pgbouncers(),
        }
        yield "reads", _cost(roots, lambda: _requests(port, OneKind(key, writes=False), seconds))
        yield "writes", _cost(roots, lambda: _requests(port, OneKind(key, writes=True), seconds))
        yield "streams", _cost(roots, lambda: _events(port, pair.primary.url, seconds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a load costs each part of a deployment.")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (default: %(default)s)")
    parser.add_argument("--services", type=int, nargs="+", default=[1, 2, 4], help="numbers of services")
    parser.add_argument("--processor", type=int, default=0, help="processor of the services (default: %(default)s)")
    return parser.parse_args()


@contextmanager
def _services(count: int, environment: dict[str, str], processor: int) -> Iterator[tuple[list[int], list[int]]]:
    """Run services on one processor, and yield their ports and process ids."""
    with ExitStack() as stack:
        command = ("-m", "market_data.cli.main", "serve", "--port")
        started = [stack.enter_context(_serving(*command, **environment)) for _ in range(count)]
        for process, _ in started:
            os.sched_setaffinity(process, {processor})
            for thread in Path(f"/proc/{process}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {processor})
        yield [port for _, port in started], [process for process, _ in started]


def _postmaster(server: Server) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def _pgbouncers() -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "pgbouncer"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _cost(roots: dict[str, list[int]], run: Callable[[], tuple[float, float]]) -> Cost:
    """Return what one unit of a load costs; `run` returns the number of units and the seconds that they took."""
    before = {part: sum(map(_processor_seconds, processes)) for part, processes in roots.items()}
    units, seconds = run()
    after = {part: sum(map(_processor_seconds, processes)) for part, processes in roots.items()}
    return Cost(units / seconds, {part: (after[part] - before[part]) / units for part in roots})


def _processor_seconds(process: int) -> float:
    """Return the processor time of a process and its descendants, ended ones included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own, ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return (own + ended) / TICK + sum(_descendant_seconds(int(child)) for child in children)


def _descendant_seconds(process: int) -> float:
    try:
        return _processor_seconds(process)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _requests(port: int, kinds: OneKind, seconds: float) -> tuple[float, float]:
    load = Load(port, kinds)
    load.closed(CONNECTIONS, 1)
    return load.closed(CONNECTIONS, seconds) * seconds, seconds


def _events(port: int, database_url: str, seconds: float) -> tuple[float, float]:
    """Return the events that 200 clients receive while 2,000 trades a second are stored, and the time."""
    readers = Readers(port, SYMBOLS[0], 200, 0, "trades")
    turns = cycle(range(10_000_000, 2_000_000_000, 100))
    with psycopg.connect(database_url, autocommit=True) as connection:
        before, start = readers.events, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            number = next(turns)
            connection.execute(BATCH, (SYMBOLS[0], number, number))
            time.sleep(max(0, 0.05 - (time.perf_counter() - start - passed)))
        time.sleep(1)
        events, took = readers.events - before, time.perf_counter() - start
    readers.close()
    return events, took


def _commits(database_url: str, seconds: float) -> float:
    """Return the most commits a second of a trade each, which the lock of the commits limits."""
    statement = (
        "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (clock_timestamp(), 'AAPL', "
        ":client_id * 10000000 + :number, 1, 1);"
    )
    with NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("\\set number random(1, 9999999)\n" + statement)
        script.flush()
        done = subprocess.run(
            [f"{PG_BIN}/pgbench", "-n", "-f", script.name, "-c", "16", "-T", str(round(seconds)), database_url],
            check=True,
            capture_output=True,
            text=True,
        )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("tps")]
    return float(line.split()[2])


def _forecast(costs: dict[str, Cost], commits: float) -> None:
    """Print which part saturates first at multiples of the load."""
    components = [
        Component(part, servers, sum(kind.a_second * costs[kind.name].processor[part] for kind in LOAD))
        for part, servers in DEPLOYMENT.items()
    ]
    writes = next(kind.a_second for kind in LOAD if kind.name == "writes")
    components.append(Component("commit lock", 1, writes / commits, scalable=False))
    print("\n".join(table(components, {"1": 1, "10 times": 10, "100 times": 100, "1,000 times": 1000})))
    services = costs["reads"].processor["services"]
    print(f"\nmean time of a read in a service: {response_seconds(components[0], services) * 1e3:.1f} ms at the load")


if __name__ == "__main__":
    main()
