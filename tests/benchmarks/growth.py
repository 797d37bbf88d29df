"""Measure reads, ingest and disk space while a table grows: `uv run --group benchmarks python tests/benchmarks/growth.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine (with `--trades` up to 10 million).
`growth_history` generates the trades: each size has the trades of the previous size and later ones, at a constant rate of
223,000 a day. Reads are at the newest end of the table: the last full day of minutes, the last 365 days, the first page.
Only the deep page is at the oldest end, the same for each size. The history begins with a year of few trades, so that the
smallest size has 365 days too. The time of the newest trade counts as the current time: chunks are converted to the
columnstore once they are older than the policies say.

The ingest rate is that of COPY over one connection, in batches of a day that are encoded beforehand; the other trades are
stored over several connections. The import rate is that of batches of which half the trades are stored already, through a
temporary table. Progress goes to standard error, two Markdown tables to standard output.
"""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import psycopg
from filled import new_database
from growth_contenders import compare
from growth_history import History
from growth_reads import DRIFT, READS, Places, time_reads
from growth_table import Table, progress

VERSIONS = """
    SELECT split_part(version(), ' on ', 1) || ' with TimescaleDB ' || extversion
    FROM pg_extension
    WHERE extname = 'timescaledb'
"""
MILLION = 1_000_000
Figures = Mapping[str, float]


def main() -> None:
    options = _options()
    columns: dict[str, Figures] = {}
    contenders: dict[str, Mapping[str, float | None]] = {}
    with new_database() as database_url:
        connections = 2 if os.environ.get("TEST_DATABASE_URL") else 1
        table = Table(database_url, History(options.symbols), connections)
        symbols = [name.decode() for name in table.history.names[: table.history.liquid]]
        for size in options.trades:
            figures = table.grow(round(size * MILLION))
            at = Places.of(table.newest)
            columns[_size(size)] = times = {**time_reads(database_url, symbols, at, options.rounds), **figures}
            progress(f"{_size(size)}: " + ", ".join(f"{name} {_figure(value)}" for name, value in times.items()))
            if size == options.compare:
                contenders["the service"] = times
                for name, contender in compare(database_url, symbols, table.history, table.count, at, connections):
                    progress(f"{name}: done")
                    contenders[name] = contender
        machine = _machine(database_url)
        table.connection.close()
    _print_growth(columns)
    if contenders:
        _print_contenders(_size(options.compare), contenders)
    print(f"\n{options.symbols:,} symbols, medians of {options.rounds} rounds. {machine}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures reads, ingest and disk space while a table grows.")
    parser.add_argument("--trades", type=_sizes, default="1,3,10,30,100", help="sizes, in millions (default: %(default)s)")
    parser.add_argument(
        "--symbols",
        type=int,
        default=5000,
        help="number of symbols, 20 of them liquid (default: %(default)s, at most 10,000)",
    )
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each read at each size (default: %(default)s)")
    parser.add_argument(
        "--compare", type=float, help="size at which other contenders are measured (default: the largest; 0: none)"
    )
    options = parser.parse_args()
    if options.compare is None:
        options.compare = options.trades[-1]
    if options.compare and options.compare not in options.trades:
        parser.error("--compare: must be one of the sizes")
    return options


def _sizes(text: str) -> list[float]:
    sizes = sorted({float(part) for part in text.split(",")})
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError("must be at least 1: the first year has half a million trades")
    return sizes


def _print_growth(columns: Mapping[str, Figures]) -> None:
    """Print a line for each figure; growth is the ratio of the last size to the first."""
    first, *_, last = columns.values() if len(columns) > 1 else [*columns.values()] * 2
    rows = [
        [f"{name}{', ms' if name in READS or name == DRIFT else ''}"]
        + [_figure(column[name]) for column in columns.values()]
        + [f"{last[name] / first[name]:.2f}"]
        for name in first
    ]
    _print_table(["trades", *columns, "growth"], rows)


def _print_contenders(size: str, contenders: Mapping[str, Mapping[str, float | None]]) -> None:
    rows = [[name, *(_figure(figures[name]) for figures in contenders.values())] for name in READS]
    _print_table([f"{size} trades, ms", *contenders], rows)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _size(millions: float) -> str:
    return f"{millions:g} M"


def _figure(value: float | None) -> str:
    if value is None:
        return "too long"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _machine(database_url: str) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with psycopg.connect(database_url) as connection:
        server = connection.execute(VERSIONS).fetchall()[0][0]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("psycopg", "duckdb", "pyarrow"))
    return f"{os.cpu_count()} processors, {memory:.0f} GB; {server}; Python {platform.python_version()}, {libraries}."


if __name__ == "__main__":
    main()
