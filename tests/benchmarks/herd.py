"""Measure ten thousand clients of `/stream`, and their return after a restart: `uv run python tests/benchmarks/herd.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. Each client subscribes to a symbol that
all have in common and to one of `--symbols` others; a process commits `--rate` trades a second, every `--common-every`th of
the common symbol. First with 100 clients, then with `--clients`: memory per client, and the time from the start of a
transaction to the arrival of its event. Then the service is stopped and started twice, while trades are committed:

- at once: all clients connect in the moment in which the new service listens;
- as hinted: each connects after its `retry`, and after a refused connection again after as long.

Another process reads the latest price of the common symbol, `--reads` times a second. A latency counts from the time at
which the request was due; the first read of a connection, which also waits until it is accepted, has a column of its own.
Statements are those of the database without the commits and these reads. Each client checks that the numbers of its trades
have no gap and no repetition.
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import psycopg
from filled import new_database
from herd_load import COMMON, Background, Read, probe, write
from stream_clients import StreamClients

from market_data.database import migrations

FEW = 100
"""Clients of the comparison."""
OTHER_FILES = 500
"""Open files of a process besides its clients."""
PATIENCE_SECONDS = 120
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
STATISTICS_SECONDS = 2.5
"""Time after which PostgreSQL has counted all transactions."""
START = [sys.executable, "-m", "market_data.cli.main", "serve", "--port"]


def main() -> None:
    options = _options()
    _require_files(options.clients + OTHER_FILES)
    symbols = [f"S{number}" for number in range(options.symbols)]
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            names = [COMMON, *symbols]
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", [names])
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING", WORKERS=str(options.workers))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        service = Service(port)
        stack.callback(service.stop)
        service.start()
        writer = stack.enter_context(Background(write, database_url, symbols, options.rate, options.common_every))
        prober = stack.enter_context(Background(probe, port, options.reads))
        clients = StreamClients(port, ((COMMON, symbol) for symbol in cycle(symbols)), options.channels)
        stack.callback(clients.close)
        report = Report(clients, service, database_url)
        print(
            f"machine: {os.cpu_count()} processors; {options.workers} worker(s), {options.rate} commits a second, one in "
            f"{options.common_every} of the common symbol, {options.reads} reads a second\n"
        )
        time.sleep(3)
        _measure(report, options)
        numbers = writer.result()
        clients.run(lambda: False, 2)
        report.print(prober.result(), numbers)


def _measure(report: "Report", options: argparse.Namespace) -> None:
    report.calm("no clients", options.seconds)
    report.connect("few connect", FEW)
    report.calm("few clients", options.seconds)
    report.connect("others connect", options.clients - FEW)
    report.calm("all clients", options.seconds)
    for title, at_once in (("restart, at once", True), ("restart, as hinted", False)):
        report.restart(title, at_once=at_once)
        report.calm(f"after {title}", options.seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure many clients of a stream, and their return after a restart.")
    parser.add_argument("--clients", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of the service (default: %(default)s)")
    parser.add_argument("--symbols", type=int, default=100, help="besides the common one (default: %(default)s)")
    parser.add_argument("--channels", default="trades", help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=20, help="commits a second (default: %(default)s)")
    parser.add_argument("--common-every", type=int, default=20, help="commits from one of the common symbol to the next")
    parser.add_argument("--reads", type=float, default=40, help="reads of a price a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement (default: %(default)s)")
    return parser.parse_args()


def _require_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        sys.exit(f"The limit of open files (RLIMIT_NOFILE) is {hard:,}, {needed:,} are needed; raise it with `ulimit -Hn`.")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Service:
    """The service, which can be stopped and started again on the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.listening = threading.Event()

    def start(self) -> None:
        """Start, and return once it listens."""
        self._process = subprocess.Popen([*START, str(self.port)], stdout=subprocess.DEVNULL)
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                self.listening.set()
                return
            if self._process.poll() is not None:
                sys.exit("the service does not serve")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop in order."""
        self.listening.clear()
        if self._process:
            self._process.terminate()
            self._process.wait()

    def memory(self) -> tuple[float, float]:
        """Return the proportional and the unique set size of all processes of the service, in kB."""
        assert self._process
        mine = [self._process.pid]
        for each in mine:
            mine += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
        fields: Counter[str] = Counter()
        for each in mine:
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:]:
                name, kilobytes, _ = line.split()
                fields[name.rstrip(":")] += int(kilobytes)
        return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


class Phase(NamedTuple):
    """A part of the run, and its figures."""

    title: str
    start: float
    end: float
    common: list[float]
    others: list[float]
    transactions: float
    """Of the database, without those of the writer."""
    counted: tuple[float, float]
    """Times between which they were counted."""


class Report:
    """Runs the parts, and prints their figures."""

    def __init__(self, clients: StreamClients, service: Service, database_url: str) -> None:
        self._clients = clients
        self._service = service
        self._database = psycopg.connect(database_url, autocommit=True)
        self._phases: list[Phase] = []
        self._memory: dict[str, tuple[float, float, int]] = {}

    def calm(self, title: str, seconds: float) -> None:
        """Measure deliveries while nothing else happens."""
        self._clients.latencies.clear()
        self._begin()
        self._clients.run(lambda: False, seconds)
        pss, uss = self._service.memory()
        self._memory[title] = pss, uss, len(self._clients.all)
        self._end(title, f"{pss / 1000:,.0f} MB ({uss / 1000:,.0f} of its own)")

    def connect(self, title: str, number: int) -> None:
        """Connect further clients, all at once."""
        self._begin()
        self._clients.add(number)
        self._wait_for_all()
        self._end(title, f"all stream after {time.monotonic() - self._start:.1f} s")

    def restart(self, title: str, *, at_once: bool) -> None:
        """Stop and start the service, and wait until all clients receive new events."""
        stopped = listened = 0.0

        def again() -> None:
            nonlocal stopped, listened
            self._service.stop()
            stopped = time.monotonic()
            self._service.start()
            listened = time.monotonic()

        self._begin()
        self._clients.may_return = self._service.listening.is_set if at_once else None
        thread = threading.Thread(target=again)
        thread.start()
        self._clients.run(lambda: self._clients.back == 0, PATIENCE_SECONDS)
        self._wait_for_all()
        thread.join()
        end = time.monotonic()
        stop, start = stopped - self._start, listened - stopped
        note = f"stopped in {stop:.1f} s, listened after {start:.1f} s, all stream again after {end - listened:.1f} s"
        self._start = listened
        self._end(title, note)

    def _wait_for_all(self) -> None:
        if not self._clients.run(lambda: self._clients.back == len(self._clients.all), PATIENCE_SECONDS):
            sys.exit(f"only {self._clients.back:,} clients stream after {PATIENCE_SECONDS} s: {self._clients.problems}")

    def _begin(self) -> None:
        self._before = self._counts()
        self._start = self._counted_from = time.monotonic()

    def _end(self, title: str, note: str) -> None:
        end = time.monotonic()
        self._clients.run(lambda: False, STATISTICS_SECONDS)
        transactions, committed = (after - before for after, before in zip(self._counts(), self._before, strict=True))
        counted = self._counted_from, time.monotonic()
        common = self._clients.latencies.pop(COMMON, [])
        others = [each for latencies in self._clients.latencies.values() for each in latencies]
        self._phases.append(Phase(title, self._start, end, common, others, transactions - committed, counted))
        print(f"{title}: {note}", flush=True)

    def _counts(self) -> list[int]:
        return [
            value
            for query in (TRANSACTIONS, "SELECT newest_version()")
            for (value,) in self._database.execute(query).fetchall()  # pyright: ignore
        ]

    def print(self, reads: Sequence[Read], numbers: dict[str, int]) -> None:
        """Print the figures of all parts."""
        print(f"\n{'':28}{'ms of the common symbol':>25}{'of others':>16}{'ms of a read':>24}{'first':>8}{'statements':>12}")
        print(f"{'':28}{'p50':>12}{'p99':>13}{'p50':>8}{'p99':>8}{'p50':>8}{'p99':>8}{'max':>8}")
        for phase in self._phases:
            inside = [read for read in reads if phase.start <= read.due <= phase.end]
            latencies = [read.seconds for read in inside if not read.is_first]
            connects = [read.seconds for read in inside if read.is_first]
            reads_counted = sum(phase.counted[0] <= read.due <= phase.counted[1] for read in reads)
            figures = [
                *(at(phase.common, part) for part in (0.5, 0.99)),
                *(at(phase.others, part) for part in (0.5, 0.99)),
                *(at(latencies, part) for part in (0.5, 0.99, 1)),
            ]
            first = f"{max(connects) * 1e3:8,.0f}" if connects else f"{'':8}"
            columns = "".join(
                f"{each * 1e3:{width},.1f}" for each, width in zip(figures, (12, 13, 8, 8, 8, 8, 8), strict=True)
            )
            print(f"{phase.title:28}{columns}{first}{phase.transactions - reads_counted:12,.0f}")
        phases = {phase.title: phase for phase in self._phases}
        behind = sum(numbers[symbol] - number for client in self._clients.all for symbol, number in client.seen.items())
        (pss, uss, few), (all_pss, all_uss, everyone) = self._memory["few clients"], self._memory["all clients"]
        more = everyone - few
        print(f"\nkB per client: {(all_pss - pss) / more:.1f}, {(all_uss - uss) / more:.1f} of its own")
        ratios = [at(phases["all clients"].common, part) / at(phases["few clients"].common, part) for part in (0.5, 0.99)]
        print(f"delivery to {everyone:,} clients ÷ to {few:,}: p50 {ratios[0]:.1f}, p99 {ratios[1]:.1f}")
        print(f"events that are missing at the end: {behind:,}; others: {dict(self._clients.problems) or 'none'}")


def at(latencies: list[float], part: float) -> float:
    """Return a quantile; NaN of nothing."""
    ordered = sorted(latencies)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else float("nan")


if __name__ == "__main__":
    main()
