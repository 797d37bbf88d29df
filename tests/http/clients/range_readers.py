"""Reads trades from a URL with the readers that data frames use, while new ones arrive. Prints the number of trades of each.

`tests/http/test_range_readers.py` runs it with the packages that it imports.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb  # pyright: ignore[reportMissingImports]  # not a dependency of the project
import duckdb_ext  # pyright: ignore[reportMissingImports]
import polars as pl  # pyright: ignore[reportMissingImports]
from fsspec.implementations.http import HTTPFileSystem  # pyright: ignore[reportMissingImports]

EXTENSIONS = str(Path(next(iter(duckdb_ext.__path__)), "extensions"))


def in_blocks(url: str) -> list[int]:
    with HTTPFileSystem().open(url, block_size=65_536) as file:
        return [int(line.rpartition(b",")[2]) for line in file.read().splitlines()[1:]]


def from_duckdb(url: str, function: str) -> list[int]:
    with duckdb.connect(config={"extension_directory": EXTENSIONS}) as database:
        database.execute("LOAD httpfs")
        return [row[0] for row in database.sql(f"SELECT trade_id FROM {function}('{url}')").fetchall()]


def from_frame(frame: pl.DataFrame) -> list[int]:
    return frame["trade_id"].to_list()


READERS: dict[str, tuple[str, Callable[[str], list[int]]]] = {
    "polars.read_csv": ("csv", lambda url: from_frame(pl.read_csv(url))),
    "polars.scan_csv": ("csv", lambda url: from_frame(pl.scan_csv(url).collect())),
    "polars.scan_ndjson": ("ndjson", lambda url: from_frame(pl.scan_ndjson(url).collect())),
    "polars.read_parquet": ("parquet", lambda url: from_frame(pl.read_parquet(url))),
    "polars.scan_parquet": ("parquet", lambda url: from_frame(pl.scan_parquet(url).select("trade_id").collect())),
    "fsspec": ("csv", in_blocks),
    "duckdb.read_csv": ("csv", lambda url: from_duckdb(url, "read_csv")),
    "duckdb.read_parquet": ("parquet", lambda url: from_duckdb(url, "read_parquet")),
}

counts: dict[str, int] = {}
for name, (form, read) in READERS.items():
    ids = read(f"{sys.argv[1]}&format={form}")
    assert ids == list(range(len(ids), 0, -1)), f"{name}: the rows are not those of one moment"
    counts[name] = len(ids)
json.dump(counts, sys.stdout)
