"""Import trades from a file. While a batch is stored, the next one is read and validated."""

import argparse
import csv
import os
from pathlib import Path
from typing import Self

from market_data.cli import runner
from market_data.cli.console import counted, output, progress
from market_data.cli.data import statements
from market_data.cli.data.dry_run import print_first_rows
from market_data.cli.data.progress import meter
from market_data.cli.data.read_arguments import add_read_arguments, read_options
from market_data.cli.data.trade_batches import Batch, validated_batches
from market_data.cli.data.trade_files import FORMATS, open_source, without_compression
from market_data.cli.data.trade_source import Source
from market_data.cli.data.trade_writers import AGAIN, Outcome, opened, store_batches
from market_data.cli.durations import number_between
from market_data.errors import CommandFailed
from market_data.settings import Settings

MAX_JOBS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Store the trades of a CSV, NDJSON or Parquet file, and refresh their candles. Columns, in any order: symbol, "
        "timestamp, price, volume and optionally trade_id; other columns are ignored. Times are RFC 3339, or epochs in "
        "seconds to nanoseconds. Delimiter, encoding and decimal mark are detected. Without trade_id, trades with the same "
        "symbol and timestamp are numbered in the order of the file. Stored trades are not changed, so a file may be "
        "imported again. Rejected rows are written to a file with their line number and the reason; the exit status is "
        "then 1."
    )
    parser.add_argument("file", metavar="FILE", help="file to import, or - for standard input; may be .gz, .zst or .zip")
    parser.add_argument("--format", choices=FORMATS, help="format of the file (default: by its name, or by its content)")
    add_read_arguments(parser)
    parser.add_argument(
        "--jobs",
        type=number_between(1, MAX_JOBS),
        default=1,
        metavar="N",
        help="connections to the server that store trades at the same time (default: 1)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the first rows as understood, and store nothing")
    parser.add_argument(
        "--rejects",
        type=Path,
        metavar="FILE",
        help="file for rejected rows (default: <name>.rejected.csv in the current folder)",
    )
    parser.set_defaults(command=_run)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    options = read_options(parsed)
    if parsed.dry_run:
        return print_first_rows(open_source(parsed.file, parsed.format, options))
    rejects = rejects_for(parsed.file, parsed.rejects)
    source = open_source(parsed.file, parsed.format, options)
    with runner.migrated_database(settings) as database_url:
        work = import_trades(database_url, source, rejects, settings.future_tolerance_seconds, parsed.jobs)
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
                file = _create(self.path)
                self._file = os.fdopen(file, "w", encoding="utf-8", errors="surrogateescape", newline="")
            except OSError as error:
                cause = "it is a symbolic link" if self.path.is_symlink() else error.strerror
                raise CommandFailed(f"{self.path} can't be written: {cause}; choose another with --rejects.") from None
            self._rows = csv.writer(self._file)
            self._rows.writerow(("line", "reason", "row"))
        self._rows.writerow((line, reason, row.rstrip("\r\n")))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _create(path: Path) -> int:
    """Open an empty file for writing, but no symbolic link or pipe: another user of the folder could have made it."""
    checks = 0 if path.parent == Path("/dev") else os.O_NOFOLLOW | os.O_NONBLOCK  # /dev/stdout is a link
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | checks, 0o666)


def rejects_for(file: str, path: Path | None) -> Rejects:
    """Return the file of rejected rows: `path`, or one in the current folder that is named after the imported file.

    Raises:
        CommandFailed: It is the imported file itself.
    """
    name = "stdin" if file == "-" else Path(without_compression(file)).stem
    path = path or Path(f"{name}.rejected.csv")
    if path.exists() and Path(file).exists() and path.samefile(file):
        raise CommandFailed(f"{path} is the file to import; choose another for the rejected rows with --rejects.")
    return Rejects(path)


async def import_trades(database_url: str, source: Source, rejects: Rejects, future_tolerance: float, jobs: int = 1) -> int:
    """Store the valid trades of a file, then refresh their candles. The exit status is 1 if rows were rejected.

    `future_tolerance` is in seconds. `jobs` is the number of connections.
    """
    stored = present = 0
    new_symbols: list[str] = []
    async with opened(database_url, jobs) as connections:
        with meter("rows", None) as counter, rejects:

            def record(batch: Batch, outcome: Outcome, seconds: float) -> None:
                nonlocal stored, present
                stored += outcome.stored
                present += outcome.present
                new_symbols.extend(outcome.new_symbols)
                rejected = batch.rejected | outcome.rejected
                for index, reason in sorted(rejected.items()):
                    rejects.add(batch.block.line + index, reason, source.text(batch.block.rows[index]))
                counter.add(outcome.stored + outcome.present + len(rejected), seconds)

            batches = validated_batches(source, len(connections))
            await store_batches(connections, batches, future_tolerance, record)
            seconds = counter.elapsed
            await statements.refresh_candles(connections[0])
    output(f"{counted(counter.rows, 'row')} read in {seconds:,.1f} s ({counter.rows / seconds:,.0f} per second)")
    output(f"{stored:,} stored, {present:,} already there, {rejects.count:,} rejected")
    if new_symbols:
        output(f"new symbols: {', '.join(sorted(new_symbols))}")
    if rejects.count:
        were = "was" if rejects.count == 1 else "were"
        progress(f"{counted(rejects.count, 'row')} {were} rejected; {rejects.path} has the reasons")
    return 1 if rejects.count else 0
