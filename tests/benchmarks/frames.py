"""Measure the dashboard's frames and heap under load: `uv run python tests/benchmarks/frames.py --minutes 10`.

A writer commits 25 trades a second of the symbol that Chromium shows. Frames a second, the share of frames that took longer
than 50 ms, the processor time of the page's main thread, and the JavaScript heap after garbage collection: at the start, and
its growth. An empty page shows how many frames the machine can draw beside its other load.
"""

import argparse
import os
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
from filled import new_database
from playwright.sync_api import CDPSession, Page, sync_playwright
from reads import _serving

from market_data import embedded
from market_data.database import migrations

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser.recorded_page import CHROMIUM, CHROMIUM_ARGUMENTS

CASES = {
    "candles": "",
    "all indicators": "&indicators=sma20,sma50,ema20,vwap,rsi14",
    "all indicators, comparison": "&indicators=sma20,sma50,ema20,vwap,rsi14&compare=MSFT",
}
HISTORY = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now() - n * INTERVAL '1 minute', symbol, 0, round((180 + 8 * sin(n / 700.0) + random())::numeric, 2), mod(n, 9)
    FROM unnest(ARRAY['AAPL', 'MSFT']) AS symbol, generate_series(1, 3000) AS n
"""
TRADE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    VALUES (now(), %s, 0, round((180 + random())::numeric, 2), 1)
"""
COUNT_FRAMES = """(seconds) => new Promise((resolve) => {
    const start = performance.now();
    let [last, frames, slow] = [start, 0, 0];
    const frame = () => {
        const now = performance.now();
        frames += 1;
        slow += now - last > 50;
        last = now;
        if (now - start < seconds * 1000) requestAnimationFrame(frame);
        else resolve([frames / (now - start) * 1000, slow / frames]);
    };
    requestAnimationFrame(frame);
})"""
WARM_UP_SECONDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="of each case (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=25, help="trades a second (default: %(default)s)")
    options = parser.parse_args()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
            connection.execute(HISTORY)
        os.environ.update(
            DATABASE_URL=database_url,
            FEED_ENABLED="false",
            LOG_LEVEL="WARNING",
            DOCS_ASSETS=str(embedded.node_modules(print)),
        )
        _, port = stack.enter_context(_serving("-m", "market_data.cli.main", "serve", "--port"))
        stopped = threading.Event()
        writer = threading.Thread(target=_write, args=(database_url, options.rate, stopped))
        writer.start()
        stack.callback(writer.join)
        stack.callback(stopped.set)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        stack.callback(browser.close)
        print(f"machine: {os.cpu_count()} processors; {options.rate:g} trades a second for {options.minutes:g} min\n")
        print(f"{'case':<30}{'frames/s':>10}{'> 50 ms':>10}{'processor':>11}{'heap MB':>10}{'growth MB':>11}{'candles':>9}")
        for name, query in CASES.items():
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"http://127.0.0.1:{port}/dashboard?symbol=AAPL&interval=1m{query}")
            page.wait_for_selector("html[data-connection=live]")
            _measure(name, page, options.minutes)
            page.close()
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        _measure("empty page", page, min(options.minutes, 0.25))


def _write(database_url: str, rate: float, stopped: threading.Event) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        due = time.monotonic()
        for number in range(sys.maxsize):
            due += 1 / rate
            if stopped.wait(max(0, due - time.monotonic())):
                return
            connection.execute(TRADE, ["MSFT" if number % 10 == 0 else "AAPL"])


def _measure(name: str, page: Page, minutes: float) -> None:
    page.wait_for_timeout(WARM_UP_SECONDS * 1000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, busy = _heap(session), _processor_seconds(session)
    frames, slow = page.evaluate(COUNT_FRAMES, minutes * 60)
    processor = (_processor_seconds(session) - busy) / (minutes * 60)
    growth = _heap(session) - before
    candles = page.evaluate("document.querySelector('#chart')?.dataset.candles ?? ''")
    print(f"{name:<30}{frames:>10.1f}{slow:>10.1%}{processor:>11.1%}{before:>10.1f}{growth:>11.2f}{candles:>9}", flush=True)


def _heap(session: CDPSession) -> float:
    """Return the megabytes in use after garbage collection."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6


def _processor_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


if __name__ == "__main__":
    main()
