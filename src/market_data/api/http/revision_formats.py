"""Formats of revisions besides JSON: one row each, with the candles before and after in columns of their own."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from market_data.api.http.parameters import ResponseFormat
from market_data.models import Candle
from market_data.models_revisions import Revision
from market_data.queries.row_pages import Kind
from market_data.trade_validation import rfc3339

KEYS: Final = ("symbol", "interval", "timestamp", "version", "changed_at", "cause", "start", "end")
CANDLE_FIELDS: Final = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
COLUMNS: Final = (
    *KEYS,
    *(f"{side}_{name}" for side in ("before", "after") for name in CANDLE_FIELDS),
    "actor",
    "reason",
)
KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(COLUMNS, "float"),
    **dict.fromkeys(("timestamp", "changed_at", "start", "end"), "time"),
    **dict.fromkeys(("version", "before_trade_count", "after_trade_count"), "integer"),
    **dict.fromkeys(("symbol", "interval", "cause", "actor", "reason"), "text"),
}
"""Types of the columns of Arrow and Parquet, in the order of `COLUMNS`."""

Revisions = Sequence[Revision]


def write_revisions(response_format: ResponseFormat, revisions: Revisions) -> bytes:
    """Return revisions in a format other than JSON."""
    if response_format == "ndjson":
        return msgspec.json.Encoder().encode_lines(revisions)
    rows = [_row(revision) for revision in revisions]
    if response_format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([[_text(value) for value in row] for row in rows])
        return text.getvalue().encode()
    # Arrow takes 50 MB and 0.25 s, and most services never need it.
    from market_data.api.http.arrow import write_table  # noqa: PLC0415 # a late import, as said above

    columns = [[_plain(row[number]) for row in rows] for number in range(len(COLUMNS))]
    return write_table(KINDS, columns, is_parquet=response_format == "parquet")


def _row(revision: Revision) -> list[Any]:
    candles = [*_candle(revision.before or None), *_candle(revision.after or None)]
    keys = [getattr(revision, name) for name in KEYS]
    return [*(None if key is UNSET else key for key in keys), *candles, revision.actor, revision.reason]


def _candle(candle: Candle | None) -> list[Any]:
    return [candle and getattr(candle, name) for name in CANDLE_FIELDS]


def _text(value: Any) -> Any:
    """Return a value as CSV has it, a number with the digits of the database."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return bytes(value).decode() if isinstance(value, Raw) else value


def _plain(value: Any) -> Any:
    return float(bytes(value)) if isinstance(value, Raw) else value
