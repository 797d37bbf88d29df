"""Databases to back up and to restore into: on the server in TEST_DATABASE_URL, or folders of embedded engines."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from helpers.schema import describe_schema
from helpers.support import SERVER, Connection

from market_data import embedded

PG_BIN = os.environ.get("PG_BIN", "/opt/pg17/bin")
"""Folder of pg_dump and pg_restore, if they are not on the PATH."""

NOT_RESTORED = ("stream_events", "stream_progress", "commits", "commit_blocks", "data_version", "leases")
"""Tables that differ in a restored database."""


@dataclass
class Instance:
    """A database, on a server or in a folder."""

    environment: dict[str, str]
    home: Path | None = None
    url: str | None = None
    suffix: str = field(default=".dump" if SERVER else ".tar.gz")

    @contextmanager
    def up(self) -> Iterator[str]:
        """Yield the URL. The embedded engine runs for the block."""
        if self.url:
            yield self.url
        elif self.home:
            with embedded.owned_engine(self.home, report=print) as url:
                yield url

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        with self.up() as url, psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            yield connection


class Instances:
    """Create databases that exist for the block."""

    def __init__(self, folder: Path, seed: Path, new: Callable[..., AbstractContextManager[str]]) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._seed = seed
        self._new = new
        self._count = 0

    def __enter__(self) -> "Instances":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def empty(self) -> Instance:
        if SERVER:
            url = self._stack.enter_context(self._new())
            return Instance({"DATABASE_URL": url, "PG_BIN": PG_BIN}, url=url)
        self._count += 1
        home = self._folder / f"home-{self._count}"
        return Instance({"MARKET_DATA_HOME": str(home), "DATABASE_URL": ""}, home=home)

    def migrated(self) -> Instance:
        instance = self.empty()
        if instance.home:
            shutil.copytree(self._seed, instance.home)
        else:
            from market_data.database import migrations

            assert instance.url
            migrations.upgrade(instance.url)
        return instance


FILL = """
    SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs;
    CALL set_retention(INTERVAL '36500 days');
    INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft');
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT moment, symbol, 3, 100 + extract(minute FROM moment), 0.1
    FROM symbols
    CROSS JOIN (VALUES (INTERVAL '40 days'), (INTERVAL '25 hours')) AS ago (since)
    CROSS JOIN LATERAL generate_series(now() - since, now() - since + INTERVAL '1 day', '17 minutes') AS moment
"""


def fill(connection: Connection) -> None:
    """Store data of every kind, and stop all jobs except drop_old_trades."""
    for statement in FILL.split(";"):
        connection.execute(statement.encode())
    connection.execute("CALL refresh_candles()")
    for interval in ("5m", "15m", "30m", "1h"):
        connection.execute(
            f"CALL refresh_continuous_aggregate('candles_{interval}', NULL, now() - INTERVAL '2 hours')".encode()
        )
    for (chunk,) in connection.execute("SELECT show_chunks('trades', older_than => INTERVAL '20 days')::text").fetchall():
        connection.execute("CALL convert_to_columnstore(%s::regclass)", (chunk,))
    # A late trade, whose candles are refreshed after the restore; cancelled trades; a trade in an open bucket.
    connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now() - INTERVAL '2 days', 'AAPL', 1, 1)")
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT' AND time < now() - INTERVAL '39 days 22 hours'")
    connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'MSFT', 123.456, 7)")
    connection.execute("""
        INSERT INTO api_keys (name, prefix, hash, scopes)
        VALUES ('writer', '0123abcd', sha256('secret'), '{write}')
    """)


TABLES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND NOT EXISTS (
        SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e'
    )
    ORDER BY relname
"""

REST = """
    SELECT 'sequence', sequencename, last_value::text FROM pg_sequences
    WHERE schemaname = 'public' AND sequencename NOT IN ('versions', 'write_ids', 'commit_clock')
    UNION ALL
    SELECT 'chunk', range_start::text, is_compressed::text FROM timescaledb_information.chunks
    WHERE hypertable_name = 'trades'
    UNION ALL
    SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND setrole = 'analyst'::regrole
    UNION ALL
    SELECT 'may', privilege, has_database_privilege('analyst', current_database(), privilege)::text
    FROM unnest(ARRAY['CONNECT', 'TEMPORARY', 'CREATE']) AS privilege
    UNION ALL
    SELECT 'owner', relname, relowner::regrole::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    ORDER BY 1, 2, 3
"""


def contents(url: str) -> dict[str, Any]:
    """Return the comparable contents of a database: schema, jobs, grants, and the rows of all tables and views."""
    found: dict[str, Any] = dict(describe_schema(url))
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        for (table,) in connection.execute(TABLES).fetchall():
            if table not in NOT_RESTORED:
                rows = connection.execute(f'SELECT to_jsonb(each) FROM "{table}" AS each'.encode())
                # `closed` depends on the time of the query.
                found[table] = sorted(json.dumps({**row, "closed": None}, sort_keys=True) for (row,) in rows)
        found["rest"] = connection.execute(REST).fetchall()
    return found
