"""Structs of writes: request bodies, and their responses. Numbers and times are as in `models`."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from market_data.models import Count, NextPageToken, Price, SymbolName, SymbolType, Timestamp, TradeId, Volume, doc
from market_data.trade_validation import MAX_SYMBOL_LENGTH, SYMBOL_PATTERN

MAX_NAME_LENGTH = 200
MAX_REASON_LENGTH = 500
MAX_DESCRIPTION_LENGTH = 2000
MAX_ALIASES = 50

# `extra_json_schema` only documents: `api.http.decoding` checks the values and names every field that is wrong. It also
# accepts numbers as strings, which the schemas leave out: generated clients would take a price for a number or a string.
NewSymbol = Annotated[
    str,
    doc(
        "The symbol, in upper or lower case.",
        "AAPL",
        extra_json_schema={"pattern": f"^{SYMBOL_PATTERN}$", "maxLength": MAX_SYMBOL_LENGTH},
    ),
]


def _number(meaning: str, **bounds: int) -> Meta:
    description = (
        f"{meaning}, less than 1e30, at most 30 decimal places; stored exactly. A string of its digits, with or without an "
        "exponent, is accepted too."
    )
    return doc(description, 189.44, extra_json_schema=bounds)


NewPrice = Annotated[
    Decimal, _number("Price of one unit: greater than 0 unless the symbol is signed, else greater than -1e30")
]
NewVolume = Annotated[Decimal, _number("Units traded: 0 or more", minimum=0)]
NewTime = Annotated[
    datetime,
    doc(
        "Time of the trade: RFC 3339, with a zone. Digits beyond the microsecond are cut off.",
        "2026-02-08T10:30:00Z",
        tz=True,
    ),
]
NewTradeId = Annotated[
    int,
    doc(
        "Distinguishes trades of one symbol at one time: a whole number of 64 bits, by default 0. A string of its digits is "
        "accepted too.",
        1,
        ge=-(2**63),
        le=2**63 - 1,
    ),
]
Reason = Annotated[str, doc("Reason for the change; printable.", "fat finger", min_length=1, max_length=MAX_REASON_LENGTH)]
NewName = Annotated[
    str, doc("Full name of the symbol; printable.", "NVIDIA Corporation", min_length=1, max_length=MAX_NAME_LENGTH)
]


Signed = Annotated[bool, doc("True if trades of the symbol may have prices of 0 or less.", True)]

Currency = Annotated[
    str,
    doc(
        "Currency of the prices, in upper or lower case: 2 to 12 letters and digits. A new symbol has USD by default.",
        "EUR",
        extra_json_schema={"pattern": "^[A-Za-z][A-Za-z0-9]{1,11}$"},
    ),
]
NewType = Annotated[SymbolType, doc("Kind of instrument. A new symbol is `other` by default.", "stock")]
NewCalendar = Annotated[
    str,
    doc(
        "Code of the calendar of the trading sessions. A new symbol has `24/7` by default: always open.",
        "24/7",
        extra_json_schema={"pattern": "^[A-Za-z0-9][A-Za-z0-9_./-]{0,31}$"},
    ),
]
NewTickSize = Annotated[
    Decimal,
    doc(
        "Smallest step of the price: greater than 0 and less than 1e30, at most 30 decimal places; stored exactly. "
        "A string of its digits is accepted too. null: unknown.",
        0.01,
        extra_json_schema={"exclusiveMinimum": 0},
    ),
]
Listed = Annotated[date, doc("First day of trading at the exchange; null: unknown.", "1999-01-22")]
Delisted = Annotated[date, doc("Last day of trading at the exchange, not before `listed`; null: still listed, or unknown.")]
Description = Annotated[str, doc("Text for people; printable, or empty.", "Common stock", max_length=MAX_DESCRIPTION_LENGTH)]
Aliases = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]],
    doc(
        "Further names by which people find the symbol; printable, no duplicates.",
        ["US67066G1040"],
        max_length=MAX_ALIASES,
    ),
]


class TradeIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """A trade to store. Once it is validated, its symbol is in upper case and its timestamp in UTC."""

    symbol: NewSymbol
    price: NewPrice
    volume: NewVolume
    timestamp: NewTime
    trade_id: NewTradeId = 0


class CancelIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """A trade to cancel."""

    symbol: NewSymbol
    timestamp: NewTime
    trade_id: NewTradeId = 0
    reason: Reason


class CorrectIn(CancelIn, kw_only=True, forbid_unknown_fields=True):
    """A trade to correct, with at least one new value."""

    price: NewPrice | UnsetType = UNSET
    volume: NewVolume | UnsetType = UNSET


class SymbolIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """A symbol to add."""

    symbol: NewSymbol
    name: NewName
    signed: Signed = False
    currency: Currency | UnsetType = UNSET
    type: NewType | UnsetType = UNSET
    calendar: NewCalendar | UnsetType = UNSET
    tick_size: NewTickSize | UnsetType | None = UNSET
    listed: Listed | UnsetType | None = UNSET
    delisted: Delisted | UnsetType | None = UNSET
    description: Description | UnsetType = UNSET
    aliases: Aliases | UnsetType = UNSET


class SymbolChangeIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a symbol to change, at least one."""

    name: NewName | UnsetType = UNSET
    active: Annotated[bool, doc("False to refuse new trades of the symbol, the feed's included.", False)] | UnsetType = UNSET
    signed: Signed | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    type: NewType | UnsetType = UNSET
    calendar: NewCalendar | UnsetType = UNSET
    tick_size: NewTickSize | UnsetType | None = UNSET
    listed: Listed | UnsetType | None = UNSET
    delisted: Delisted | UnsetType | None = UNSET
    description: Description | UnsetType = UNSET
    aliases: Aliases | UnsetType = UNSET


class RenameIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another name of a symbol."""

    to: NewSymbol
    at: Annotated[
        datetime,
        doc(
            "Time from which it has the name, in the past: RFC 3339, with a zone. A date is accepted too: its midnight in "
            "UTC.",
            "2022-06-09T00:00:00Z",
            tz=True,
        ),
    ]
    reason: Reason | UnsetType = UNSET


class Rejection(Struct, frozen=True):
    """A trade that was not stored, and the reason."""

    index: Annotated[int, doc("Position of the trade in the call, from 0.", 3)]
    reason: Annotated[str, doc("The wrong field, and what is wrong with it.", "price: must be greater than 0, not '0'")]
    conflict: Annotated[bool, doc("True if the trade is valid, but contradicts a stored or cancelled trade.", False)]


class StoredTrades(Struct, frozen=True):
    """Result of a call that stores trades; the stored ones are committed."""

    received: Annotated[int, doc("Trades in the call.", 3)]
    stored: Annotated[int, doc("New trades, which are stored now.", 2)]
    existing: Annotated[int, doc("Trades that were already stored with the same values.", 1)]
    rejected: Annotated[list[Rejection], doc("Trades that were not stored; always empty without `partial=true`.")]


class TradeValues(Struct, frozen=True):
    """Values of a trade that can be corrected."""

    price: Price
    volume: Volume


class TradeChange(Struct, frozen=True):
    """An entry of the audit trail."""

    id: Annotated[
        int | None, doc("Id of the entry; null if the trade was never changed and already had the values of the call.", 7)
    ]
    changed_at: Annotated[datetime | None, doc("Time of the change; null if `id` is null.", "2026-02-08T11:00:00Z")]
    action: Annotated[
        Literal["cancel", "correct", "truncate"],
        doc("Kind of change; `truncate` if all trades of the symbol were removed, of which this was the latest.", "correct"),
    ]
    symbol: SymbolName
    timestamp: Timestamp
    trade_id: TradeId
    before: Annotated[TradeValues, doc("Values before the change.")]
    after: Annotated[TradeValues | None, doc("Values after the correction; null for another action.")]
    actor: Annotated[
        str | None, doc("Name of the API key, or database role, that made the change; null if `id` is null.", "desk")
    ]
    reason: Annotated[
        str | None,
        doc("Reason for the change; null if `id` is null or a change made in the database gave none.", "fat finger"),
    ]
    database_role: Annotated[
        str | None,
        doc("Role that was connected to the database; null if `id` is null, and for older changes.", "market_data"),
    ]


class MadeChange(TradeChange, frozen=True):
    """The last change of a trade, made by this call or an earlier one."""

    changed: Annotated[bool, doc("True if this call made the change.", True)]


class ChangeList(Struct, frozen=True):
    """Changes of trades, newest first."""

    changes: Annotated[list[TradeChange], doc("The changes.")]
    count: Count
    next_page_token: NextPageToken
