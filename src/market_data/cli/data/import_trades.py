"""Import trades from a file. While a batch is stored in a transaction, the next one is read and validated."""

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg

from market_data.cli import runner
from market_data.cli.console import counted, output, progress
from market_data.cli.data import statements
from market_data.cli.data.prefetch import prefetch
from market_data.cli.data.progress import meter
from market_data.cli.data.trade_files import FORMATS, open_source
from market_data.cli.data.trade_source import Block, Source, arrow, compute
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.settings import Settings
from market_data.trade_validation import MAX_DECIMAL_PLACES, FutureLimit, InvalidTrade, TradeIdNumbering, validate_row

AGAIN = "stored trades stay, and the same command stores the rest"

TOO_OLD = "timestamp: is beyond the retention horizon, before which trades have been dropped"
CANCELLED = "trade_id: this trade was cancelled; see trade_changes for when, by whom and why"
CONFLICT = "trade_id: this trade is stored already, with another price or volume"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Store the trades of a CSV file (with a header line), an NDJSON file or a Parquet file, and refresh their "
        "candles. Columns, in any order: symbol, timestamp (or time; with a time zone), price, volume and optionally "
        "trade_id; other columns are ignored. Without trade_id, trades with the same symbol and timestamp are numbered "
        "in the order of the file. Stored trades are not changed, so a file may be imported again. Rejected rows are "
        "written to a file with their line number and the reason; the exit status is then 1."
    )
    parser.add_argument("file", metavar="FILE", help="file to import, or - for standard input; may end in .gz")
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the file (default: by its name, or by the content of standard input)"
    )
    parser.add_argument(
        "--rejects",
        type=Path,
        metavar="FILE",
        help="file for rejected rows (default: <name>.rejected.csv in the current folder)",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    rejects = rejects_for(parsed.file, parsed.rejects)
    source = open_source(parsed.file, parsed.format)
    with runner.migrated_database(settings) as database_url:
        work = import_trades(database_url, source, rejects, settings.future_tolerance_seconds)
        return runner.run_async(work, again=AGAIN)


class Rejects:
    """CSV file of rejected rows with line number and reason. It is created with the first rejected row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = None

    def add(self, line: int, reason: str, row: str) -> None:
        """Write a row."""
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
        if self._file is not None:
            self._file.close()


def rejects_for(file: str, path: Path | None) -> Rejects:
    """Return the file of rejected rows: `path`, or one in the current folder that is named after the imported file.

    Raises:
        CommandFailed: It is the imported file itself.
    """
    name = "stdin" if file == "-" else Path(file.removesuffix(".gz")).stem
    path = path or Path(f"{name}.rejected.csv")
    if path.exists() and Path(file).exists() and path.samefile(file):
        raise CommandFailed(f"{path} is the file to import; choose another for the rejected rows with --rejects.")
    return Rejects(path)


class Batch(NamedTuple):
    """A validated block of the file. Rows are identified by their index in the block."""

    block: Block
    data: bytes
    """Valid rows as text COPY data for the staging table."""
    valid: int
    rejected: dict[int, str]
    """Reasons by index."""


class Outcome(NamedTuple):
    """Result of storing a batch. Valid rows are rejected if they contradict stored trades."""

    stored: int
    rejected: dict[int, str]
    new_symbols: list[str]


def validated_batches(source: Source) -> Iterator[Batch]:
    """Validate the file block by block, and close it.

    It is closed here, in the thread that reads it: after an interruption this thread may still wait for input, and closing
    the file in another thread would wait, too.

    Raises:
        CommandFailed: The file can't be read.
    """
    numbering = TradeIdNumbering()
    with source:
        for block in source.blocks():
            yield _validate(source, block, None if source.has_trade_ids else numbering)


def _validate(source: Source, block: Block, numbering: TradeIdNumbering | None) -> Batch:
    """Validate rows of the usual form as columns, the others one by one. Number trades in the order of the file."""
    columns = _usual_rows(source, block)
    usual = set[int](columns["index"].to_pylist())
    keys = _keys(columns) if numbering else iter(())
    ids: list[int] = []
    lines: list[str] = []
    rejected: dict[int, str] = {}
    for index in range(len(block.rows)):
        if index in usual:
            if numbering:
                ids.append(numbering.next_id(*next(keys)))
            continue
        try:
            row = source.parse(block.rows[index])
            if isinstance(row, str):
                raise InvalidTrade(None, row)
            if row is not None:
                symbol, time, price, volume, trade_id = validate_row(row, numbering)
                lines.append(f"{index}\t{symbol}\t{time}\t{trade_id}\t{price}\t{volume}")
        except InvalidTrade as reason:
            rejected[index] = str(reason)
    lines = [*_copy_lines(columns, arrow.array(ids, arrow.int64()) if numbering else columns["trade_id"]), *lines]
    return Batch(block, "\n".join([*lines, ""]).encode(), len(lines), rejected)


def _usual_rows(source: Source, block: Block) -> Any:
    """Return the columns `index`, `symbol`, `time`… of the rows whose fields all have the form of `PATTERNS`."""
    found = compute.extract_regex(block.lines, f"^(?:{source.pattern})$")
    columns = dict(zip((field.name for field in found.type), found.flatten(), strict=True))
    columns = {name: column.cast(arrow.string()) for name, column in columns.items()}
    columns["index"] = arrow.array(range(len(found)), arrow.int32())
    columns["symbol"] = compute.ascii_upper(columns["symbol"])
    columns["time"] = compute.utf8_slice_codeunits(columns["time"], 0, len("2026-02-08T10:30:00.123456"))
    price, volume = columns["price"], columns["volume"]
    # Not in the patterns: counted repetition makes RE2 three times slower.
    digits = compute.max_element_wise(compute.binary_length(price), compute.binary_length(volume), skip_nulls=False)
    fits = compute.and_(compute.less_equal(digits, MAX_DECIMAL_PLACES), compute.match_substring_regex(price, "[1-9]"))
    return arrow.table(columns).filter(fits)


def _keys(columns: Any) -> Iterator[tuple[str, int]]:
    """Return symbol and microseconds since 1970 of each row."""
    instants = columns["time"].cast(arrow.timestamp("us")).cast(arrow.int64())
    return zip(columns["symbol"].to_pylist(), instants.to_pylist(), strict=True)


def _copy_lines(columns: Any, trade_ids: Any) -> list[str]:
    index, trade_ids = columns["index"].cast(arrow.string()), trade_ids.cast(arrow.string())
    time = compute.binary_join_element_wise(columns["time"], "Z", "")
    fields = index, columns["symbol"], time, trade_ids, columns["price"], columns["volume"]
    return compute.binary_join_element_wise(*fields, "\t").to_pylist()


async def import_trades(database_url: str, source: Source, rejects: Rejects, future_tolerance: float) -> int:
    """Store the valid trades of a file, then refresh their candles. The exit status is 1 if rows were rejected.

    `future_tolerance` is in seconds.
    """
    stored = present = 0
    new_symbols: list[str] = []
    async with await connect(database_url, 0) as connection:
        with meter("rows", None) as counter, rejects:
            async with aclosing(prefetch(validated_batches(source))) as validated:
                async for batch in validated:
                    started = time.monotonic()
                    outcome = await _store(connection, batch, future_tolerance)
                    stored += outcome.stored
                    present += batch.valid - outcome.stored - len(outcome.rejected)
                    new_symbols += outcome.new_symbols
                    for index, reason in sorted((batch.rejected | outcome.rejected).items()):
                        rejects.add(batch.block.line + index, reason, source.text(batch.block.rows[index]))
                    counter.add(batch.valid + len(batch.rejected), time.monotonic() - started)
            seconds = counter.elapsed
            await statements.refresh_candles(connection)
    output(f"{counted(counter.rows, 'row')} read in {seconds:,.1f} s ({counter.rows / seconds:,.0f} per second)")
    output(f"{stored:,} stored, {present:,} already there, {rejects.count:,} rejected")
    if new_symbols:
        output(f"new symbols: {', '.join(sorted(new_symbols))}")
    if rejects.count:
        were = "was" if rejects.count == 1 else "were"
        progress(f"{counted(rejects.count, 'row')} {were} rejected; {rejects.path} has the reasons")
    return 1 if rejects.count else 0


async def _store(connection: Connection, batch: Batch, future_tolerance: float) -> Outcome:
    if not batch.valid:
        return Outcome(0, {}, [])
    try:
        async with connection.transaction():
            await statements.disable_streaming(connection)
            await statements.stage(connection, batch.data)
            rejected = dict.fromkeys(await statements.delete_staged_too_old(connection), TOO_OLD)
            limit = FutureLimit(await statements.read_clock(connection), future_tolerance)
            later = await statements.delete_staged_later(connection, limit.latest)
            rejected |= {index: str(limit.reject(time)) for index, time in later}
            rejected |= dict.fromkeys(await statements.delete_staged_cancelled(connection), CANCELLED)
            new_symbols = await statements.add_staged_symbols(connection)
            stored = await statements.store_staged(connection)
            if stored + len(rejected) < batch.valid:
                rejected |= dict.fromkeys(await statements.read_conflicts(connection), CONFLICT)
            return Outcome(stored, rejected, new_symbols)
    except psycopg.errors.CheckViolation as error:
        raise CommandFailed(f"The database rejected a trade: {error.diag.message_primary}; {AGAIN}.") from None
