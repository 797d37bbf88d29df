"""`import --dry-run`: the first rows of a file as they would be stored."""

from collections.abc import Sequence
from datetime import UTC, datetime

from market_data.cli.console import output
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_source import Source
from market_data.trade_validation import rfc3339

MAX_ROWS = 10

HEADINGS = ("line", "symbol", "time", "price", "volume", "trade_id")


def print_first_rows(source: Source) -> int:
    """Print the first rows, or the reasons why they would be rejected. The exit status is 1 if one would be."""
    lines = dict[int, Sequence[str]]()
    rejected = dict[int, str]()
    for batch in validated_batches(source):
        for data in batch.parts[0].data.decode().splitlines():
            index, symbol, time, trade_id, price, volume = data.split("\t")
            line = batch.block.line + int(index)
            lines[line] = (
                str(line),
                symbol,
                rfc3339(datetime.fromisoformat(time).replace(tzinfo=UTC)),
                price,
                volume,
                trade_id,
            )
        rejected |= {batch.block.line + index: reason for index, reason in batch.rejected.items()}
        if len(lines) + len(rejected) >= MAX_ROWS:
            break
    shown = sorted([*lines, *rejected])[:MAX_ROWS]
    table = [HEADINGS, *(lines[line] for line in shown if line in lines)]
    widths = [max(len(row[at]) for row in table) for at in range(len(HEADINGS))]
    output(f"{source.name}: {'; '.join(filter(None, source.description)) or 'the columns have our names'}")
    output(_aligned(HEADINGS, widths))
    for line in shown:
        output(_aligned(lines[line], widths) if line in lines else f"{line:<{widths[0]}}  rejected: {rejected[line]}")
    return int(any(line in rejected for line in shown))


def _aligned(fields: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{field:<{width}}" for field, width in zip(fields, widths, strict=True)).rstrip()
