"""Struct of renames."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from market_data.models import doc
from market_data.models_writes import NewSymbol, Reason


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
