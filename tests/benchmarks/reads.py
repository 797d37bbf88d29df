"""Measure reads of the service as ratios: `uv run python tests/benchmarks/reads.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. One worker of the service, over
keep-alive connections, is compared with

- static: a route of the same application that returns constant bytes, in a second process, and
- direct: the same statements through the same pool without HTTP, in a third process with the same concurrency; with and
  without encoding the results.

They take turns in short rounds. Compare the ratios within a round, because other load of the machine affects all; figures
are medians, in brackets the lowest and the highest round.
"""

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from cases import ALL_CASES
from filled import fill, new_database
from load import requests_a_second
from settled import wait_for_log
from static import PATH

HERE = Path(__file__).resolve().parent

KEYLESS = ("/", "/health", "/docs", "/redoc", "/dashboard", "/schema/openapi.json")
"""Paths that need no key even with AUTH=required, so anybody can request them as often as the rate limit allows."""


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        print("filling a database …", flush=True)
        server = fill(database_url)
        print(f"machine: {os.cpu_count()} processors, {platform.platform()}")
        print(f"versions: {server}; Python {platform.python_version()}", end="")
        print(
            *("", *(f"{name} {version(name)}" for name in ("litestar", "uvicorn", "uvloop", "psycopg", "msgspec"))), sep=", "
        )
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING")
        service, service_port = stack.enter_context(_serving("-m", "market_data.cli.main", "serve", "--port"))
        static, static_port = stack.enter_context(
            _serving(
                "-m",
                "uvicorn",
                "--app-dir",
                str(HERE),
                "--factory",
                "static:create",
                "--no-access-log",
                "--log-level",
                "warning",
                "--port",
            )
        )
        direct = stack.enter_context(_direct())
        wait_for_log(service_port)
        _print_header(options)
        for number, case in enumerate(ALL_CASES):
            if options.only not in case.name:
                continue
            contenders = {
                "service": lambda paths=case.paths: _over_http(service_port, paths, options),
                "static": lambda: _over_http(static_port, [PATH], options),
                "direct": lambda number=number: _ask(direct, number, options, "plain"),
                "encoded": lambda number=number: _ask(direct, number, options, "encoded"),
            }
            _print_case(case.name, _rounds(contenders, options.rounds))
        for path in KEYLESS:
            if options.only in path:
                contenders = {
                    "service": lambda path=path: _over_http(service_port, [path], options),
                    "static": lambda: _over_http(static_port, [PATH], options),
                }
                rates = _rounds(contenders, options.rounds)
                ratios = _ratios(rates["service"], rates["static"])
                print(f"{path:22}{statistics.median(rates['service']):11,.0f}   {ratios}", flush=True)
        print(f"\npeak memory: service {_peak_memory(service)}, static {_peak_memory(static)} (target: below 150 MB)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the service's reads with their parts.")
    parser.add_argument("--connections", type=int, default=16, help="requests at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender in a round (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="reads whose name contains this, such as 'candles'")
    return parser.parse_args()


def _over_http(port: int, paths: list[str], options: argparse.Namespace) -> float:
    return requests_a_second(port, paths, options.connections, options.seconds)


def _ask(direct: "subprocess.Popen[str]", number: int, options: argparse.Namespace, how: str) -> float:
    assert direct.stdin
    assert direct.stdout
    print(number, options.connections, options.seconds, how, file=direct.stdin, flush=True)
    return float(direct.stdout.readline())


def _rounds(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the rates of each contender by round, after a warm-up round."""
    figures = [{name: run() for name, run in contenders.items()} for _ in range(rounds + 1)][1:]
    return {name: [figure[name] for figure in figures] for name in contenders}


def _print_header(options: argparse.Namespace) -> None:
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s each\n")
    print(f"{'':16}{'requests/s':>11}   {'rate ÷ static':22}{'time ÷ direct':22}{'time ÷ (direct + encoding)':22}")


def _print_case(name: str, rates: Mapping[str, list[float]]) -> None:
    service = rates["service"]
    columns = (
        _ratios(service, rates["static"]),
        _ratios(rates["direct"], service),
        _ratios(rates["encoded"], service),
    )
    print(f"{name:16}{statistics.median(service):11,.0f}   " + "".join(f"{column:22}" for column in columns), flush=True)


def _ratios(above: list[float], below: list[float]) -> str:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"


@contextmanager
def _serving(*command: str, python: str = sys.executable, **environment: str) -> Iterator[tuple[int, int]]:
    """Run a server whose command ends with a port; yield its process id and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _process(*command, str(port), python=python, **environment) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{' '.join(command)} does not serve")
                time.sleep(0.1)
        yield process.pid, port


@contextmanager
def _direct() -> "Iterator[subprocess.Popen[str]]":
    with _process(str(HERE / "direct.py")) as process:
        yield process


@contextmanager
def _process(*arguments: str, python: str = sys.executable, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a Python process within a `with` block, with additional environment variables."""
    process = subprocess.Popen(
        [python, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _peak_memory(process_id: int) -> str:
    """Return the peak memory of a process, on Linux only."""
    return _memory(process_id, "VmHWM")


def _memory(process_id: int, what: str) -> str:
    """Return a memory figure of a process from /proc."""
    status = Path(f"/proc/{process_id}/status")
    if not status.exists():
        return "unknown"
    (kilobytes,) = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{what}:")]
    return f"{kilobytes / 1024:.0f} MB"


if __name__ == "__main__":
    main()
