"""Structs of the explanation of a candle."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Struct

from market_data.models import Candle, IntervalName, RenamedTo, SymbolName, Timestamp, Trade, TradeId, Vwap, doc
from market_data.models_revisions import Revision
from market_data.models_writes import TradeValues

MAX_LISTED = 100
"""Late trades and changes that an explanation lists."""

MAX_REVISIONS = 20
"""Revisions that it lists, each of which takes milliseconds to compute."""


class LateTrade(Trade, frozen=True):
    """A trade that was stored after the bucket had ended."""

    stored_at: Annotated[datetime, doc("Time at which it was committed.", "2026-02-08T12:00:00Z")]
    delay_seconds: Annotated[float, doc("Seconds from the time of the trade until then.", 5400.25)]
    version: Annotated[int, doc("The first version that has it.", 4120)]


class CandleChange(Struct, frozen=True):
    """A correction or cancellation of a trade of the bucket."""

    changed_at: Annotated[datetime, doc("Time of the change.", "2026-02-08T11:00:00Z")]
    action: Annotated[Literal["cancel", "correct"], doc("Kind of change.", "correct")]
    timestamp: Timestamp
    trade_id: TradeId
    before: Annotated[TradeValues, doc("Values before the change.")]
    after: Annotated[TradeValues | None, doc("Values after the correction; null for a cancellation.")]
    actor: Annotated[str, doc("Name of the API key, or database role, that made the change.", "desk")]
    reason: Annotated[str | None, doc("Reason for the change; null if none was given.", "fat finger")]


class CandleTrades(Struct, frozen=True):
    """The trades behind the prices of a candle; the first one of several with the same price."""

    open: Annotated[Trade, doc("The first trade, by time, then `trade_id`.")]
    high: Annotated[Trade, doc("The first trade with the highest price.")]
    low: Annotated[Trade, doc("The first trade with the lowest price.")]
    close: Annotated[Trade, doc("The last trade.")]


class RecomputedCandle(Struct, frozen=True):
    """The same figures, computed from the trades."""

    open: Annotated[float, doc("Price of the first trade.", 189.2)]
    high: Annotated[float, doc("Highest price.", 189.61)]
    low: Annotated[float, doc("Lowest price.", 189.13)]
    close: Annotated[float, doc("Price of the last trade.", 189.44)]
    volume: Annotated[float, doc("Units traded.", 2098.31)]
    vwap: Vwap
    trade_count: Annotated[int, doc("Number of trades.", 20)]


class CandleExplanation(Struct, frozen=True):
    """A candle with the reasons for its figures, all of one version."""

    symbol: SymbolName
    interval: IntervalName
    timestamp: Annotated[datetime, doc("Start of the bucket.", "2026-02-08T10:30:00Z")]
    end: Annotated[datetime, doc("End of the bucket.", "2026-02-08T10:31:00Z")]
    candle: Annotated[Candle | None, doc("The candle as `/candles` returns it; null without a trade.")]
    trades: Annotated[CandleTrades | None, doc("The trades behind its prices; null without a trade.")]
    recomputed: Annotated[RecomputedCandle | None, doc("The figures computed from the trades; null without a trade.")]
    agrees: Annotated[bool, doc("True if both are equal. A candle that is not `settled` may not have all trades yet.", True)]
    late_trade_count: Annotated[int, doc("Number of trades that were stored after the bucket had ended.", 1)]
    late_trades: Annotated[list[LateTrade], doc(f"These trades, at most {MAX_LISTED}, in the order in which they came.")]
    change_count: Annotated[int, doc("Number of corrections and cancellations of trades in the bucket.", 1)]
    changes: Annotated[list[CandleChange], doc(f"These changes, at most {MAX_LISTED}, oldest first.")]
    revisions: Annotated[
        list[Revision] | None,
        doc(
            "The first changes of the candle after it had closed, at most 20; `/revisions` has all. Null for intervals and "
            "time zones that are computed at read time."
        ),
    ]
    renamed_to: RenamedTo = UNSET
