"""Formats of data vendors' trade files, by the name of `--preset`. To add a format, add an entry."""

from collections.abc import Mapping
from typing import NamedTuple


class Preset(NamedTuple):
    """Format of a vendor's trade files. Names of columns are in lower case."""

    columns: Mapping[str, str]
    """Names by column, separated by spaces: the first one in the file counts. `a+b` joins two columns with a space."""
    layouts: tuple[str, ...] = ()
    """Columns of files without a header line. The first layout that fits the first line counts."""
    symbol_in_name: str | None = None
    """Pattern of the file's name without suffixes; its group is the symbol."""
    time_format: str | None = None
    timezone: str | None = None
    """Time zone of times without one."""
    only: Mapping[str, tuple[str, ...]] = {}
    """Values of other columns that trades have. Rows with another value are rejected."""
    price_places: int = 0
    """Decimal places of prices that are written as whole numbers."""


PRESETS = {
    # data.binance.vision, spot and futures. Only files of futures have a header line; spot has microseconds since 2025.
    "binance": Preset(
        columns={
            "timestamp": "time transact_time",
            "price": "price",
            "volume": "qty quantity",
            "trade_id": "id agg_trade_id",
        },
        layouts=(
            "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match",
            "id,price,qty,quote_qty,time,is_buyer_maker",
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match",
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
        ),
        symbol_in_name=r"([A-Z0-9_]+)-(?:trades|aggTrades)-.*",
    ),
    # Kraken's time and sales: epochs in seconds, with a fraction.
    "kraken": Preset(
        columns={"timestamp": "timestamp", "price": "price", "volume": "volume"},
        layouts=("timestamp,price,volume",),
        symbol_in_name=r"([A-Z0-9.]+)",
    ),
    # Schema `trades`. Times and prices may be raw (nanoseconds, 1e-9) or pretty. `sequence` is no id: trades may share it.
    "databento": Preset(
        columns={"symbol": "symbol", "timestamp": "ts_event", "price": "price", "volume": "size"},
        only={"action": ("T",)},
        price_places=9,
    ),
    # Flat files of stocks, options, futures and crypto. An `id` is unique only per exchange, `sequence_number` per ticker.
    # Corrections: 0 is a regular trade, 1 one with corrected data; the others are cancelled, wrong or no trades.
    "massive": Preset(
        columns={
            "symbol": "ticker",
            "timestamp": "participant_timestamp sip_timestamp timestamp",
            "price": "price",
            "volume": "size",
            "trade_id": "sequence_number id",
        },
        only={"correction": ("", "0", "1")},
    ),
    # Data type `trades`: microseconds.
    "tardis": Preset(
        columns={"symbol": "symbol", "timestamp": "timestamp", "price": "price", "volume": "amount", "trade_id": "id"},
    ),
    # Tick files, with bid and ask or without, named SYMBOL.txt.
    "kibot": Preset(
        columns={"timestamp": "date+time", "price": "price", "volume": "size volume"},
        layouts=("date,time,price,bid,ask,size", "date,time,price,size"),
        symbol_in_name=r"([A-Za-z0-9.^$-]+)(?:_.*)?",
        time_format="%m/%d/%Y %H:%M:%S",
        timezone="America/New_York",
    ),
}
