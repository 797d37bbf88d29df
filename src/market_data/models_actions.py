"""Structs of corporate actions: request bodies, and responses. Numbers and times are as in `models`."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Struct, UnsetType

from market_data.models import Count, SymbolName, doc

ActionType = Literal["split", "stock_dividend", "cash_dividend", "spin_off"]

MAX_ACTION_ID_LENGTH = 200
MAX_REASON_LENGTH = 500

Reason = Annotated[str, doc("Reason for the change; printable.", "misread", min_length=1, max_length=MAX_REASON_LENGTH)]

NewActionId = Annotated[
    str,
    doc(
        "Identifies the action within the symbol; printable. The same one again is the same action.",
        "split-2020",
        min_length=1,
        max_length=MAX_ACTION_ID_LENGTH,
    ),
]
NewType = Annotated[ActionType, doc("Kind of the action.", "split")]
NewExDate = Annotated[
    date,
    doc(
        "First day without the right, `YYYY-MM-DD`: the action takes effect at its midnight in the time zone of the "
        "symbol's calendar.",
        "2020-08-31",
    ),
]
NewRatio = Annotated[
    str,
    doc(
        "Shares after the action for those before it: `4:1` for a split of four for one, `1:8` for a reverse split, `1.05` "
        "for a stock dividend of five percent. A number is accepted too.",
        "4:1",
        extra_json_schema={"pattern": r"^[0-9.]{1,26}(:[0-9.]{1,26})?$"},
    ),
]
NewAmount = Annotated[
    Decimal,
    doc(
        "Cash for each share, or value of what is spun off for each share, in the currency of the symbol: greater than 0, "
        "less than 1e12, at most 12 decimal places. A string of its digits is accepted too.",
        0.205,
        extra_json_schema={"exclusiveMinimum": 0},
    ),
]


class ActionIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """A corporate action to record: splits and stock dividends with `ratio`, dividends with `amount`, spin-offs with one."""

    id: NewActionId
    type: NewType
    ex_date: NewExDate
    ratio: NewRatio | UnsetType = UNSET
    amount: NewAmount | UnsetType = UNSET


class ActionCancelIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """A corporate action to cancel."""

    id: NewActionId
    reason: Reason


class ActionCorrectIn(ActionCancelIn, kw_only=True, forbid_unknown_fields=True):
    """A corporate action to correct, with at least one new value."""

    type: NewType | UnsetType = UNSET
    ex_date: NewExDate | UnsetType = UNSET
    ratio: NewRatio | UnsetType = UNSET
    amount: NewAmount | UnsetType = UNSET


class ActionValues(Struct, frozen=True):
    """Values of a corporate action that can be corrected."""

    type: Annotated[ActionType, doc("Kind of the action.", "split")]
    ex_date: Annotated[date, doc("First day without the right.", "2020-08-31")]
    ratio: Annotated[str | None, doc("Shares after the action for those before it; null with an amount.", "4:1")]
    amount: Annotated[float | None, doc("Cash, or value of what is spun off, for each share; null with a ratio.", 0.205)]


class CorporateAction(ActionValues, frozen=True):
    """A corporate action."""

    symbol: SymbolName
    id: Annotated[str, doc("Identifies the action within the symbol.", "split-2020")]
    recorded_at: Annotated[datetime, doc("Time at which its present values were recorded.", "2020-08-01T09:00:00Z")]


class ActionList(Struct, frozen=True):
    """Corporate actions of a symbol, by ex-date."""

    symbol: SymbolName
    actions: Annotated[list[CorporateAction], doc("The actions.")]
    count: Count


class ActionChange(Struct, frozen=True):
    """An entry of the audit trail of corporate actions."""

    changed_at: Annotated[datetime, doc("Time of the change.", "2020-08-02T09:00:00Z")]
    change: Annotated[Literal["record", "correct", "cancel"], doc("Kind of change.", "correct")]
    symbol: SymbolName
    id: Annotated[str, doc("Identifies the action within the symbol.", "split-2020")]
    before: Annotated[ActionValues | None, doc("Values before the change; null for a new action.")]
    after: Annotated[ActionValues | None, doc("Values after the change; null for a cancelled action.")]
    actor: Annotated[str, doc("Name of the API key, or database role, that made the change.", "desk")]
    reason: Annotated[str | None, doc("Reason for the change; null for a new action.", "announced ratio was wrong")]


class MadeActionChange(ActionChange, frozen=True):
    """The last change of a corporate action, made by this call or an earlier one."""

    changed: Annotated[bool, doc("True if this call made the change.", True)]


class ActionChangeList(Struct, frozen=True):
    """Changes of the corporate actions of a symbol, newest first."""

    changes: Annotated[list[ActionChange], doc("The changes.")]
    count: Count
