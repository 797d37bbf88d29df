"""Measure the first load of the dashboard: `uv run python tests/benchmarks/page_load.py`.

Requests, transferred bytes, and the time from the navigation until the first candle is painted, in Chromium with an empty
cache, which simulates a slow network and processor. The reference is a fixed amount of work in the same page: if it takes
longer than in another run, so does the page. `--url` measures a service that runs already, such as one of another version.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from filled import SYMBOLS, new_database
from playwright.sync_api import Browser, sync_playwright
from reads import _serving

from market_data import embedded
from market_data.database import migrations

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser.recorded_page import CHROMIUM, CHROMIUM_ARGUMENTS
from helpers.page_load import Conditions, Load, load

CASES = {
    "no limits": Conditions(),
    "9 Mbit/s, 60 ms, processor ÷ 4": Conditions(9, 60, 4),
    "1.6 Mbit/s, 150 ms, processor ÷ 4": Conditions(1.6, 150, 4),
    "1.6 Mbit/s, 150 ms": Conditions(1.6, 150),
}

INSERT = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now() - n * INTERVAL '10 s', symbol, 0, round((180 + 8 * sin(n / 700.0) + random())::numeric, 2), 1 + mod(n, 9)
    FROM unnest(%s::text[]) AS symbol, generate_series(0, 20000) AS n
"""
"""More candles than the page shows at first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running service, by default a new one")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        if options.url:
            _measure(browser, options.url, options.rounds)
        else:
            with _service() as url:
                _measure(browser, url, options.rounds)


@contextmanager
def _service() -> Iterator[str]:
    with new_database() as database_url:
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", [SYMBOLS])
            connection.execute(INSERT, [SYMBOLS])
            connection.execute("CALL refresh_candles()")
        assets = os.environ.get("DOCS_ASSETS") or str(embedded.node_modules(print))
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING", DOCS_ASSETS=assets)
        with _serving("-m", "market_data.cli.main", "serve", "--port") as (_, port):
            yield f"http://127.0.0.1:{port}"


def _measure(browser: Browser, url: str, rounds: int) -> None:
    load(browser, url, Conditions())  # compresses the files
    print(f"\n{'':36}requests       kB   first candle, ms (lowest-highest)   reference, ms")
    for name, conditions in CASES.items():
        loads = [load(browser, url, conditions) for _ in range(rounds)]
        print(f"{name:36}{_line(loads)}")


def _line(loads: list[Load]) -> str:
    times = sorted(each.first_candle for each in loads)
    median = statistics.median
    return (
        f"{median(len(each.requests) for each in loads):8} {median(each.bytes for each in loads) / 1000:8.1f}"
        f"   {median(times):12.0f} ({times[0]:.0f}-{times[-1]:.0f})"
        f"{median(each.spin for each in loads):32.0f}"
    )


if __name__ == "__main__":
    main()
