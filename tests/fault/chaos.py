"""Random writes under random faults, compared with a plain model: `uv run python tests/fault/chaos.py --seed 1 --minutes 5`.

Writers over HTTP, SQL and COPY store late, current, corrected, cancelled and repeated trades and retry until each write is
acknowledged. Meanwhile service, workers, database, connections and clocks fail. At the end, trades, candles of all
intervals, latest prices, the audit trail, the API, and the copies of stream clients must agree with the acknowledged writes.

It runs on the embedded engine; with TEST_POSTGRES_BIN, the folder of the programs of a PostgreSQL with TimescaleDB, on a
server of its own, which it kills; with TEST_DATABASE_URL on a database of that server, whose sessions it ends.
"""

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.chaos import server
from helpers.chaos.run import Run
from helpers.support import SERVER, changed_url

from market_data import embedded
from market_data.database import migrations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="source of all random choices")
    parser.add_argument("--minutes", type=float, default=5.0, help="time during which faults are injected (default: 5)")
    parser.add_argument("--runs", type=int, default=1, help="number of runs, with the seeds that follow (default: 1)")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds until everything must agree (default: 60)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end service and database, too
    logging.getLogger("websockets").addHandler(logging.NullHandler())  # of clients whose connections are cut
    failed = [
        seed
        for seed in range(options.seed, options.seed + options.runs)
        if not executed(Run(seed, options.minutes * 60, options.settle))
    ]
    if failed:
        print(f"failed seeds: {', '.join(map(str, failed))}")
    return 1 if failed else 0


def executed(run: Run) -> bool:
    with engine_home() as home:
        passed = run.execute(new_database, home)
    print(f"seed {run.seed} passed; {run.summary}" if passed else run.report(), flush=True)
    return passed


@contextmanager
def engine_home() -> Iterator[Path | None]:
    """Yield the home of a stopped embedded engine with a migrated database, if the run needs one."""
    if server.BIN or SERVER:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="market-data-chaos-home-"))
    try:
        with embedded.owned_engine(folder / "home", report=print) as url:
            migrations.upgrade(url)
        yield folder / "home"
    finally:
        shutil.rmtree(folder)


@contextmanager
def new_database() -> Iterator[str]:
    """Yield a migrated database on the server in TEST_DATABASE_URL."""
    assert SERVER
    name = f"market_data_chaos_{uuid4().hex[:12]}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            url = changed_url(SERVER, database=name)
            migrations.upgrade(url)
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


if __name__ == "__main__":
    sys.exit(main())
