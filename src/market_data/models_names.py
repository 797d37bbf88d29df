"""Structs of names over time."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from market_data.models import LatestPrice, RenamedTo, Symbol, doc
from market_data.models_writes import NewSymbol, Reason


class PastName(Struct, frozen=True):
    """A name that a symbol had for a time."""

    name: Annotated[str, doc("The name.", "FB")]
    since: Annotated[datetime | None, doc("Time from which it had the name, inclusive; null: since ever.")]
    until: Annotated[datetime | None, doc("Time until which it had the name, exclusive; null for the present name.")]


class NamedSymbol(Symbol, frozen=True):
    """A known symbol, and its names over time."""

    names: Annotated[list[PastName], doc("Its names, the oldest first.")]
    renamed_to: RenamedTo = UNSET


class NamedPrice(LatestPrice, frozen=True):
    """The newest trade of a symbol, as one answer."""

    renamed_to: RenamedTo = UNSET


class RenameIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another name of a symbol."""

    to: NewSymbol
    at: Annotated[
        datetime,
        doc(
            "Time from which it has the name, in the past: RFC 3339, with a zone, or a date (midnight UTC).",
            "2022-06-09T00:00:00Z",
            tz=True,
        ),
    ]
    reason: Reason | UnsetType = UNSET
