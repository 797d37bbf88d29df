"""Trades of a file into the database, each batch in a transaction of its own, while the next one is read."""

import csv
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple, Self

import psycopg

from market_data.cli.console import say, tell
from market_data.cli.data import statements
from market_data.cli.data.prefetch import ahead
from market_data.cli.data.progress import meter
from market_data.cli.data.trade_files import Chunk, Source
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.trade_validation import InvalidTrade, TradeValidator

AGAIN = "what is stored stays, and the same command stores the rest"

TOO_OLD = "timestamp: is beyond the retention horizon, from where trades have been dropped"
CANCELLED = "trade_id: this trade was cancelled; trade_changes has when, by whom and why"
CONFLICT = "trade_id: another trade with this identity is stored, of another price or volume"


class Rejects:
    """The file of rejected rows, made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = None

    def add(self, line: int, reason: str, row: str) -> None:
        """Note a row, and why it was not stored."""
        if self._file is None:
            try:
                self._file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            except OSError as error:
                raise CommandFailed(
                    f"{self.path} can't be written: {error.strerror}; choose another with --rejects."
                ) from None
            self._rows = csv.writer(self._file)
            self._rows.writerow(("line", "reason", "row"))
        self._rows.writerow((line, reason, row.rstrip("\r\n")))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def rejects_of(file: str, path: Path | None) -> Rejects:
    """Where rows of a file go: into one of its name in the current folder, unless another is given.

    Raises:
        CommandFailed: That is the file itself.
    """
    name = "stdin" if file == "-" else Path(file.removesuffix(".gz")).stem
    path = path or Path(f"{name}.rejected.csv")
    if path.exists() and Path(file).exists() and path.samefile(file):
        raise CommandFailed(f"{path} is the file to import; choose another for its rejected rows with --rejects.")
    return Rejects(path)


class Batch(NamedTuple):
    """A chunk of the file: its good rows as data of a COPY, their number, and the others by index, with reasons."""

    chunk: Chunk
    data: bytes
    good: int
    refused: dict[int, str]


class Outcome(NamedTuple):
    """What has become of the rows of a batch: how many were stored, and which were not because of what is stored."""

    stored: int
    refused: dict[int, str]
    new_symbols: list[str]


def batches(source: Source) -> Iterator[Batch]:
    """The file, checked.

    Raises:
        CommandFailed: It can't be read.
    """
    checker = None
    for chunk in source.chunks():
        checker = checker or TradeValidator(numbers=not source.has_trade_ids)
        fast, quickly = source.fast or _never, checker.quickly
        lines: list[str] = []
        refused: dict[int, str] = {}
        for index, text in enumerate(chunk.rows):
            match = fast(text)
            line = quickly(match) if match else None
            if line is None:
                try:
                    line = _checked(source, checker, text)
                except InvalidTrade as reason:
                    refused[index] = str(reason)
            if line is not None:
                lines.append(f"{index}\t{line}")
        yield Batch(chunk, "".join(lines).encode(), len(lines), refused)


def _never(_: str) -> None:
    """No row looks as usual."""


def _checked(source: Source, checker: TradeValidator, text: str) -> str | None:
    row = source.row(text)
    if isinstance(row, str):
        raise InvalidTrade(None, row)
    return None if row is None else checker.checked(row)


async def import_trades(database_url: str, source: Source, rejects: Rejects) -> int:
    """Store what can be stored, and then make its candles. Returns the exit status: 1 where rows were rejected."""
    stored = present = 0
    new_symbols: list[str] = []
    async with await connect(database_url, 0) as connection:
        with meter("rows", None) as progress, rejects:
            async with aclosing(ahead(batches(source))) as parsed:
                async for batch in parsed:
                    started = time.monotonic()
                    outcome = await _store(connection, batch)
                    stored += outcome.stored
                    present += batch.good - outcome.stored - len(outcome.refused)
                    new_symbols += outcome.new_symbols
                    for index, reason in sorted((batch.refused | outcome.refused).items()):
                        rejects.add(batch.chunk.line + index, reason, batch.chunk.rows[index])
                    progress.add(batch.good + len(batch.refused), time.monotonic() - started)
            seconds = progress.elapsed
            await statements.refresh_candles(connection)
    tell(f"{progress.rows:,} rows read in {seconds:,.1f} s ({progress.rows / seconds:,.0f} a second)")
    tell(f"{stored:,} stored, {present:,} already there, {rejects.count:,} rejected")
    if new_symbols:
        tell(f"new symbols: {', '.join(sorted(new_symbols))}")
    if rejects.count:
        say(f"{rejects.count:,} rows were rejected; {rejects.path} has them with the reasons")
    return 1 if rejects.count else 0


async def _store(connection: Connection, batch: Batch) -> Outcome:
    """Store a batch, all of it or, where this raises, nothing."""
    if not batch.good:
        return Outcome(0, {}, [])
    try:
        async with connection.transaction():
            await statements.do_not_stream(connection)
            await statements.stage(connection, batch.data)
            refused = dict.fromkeys(await statements.drop_too_old(connection), TOO_OLD)
            refused |= dict.fromkeys(await statements.drop_cancelled(connection), CANCELLED)
            new_symbols = await statements.add_staged_symbols(connection)
            stored = await statements.store_staged(connection)
            if stored + len(refused) < batch.good:
                refused |= dict.fromkeys(await statements.conflicts(connection), CONFLICT)
            return Outcome(stored, refused, new_symbols)
    except psycopg.errors.CheckViolation as error:
        raise CommandFailed(f"The database refused: {error.diag.message_primary}; {AGAIN}.") from None
