"""Compare the service with other stacks: `uv run --group benchmarks python tests/benchmarks/compare.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. One worker of each, all under uvicorn
with the same settings and the same number of connections to the same database:

- service: this one,
- FastAPI: `peers/fastapi_service.py`, the same contract with FastAPI, SQLAlchemy and Pydantic,
- bare: `peers/bare_service.py`, asyncpg and orjson in one ASGI callable, without a framework, and
- static: a route of this service that returns constant bytes. No read can be faster on this stack.
- before: with `--before FOLDER`, the service of another checkout, with its own environment and database.

First all must give the same responses, and the service must have logged the trades. Then they take turns in short rounds,
each starting with another contender. Compare the ratios within a round, because other load of the machine affects all:
medians, in brackets the lowest and the highest round. Percentiles are over all responses; the processor time of a response,
in its process alone, is the figure that a busy machine distorts least. All times are in milliseconds.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cases import CASES
from contract_check import differences
from filled import fill, new_database
from load import Answered, ask
from reads import _peak_memory, _ratios, _serving
from settled import wait_for_log
from static import PATH

HERE = Path(__file__).resolve().parent
MOST_CONNECTIONS = 64
CONNECTIONS = {"latest price": (1, 16, MOST_CONNECTIONS), "10,000 candles": (4,)}
"""Connections by case; 16 for the others. With more than the pool has, the slowest contender would take many seconds for the
largest response, and uvicorn would close waiting clients as idle."""
TARGET = 0.7
"""Target of the latest price, as a share of the static route's rate."""
LIBRARIES = ("litestar", "fastapi", "uvicorn", "uvloop", "sqlalchemy", "psycopg", "asyncpg", "msgspec", "pydantic", "orjson")
SETTINGS = {
    "POOL_SIZE": "4",
    "POOL_TIMEOUT_SECONDS": "30",  # SQLAlchemy's default; no contender may reject requests
    "QUERY_TIMEOUT_SECONDS": "30",
    "FEED_ENABLED": "false",
    "LOG_LEVEL": "WARNING",
}
"""Settings of the service; the peers read the first one."""


class Contender(NamedTuple):
    """A server process."""

    process: int
    port: int


class Round(NamedTuple):
    """Responses of a contender in one round, and its processor seconds."""

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
        if options.before:
            serving["before"] = _serve_checkout(options.before, stack)
        ports = {name: contender.port for name, contender in serving.items() if name != "static"}
        if found := differences(ports):
            sys.exit("\n".join(found))
        print("all give the same responses", flush=True)
        for name in {"service", "before"} & {*ports}:
            wait_for_log(ports[name])
        _compare(serving, options)
        print("\npeak memory:", ", ".join(f"{name} {_peak_memory(each.process)}" for name, each in serving.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the service with other stacks that serve the same contract.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender in a round (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="reads whose name contains this, such as 'candles'")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="checkout, after `uv sync`, to compare with as well")
    return parser.parse_args()


FILL_OTHER = "import sys; sys.path.insert(0, sys.argv[1]); import filled; filled.fill(sys.argv[2])"


def _serve_checkout(checkout: Path, stack: ExitStack) -> Contender:
    """Serve another checkout on a database of its own, because its schema may differ."""
    python = str(checkout / ".venv/bin/python")
    database_url = stack.enter_context(new_database())
    subprocess.run([python, "-c", FILL_OTHER, str(checkout / "tests/benchmarks"), database_url], check=True)
    command = (str(checkout / ".venv/bin/market-data"), "serve", "--port")
    return Contender(*stack.enter_context(_serving(*command, python=python, DATABASE_URL=database_url)))


def _uvicorn(folder: str, app: str) -> list[str]:
    """Return the command that serves an application as `market-data serve` does."""
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
    """Return the results of each contender by round, after a warm-up round."""
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
    """Return the processor milliseconds of a response, on Linux only."""
    took = [each.processor for each in rounds if each.processor is not None]
    return f"{sum(took) * 1e3 / sum(len(each.answered.latencies) for each in rounds):.3f}" if took else "unknown"


def _processor_seconds(process: int) -> float | None:
    """Return the processor seconds of a process, on Linux only."""
    stat = Path(f"/proc/{process}/stat")
    if not stat.exists():
        return None
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
