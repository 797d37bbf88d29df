"""How fast other stacks answer the same: `uv run --group benchmarks python tests/benchmarks/compare.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. One worker of each, all under uvicorn
with the same settings, with as many connections to the same database:

- service: this one,
- FastAPI: `peers/fastapi_service.py`, the same contract by FastAPI, SQLAlchemy and Pydantic,
- bare: `peers/bare_service.py`, asyncpg and orjson in one ASGI callable, without a framework, and
- static: a route of this service that answers bytes which are there already. No read can be faster on this stack.

They are first asked the same, and have to answer the same. Then they take turns in short rounds, each beginning with
another one. What counts are the ratios within a round, for whatever else the machine does falls on all: medians, in
brackets the lowest and the highest round. Percentiles are those of all answers; what an answer took of a processor, in its
process alone, is the figure that a busy machine spoils least. All times are in milliseconds.
"""

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cases import CASES
from filled import fill, new_database
from load import Answered, ask
from questions import differences
from reads import _peak_memory, _ratios, _serving
from static import PATH

HERE = Path(__file__).resolve().parent
MOST_CONNECTIONS = 64
CONNECTIONS = {"latest price": (1, 16, MOST_CONNECTIONS), "10,000 candles": (4,)}
"""By case; 16 for the others. With more than the pool has, the slowest would keep the largest answer for many seconds, and
uvicorn would take clients that wait for their turn for idle ones."""
TARGET = 0.7
"""What the latest price is to reach of the static route's rate."""
LIBRARIES = ("litestar", "fastapi", "uvicorn", "uvloop", "sqlalchemy", "psycopg", "asyncpg", "msgspec", "pydantic", "orjson")
SETTINGS = {
    "POOL_SIZE": "4",
    "POOL_TIMEOUT_SECONDS": "30",  # SQLAlchemy's default; nobody is to refuse
    "QUERY_TIMEOUT_SECONDS": "30",
    "FEED_ENABLED": "false",
    "LOG_LEVEL": "WARNING",
}
"""For the service; the peers read the first."""


class Contender(NamedTuple):
    """A process that serves."""

    process: int
    port: int


class Round(NamedTuple):
    """How a contender answered in one round, and the seconds of a processor that it took."""

    answered: Answered
    processor: float | None


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        print("filling a database …", flush=True)
        server = fill(database_url)
        print(f"machine: {os.cpu_count()} processors, {platform.platform()}")
        print(f"versions: {server}; Python {platform.python_version()}", end="")
        print(*("", *(f"{name} {version(name)}" for name in LIBRARIES)), sep=", ")
        os.environ.update(SETTINGS, DATABASE_URL=database_url)
        contenders = {
            "service": ["-m", "market_data.cli.main", "serve", "--port"],
            "FastAPI": _uvicorn("peers", "fastapi_service:create"),
            "bare": _uvicorn("peers", "bare_service:create"),
            "static": _uvicorn(".", "static:create"),
        }
        serving = {name: Contender(*stack.enter_context(_serving(*command))) for name, command in contenders.items()}
        ports = {name: contender.port for name, contender in serving.items() if name != "static"}
        if found := differences(ports):
            sys.exit("\n".join(found))
        print("all answer the same", flush=True)
        _compare(serving, options)
        print("\npeak memory:", ", ".join(f"{name} {_peak_memory(each.process)}" for name, each in serving.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares the service with other stacks that serve the same contract.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender in a round (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="reads whose name contains this, such as 'candles'")
    return parser.parse_args()


def _uvicorn(folder: str, app: str) -> list[str]:
    """Serves an application as `market-data serve` does."""
    settings = "--loop uvloop --http httptools --no-access-log --no-server-header --log-level warning"
    return ["-m", "uvicorn", "--app-dir", str(HERE / folder), "--factory", app, *settings.split(), "--port"]


def _compare(serving: Mapping[str, Contender], options: argparse.Namespace) -> None:
    print(f"{options.rounds} rounds of {options.seconds} s each")
    for case in CASES:
        if options.only not in case.name:
            continue
        for connections in CONNECTIONS.get(case.name, (16,)):
            paths = {name: [PATH] if name == "static" else case.paths for name in serving}
            answered = _rounds(serving, paths, connections, options)
            _print_case(f"{case.name}, {connections} connection{'s' * (connections > 1)}", answered)
            if connections == MOST_CONNECTIONS:
                reached = _ratios(_rates(answered["service"]), _rates(answered["static"]))
                print(f"service ÷ static: {reached} (target: {TARGET})", flush=True)


def _rounds(
    serving: Mapping[str, Contender], paths: Mapping[str, Sequence[str]], connections: int, options: argparse.Namespace
) -> dict[str, list[Round]]:
    """What each contender did in each round, after one that only warms up."""
    rounds: dict[str, list[Round]] = {name: [] for name in serving}
    names = list(serving)
    for _ in range(options.rounds + 1):
        for name in names:
            process, port = serving[name]
            before = _processor_seconds(process)
            answered = ask(port, paths[name], connections, options.seconds)
            after = _processor_seconds(process)
            rounds[name].append(Round(answered, None if before is None or after is None else after - before))
        names = [*names[1:], names[0]]
    return {name: each[1:] for name, each in rounds.items()}


def _print_case(title: str, rounds: Mapping[str, list[Round]]) -> None:
    print(
        f"\n{title:32}{'requests/s':>11}   {'rate ÷ service':20}{'p50 ms':>8}{'p95 ms':>9}{'p99 ms':>9}{'processor ms':>14}"
    )
    for name, own in rounds.items():
        latencies = [latency * 1e3 for each in own for latency in each.answered.latencies]
        cuts = statistics.quantiles(latencies, n=100, method="inclusive")
        print(
            f"  {name:30}{statistics.median(_rates(own)):11,.0f}   {_ratios(_rates(own), _rates(rounds['service'])):20}"
            f"{cuts[49]:8.2f}{cuts[94]:9.2f}{cuts[98]:9.2f}{_processor(own):>14}",
            flush=True,
        )


def _rates(rounds: Sequence[Round]) -> list[float]:
    return [each.answered.a_second for each in rounds]


def _processor(rounds: Sequence[Round]) -> str:
    """Milliseconds of a processor for an answer, where the system tells."""
    took = [each.processor for each in rounds if each.processor is not None]
    return f"{sum(took) * 1e3 / sum(len(each.answered.latencies) for each in rounds):.3f}" if took else "unknown"


def _processor_seconds(process: int) -> float | None:
    """What a process has taken of the processors, where the system tells (Linux)."""
    stat = Path(f"/proc/{process}/stat")
    if not stat.exists():
        return None
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
