"""Path and query parameters of calendars."""

import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final

from litestar.openapi.spec.enums import OpenAPIFormat
from litestar.params import PathParameter

from market_data.api.http.parameter_types import parsed, unescape
from market_data.api.http.parameters import query
from market_data.trade_validation import shown

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,31}", re.ASCII)
"""Form of a code, as the constraint `calendars_code_form` has it."""

DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_code(text: str) -> str:
    """Return the code of a calendar in a path."""
    code = unescape(text)
    if not CODE.fullmatch(code):
        raise ValueError(
            "must be the code of a calendar, such as XNYS: 1 to 32 letters, digits or _ . / -, beginning with a letter or a "
            f"digit, not {shown(code)}"
        )
    return code


def read_day(text: str) -> date:
    """Return a day."""
    if not DAY.fullmatch(text):
        raise ValueError(f"must be a day such as 2026-02-08, without a time, not {shown(text)}")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"names a day that does not exist: {shown(text)}") from None


if TYPE_CHECKING:
    Code = str
    OptionalDay = date | None
else:
    Code = parsed(read_code, is_text_value=lambda text: "%" not in text and CODE.fullmatch(text))
    OptionalDay = parsed(read_day, date)

CodeParameter = Annotated[
    Code,
    query(
        "code",
        "Code of the calendar, in upper or lower case. `GET /calendars` lists the known ones.",
        "24/7",
        PathParameter,
        type="string",
        pattern=f"^{CODE.pattern}$",
    ),
]
FirstDayParameter = Annotated[
    OptionalDay,
    query("start", "First day. Default: today at the exchange.", "2026-02-08", type="string", format=OpenAPIFormat.DATE),
]
LastDayParameter = Annotated[
    OptionalDay,
    query("end", "Day after the last one. Default: a year after `start`.", type="string", format=OpenAPIFormat.DATE),
]
