"""The structs of what is written: answers to those who store, cancel and correct trades.

Numbers and times are as in `models`.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from market_data.models import Count, NextPageToken, Price, SymbolName, Timestamp, TradeId, Volume


class Rejection(Struct, frozen=True):
    """A trade that was not stored, and why."""

    index: Annotated[int, Meta(description="Its place in the call, from 0.", examples=[3])]
    reason: Annotated[
        str,
        Meta(
            description="The field at fault and what is wrong with it.",
            examples=["price: must be greater than 0, not '0'"],
        ),
    ]
    conflict: Annotated[
        bool,
        Meta(
            description="Whether only what is stored, or was cancelled, speaks against it.",
            examples=[False],
        ),
    ]


class StoredTrades(Struct, frozen=True):
    """What has become of the trades of a call: what was stored is committed."""

    received: Annotated[int, Meta(description="Trades in the call.", examples=[3])]
    stored: Annotated[int, Meta(description="Those that are new, and stored now.", examples=[2])]
    existing: Annotated[int, Meta(description="Those that were there already, with the same values.", examples=[1])]
    rejected: Annotated[
        list[Rejection], Meta(description="Those that were not stored; always empty without `partial=true`.")
    ]


class TradeValues(Struct, frozen=True):
    """What can be corrected in a trade."""

    price: Price
    volume: Volume


class TradeChange(Struct, frozen=True):
    """An entry of the audit trail."""

    id: Annotated[
        int | None,
        Meta(
            description="Its number; null where a trade was never changed, and had the values of the call already.",
            examples=[7],
        ),
    ]
    changed_at: Annotated[datetime | None, Meta(description="When; null likewise.", examples=["2026-02-08T11:00:00Z"])]
    action: Annotated[Literal["cancel", "correct"], Meta(description="What was done.", examples=["correct"])]
    symbol: SymbolName
    timestamp: Timestamp
    trade_id: TradeId
    before: Annotated[TradeValues, Meta(description="What the trade said before.")]
    after: Annotated[TradeValues | None, Meta(description="What it has said since; null where it was cancelled.")]
    actor: Annotated[
        str | None,
        Meta(
            description="Who: the name of the key, or the role that was connected to the database; null as `id`.",
            examples=["desk"],
        ),
    ]
    reason: Annotated[
        str | None,
        Meta(description="Why; null where a change in the database gave none, and as `id`.", examples=["fat finger"]),
    ]


class MadeChange(TradeChange, frozen=True):
    """The last change of a trade, whether this call has made it or an earlier one."""

    changed: Annotated[bool, Meta(description="Whether this call has made it.", examples=[True])]


class ChangeList(Struct, frozen=True):
    """Changes of trades, the newest first."""

    changes: Annotated[list[TradeChange], Meta(description="The changes.")]
    count: Count
    next_page_token: NextPageToken
