"""Validation of corporate actions, from requests and from files. The constraints of `corporate_actions` are the same."""

import re
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple, get_args

from market_data.models_actions import MAX_ACTION_ID_LENGTH, ActionType
from market_data.trade_validation import InvalidTrade, shown

NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?|\.[0-9]{1,12}", re.ASCII)
MAX: Final = Decimal(10) ** 12
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
ACTION_TYPES: Final[tuple[ActionType, ...]] = get_args(ActionType)
FIRST_DATE, LAST_DATE = date(1900, 1, 1), date(2999, 12, 31)


class Ratio(NamedTuple):
    """Shares after an action for those before it."""

    numerator: Decimal
    denominator: Decimal

    def equals(self, other: "Ratio") -> bool:
        """Return True if both are the same number, as 4:1 and 8:2."""
        return self.numerator * other.denominator == other.numerator * self.denominator


class ActionTerms(NamedTuple):
    """Values of an action, valid together."""

    type: ActionType
    ex_date: date
    ratio: Ratio | None
    amount: Decimal | None

    def difference(self, other: "ActionTerms") -> str | None:
        """Return the name of the first value that differs; None if all are the same."""
        same_ratio = self.ratio == other.ratio or (self.ratio and other.ratio and self.ratio.equals(other.ratio))
        same = {
            "type": self.type == other.type,
            "ex_date": self.ex_date == other.ex_date,
            "ratio": same_ratio,
            "amount": self.amount == other.amount,
        }
        return next((name for name, is_same in same.items() if not is_same), None)


def read_action_id(text: str) -> str:
    """Return the identifier of an action."""
    if not text.strip() or len(text) > MAX_ACTION_ID_LENGTH or not text.isprintable():
        raise InvalidTrade("id", f"must be 1 to {MAX_ACTION_ID_LENGTH} printable characters, not all of them spaces")
    return text


def read_action_type(text: str) -> ActionType:
    """Return the type of an action."""
    for known in ACTION_TYPES:
        if text.lower() == known:
            return known
    raise InvalidTrade("type", f"must be one of {', '.join(ACTION_TYPES)}, not {shown(text)}")


def read_ex_date(text: str) -> date:
    """Return a date."""
    try:
        found = date.fromisoformat(text) if DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None or not FIRST_DATE <= found <= LAST_DATE:
        raise InvalidTrade("ex_date", f"must be a date such as 2020-08-31, from 1900 to 2999, not {shown(text)}")
    return found


def read_ratio(text: str) -> Ratio:
    """Return a ratio: a number, or two of them with a colon."""
    after, colon, before = text.replace(" ", "").partition(":")
    return Ratio(_number("ratio", after, text), _number("ratio", before, text) if colon else Decimal(1))


def read_amount(text: str) -> Decimal:
    """Return an amount of money."""
    return _number("amount", text, text)


def _number(name: str, text: str, whole: str) -> Decimal:
    value = Decimal(text) if NUMBER.fullmatch(text) else Decimal(0)
    if not 0 < value < MAX:
        example = "4:1, or a number such as 1.05" if name == "ratio" else "a number such as 0.205"
        detail = f"must be {example}, greater than 0 and with at most 12 digits before and after the point"
        raise InvalidTrade(name, f"{detail}, not {shown(whole)}")
    return value


def check_terms(kind: ActionType, ex_date: date, ratio: Ratio | None, amount: Decimal | None) -> ActionTerms:
    """Return the values of an action.

    Raises:
        InvalidTrade: Its type needs a ratio, or an amount, or has none.
    """
    wanted = {"split": "ratio", "stock_dividend": "ratio", "cash_dividend": "amount"}.get(kind)
    given = {"ratio": ratio is not None, "amount": amount is not None}
    if wanted is None:
        if all(given.values()):
            raise InvalidTrade("amount", f"can't be given together with ratio; a {kind} has one of them")
        if not any(given.values()):
            raise InvalidTrade("ratio", f"is missing, and so is amount; a {kind} has one of them")
        return ActionTerms(kind, ex_date, ratio, amount)
    if not given[wanted]:
        raise InvalidTrade(wanted, f"is missing; a {kind} has it")
    other = "amount" if wanted == "ratio" else "ratio"
    if given[other]:
        raise InvalidTrade(other, f"does not belong to a {kind}; leave it out")
    return ActionTerms(kind, ex_date, ratio, amount)
