"""Validation of trade files, block by block: rows of the usual form as Arrow columns, the others one by one."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from market_data.cli.data.trade_source import Block, Source, arrow, compute
from market_data.trade_validation import MAX_DECIMAL_PLACES, MAX_SYMBOL_LENGTH, InvalidTrade, TradeIdNumbering, validate_row

EPOCH_DIGITS = (9, 10, 13, 16, 18, 19)
"""Digits of today's epochs in seconds to nanoseconds. Others may be dates."""

DIGITS_OF_MINUTE = len("2026-02-08T10:30")

NO_ROWS = arrow.table(
    {name: arrow.array([], arrow.string()) for name in ("index", "symbol", "time", "price", "volume", "trade_id")}
)


class Part(NamedTuple):
    """Valid rows of a block for one connection."""

    data: bytes
    """Text COPY data for the staging table."""
    rows: int


class Batch(NamedTuple):
    """A validated block of the file. Rows are identified by their index in the block."""

    block: Block
    parts: Sequence[Part]
    """Valid rows by connection."""
    rejected: dict[int, str]
    """Reasons by index."""


def validated_batches(source: Source, connections: int = 1) -> Iterator[Batch]:
    """Validate the file block by block, divide the valid rows between connections, and close the file.

    It is closed here, in the thread that reads it: after an interruption this thread may still wait for input, and closing
    the file in another thread would wait, too.

    Raises:
        CommandFailed: The file can't be read.
    """
    numbering = TradeIdNumbering()
    source.block_rows *= connections  # a transaction costs something for each symbol, even with few rows
    with source:
        for block in source.blocks():
            lines, rejected = _validate(source, block, None if source.has_trade_ids else numbering)
            yield Batch(block, [_part(part) for part in _divided(lines, connections)], rejected)


def _part(lines: Sequence[str]) -> Part:
    return Part("\n".join([*lines, ""]).encode(), len(lines))


def _divided(lines: Sequence[str], connections: int) -> Sequence[Sequence[str]]:
    """Divide rows by the minute of their time, so that rows with the same key stay in their order on one connection.

    Not by symbol: a file often has only one, and two names of a renamed symbol have the same key. Days and hours count, too:
    trades of a file may be a day apart.
    """
    if connections == 1:
        return [lines]
    parts: list[list[str]] = [[] for _ in range(connections)]
    of_minute: dict[str, list[str]] = {}
    for line in lines:
        minute = line.split("\t", 3)[2][:DIGITS_OF_MINUTE]
        if minute not in of_minute:
            day, hours, minutes = int(minute[8:10]), int(minute[11:13]), int(minute[14:16])
            of_minute[minute] = parts[(day + hours + minutes) % connections]
        of_minute[minute].append(line)
    return parts


def _validate(source: Source, block: Block, numbering: TradeIdNumbering | None) -> tuple[list[str], dict[int, str]]:
    """Validate rows of the usual form as columns, the others one by one. Number trades in the order of the file.

    Returns the valid rows as lines of text COPY data, with times in UTC, and the reasons of the others by index.
    """
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
                row, invalid = source.fields.read(row)
                symbol, time, price, volume, trade_id = validate_row(row, numbering)
                if invalid:
                    raise invalid
                lines.append(f"{index}\t{symbol}\t{time}\t{trade_id}\t{price}\t{volume}")
        except InvalidTrade as reason:
            rejected[index] = str(reason)
    lines = [*_copy_lines(columns, arrow.array(ids, arrow.int64()) if numbering else columns["trade_id"]), *lines]
    return lines, rejected


def _usual_rows(source: Source, block: Block) -> Any:
    """Return the columns `index`, `symbol`, `time`… of the rows whose fields all have the form of `PATTERNS`."""
    if source.pattern is None:
        return NO_ROWS
    found = compute.extract_regex(block.lines, f"^(?:{source.pattern})$")
    columns = dict(zip((field.name for field in found.type), found.flatten(), strict=True))
    columns = {name: column.cast(arrow.string()) for name, column in columns.items()}
    columns["index"] = arrow.array(range(len(found)), arrow.int32())
    if source.fields.symbol:
        columns["symbol"] = arrow.repeat(source.fields.symbol, len(found))
    columns["symbol"] = compute.ascii_upper(columns["symbol"])
    price, volume = columns["price"], columns["volume"]
    # Not in the patterns: counted repetition makes RE2 three times slower.
    digits = compute.max_element_wise(compute.binary_length(price), compute.binary_length(volume), skip_nulls=False)
    symbol_length = compute.binary_length(columns["symbol"])
    fits = compute.and_(compute.less_equal(digits, MAX_DECIMAL_PLACES), compute.less_equal(symbol_length, MAX_SYMBOL_LENGTH))
    if "epoch" in columns:
        known = compute.is_in(compute.binary_length(columns["epoch"]), arrow.array(EPOCH_DIGITS, arrow.int32()))
        rows = arrow.table(columns).filter(compute.and_(fits, known))
        return rows.append_column("time", _times(rows["epoch"], rows["fraction"]))
    columns["time"] = compute.utf8_slice_codeunits(columns["time"], 0, len("2026-02-08T10:30:00.123456"))
    return arrow.table(columns).filter(fits)


def _times(epochs: Any, fractions: Any) -> Any:
    """Return the times of epochs, whose unit shows in the number of digits. Digits after the microseconds are cut off."""
    digits, epoch = compute.binary_length(epochs), epochs.cast(arrow.int64())
    micros = compute.utf8_slice_codeunits(compute.utf8_rpad(fractions, 6, "0"), 0, 6).cast(arrow.int64())
    seconds = compute.add(compute.multiply(epoch, 1_000_000), micros)
    milliseconds = compute.add(compute.multiply(epoch, 1000), compute.divide(micros, 1000))
    fine = compute.if_else(compute.less(digits, 17), epoch, compute.divide(epoch, 1000))
    coarse = compute.if_else(compute.less(digits, 12), seconds, milliseconds)
    return compute.if_else(compute.less(digits, 14), coarse, fine).cast(arrow.timestamp("us")).cast(arrow.string())


def _keys(columns: Any) -> Iterator[tuple[str, int]]:
    """Return symbol and microseconds since 1970 of each row."""
    instants = columns["time"].cast(arrow.timestamp("us")).cast(arrow.int64())
    return zip(columns["symbol"].to_pylist(), instants.to_pylist(), strict=True)


def _copy_lines(columns: Any, trade_ids: Any) -> list[str]:
    index, trade_ids = columns["index"].cast(arrow.string()), trade_ids.cast(arrow.string())
    time = compute.binary_join_element_wise(columns["time"], "Z", "")
    fields = index, columns["symbol"], time, trade_ids, columns["price"], columns["volume"]
    return compute.binary_join_element_wise(*fields, "\t").to_pylist()
